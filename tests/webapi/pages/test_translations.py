"""Every message has a translation, and the service reads what people edited."""

import gettext
import re

import pytest

from webapi.pages.page_words import message_catalogs

_PLACEHOLDER = re.compile(r"%\(\w+\)s")


@pytest.mark.parametrize("language", message_catalogs.translated_languages())
def test_every_message_is_translated(language: str) -> None:
    collected = {message.id for message in message_catalogs.collect() if message.id}
    translated = {message.id: message for message in message_catalogs.read(language) if message.id}
    assert collected
    assert set(translated) == collected, "run `python -m webapi.pages.page_words.message_catalogs`, and translate"
    for text, message in translated.items():
        assert message.string, text
        assert not message.fuzzy, text
        assert sorted(_PLACEHOLDER.findall(str(text))) == sorted(_PLACEHOLDER.findall(str(message.string))), text


@pytest.mark.parametrize("language", message_catalogs.translated_languages())
def test_the_compiled_translations_are_those_that_people_edited(language: str) -> None:
    compiled = message_catalogs.path_of(language).with_suffix(".mo")
    with compiled.open("rb") as file:
        read = gettext.GNUTranslations(file)
    for message in message_catalogs.read(language):
        if message.id:
            assert read.gettext(str(message.id)) == message.string, (
                "run `python -m webapi.pages.page_words.message_catalogs`"
            )

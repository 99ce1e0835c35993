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
        assert not message.fuzzy, text
        originals, translations = as_forms(text), as_forms(message.string)
        assert all(translations), text
        wanted = sorted(set(_PLACEHOLDER.findall(originals[-1])))
        assert all(sorted(set(_PLACEHOLDER.findall(each))) == wanted for each in translations), text


@pytest.mark.parametrize("language", message_catalogs.translated_languages())
def test_the_compiled_translations_are_those_that_people_edited(language: str) -> None:
    compiled = message_catalogs.path_of(language).with_suffix(".mo")
    with compiled.open("rb") as file:
        read = gettext.GNUTranslations(file)
    for message in message_catalogs.read(language):
        if message.id:
            forms = as_forms(message.id)
            found = read.gettext(forms[0]) if len(forms) == 1 else read.ngettext(forms[0], forms[1], 1)
            assert found == as_forms(message.string)[0], "run `python -m webapi.pages.page_words.message_catalogs`"


def as_forms(text: object) -> tuple[str, ...]:
    """The singular and the plural of a message, or its only form."""
    return tuple(map(str, text)) if isinstance(text, tuple | list) else (str(text),)

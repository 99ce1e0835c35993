"""Texts as parts of items: one form for the same letters, and what is refused."""

import pytest

from ml.catalog.database import Catalog
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.items.texts import MAX_CHARACTERS, load_texts, read_text
from ml.errors import InvalidTextError


def test_the_same_letters_are_the_same_text_however_they_are_composed() -> None:
    assert read_text("ce\u0300pe") == read_text("c\u00e8pe")
    assert read_text("ce\u0300pe").content == "c\u00e8pe"


def test_nothing_else_of_a_text_is_changed(catalog: Catalog) -> None:
    came = " Drap-housse 90x190\r\n<b>\U0001f344</b> \u00bd \u5149\u718a "
    text = read_text(came)
    with catalog.begin() as connection:
        add_predicted(connection, ItemRecord("test", text=text))
        assert load_texts(connection, [text.sha256, "0" * 64]) == {text.sha256: came}


@pytest.mark.parametrize(
    ("content", "reason", "told"),
    [
        ("a\0b", "not_text", "NUL"),
        ("a\ud83d", "not_text", "half a surrogate pair"),
        ("", "empty", "white space"),
        (" \n\u00a0", "empty", "white space"),
        ("a" * (MAX_CHARACTERS + 1), "too_long", "at most 10,000 characters, got 10,001"),
    ],
)
def test_what_is_no_text_is_refused_by_reason(content: str, reason: str, told: str) -> None:
    with pytest.raises(InvalidTextError, match=told) as refused:
        read_text(content)
    assert refused.value.reason == reason


def test_a_text_of_the_greatest_length_is_kept(catalog: Catalog) -> None:
    text = read_text("\u5149" * MAX_CHARACTERS)
    with catalog.begin() as connection:
        add_predicted(connection, ItemRecord("test", text=text))
        assert len(load_texts(connection, [text.sha256])[text.sha256]) == MAX_CHARACTERS

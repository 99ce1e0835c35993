"""Texts as parts of items."""

import hashlib
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from ml.catalog.tables import texts
from ml.errors import InvalidTextError

MAX_CHARACTERS = 10_000


@dataclass(frozen=True)
class TextRecord:
    """A text in Unicode's composed form (NFC). sha256: of its UTF-8 encoding."""

    sha256: str
    content: str


def read_text(content: str) -> TextRecord:
    """Return a text in Unicode's composed form, so that texts with the same letters are equal, and otherwise unchanged.

    Raises: InvalidTextError, with one of the reasons `empty`, `too_long` and `not_text`.
    """
    if "\0" in content or any("\ud800" <= character <= "\udfff" for character in content):
        raise InvalidTextError("not_text", "expected Unicode characters, got a NUL or half a surrogate pair: remove it")
    composed = unicodedata.normalize("NFC", content)
    if not composed.strip():
        raise InvalidTextError("empty", "expected a text, got nothing but white space: leave it out")
    if len(composed) > MAX_CHARACTERS:
        raise InvalidTextError(
            "too_long", f"expected at most {MAX_CHARACTERS:,} characters, got {len(composed):,}: shorten it"
        )
    return TextRecord(hashlib.sha256(composed.encode()).hexdigest(), composed)


def load_texts(connection: sa.Connection, sha256s: Collection[str]) -> dict[str, str]:
    """Return the contents of texts, by hash, without unknown texts."""
    query = sa.select(texts.c.sha256, texts.c.content).where(texts.c.sha256.in_(sha256s))
    return dict(connection.execute(query).tuples().all())

"""The one place where names of classes are checked: folders, tables, the API, the command line, models and migrations.

A class name reaches terminals, logs, pages and file names. So it has visible characters, and none that control a
terminal, break a line, or change the order or the look of what follows.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

from ml.errors import LabelError

MAX_CHARACTERS = 200
# Control, format, surrogate, private and unassigned characters, and separators of lines and paragraphs.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK = r"\x20"
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indian languages are written with them


def read_class_name(text: str) -> str:
    """Return a class name in Unicode's composed form (NFC), without blanks around it.

    Raises: LabelError, it is blank or too long, or has characters that are not visible.
    """
    name = unicodedata.normalize("NFC", text).strip(" ")
    if not _has_letters(name):
        raise LabelError(f"Expected a class name with visible characters. Received: {text[:MAX_CHARACTERS]!a}.")
    if len(name) > MAX_CHARACTERS:
        raise LabelError(
            f"Expected a class name of at most {MAX_CHARACTERS} characters. Received {len(name)}: shorten it."
        )
    hidden = next((character for character in name if not is_visible(character)), None)
    if hidden is not None:
        raise LabelError(
            f"Expected a class name of visible characters. Received {name!a} with the character "
            f"U+{ord(hidden):04X}. Remove it."
        )
    return name


def mend_class_name(name: str) -> str:
    """Return a stored class name as `read_class_name` accepts it. Characters that are not visible are written as codes.

    Models and rows of older releases may have other names. Different names stay different.
    """
    try:
        if read_class_name(name) == name:
            return name
    except LabelError:
        pass
    composed = unicodedata.normalize("NFC", name)
    if not _has_letters(composed):
        return _shorten("".join(map(_code, composed)))
    core = composed.strip(" ")
    start = composed.index(core)
    shown = "".join(character if is_visible(character) else _code(character) for character in core)
    before, after = _BLANK * start, _BLANK * (len(composed) - start - len(core))
    return _shorten(f"{before}{shown}{after}")


def mend_class_names(names: Sequence[str]) -> list[str]:
    """Do the same for all names."""
    return [mend_class_name(name) for name in names]


def is_visible(character: str) -> bool:
    """Return whether a character may be in a class name."""
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES or character in _JOINERS


def _shorten(name: str) -> str:
    """Return a name of the allowed length. A hash at its end keeps long names apart."""
    if len(name) <= MAX_CHARACTERS:
        return name
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: MAX_CHARACTERS - 13]}~{sha256[:12]}"


def _has_letters(name: str) -> bool:
    """Return whether a name has a character that is seen: no blank, no joiner."""
    return any(is_visible(each) and each not in _JOINERS and not each.isspace() for each in name)


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else character.encode("unicode_escape").decode()

"""Names of classes: the one place that says what is none, and which spellings mean the same class.

A class name reaches terminals, logs, pages and file names. So it has visible characters, and none that control a
terminal, break a line, or change the order or the look of what follows. This holds for folders, tables, the API, the
command line, models and stored rows.
"""

import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence

from ml.errors import LabelError

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 200
# Control, format, surrogate, private and unassigned characters, and separators of lines and paragraphs.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK = r"\x20"
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indian languages are written with them
# Fillers, selectors and blanks that Unicode counts as marks, letters or symbols, and that nobody sees.
_UNSEEN = re.compile(
    "[\u200c\u200d\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BETWEEN_WORDS = re.compile(r"[\s_]+")
# What Unicode does not take apart into a letter and an accent.
_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ħ": "h", "ł": "l", "\u0131": "i", "æ": "ae", "œ": "oe", "\u2019": "'"}
)


def find_fault(name: str) -> str | None:
    """Return why a text cannot name a class, in words that follow "got"; None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "a name with control characters"
    if not _has_letters(name):
        return "a blank name"
    hidden = next((character for character in name if not is_visible(character)), None)
    if hidden is not None:
        return f"a name with the hidden character U+{ord(hidden):04X}"
    if len(name) > MAX_CHARACTERS:
        return f"a name of {len(name)} characters, of which {MAX_CHARACTERS} are allowed"
    return None


def read_class_name(text: str) -> str:
    """Return a class name in Unicode's composed form (NFC), without blanks around it.

    Raises: LabelError, the text cannot name a class.
    """
    name = unicodedata.normalize("NFC", text).strip(" ")
    if fault := find_fault(name):
        raise LabelError(f"Expected a class name of visible characters, got {fault}: {text[:MAX_CHARACTERS]!a}.")
    return name


def mend_class_name(name: str) -> str:
    """Return a stored class name as `read_class_name` accepts it. Characters that are not visible are written as codes.

    Models and rows of older releases may have other names. `mend_class_names` keeps different names different.
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
    """Mend all names of a model. A hash keeps names apart that would become the same, as two forms of an accent."""
    originals: dict[str, set[str]] = {}
    for name in names:
        originals.setdefault(mend_class_name(name), set()).add(name)
    mended = []
    for name in names:
        new = mend_class_name(name)
        is_taken = name != new and len(originals[new]) > 1
        mended.append(_add_hash(new, name) if is_taken else new)
    return mended


def is_visible(character: str) -> bool:
    """Return whether a character may be in a class name."""
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES or character in _JOINERS


def _has_letters(name: str) -> bool:
    """Return whether a name has a character that is seen: no blank, joiner or filler."""
    return any(is_visible(each) and not each.isspace() for each in _UNSEEN.sub("", name))


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else character.encode("unicode_escape").decode()


def _shorten(name: str) -> str:
    """Return a name of the allowed length. A hash at its end keeps long names apart."""
    return name if len(name) <= MAX_CHARACTERS else _add_hash(name, name)


def _add_hash(shown: str, name: str) -> str:
    sha256 = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()
    return f"{shown[: MAX_CHARACTERS - 13]}~{sha256[:12]}"


def same_class_key(name: str) -> str:
    """Return a text that is equal for names that differ only by case, blanks, underscores, Unicode form or joiners."""
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", name))
    folded = unicodedata.normalize("NFKC", seen.casefold())
    return _BETWEEN_WORDS.sub(" ", folded).strip()


def search_key(name: str) -> str:
    """Return a text to search and to sort by: names that differ only by accents, too, have the same one."""
    letters = unicodedata.normalize("NFD", same_class_key(name))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", bare).translate(_PLAIN_LETTERS)


class ClassSpellings:
    """The spelling of each class. The first one stays, and other spellings of the same name are taken as it.

    Args: known, names that are in use, first those that matter most. Each of them keeps its own spelling.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._settled: dict[str, str] = {}
        self._by_key: dict[str, str] = {}
        self.learn(known)

    def knows(self, names: Iterable[str]) -> bool:
        """Return whether all names are in use, as far as this object was told."""
        return self._known.issuperset(names)

    def learn(self, known: Iterable[str]) -> None:
        """Prefer names that are in use to those that were only settled."""
        for name in known:
            if self._by_key.get(same_class_key(name)) not in self._known:
                self._by_key[same_class_key(name)] = name
            self._known.add(name)
        self._settled = {name: name for name in self._known}

    def settle(self, name: str) -> str:
        """Return the spelling to use for a name. Tell once if it is another one."""
        if find_fault(name):
            return name  # it names no class, and must not become the spelling of one
        if name not in self._settled:
            self._settled[name] = self._by_key.setdefault(same_class_key(name), name)
            if self._settled[name] != name:
                logger.warning("The class %r is taken as %r, which is the same name.", name, self._settled[name])
        return self._settled[name]

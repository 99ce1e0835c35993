"""Names of classes: what is none, and which spellings mean the same class."""

import logging
import re
import unicodedata
from collections.abc import Iterable

logger = logging.getLogger(__name__)

_BETWEEN_WORDS = re.compile(r"[\s_]+")


def find_fault(name: str) -> str | None:
    """Return why a text cannot name a class, in words that follow "got"; None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if not name.strip():
        return "a blank name"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "a name with control characters"
    return None


def same_class_key(name: str) -> str:
    """Return a text that is equal for names that differ only by case, blanks, underscores or Unicode form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return _BETWEEN_WORDS.sub(" ", folded).strip()


class ClassSpellings:
    """The spelling of each class. The first one stays, and other spellings of the same name are taken as it.

    Args: known, names that are in use, first those that matter most. Each of them keeps its own spelling.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._settled: dict[str, str] = {}
        self._by_key: dict[str, str] = {}
        for name in known:
            self._by_key.setdefault(same_class_key(name), name)
            self._settled[name] = name

    def settle(self, name: str) -> str:
        """Return the spelling to use for a name. Tell once if it is another one."""
        if name not in self._settled:
            self._settled[name] = self._by_key.setdefault(same_class_key(name), name)
            if self._settled[name] != name:
                logger.warning("The class %r is taken as %r, which is the same name.", name, self._settled[name])
        return self._settled[name]

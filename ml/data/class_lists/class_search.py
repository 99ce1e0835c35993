"""Find names of classes by some of their letters, whatever their case and accents."""

from collections.abc import Iterable

from ml.catalog.class_names import same_class_key, search_key

__all__ = ["ClassSearch", "search_key"]

_NEAR_SHARE = 0.4


class ClassSearch:
    """Searches some names. `names` has them in the order of letters."""

    def __init__(self, names: Iterable[str]) -> None:
        self._keys = sorted({(search_key(name), name) for name in names})
        self.names = [name for _, name in self._keys]
        self._known = set(self.names)
        self._by_key = {same_class_key(name): name for name in reversed(self.names)}

    def find(self, typed: str) -> str | None:
        """Return the name that a person meant, whatever the case and the blanks; None if there is none."""
        return typed if typed in self._known else self._by_key.get(same_class_key(typed))

    def find_by_letters(self, typed: str) -> str | None:
        """Return the name that a person meant, or else the first one that begins with what was typed."""
        return self.find(typed) or next(iter(self._begin(search_key(typed)) if typed.strip() else []), None)

    def list_matches(self, typed: str, limit: int) -> list[str]:
        """Return names that begin with what was typed, then those that contain it; all names contain nothing."""
        key = search_key(typed)
        first = self._begin(key)[:limit]
        rest = (name for each, name in self._keys if key in each and not each.startswith(key))
        return first + [name for _, name in zip(range(limit - len(first)), rest, strict=False)]

    def list_near(self, typed: str, limit: int) -> list[str]:
        """Return names that are spelled like what was typed, the nearest first.

        As PostgreSQL's pg_trgm does, this counts the shared sequences of three letters: typing errors spoil only some.
        """
        wanted = _sequences(search_key(typed))
        scored = [(len(wanted & _sequences(key)) / max(1, len(wanted)), key, name) for key, name in self._keys]
        near = sorted((-share, len(key), key, name) for share, key, name in scored if share >= _NEAR_SHARE)
        return [name for *_, name in near[:limit]]

    def _begin(self, key: str) -> list[str]:
        return [name for each, name in self._keys if each.startswith(key)]


def _sequences(key: str) -> set[str]:
    padded = [f"  {word} " for word in key.split()]
    return {word[place : place + 3] for word in padded for place in range(len(word) - 2)}

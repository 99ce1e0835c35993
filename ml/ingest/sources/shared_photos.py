"""Photos that are in several observations: of one species they make one group, of several they are left out."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """What a photo shows, and its group: the first of all observations that share photos with its own."""

    label: str
    group: str


def place_photos(links: Iterable[tuple[str, ...]], named: Mapping[str, str]) -> dict[str, Place]:
    """Find label and group of photos. A photo in observations of two species is left out: it may show either.

    Args:
        links: (photo, observation), all of each photo.
        named: the species of the observations; one that is missing, because its row is damaged, says nothing.
    """
    observations: dict[str, list[str]] = defaultdict(list)
    for photo, observation in links:
        if observation in named:
            observations[photo].append(observation)
    labels = {photo: {named[each] for each in found} for photo, found in observations.items()}
    certain = [photo for photo, found in labels.items() if len(found) == 1]
    if len(certain) < len(labels):
        logger.warning(
            "%d photos are in observations of several species, and are left out.", len(labels) - len(certain)
        )
    firsts = _Firsts()
    for photo in certain:
        firsts.join(observations[photo])
    return {photo: Place(min(labels[photo]), firsts.first_of(observations[photo][0])) for photo in certain}


class _Firsts:
    """Sets of observations that are joined, each with its first: a union-find."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}

    def join(self, observations: Iterable[str]) -> None:
        # Numbers have no leading zeros, so the shorter one is the smaller one.
        first, *others = sorted({self.first_of(each) for each in observations}, key=lambda id: (len(id), id))
        self._before |= dict.fromkeys(others, first)

    def first_of(self, observation: str) -> str:
        while observation in self._before:
            observation = self._before[observation]
        return observation

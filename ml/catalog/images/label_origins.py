"""The origin of a label: a person, or a model."""

from dataclasses import dataclass

HUMAN_ORIGINS = ("curated", "confirmed")


@dataclass(frozen=True)
class NewImages:
    """Numbers of images that entered the pool after a moment, labelled by a person or harvested."""

    human: int
    harvested: int

    @property
    def total(self) -> int:
        return self.human + self.harvested

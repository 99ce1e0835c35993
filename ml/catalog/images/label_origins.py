"""Whose word a label is: a person's, or the model's own."""

from dataclasses import dataclass

HUMAN_ORIGINS = ("curated", "confirmed")


@dataclass(frozen=True)
class NewImages:
    """How many images entered the pool since a moment, by who labelled them."""

    human: int
    harvested: int

    @property
    def total(self) -> int:
        return self.human + self.harvested

"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, to do), in the unit that the function says
StepProgress = Callable[[str, int, int], None]  # (step, done, to do)
EpochProgress = Callable[[int, dict[str, float]], None]  # (epoch, its figures)

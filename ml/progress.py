"""Types of the callbacks with which long work reports its progress."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, to do); each function documents the unit
StepProgress = Callable[[str, int, int], None]  # (step, done, to do)
EpochProgress = Callable[[int, dict[str, float]], None]  # (epoch, figures of the epoch)

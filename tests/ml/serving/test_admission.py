"""A bounded number of requests, and turns in each costly step."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.deadlines import Deadline
from ml.errors import BusyError
from ml.serving.admission import Load, Step


def test_places_are_bounded_counted_and_given_back_also_after_an_error() -> None:
    load = Load(2)
    with load.admit(), pytest.raises(ZeroDivisionError), load.admit():
        assert load.in_progress == load.places == 2
        with pytest.raises(BusyError), load.admit():
            pass
        raise ZeroDivisionError
    assert load.in_progress == 0


def test_a_step_is_entered_by_as_many_as_it_takes_and_others_wait() -> None:
    step, is_over = Step(at_once=2), threading.Event()
    entered: list[int] = []

    def work(number: int) -> None:
        with step.enter(Deadline(60)):
            entered.append(number)
            if len(entered) <= 2:
                is_over.wait(60)

    with ThreadPoolExecutor(3) as threads:
        first, second = threads.submit(work, 1), threads.submit(work, 2)
        with pytest.raises(BusyError, match="in the time of a request"):
            while True:  # until both are in
                with step.enter(Deadline(0.2)):
                    pass
        third = threads.submit(work, 3)
        assert not third.done()
        is_over.set()
        for each in (first, second, third):
            each.result(60)
    assert sorted(entered) == [1, 2, 3]


def test_a_turn_is_given_back_after_an_error() -> None:
    step = Step(at_once=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), step.enter(Deadline(1)):
            raise ZeroDivisionError

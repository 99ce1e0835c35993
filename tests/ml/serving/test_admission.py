"""Limits on the number of requests, and on the number in each expensive step."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ml.deadlines import Deadline
from ml.errors import AccountBusyError, BusyError
from ml.serving.admission import AdmissionControl, ConcurrencyLimit


def test_places_are_bounded_counted_and_given_back_also_after_an_error() -> None:
    admission = AdmissionControl(2)
    with admission.admit(), pytest.raises(ZeroDivisionError), admission.admit():
        assert admission.in_progress == admission.places == 2
        with pytest.raises(BusyError), admission.admit():
            pass
        raise ZeroDivisionError
    assert admission.in_progress == 0


def test_a_step_is_entered_by_as_many_as_it_takes_and_others_wait() -> None:
    step, is_over = ConcurrencyLimit(at_once=2), threading.Event()
    entered: list[int] = []

    def work(number: int) -> None:
        with step.enter(Deadline(60)):
            entered.append(number)
            if len(entered) <= 2:
                is_over.wait(60)

    with ThreadPoolExecutor(3) as threads:
        first, second = threads.submit(work, 1), threads.submit(work, 2)
        with pytest.raises(BusyError, match="too busy to finish this request in time"):
            while True:  # until both have entered
                with step.enter(Deadline(0.2)):
                    pass
        third = threads.submit(work, 3)
        assert not third.done()
        is_over.set()
        for each in (first, second, third):
            each.result(60)
    assert sorted(entered) == [1, 2, 3]


def test_the_shortest_work_goes_first_then_who_came_first() -> None:
    step, began = ConcurrencyLimit(at_once=1), list[str]()

    def work(name: str, seconds: float) -> None:
        with step.enter(Deadline(60), seconds):
            began.append(name)

    with ThreadPoolExecutor(6) as threads, step.enter(Deadline(60)):
        with pytest.raises(BusyError), step.enter(Deadline(0.01), 0):
            pass  # who gives up is out of the queue
        for name, seconds in (("long", 0.5), ("short", 0.01), ("longest", 2.0), ("second short", 0.01)):
            threads.submit(work, name, seconds)
            time.sleep(0.1)
        assert began == []
    assert began == ["short", "second short", "long", "longest"]


def test_a_turn_is_given_back_after_an_error() -> None:
    step = ConcurrencyLimit(at_once=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), step.enter(Deadline(1)):
            raise ZeroDivisionError


def test_an_account_holds_a_share_of_the_places_and_others_find_the_rest() -> None:
    admission = AdmissionControl(12)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(admission.admit(1))
        with pytest.raises(AccountBusyError, match="at most 4"), admission.admit(1):
            pass
        for account_id in (2, 3):
            for _ in range(4):
                held.enter_context(admission.admit(account_id))
        with pytest.raises(BusyError, match="as many predictions as it can"), admission.admit(4):
            pass
        assert admission.in_progress == 12
    assert admission.in_progress == 0
    with admission.admit(1):
        assert admission.in_progress == 1


def test_fetches_hold_none_of_the_places_and_an_account_has_few() -> None:
    admission = AdmissionControl(1)
    with admission.fetch(1), admission.fetch(1), admission.fetch(2):
        with pytest.raises(AccountBusyError, match="at most 2"), admission.fetch(1):
            pass
        with admission.admit(1):
            assert admission.in_progress == 1

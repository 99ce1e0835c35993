"""The four signals at the top of the page, each with a state, a figure and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ml.reporting.health import Health
from ml.reporting.report.facts import Facts
from ml.reporting.report.formats import ago, count, listed, moment, percent
from ml.reporting.serving_notices import describe_serving, is_late

# A night may be a little late. The alert rule on old evaluations has the same limit.
_NIGHTLY = timedelta(hours=26)


@dataclass(frozen=True)
class Signal:
    """One signal. Args: state, `good`, `attention` if a person should look at it, or `unknown`."""

    name: str
    state: Literal["good", "attention", "unknown"]
    figure: str
    detail: str


def read_signals(facts: Facts) -> list[Signal]:
    """Return the signals of the model, the data, the nights, and what waits for a person."""
    health = facts.health
    return [_of_model(health, facts.at), _of_data(health), _of_nights(health, facts.at), _of_waiting(health)]


def sum_up(signals: Sequence[Signal]) -> str:
    """Sum up all signals in one sentence."""
    names = {
        state: [signal.name.lower() for signal in signals if signal.state == state] for state in ("attention", "good")
    }
    if names["attention"]:
        return f"Look at {listed(names['attention'])}."
    return "All is well." if len(names["good"]) == len(signals) else "Nothing is wrong; not all is known yet."


def _of_model(health: Health, at: datetime) -> Signal:
    name, deciding = "The model", health.deciding
    if health.champion is None:
        return Signal(name, "unknown", "None", "No model is in production. Train one with `mycoflow retrain`.")
    if is_late(health, at):
        served = describe_serving(health.champion, health.serving)
        return Signal(name, "attention", "Not served", f"Version {health.champion} is in production. {served}")
    if deciding is None:
        return Signal(name, "unknown", "Not scored", f"Version {health.champion} was not scored yet.")
    where = f"Version {health.champion} is in production"
    if deciding.shortfalls:
        detail = " ".join([f"{where}.", *map(str, deciding.shortfalls)])
        return Signal(name, "attention", percent(deciding.main_figure), detail)
    return Signal(name, "good", percent(deciding.main_figure), f"{where}. No figure is below its floor.")


def _of_data(health: Health) -> Signal:
    name, drift = "The data", health.drift
    if drift is None:
        return Signal(name, "unknown", "Not known", "Drift was not measured yet.")
    if drift.confidence_psi is None:
        return Signal(name, "unknown", "Not known", "Too few predictions to measure drift.")
    if drift.moved:
        return Signal(name, "attention", "Drifting", f"Different from the training data: {listed(drift.moved)}.")
    detail = f"The last {count(drift.recent_images, 'image')} are like the training data."
    return Signal(name, "good", "Stable", detail)


def misses_a_night(health: Health, at: datetime) -> bool:
    """Whether the nightly check ran before, and not in the last night."""
    return health.monitored_at is not None and at - health.monitored_at > _NIGHTLY


def misses_a_drift_check(health: Health, at: datetime) -> bool:
    """Whether a model is in production whose drift was not checked in the last night."""
    since = health.drift_checked_at or health.promoted_at
    return since is not None and at - since > _NIGHTLY


def has_failed_training(health: Health) -> bool:
    """Whether a training failed and none has succeeded since."""
    failed_at = health.retraining_failed_at
    return failed_at is not None and (health.retrained_at is None or failed_at > health.retrained_at)


def _of_nights(health: Health, at: datetime) -> Signal:
    name, monitored_at, failed_at = "The nights", health.monitored_at, health.retraining_failed_at
    if monitored_at is None:
        return Signal(name, "unknown", "None yet", "The model was never checked. `mycoflow monitor` checks it.")
    figure = ago(at - monitored_at)
    if misses_a_night(health, at):
        return Signal(name, "attention", figure, f"The last check was at {moment(monitored_at)}. Did the nights run?")
    if misses_a_drift_check(health, at):
        return Signal(name, "attention", figure, f"The last check for drift: {moment(health.drift_checked_at)}.")
    if has_failed_training(health):
        return Signal(name, "attention", figure, f"A training failed at {moment(failed_at)}, and none succeeded since.")
    trained = "never" if health.retrained_at is None else ago(at - health.retrained_at)
    return Signal(name, "good", figure, f"The last check. The last training: {trained}.")


def _of_waiting(health: Health) -> Signal:
    name = "What waits"
    numbers = {
        "approval": health.approvals_waiting,
        "batch": health.quarantined_batches,
        "image": health.waiting_images,
    }
    waiting = [count(number, unit) for unit, number in numbers.items() if number]
    sentences = [
        f"{listed(waiting)} for a person." if len(waiting) > 1 else "For a person." if waiting else "",
        "Automatic promotion is held." if health.is_promotion_held else "",
    ]
    detail = " ".join(filter(None, sentences))
    if not detail:
        return Signal(name, "good", "Nothing", "No decision waits for a person.")
    return Signal(name, "attention", waiting[0] if waiting else "Held", detail)

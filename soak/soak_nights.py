"""A day and the night after it, and what it left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from ml import cycle
from ml.app import Workspace
from ml.reporting import alert_delivery
from ml.training.recipes import Retrain
from soak.pager import Pager
from soak.people import Person, ask_and_correct
from soak.shifted_clock import put_forward
from soak.world import photograph
from webapi import application_state


@dataclass(frozen=True)
class Night:
    """What was seen.

    Args:
        number: from 1.
        served_version: of the model that answered during the day.
        answered: share of the day's answers that were right.
        anchor, recent: accuracy of the champion before any retraining; recent is None without images.
        deciding: the one that the floor applies to; `is_below_floor`, what the nightly check made of it.
        estimated: accuracy on what was asked, as the answers' confidence tells without labels; None where too few were.
        drifting: what the nightly look without labels finds moved.
        new_images: since the champion's snapshot.
        reasons: to retrain.
        decision: of the gate, where there was a retraining.
        production_version: afterwards.
        alerts: titles of those that arrived.
    """

    number: int
    served_version: int
    answered: float
    anchor: float
    recent: float | None
    deciding: float
    is_below_floor: bool
    estimated: float | None
    drifting: list[str]
    new_images: int
    reasons: list[str]
    decision: str | None
    production_version: int
    alerts: list[str]


@dataclass(frozen=True)
class Place:
    """Where it happens.

    Args:
        app: the service, without its threads.
        pager: where alerts arrive.
        digits: what there is to photograph, a folder per digit.
    """

    workspace: Workspace
    app: Flask
    pager: Pager
    visitor: Person
    expert: Person
    digits: Path

    def nights(self, count: int, photos: int, drift_from: int) -> Iterator[Night]:
        """Live through some days and nights.

        Args:
            photos: a day.
            drift_from: the first day on which all digits are turned.
        """
        for number in range(1, count + 1):
            answers = [
                ask_and_correct(self.visitor, self.expert, name, photo)
                for name, photo in photograph(self.digits, number, photos, is_turned=number >= drift_from)
            ]
            yield self._night(number, answers)
            with self.workspace.catalog.begin() as connection:
                put_forward(connection, days=1)

    def _night(self, number: int, answers: list[tuple[int, bool]]) -> Night:
        """What the DAGs monitor_production, retrain and send_alerts do, and the service's look at the registry."""
        report = cycle.monitor(self.workspace)
        drift = cycle.measure_drift(self.workspace)
        parts = {part.part: part.main_figure for part in cycle.evaluate(self.workspace)}
        decision = self._retrain(number, report.reasons) if report.reasons else None
        cycle.look_around(self.workspace)
        alert_delivery.deliver(self.workspace)
        models = application_state.current(self.app).models
        models.poll()
        return Night(
            number=number,
            served_version=answers[0][0],
            answered=sum(is_right for _, is_right in answers) / len(answers),
            anchor=parts["anchor"],
            recent=parts.get("recent"),
            deciding=report.main_figure,
            is_below_floor=report.is_below_floor,
            estimated=drift.estimated_accuracy,
            drifting=drift.moved,
            new_images=report.new_images,
            reasons=report.reasons,
            decision=decision,
            production_version=models.current.version if models.current else 0,
            alerts=self.pager.take(),
        )

    def _retrain(self, number: int, reasons: list[str]) -> str:
        parameters = Retrain(self.workspace.settings.snapshot_size)
        report = cycle.retrain(self.workspace, f"night-{number}", " ".join(reasons), parameters)
        return report.verdict.decision

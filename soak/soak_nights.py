"""Simulate days and nights, and record what happened in each."""

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
    """The record of one day and the night after it.

    Args:
        number: from 1.
        served_version: the model version that answered during the day.
        answered: share of the day's answers that were right, 0 to 1.
        anchor, recent: accuracy of the champion before any retraining; recent is None without images.
        deciding: the one of them that the floor applies to; `is_below_floor` is the nightly check's decision on it.
        estimated: accuracy estimated from confidences, without labels; None if there were too few predictions.
        drifting: the quantities that drift, according to the nightly check without labels.
        new_images: number of images since the champion's snapshot.
        reasons: the reasons for a retraining; empty without one.
        decision: the gate's decision, if there was a retraining.
        production_version: the version in production afterwards.
        alerts: titles of the alerts that arrived.
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
    """A deployment with its service, its users and the receiver of its alerts.

    Args:
        app: the service, without its threads.
        pager: the receiver of alerts.
        digits: the images to photograph, a folder per digit.
    """

    workspace: Workspace
    app: Flask
    pager: Pager
    visitor: Person
    expert: Person
    digits: Path

    def nights(self, count: int, photos: int, drift_from: int) -> Iterator[Night]:
        """Simulate some days and nights.

        Args:
            photos: number of photos per day.
            drift_from: the first day on which all digits are rotated.
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
        """Do the work of the DAGs monitor_production, retrain and send_alerts, and let the service poll the alias."""
        report = cycle.monitor(self.workspace)
        drift = cycle.measure_drift(self.workspace)
        parts = {part.part: part.main_figure for part in cycle.evaluate(self.workspace)}
        decision = self._retrain(number, report.reasons) if report.reasons else None
        cycle.raise_due_alerts(self.workspace)
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

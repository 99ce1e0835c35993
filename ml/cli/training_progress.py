"""What the commands that train share: a run with its progress, and how it ended."""

import uuid
from collections.abc import Sequence

from rich.markup import escape

from ml import cycle
from ml.app import Workspace
from ml.catalog.models import journal
from ml.cli.terminal import out, steps
from ml.training.training_requests import TrainingParameters


def run_training(
    workspace: Workspace,
    request_key: str | None,
    reason: str,
    parameters: TrainingParameters,
    names: Sequence[str],
) -> None:
    """Run a training in this process and say how it ended.

    Args:
        request_key: of an interrupted run; a new one when None.
        names: its steps, in order.
    """
    key = request_key or f"cli-{uuid.uuid4().hex[:12]}"
    out.print(f"Request {key}")
    with steps(names) as on_step:
        report = cycle.retrain(workspace, key, reason, parameters, on_step)
    out.print(f"Version {report.model_version}: {report.verdict.decision}.")
    for line in [*report.verdict.reasons, *report.verdict.warnings]:
        out.print(f"  {escape(line)}")
    out.print(f"In production: version {report.production_version}.")
    with workspace.catalog.begin() as connection:
        is_promoted = report.model_version in journal.versions_ever_in_production(connection)
    if workspace.settings.promotion == "approve" and report.verdict.decision == "promote" and not is_promoted:
        out.print(
            f"MYCOFLOW_PROMOTION=approve: version {report.model_version} was not promoted, since nobody has approved "
            f"it. `mycoflow promote {report.model_version}` puts it into production."
        )

"""The demo's two nights, which give two models. The stack must be running."""

from dataclasses import dataclass, field

import httpx
import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape

from ml.catalog.database import Catalog
from ml.catalog.items.item_records import Split
from ml.catalog.models.attempts import find_attempt
from ml.catalog.models.verdicts import verdicts_by_version
from ml.catalog.tables import monitorings
from ml.errors import MycoflowError
from ml.ingest.folder import ingest_files
from ml.reporting.airflow_api import AirflowClient, DagRun
from ml.settings import Settings
from ml.training.chosen_backbone import chosen_backbone, chosen_weights
from stack.demo.demo_images import DemoImages, DemoPart, demand_accepted
from stack.demo.demo_report import Stopwatch, Summary, print_skipped
from stack.demo.prediction_client import Answer, ask, small_copy
from stack.environment import Addresses
from stack.follow import FollowedRun, follow_run, wait_for
from stack.leftovers import marked_pids

DAG_IDS = ("monitor_production", "retrain")
REACTION_SECONDS = 60
FIRST_REASON = "the first model"


@dataclass
class Story:
    """The two nights, with everything that they need."""

    settings: Settings
    addresses: Addresses
    catalog: Catalog
    airflow: AirflowClient
    images: DemoImages
    credentials: tuple[str, str]
    watch: Stopwatch
    console: Console
    runs: list[FollowedRun] = field(default_factory=list)

    def tell(self) -> Summary:
        """Play both nights.

        Raises: MycoflowError, something did not happen as expected.
        """
        self._chapter(f"The first night: {self.images.first_night}")
        self._ingest(self.images.evaluation, "evaluation")
        first_images = self._ingest(self.images.first, "pool")
        self._follow(self.airflow.trigger("retrain", {"reason": FIRST_REASON}))
        first = self._answer_of_version(1)
        service = self._service_pids()
        self._chapter(f"The second night: {self.images.second_night}")
        self._ingest(self.images.later, "pool")
        self._follow(self.airflow.trigger("monitor_production", {}))
        self._follow(self._asset_triggered_run())
        second = self._answer_of_version(self._judged_version())
        if self._service_pids() != service:
            raise MycoflowError("Expected the service to follow the model without a restart, but its process changed.")
        return self._summarise(first_images, first, second)

    def _chapter(self, title: str) -> None:
        self.console.print(f"\n[bold]{title}[/]")

    def _ingest(self, part: DemoPart, split: Split) -> int:
        """Ingest a part, and return the number of accepted images."""
        with self.watch.phase(f"ingest {part.name}"):
            mirrored = self.settings.mirrored_views
            report = ingest_files(self.catalog, part.folder, part.files, split, mirrored=mirrored)
        self.console.print(f"  {report.accepted} images into the {split}" + (" set" if split == "evaluation" else ""))
        print_skipped([f"{reject.path!r}: {reject.message}" for reject in report.rejects], self.console)
        demand_accepted(part, report.accepted, report.rejected)
        return report.accepted

    def _follow(self, run: DagRun) -> None:
        number = sum(earlier.dag_id == run.dag_id for earlier in self.runs) + 1
        with self.watch.phase(f"{run.dag_id}, run {number}"):
            logs = self.settings.mycoflow_home / "airflow" / "logs" / f"dag_id={run.dag_id}"
            self.runs.append(follow_run(self.airflow, run, self.console, logs))

    def _asset_triggered_run(self) -> DagRun:
        def look() -> DagRun | None:
            return next(iter(self.airflow.asset_triggered_runs("retrain")), None)

        with self.watch.phase("the asset starts retrain"):
            run = wait_for("the asset to start `retrain`", look, REACTION_SECONDS)
        self.console.print("  the asset [bold]retraining_requested[/] has started retrain")
        return run

    def _judged_version(self) -> int:
        """Return the version in production after the second night, and say why if the gate kept the first."""
        with self.catalog.begin() as connection:
            verdict = verdicts_by_version(connection)[2]
        if verdict.decision == "keep":
            self.console.print("  the gate keeps version 1 in production: " + escape(" ".join(verdict.reasons)))
        return 2 if verdict.decision == "promote" else 1

    def _answer_of_version(self, version: int) -> Answer:
        example = self.images.example
        image = small_copy(example.path)

        def look() -> Answer | None:
            answer = ask(self.addresses.service, self.credentials, image)
            return answer if answer is not None and answer.model_version == version else None

        with self.watch.phase(f"the service loads version {version}"):
            answer = wait_for(f"the service to answer from version {version}", look, REACTION_SECONDS)
        asked, said = escape(repr(example.label)), escape(answer.name)
        self.console.print(f"  the service's answer to an image of {asked}: [bold]{said}[/] (version {version})")
        return answer

    def _service_pids(self) -> set[int]:
        return marked_pids(str(self.settings.mycoflow_home), "webapi.factory")

    def _production_version(self) -> int:
        path = "/api/2.0/mlflow/registered-models/alias"
        query = {"name": "mycoflow", "alias": "production"}
        answer = httpx.get(self.addresses.mlflow + path, params=query, trust_env=False).raise_for_status()
        return int(answer.json()["model_version"]["version"])

    def _summarise(self, first_images: int, first: Answer, second: Answer) -> Summary:
        latest = sa.select(monitorings).order_by(monitorings.c.id.desc()).limit(1)
        with self.catalog.begin() as connection:
            verdicts = verdicts_by_version(connection)
            attempt = find_attempt(connection, self.runs[-1].dag_run_id)
            night = connection.execute(latest).one()
        if attempt is None:
            raise MycoflowError("Expected an attempt under the id of the second retrain run, found none.")
        backbone = chosen_backbone(self.catalog, self.settings)
        return Summary(
            images=self.images.title,
            first_images=first_images,
            accuracy_v1=verdicts[1].challenger_figure,
            accuracy_v2=verdicts[2].challenger_figure,
            new_images=night.new_images_human + night.new_images_harvested,
            retrain_reason=attempt.reason,
            gate_v2=verdicts[2].reasons,
            production_version=self._production_version(),
            example_class=self.images.example.label or "",
            prediction=second.name,
            prediction_model_version=second.model_version,
            first_prediction=first.name,
            first_prediction_model_version=first.model_version,
            dag_runs=self.runs,
            backbone=backbone.name,
            weights=chosen_weights(self.catalog, self.settings, backbone),
            image_size=self.settings.image_size or backbone.default_image_size,
        )

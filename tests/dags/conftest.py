"""Airflow in a separate process, on the embedded PostgreSQL: it does not change pytest's logging and settings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.catalog.database import Catalog
from ml.catalog.items.item_records import Split
from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from stack.environment import settings_environment

ROOT = Path(__file__).parents[2]

DESCRIBE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

def assets_of(timetable):
    condition = getattr(timetable, "asset_condition", None)
    return [asset.name for asset in condition.objects] if condition else []


def seconds_of(task):
    timeout = getattr(task, "response_timeout", None) or task.execution_timeout
    return timeout and timeout.total_seconds()


def callbacks_of(task):
    found = task.on_failure_callback  # a list, except for mapped tasks
    return [each.__name__ for each in (found if isinstance(found, list) else [found])]


bag = DagBag(sys.argv[2])
heavy = ("tensorflow", "keras", "mlflow", "onnxruntime", "sklearn", "ml.cycle")
dags = {
    dag.dag_id: {
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "assets": assets_of(dag.timetable),
        "order": [task.task_id for task in dag.topological_sort()],
        "edges": sorted((task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids),
        "tasks": {
            task.task_id: {
                "retries": task.retries,
                "most_at_once": task.max_active_tis_per_dag,
                "tells": callbacks_of(task),
                "timeout_seconds": seconds_of(task),
                "mode": getattr(task, "mode", None),
                "longest_seconds": getattr(task, "timeout", None),
                "outlets": [outlet.name for outlet in task.outlets],
                "doc": task.doc_md or task.python_callable.__doc__,
            }
            for task in dag.tasks
        },
    }
    for dag in bag.dags.values()
}
json.dump(
    {
        "import_errors": bag.import_errors,
        "parse_seconds": {stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats},
        "heavy": [name for name in heavy if name in sys.modules],
        "dags": dags,
    },
    open(sys.argv[1], "w"),
)
"""

RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

dag = DagBag(sys.argv[2]).get_dag(sys.argv[3])
for task in dag.tasks:
    if task.task_id == "shadow":
        task.poke_interval = 3  # no test waits a quarter of an hour
run = dag.test(logical_date=None, run_conf=json.loads(sys.argv[4]))
tasks = run.get_task_instances()
json.dump(
    {
        "run_id": run.run_id,
        "state": run.state,
        "tasks": {task.task_id: task.state for task in tasks},
        "tries": {task.task_id: task.try_number for task in tasks},
        "returned": {task.task_id: task.xcom_pull(task.task_id) for task in tasks},
    },
    open(sys.argv[1], "w"),
    default=list,  # the results of a mapped task
)
"""

# Runs each script that it receives with separate variables, and writes a byte to the file descriptor after each.
SERVE = """
import json, os, sys, traceback

ended, own = int(sys.argv[1]), dict(os.environ)
for line in sys.stdin:
    request = json.loads(line)
    os.environ.update(request["environment"])
    sys.argv = ["-c", *request["arguments"]]
    try:
        exec(request["script"], {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os.environ.clear()
    os.environ.update(own)
    os.write(ended, b"\\n")
"""


@pytest.fixture(scope="session")
def airflow_environment(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with Airflow on a separate, migrated database."""
    options = {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": new_database(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    environment = {**os.environ, **options}
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture(scope="session")
def in_airflow(
    airflow_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """Runs a script in a process with Airflow. Returns: the JSON that the script wrote."""

    def run(script: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
        answer = tmp_path_factory.mktemp("answer") / "answer.json"
        command = [sys.executable, "-c", script, str(answer), str(ROOT / "dags"), *arguments]
        ended = subprocess.run(
            command, env=airflow_environment | (environment or {}), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
        described: dict[str, Any] = json.loads(answer.read_text())
        described["output"] = ended.stdout + ended.stderr
        return described

    return run


class ResidentAirflow:
    """One process with Airflow that runs one script after the other: starting Airflow takes ten seconds."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._log, self._folder = folder / "output.log", folder
        self._ended, ended = os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(ended)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[ended],
            )
        os.close(ended)

    def run(self, script: str, *arguments: str, environment: dict[str, str]) -> dict[str, Any]:
        """Run a script. Returns: the JSON that it wrote, and the output of the process."""
        answer, said_before = self._folder / "answer.json", self._log.stat().st_size
        answer.unlink(missing_ok=True)
        request = {"script": script, "arguments": [str(answer), *arguments], "environment": environment}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        os.read(self._ended, 1)
        output = self._log.read_bytes()[said_before:].decode()
        assert answer.exists(), output[-8000:]
        return {**json.loads(answer.read_text()), "output": output}

    def stop(self) -> None:
        """Close its input, which ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        os.close(self._ended)


@pytest.fixture(scope="session")
def resident_airflow(
    airflow_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ResidentAirflow]:
    airflow = ResidentAirflow(airflow_environment, tmp_path_factory.mktemp("resident"))
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def described(in_airflow: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The DAGs as Airflow parsed them."""
    return in_airflow(DESCRIBE)


@pytest.fixture
def night_settings(settings: Settings, mlflow_uri: str, tmp_path: Path) -> Settings:
    """Settings with an MLflow, a folder as source, and thresholds for few digits."""
    chosen = {"mlflow_tracking_uri": mlflow_uri, "snapshot_size": 250, "new_images_threshold": 50}
    chosen["ingest_sources"] = f"{tmp_path / 'drop'},{tmp_path / 'nowhere'}"
    return settings.model_copy(update=chosen)


@pytest.fixture
def run_dag(resident_airflow: ResidentAirflow, night_settings: Settings) -> Callable[..., dict[str, Any]]:
    """Runs a DAG with `dag.test()`, on the settings of the test. Args: changed, variables for this run."""

    def run(dag_id: str, changed: dict[str, str] | None = None, **parameters: object) -> dict[str, Any]:
        environment = settings_environment(night_settings)
        arguments = (str(ROOT / "dags"), dag_id, json.dumps(parameters))
        return resident_airflow.run(RUN, *arguments, environment=environment | (changed or {}))

    return run


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> DigitFolders:
    """All the digits, as files."""
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def ingest(catalog: Catalog, digit_files: DigitFolders, tmp_path: Path) -> Callable[..., None]:
    """Ingests `count` digits of each class, from `start` on, of the part for the split."""

    def bring_in(split: Split, start: int, count: int) -> None:
        source = digit_files.evaluation if split == "evaluation" else digit_files.later
        folder = tmp_path / f"{split}-{start}"
        for label in sorted(source.iterdir()):
            (folder / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[start : start + count]:
                shutil.copy(file, folder / label.name)
        report = ingest_folder(catalog, folder, split)
        assert report.rejects == []

    return bring_in

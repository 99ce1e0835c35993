"""The model registry in MLflow: versions, and the alias of the version in production. Stages are not used."""

import contextlib
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ml.errors import ModelLoadError, RegistryStateError, RegistryUnavailableError, UnknownVersionError
from ml.registry import artifacts, file_hashes, foreign_runs, local_copies, registry_state
from ml.registry.file_hashes import FILES_SHA256_TAG, check_tag
from ml.registry.mlflow_client import connect, point_mlflow_at, translated_errors
from ml.registry.mlflow_runs import TRAINING_EXPERIMENT, Run, open_run
from ml.registry.version_files import find_own_files
from ml.tasks.card import FILE_NAME as CARD_NAME
from ml.tasks.card import load_card

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

MODEL_NAME = "mycoflow"
ALIAS = "production"
ATTEMPT_TAG = "mycoflow.attempt_id"
# Tags that only find a run. A version gets all other tags of its run, except MLflow's own, so that its page shows them.
RUN_TAGS = (ATTEMPT_TAG, foreign_runs.CONVERSION_TAG)


@dataclass(frozen=True)
class RegisteredVersion:
    """A model version as the registry knows it.

    Args:
        version: its number, from 1.
        mlflow_run_id: the run that trained it.
        aliases: `production` if it is the champion, and any aliases that people gave it.
        tags: verdict, accuracy, snapshot and others.
        created_at_ms: when it was registered, Unix time in milliseconds.
    """

    version: int
    mlflow_run_id: str
    aliases: frozenset[str]
    tags: dict[str, str]
    created_at_ms: int

    @property
    def is_champion(self) -> bool:
        """Whether it has the alias `production`."""
        return ALIAS in self.aliases


class Registry:
    """The operations that Mycoflow needs of MLflow.

    Every method raises RegistryUnavailableError if MLflow is down, and RegistryStateError if MLflow refuses a request,
    because somebody deleted or changed what it needs.

    Args:
        tracking_uri: http(s):// of an MLflow server, or postgresql+psycopg2:// of its database.
        artifact_root: where new experiments store files, an absolute file:// URI; if None, the server decides.
        model_name: of the registered model.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None = None, model_name: str = MODEL_NAME) -> None:
        self.model_name = model_name
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._client: MlflowClient | None = None

    def champion(self) -> int | None:
        """Return the number of the version in production; None if there is none."""
        return self.aliased(ALIAS)

    def aliased(self, alias: str) -> int | None:
        """Return the number of the version with an alias; None if no version has it."""
        with self._connected_client() as client:
            return (registry_state.find_registered(client, self.model_name) or {}).get(alias)

    def demand_model(self, version: int, mlflow_run_id: str | None) -> None:
        """Refuse an MLflow without the registered model. Args: of a version that was in production.

        Raises: RegistryStateError, the model was renamed or deleted, or this is another MLflow.
        """
        with self._connected_client() as client:
            registry_state.demand_model(client, self._tracking_uri, self.model_name, version, mlflow_run_id)

    def demand_run(self, version: int, mlflow_run_id: str) -> None:
        """Refuse a version of another run than this one, which the catalog names.

        Raises: RegistryStateError, the model was created again, or this is another MLflow; UnknownVersionError, there
            is no such version.
        """
        with self._connected_client() as client:
            found = _find(client, self.model_name, version).run_id or ""
        registry_state.demand_same_run(self.model_name, version, mlflow_run_id, found)

    def set_champion(self, version: int) -> None:
        """Move the alias `production`. Only ml.evaluation.promotion may call this, because it keeps the journal.

        Raises: UnknownVersionError, there is no such version.
        """
        with self._connected_client() as client:
            _find(client, self.model_name, version)
            client.set_registered_model_alias(self.model_name, ALIAS, str(version))

    def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first."""
        with self._connected_client() as client:
            aliases = registry_state.find_registered(client, self.model_name) or {}
            found = _search(client, f"name = '{self.model_name}'")
        versions = [
            RegisteredVersion(
                version=int(each.version),
                mlflow_run_id=each.run_id or "",
                aliases=frozenset(name for name, version in aliases.items() if version == int(each.version)),
                tags=dict(each.tags),
                created_at_ms=each.creation_timestamp,
            )
            for each in found
        ]
        return sorted(versions, key=lambda each: each.version, reverse=True)

    def download(self, version: int, folder: Path) -> Path:
        """Download the files of a version that serving needs, all or none. A downloaded version is not fetched again.

        A downloaded version whose files are damaged is fetched again.

        Args: folder, for downloaded versions; created if it does not exist.
        Returns: the bundle, a folder in it with model.json and the files that model.json names.
        Raises: UnknownVersionError, there is no such version; ModelLoadError, its files are missing, or not those that
            were logged.
        """
        with self._connected_client() as client:
            found = _find(client, self.model_name, version)
            run_id = found.run_id or ""
            tag = found.tags.get(FILES_SHA256_TAG)
            if tag is None and run_id:  # registered by hand, in MLflow's pages
                run = registry_state.find_run(client, run_id)
                tag = None if run is None else run.data.tags.get(FILES_SHA256_TAG)
            files_sha256 = check_tag(tag, f"version {version}")
            bundle = folder / local_copies.name_copy(version, run_id, files_sha256)
            if not local_copies.is_whole(bundle):
                local_copies.make_folder(folder)
                local_copies.remove(bundle)
                artifacts_uri = client.get_model_version_download_uri(self.model_name, str(version)) + "/artifacts"
                self._fetch(artifacts_uri, bundle, files_sha256)
        return bundle

    def files_uri(self, version: int) -> str:
        """Return the location of a version's files.

        Raises: UnknownVersionError, there is no such version.
        """
        with self._connected_client() as client:
            _find(client, self.model_name, version)
            return str(client.get_model_version_download_uri(self.model_name, str(version)))

    def download_logged(self, mlflow_run_id: str, folder: Path) -> Path:
        """Download the files that serving needs of a model that a run logged, registered or not.

        Raises: UnknownVersionError, there is no such run, or it logged no model; ModelLoadError, Mycoflow did not write
            the model.
        """
        with self._connected_client() as client:
            model = _logged_model(client, mlflow_run_id)
            tag = _demand_run(client, mlflow_run_id).data.tags.get(FILES_SHA256_TAG)
            bundle = folder / mlflow_run_id
            self._fetch(f"{model.artifact_location}/artifacts", bundle, check_tag(tag, f"run {mlflow_run_id}"))
        return bundle

    def holds_bundle(self, mlflow_run_id: str) -> bool:
        """Whether the model that a run logged is a bundle that Mycoflow wrote.

        Raises: UnknownVersionError, there is no such run, or it logged no model.
        """
        with self._connected_client() as client:
            model = _logged_model(client, mlflow_run_id)
            return foreign_runs.holds_bundle(model.artifact_location, self._tracking_uri)

    def download_foreign(self, mlflow_run_id: str, folder: Path) -> Path:
        """Download all files of the model that a run logged.

        Raises: UnknownVersionError as above; ModelLoadError, they are too large.
        """
        with self._connected_client() as client:
            model = _logged_model(client, mlflow_run_id)
            return foreign_runs.download_model(model.artifact_location, self._tracking_uri, folder)

    def read_classes(self, mlflow_run_id: str) -> tuple[str, ...] | None:
        """Return the class names that a run states, in the order of its model's outputs; None if it states none.

        Raises: ModelLoadError, the run's tag is not a list of names.
        """
        with self._connected_client() as client:
            _demand_run(client, mlflow_run_id)
            return foreign_runs.read_classes(client, mlflow_run_id)

    def find_conversion(self, mlflow_run_id: str, conversion: str) -> str | None:
        """Return the MLflow id of the finished run that holds this conversion of another run; None if there is none."""
        with self._connected_client() as client:
            return foreign_runs.find_conversion(client, mlflow_run_id, conversion)

    def own_files(self, versions: Collection[int]) -> dict[int, str]:
        """Return the location of the files of these versions that may be deleted with them.

        Files are left out if Mycoflow did not train the version, or if a version outside these ones uses them, of this
        or of any other registered model.

        Returns: version -> URI. Several of these versions may have the same URI.
        """
        if not versions:
            return {}
        with self._connected_client() as client:
            return find_own_files(client, _search(client), self.model_name, versions)

    def byte_count(self, files_uri: str) -> int:
        """Return the size of a version's files, bytes."""
        with self._connected_client():
            return artifacts.byte_count(files_uri, self._tracking_uri)

    def delete_files(self, files_uri: str) -> None:
        """Delete a version's files for good. The version stays registered, but cannot be loaded."""
        with self._connected_client():
            artifacts.delete(files_uri, self._tracking_uri)

    def find_run(self, attempt_id: int) -> str | None:
        """Return the MLflow id of the finished training run of an attempt; None if there is none."""
        with self._connected_client() as client:
            runs = _runs_of(client, attempt_id, "FINISHED")
        return runs[0] if runs else None

    @contextlib.contextmanager
    def start_run(self, attempt_id: int) -> Iterator[Run]:
        """Open the training run of an attempt. It ends as finished, or as failed if the block raises an error.

        An open run of an earlier try of the same attempt is marked as failed.
        """
        with self._connected_client() as client:
            for run_id in _runs_of(client, attempt_id, "RUNNING"):
                client.set_terminated(run_id, "FAILED")
        with self.run(TRAINING_EXPERIMENT, f"attempt-{attempt_id}", {ATTEMPT_TAG: str(attempt_id)}) as run:
            yield run

    @contextlib.contextmanager
    def run(self, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """Open a run of any experiment. It ends as finished, or as failed if the block raises an error.

        Args:
            experiment: its name; created if it does not exist.
            name: of the run.
            tags: of the run.
        """
        with self._connected_client() as client:
            opened = open_run(client, self._tracking_uri, experiment, self._artifact_root, name, tags)
        try:
            yield opened
        except BaseException:
            with (
                contextlib.suppress(RegistryUnavailableError, RegistryStateError),
                self._connected_client() as client,
            ):
                client.set_terminated(opened.mlflow_run_id, "FAILED")
            raise
        with self._connected_client() as client:
            client.set_terminated(opened.mlflow_run_id, "FINISHED")

    def register(
        self, mlflow_run_id: str, tags: Mapping[str, str], known_runs: Mapping[int, str] = MappingProxyType({})
    ) -> int:
        """Register the model that a run logged. If it is registered already, return that version.

        Args:
            known_runs: version -> run in the catalog. The number of a version of another run is not used again: MLflow
                counts from 1 after its registered model was deleted.
        Returns: the version's number.
        Raises: UnknownVersionError, the run logged no model; RegistryStateError, its model was deleted.
        """
        with self._connected_client() as client:
            found = _search(client, f"name = '{self.model_name}' and run_id = '{mlflow_run_id}'")
            numbers = [int(each.version) for each in found]
            usable = [number for number in numbers if known_runs.get(number, mlflow_run_id) == mlflow_run_id]
            if usable:
                return min(usable)
            model_id = _logged_model(client, mlflow_run_id).model_id
            _ensure_model(client, self.model_name)
            run_tags = client.get_run(mlflow_run_id).data.tags
            inherited = {
                name: value
                for name, value in run_tags.items()
                if not name.startswith("mlflow.") and name not in RUN_TAGS
            }
            point_mlflow_at(self._tracking_uri)  # MLflow finds the logged model through this URI, not the client's
            while True:
                created = client.create_model_version(
                    self.model_name, f"models:/{model_id}", mlflow_run_id, tags={**inherited, **tags}, model_id=model_id
                )
                if known_runs.get(int(created.version), mlflow_run_id) == mlflow_run_id:
                    return int(created.version)
                client.delete_model_version(self.model_name, created.version)  # MLflow never gives its number again

    def read_curves(self, mlflow_run_id: str) -> dict[str, list[float]]:
        """Return the figures of a run that have several values, in the order of their steps; empty if it is deleted."""
        with self._connected_client() as client:
            run = registry_state.find_run(client, mlflow_run_id)
            names = [] if run is None else sorted(run.data.metrics)
            histories = {name: client.get_metric_history(mlflow_run_id, name) for name in names}
        curves = {name: {point.step: point.value for point in history} for name, history in histories.items()}
        return {name: [values[step] for step in sorted(values)] for name, values in curves.items() if len(values) > 1}

    def add_figures(self, mlflow_run_id: str, figures: Mapping[str, float], step: int) -> None:
        """Add figures to a run that has ended, unless somebody deleted it in MLflow."""
        from mlflow.entities import Metric  # noqa: PLC0415

        now_ms = int(time.time() * 1000)
        with self._connected_client() as client:
            run = registry_state.find_run(client, mlflow_run_id)
            if run is not None and run.info.lifecycle_stage == "active":
                points = [Metric(name, float(value), now_ms, step) for name, value in figures.items()]
                client.log_batch(mlflow_run_id, metrics=points)

    def tag_version(self, version: int, tags: Mapping[str, str]) -> None:
        """Set the tags of a version and of the MLflow run that made it.

        Raises: UnknownVersionError, there is no such version.
        """
        with self._connected_client() as client:
            run_id = _find(client, self.model_name, version).run_id
            for name, value in tags.items():
                client.set_model_version_tag(self.model_name, str(version), name, value)
            if run_id and registry_state.takes_tags(client, run_id):  # a version registered by hand may have no run
                for name, value in tags.items():
                    client.set_tag(run_id, name, value)

    @contextlib.contextmanager
    def _connected_client(self) -> Iterator["MlflowClient"]:
        if self._client is None:
            self._client = connect(self._tracking_uri, self._artifact_root)
        with translated_errors(self._tracking_uri):
            yield self._client

    def _fetch(self, artifacts_uri: str, bundle: Path, files_sha256: str | None) -> None:
        with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=".download-") as temporary:
            partial = Path(temporary) / "bundle"
            partial.mkdir()
            listed = self._list_files(artifacts_uri)
            if files_sha256 is not None or file_hashes.FILE_NAME in listed:
                self._download(artifacts_uri, [file_hashes.FILE_NAME], listed, partial)
                hashes = file_hashes.read_hashes(partial, files_sha256)
                file_hashes.check_names(hashes, listed - {file_hashes.FILE_NAME}, artifacts_uri)
            # model.keras is left out: scoring and serving do not read it, and it would double the download.
            self._download(artifacts_uri, [CARD_NAME], listed, partial)
            file_hashes.check_files(partial, files_sha256)  # before the card is trusted
            self._download(artifacts_uri, load_card(partial).files, listed, partial)
            file_hashes.check_files(partial, files_sha256)
            try:
                partial.rename(bundle)
            except OSError:
                if not bundle.exists():  # if it exists, another process was faster
                    raise

    def _list_files(self, artifacts_uri: str) -> set[str]:
        from mlflow.artifacts import list_artifacts  # noqa: PLC0415

        # List the files first: a failed download does not show whether files are missing or the store is down.
        return {
            Path(file.path).name for file in list_artifacts(artifact_uri=artifacts_uri, tracking_uri=self._tracking_uri)
        }

    def _download(self, artifacts_uri: str, names: Sequence[str], listed: Collection[str], folder: Path) -> None:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415

        missing = set(names) - set(listed)
        if missing:
            raise ModelLoadError(
                f"Expected {', '.join(names)} at {artifacts_uri}. Missing: {', '.join(sorted(missing))}. Restore them "
                "from a backup, or train again. A model from elsewhere needs `mycoflow register RUN` first."
            )
        for name in names:
            uri = f"{artifacts_uri}/{name}"
            download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self._tracking_uri)


def _find(client: "MlflowClient", model_name: str, version: int) -> "ModelVersion":
    found = _search(client, f"name = '{model_name}' and version_number = {version}")
    if not found:
        raise UnknownVersionError(
            f"Expected a registered version of {model_name}. Received: {version}. `mycoflow models` lists them."
        )
    return found[0]


def _search(client: "MlflowClient", query: str | None = None) -> list["ModelVersion"]:
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _runs_of(client: "MlflowClient", attempt_id: int, status: str) -> list[str]:
    experiment = client.get_experiment_by_name(TRAINING_EXPERIMENT)
    if experiment is None:
        return []
    query = f"tags.`{ATTEMPT_TAG}` = '{attempt_id}' and attributes.status = '{status}'"
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id], query)]


def _ensure_model(client: "MlflowClient", model_name: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.create_registered_model(model_name, description="Kept good by Mycoflow")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _demand_run(client: "MlflowClient", mlflow_run_id: str) -> "MlflowRun":
    run = registry_state.find_run(client, mlflow_run_id)
    if run is None:
        raise UnknownVersionError(f"Expected the id of an MLflow run, got {mlflow_run_id}.")
    return run


def _logged_model(client: "MlflowClient", mlflow_run_id: str) -> "LoggedModel":
    run = _demand_run(client, mlflow_run_id)
    if not run.outputs or not run.outputs.model_outputs:
        raise UnknownVersionError(f"Expected a run that logged a model. Run {mlflow_run_id} did not. Train again.")
    return registry_state.find_logged_model(client, str(run.outputs.model_outputs[-1].model_id), mlflow_run_id)

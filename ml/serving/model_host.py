"""Hold the model that answers, and follow the alias `production` in a background thread."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml.catalog.models.served_versions import ServingState
from ml.errors import (
    DatabaseUnavailableError,
    ModelError,
    ModelLoadError,
    NoChampionError,
    RegistryStateError,
    RegistryUnavailableError,
)
from ml.registry.local_copies import check_copy
from ml.serving.loaded_model import LoadedModel
from ml.serving.serving_cache import ServingCache
from ml.tasks.task import Task

_RETRY_REFUSED_SECONDS = 300.0
_STOP_SECONDS = 2.0
_SHOWN_CHARACTERS = 500  # maximum length of an error that is shown
_logger = logging.getLogger(__name__)


@dataclass
class HostFigures:
    """Counts and times of a host.

    Args:
        swaps: number of swaps to another model version.
        load_failures: number of failed attempts to load a model version.
        load_seconds: time to load and warm up the model that answers.
        swap_seconds: time of the last swap, from the poll of the alias to the new model, including the download.
    """

    swaps: int = 0
    load_failures: int = 0
    load_seconds: float = 0.0
    swap_seconds: float = 0.0


class ModelSource(Protocol):
    """The methods of ml.registry.mlflow_registry.Registry that the host uses."""

    def champion(self) -> int | None:
        """Return the version in production."""

    def download(self, version: int, folder: Path) -> Path:
        """Download a version's bundle to a folder, if it is not there yet."""

    def demand_run(self, version: int, mlflow_run_id: str) -> None:
        """Refuse a version of another run than this one."""


class ModelHost:
    """Holds the served model, and the thread that swaps it.

    Args:
        cache: keeps bundles between restarts.
        open_registry: called at the first poll of the alias, and again until it succeeds.
        poll_seconds: time between two polls.
        record: called after each poll with the current state; it must not raise.
        task: the task of the models.
        known_run: returns the MLflow run of a version in the catalog; None if the catalog does not know it. It raises
            DatabaseUnavailableError if nobody can say; then no version is swapped in.
    """

    def __init__(
        self,
        cache: ServingCache,
        open_registry: Callable[[], ModelSource],
        poll_seconds: float,
        record: Callable[[ServingState], None],
        task: Task,
        known_run: Callable[[int], str | None],
    ) -> None:
        self._cache = cache
        self._open_registry = open_registry
        self._poll_seconds = poll_seconds
        self._record = record
        self._task = task
        self._known_run = known_run
        self._current: LoadedModel | None = None
        self.figures = HostFigures()
        self._registry: ModelSource | None = None
        self._is_registry_down = False
        self._confirmed: int | None = None  # the served version, once the registry has named it
        self._refused: tuple[int, float] | None = None  # the version that did not load, and the time of the attempt
        self._load_error = ""  # the error of the last failed load
        self._refused_version: int | None = None
        self._in_production: int | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-host", daemon=True)

    @property
    def current(self) -> LoadedModel | None:
        """Return the model that answers; None before the first one is loaded."""
        return self._current

    def demand_current(self) -> LoadedModel:
        """Return the model that answers.

        Raises: NoChampionError, there is none yet.
        """
        if self._current is None:
            raise NoChampionError("No model version is in production yet. Train one, then try again.")
        return self._current

    @property
    def in_production(self) -> int | None:
        """Return the version in production, as of the last poll; None before the first poll, or if there is none."""
        return self._in_production

    @property
    def state(self) -> ServingState:
        """Return the version that answers. If the version in production does not load, add it and its error."""
        version = self._current.version if self._current else None
        refused = self._refused_version
        if refused is None or refused != self._in_production:
            return ServingState(version)
        return ServingState(version, refused, self._load_error)

    def serve(self, model: LoadedModel) -> None:
        """Use this model for all further answers."""
        previous = self._current
        self._current = model  # one reference: a request sees the old model or the new one
        if previous is not None and previous.version != model.version:
            self.figures.swaps += 1
        _logger.info("Model version %d answers from now on", model.version)

    def load_cached(self) -> None:
        """Serve the version that this machine served last, if its files are still here. This does not use MLflow."""
        bundle = self._cache.current()
        if bundle is None:
            return
        try:
            check_copy(bundle)
            self.serve(self._load(bundle))
        except (ModelLoadError, OSError) as error:
            _logger.error("The cached model does not load and is deleted: %s", error)
            self._cache.remove(bundle)

    def start(self) -> None:
        """Start to follow the alias."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following the alias."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def poll_now(self) -> None:
        """Wake the thread to poll the alias immediately, after a person moved it.

        A version that failed to load is tried again too.
        """
        self._refused = None
        self._wake.set()

    def poll(self) -> None:
        """Read the alias once. If it names another version, load and serve that version."""
        try:
            if self._registry is None:
                self._registry = self._open_registry()
            version = self._in_production = self._registry.champion()
            if version is not None and self._is_due(version):
                self._swap_to(version, self._registry)
        except (RegistryUnavailableError, RegistryStateError, DatabaseUnavailableError) as error:
            self._log_outage(error)
        else:
            self._log_recovery()
        self._record(self.state)

    def _follow(self) -> None:
        self._record(self.state)  # the cached model answers already; the first poll may take long
        while not self._stopping.is_set():
            try:
                self.poll()
            except Exception:
                _logger.exception("The poll for a new model version failed; the current version stays in service")
            self._wake.wait(self._poll_seconds)
            self._wake.clear()

    def _is_due(self, version: int) -> bool:
        if version == self._confirmed:
            return False
        if self._refused is None or self._refused[0] != version:
            return True
        return time.monotonic() - self._refused[1] >= _RETRY_REFUSED_SECONDS

    def _swap_to(self, version: int, registry: ModelSource) -> None:
        previous, began_at = self._current, time.perf_counter()
        try:
            self._cache.make_folder()
            if (mlflow_run_id := self._known_run(version)) is not None:
                registry.demand_run(version, mlflow_run_id)
            bundle = registry.download(version, self._cache.folder)
            if previous is None or previous.bundle != bundle:
                self.serve(self._load_or_remove(bundle))
                self.figures.swap_seconds = time.perf_counter() - began_at
        except (RegistryUnavailableError, DatabaseUnavailableError):
            raise  # an outage says nothing about the version
        except (ModelError, OSError) as error:
            self._refuse(version, error)
            return
        self._confirmed, self._refused, self._refused_version = version, None, None
        self._update_cache(bundle, previous)

    def _load(self, bundle: Path) -> LoadedModel:
        began_at = time.perf_counter()
        model = LoadedModel.load(bundle, self._task)
        self.figures.load_seconds = time.perf_counter() - began_at
        return model

    def _load_or_remove(self, bundle: Path) -> LoadedModel:
        try:
            return self._load(bundle)
        except (ModelLoadError, OSError):
            self._cache.remove(bundle)  # the next attempt downloads the files again
            raise

    def _update_cache(self, bundle: Path, previous: LoadedModel | None) -> None:
        try:
            self._cache.set_current(bundle)
            self._cache.keep_only({bundle} | ({previous.bundle} if previous else set()))
        except OSError as error:
            _logger.error("The model answers, but a restart will not find it on this machine: %s", error)

    def _refuse(self, version: int, error: Exception) -> None:
        self._refused, self._refused_version = (version, time.monotonic()), version
        self._load_error = str(error)[:_SHOWN_CHARACTERS]
        self.figures.load_failures += 1
        _logger.error(
            "Model version %d cannot be served and is tried again in %.0f s; %s: %s",
            version,
            _RETRY_REFUSED_SECONDS,
            f"version {self._current.version} stays" if self._current else "no version answers",
            error,
        )

    def _log_outage(self, error: Exception) -> None:
        if not self._is_registry_down:
            _logger.warning("The alias cannot be followed; the current model stays in service: %s", error)
        self._is_registry_down = True

    def _log_recovery(self) -> None:
        if self._is_registry_down:
            _logger.info("The alias can be followed again")
        self._is_registry_down = False

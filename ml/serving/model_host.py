"""Holds the model that answers, and follows the alias `production` from a background thread."""

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
    RegistryUnavailableError,
)
from ml.serving.loaded_model import LoadedModel
from ml.serving.serving_cache import ServingCache
from ml.tasks.base import Task

_RETRY_REFUSED_SECONDS = 300.0
_STOP_SECONDS = 2.0
_SHOWN_CHARACTERS = 500  # of an error
_logger = logging.getLogger(__name__)


@dataclass
class HostFigures:
    """What a host counts and times.

    Args:
        swaps: times that another model version took over.
        load_failures: model versions that could not be served.
        load_seconds: to load and warm the model that answers.
        swap_seconds: of the last swap, from the look at the alias to the first answer, with the download.
    """

    swaps: int = 0
    load_failures: int = 0
    load_seconds: float = 0.0
    swap_seconds: float = 0.0


class ModelSource(Protocol):
    """What is asked of ml.registry.mlflow_registry.Registry here."""

    def champion(self) -> int | None:
        """The version in production."""

    def download(self, version: int, folder: Path) -> Path:
        """Put a version's bundle under a folder, if it is not there."""


class ModelHost:
    """The reference to the served model, and the thread that swaps it.

    Args:
        cache: where bundles are kept between restarts.
        open_registry: called at the first look at the alias, and again until it succeeds.
        poll_seconds: between two looks.
        record: told after each look what answers now; it never raises.
        task: what the models are trained for.
    """

    def __init__(
        self,
        cache: ServingCache,
        open_registry: Callable[[], ModelSource],
        poll_seconds: float,
        record: Callable[[ServingState], None],
        task: Task,
    ) -> None:
        self._cache = cache
        self._open_registry = open_registry
        self._poll_seconds = poll_seconds
        self._record = record
        self._task = task
        self._current: LoadedModel | None = None
        self.figures = HostFigures()
        self._registry: ModelSource | None = None
        self._is_registry_down = False
        self._confirmed: int | None = None  # the version that the registry gave, not only the cache
        self._refused: tuple[int, float] | None = None  # a version that did not load, and when
        self._load_error = ""  # why the latest version did not load that did not
        self._refused_version: int | None = None
        self._in_production: int | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-host", daemon=True)

    @property
    def current(self) -> LoadedModel | None:
        """The model to answer with; None before the first."""
        return self._current

    def demand_current(self) -> LoadedModel:
        """The model to answer with.

        Raises: NoChampionError, there is none yet.
        """
        if self._current is None:
            raise NoChampionError("No model version is in production yet. Train one, then try again.")
        return self._current

    @property
    def in_production(self) -> int | None:
        """The version in production, as MLflow said last; None before that, or where there is none."""
        return self._in_production

    @property
    def state(self) -> ServingState:
        """What answers, and why the version in production does not, where it does not load."""
        version = self._current.version if self._current else None
        refused = self._refused_version
        if refused is None or refused != self._in_production:
            return ServingState(version)
        return ServingState(version, refused, self._load_error)

    def serve(self, model: LoadedModel) -> None:
        """Answer with this model from now on."""
        previous = self._current
        self._current = model  # one reference: a request sees the old model or the new one
        if previous is not None and previous.version != model.version:
            self.figures.swaps += 1
        _logger.info("Model version %d answers from now on", model.version)

    def load_cached(self) -> None:
        """Serve the version that this machine served last, if it is still here. MLflow is not asked."""
        bundle = self._cache.current()
        if bundle is None:
            return
        try:
            self.serve(self._load(bundle))
        except ModelLoadError as error:
            _logger.error("The cached model does not load and is dropped: %s", error)
            self._cache.remove(bundle)

    def start(self) -> None:
        """Follow the alias from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Follow it no longer."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def poll_now(self) -> None:
        """Look at the alias without waiting for the next turn: somebody has just moved it.

        A version that did not load is tried again too.
        """
        self._refused = None
        self._wake.set()

    def poll(self) -> None:
        """Look at the alias once; serve its version if that is another one and loads."""
        try:
            if self._registry is None:
                self._registry = self._open_registry()
            version = self._in_production = self._registry.champion()
            if version is not None and self._is_due(version):
                self._take(version, self._registry)
        except (RegistryUnavailableError, DatabaseUnavailableError) as error:
            self._note_outage(error)
        else:
            self._note_recovery()
        self._record(self.state)

    def _follow(self) -> None:
        self._record(self.state)  # what the cache gave answers while the first look takes its time
        while not self._stopping.is_set():
            try:
                self.poll()
            except Exception:
                _logger.exception("Looking for a new model version failed; the one in service stays")
            self._wake.wait(self._poll_seconds)
            self._wake.clear()

    def _is_due(self, version: int) -> bool:
        if version == self._confirmed:
            return False
        if self._refused is None or self._refused[0] != version:
            return True
        return time.monotonic() - self._refused[1] >= _RETRY_REFUSED_SECONDS

    def _take(self, version: int, registry: ModelSource) -> None:
        previous, began_at = self._current, time.perf_counter()
        try:
            bundle = registry.download(version, self._cache.folder)
            if previous is None or previous.bundle != bundle:
                self.serve(self._load(bundle))
                self.figures.swap_seconds = time.perf_counter() - began_at
        except RegistryUnavailableError:
            raise
        except (ModelError, OSError) as error:
            self._refuse(version, error)
            return
        self._confirmed, self._refused, self._refused_version = version, None, None
        self._remember(bundle, previous)

    def _load(self, bundle: Path) -> LoadedModel:
        began_at = time.perf_counter()
        model = LoadedModel.load(bundle, self._task)
        self.figures.load_seconds = time.perf_counter() - began_at
        return model

    def _remember(self, bundle: Path, previous: LoadedModel | None) -> None:
        try:
            self._cache.set_current(bundle)
            self._cache.keep_only({bundle} | ({previous.bundle} if previous else set()))
        except OSError as error:
            _logger.error("The model answers, but a restart will not find it on this machine: %s", error)

    def _refuse(self, version: int, error: Exception) -> None:
        self._refused, self._refused_version = (version, time.monotonic()), version
        self._load_error = str(error)[:_SHOWN_CHARACTERS]
        self._cache.remove_version(version)  # fresh files the next time
        self.figures.load_failures += 1
        _logger.error(
            "Model version %d cannot be served and is tried again in %.0f s; %s: %s",
            version,
            _RETRY_REFUSED_SECONDS,
            f"version {self._current.version} stays" if self._current else "no version answers",
            error,
        )

    def _note_outage(self, error: Exception) -> None:
        if not self._is_registry_down:
            _logger.warning("MLflow does not answer; the model in service stays: %s", error)
        self._is_registry_down = True

    def _note_recovery(self) -> None:
        if self._is_registry_down:
            _logger.info("MLflow answers again")
        self._is_registry_down = False

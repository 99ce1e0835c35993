"""Holds the model that answers, and follows the alias `production` from a background thread."""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.errors import DatabaseUnavailableError, ModelError, ModelLoadError, RegistryUnavailableError
from ml.model.registry import Registry, open_registry
from ml.model.runtime import Classifier
from ml.settings import Settings
from webapi.metrics import Metrics
from webapi.serving_cache import ServingCache

_RETRY_REFUSED_SECONDS = 300.0
_STOP_SECONDS = 2.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """One model version, loaded. A request keeps the one it began with."""

    version: int
    classifier: Classifier


class ModelHost:
    """The reference to the served model, and the thread that swaps it."""

    def __init__(self, settings: Settings, cache: ServingCache, metrics: Metrics) -> None:
        self._settings = settings
        self._cache = cache
        self._metrics = metrics
        self._current: ServedModel | None = None
        self._registry: Registry | None = None
        self._is_registry_down = False
        self._refused: tuple[int, float] | None = None  # a version that did not load, and when
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-host", daemon=True)

    @property
    def current(self) -> ServedModel | None:
        """The model to answer with; None before the first."""
        return self._current

    def load_cached(self) -> None:
        """Serve the version that this machine served last, if it is still here. MLflow is not asked."""
        version = self._cache.current()
        if version is None:
            return
        try:
            self._serve(load(version, self._cache.path(version)))
        except ModelLoadError as error:
            _logger.error("The cached model version %d does not load and is dropped: %s", version, error)
            self._cache.remove(version)

    def start(self) -> None:
        """Follow the alias from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Follow it no longer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def poll(self) -> None:
        """Look at the alias once; serve its version if that is another one and loads."""
        try:
            if self._registry is None:
                self._registry = open_registry(self._settings)
            version = self._registry.champion()
            if version is not None and self._is_news(version):
                self._take(version, self._registry)
        except (RegistryUnavailableError, DatabaseUnavailableError) as error:
            self._note_outage(error)
        else:
            self._note_recovery()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self.poll()
            except Exception:
                _logger.exception("Looking for a new model version failed; the one in service stays")
            self._stopping.wait(self._settings.alias_poll_seconds)

    def _is_news(self, version: int) -> bool:
        if self._current is not None and self._current.version == version:
            return False
        if self._refused is None or self._refused[0] != version:
            return True
        return time.monotonic() - self._refused[1] >= _RETRY_REFUSED_SECONDS

    def _take(self, version: int, registry: Registry) -> None:
        previous = self._current
        try:
            model = load(version, self._cache.fetch(version, registry.download))
        except RegistryUnavailableError:
            raise
        except (ModelError, OSError) as error:
            self._refuse(version, error)
            return
        self._serve(model)
        self._remember(version, previous)

    def _serve(self, model: ServedModel) -> None:
        self._current = model  # one reference: a request sees the old model or the new one
        card = model.classifier.card
        self._metrics.model.info(
            {"version": str(model.version), "precision": card.precision, "image_size": str(card.image_size)}
        )
        _logger.info("Model version %d answers from now on", model.version)

    def _remember(self, version: int, previous: ServedModel | None) -> None:
        self._refused = None
        try:
            self._cache.set_current(version)
            self._cache.keep_only({version} | ({previous.version} if previous else set()))
        except OSError as error:
            _logger.error("Model version %d answers, but a restart will not find it here: %s", version, error)

    def _refuse(self, version: int, error: Exception) -> None:
        self._refused = (version, time.monotonic())
        self._cache.remove(version)
        self._metrics.model_load_failures.inc()
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


def load(version: int, folder: Path) -> ServedModel:
    """Load a model version's bundle and let it answer once.

    Raises: ModelLoadError, it does not load, or answers with something else than a probability per class.
    """
    classifier = Classifier.load(folder)
    card = classifier.card
    blank = np.zeros((1, card.image_size, card.image_size, 3), np.uint8)
    probabilities = classifier.predict(blank).probabilities
    if probabilities.shape != (1, len(card.classes)) or not np.isfinite(probabilities).all():
        raise ModelLoadError(
            f"Model version {version}: expected {len(card.classes)} probabilities, "
            f"got an array of shape {probabilities.shape}. Its files in {folder} are not usable."
        )
    return ServedModel(version, classifier)

"""Metrics of the served model. They are read from its host at each scrape."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost


class ModelCollector(Collector):
    """Exports a host's served version, counts and times."""

    def __init__(self, models: ModelHost) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        model, figures = self._models.current, self._models.figures
        if model is not None:
            yield InfoMetricFamily("mycoflow_model", "The model version that answers", value=_facts(model))
        yield GaugeMetricFamily(
            "mycoflow_served_version",
            "Number of the model version that answers; 0 before the first",
            value=0 if model is None else model.version,
        )
        yield CounterMetricFamily(
            "mycoflow_model_load_failures", "Failed attempts to load a model version", value=figures.load_failures
        )
        yield CounterMetricFamily(
            "mycoflow_model_swaps", "Number of swaps to another model version", value=figures.swaps
        )
        yield GaugeMetricFamily(
            "mycoflow_model_load_seconds", "Time to load and warm up the model that answers", value=figures.load_seconds
        )
        yield GaugeMetricFamily(
            "mycoflow_model_swap_seconds",
            "Time of the last swap, from the poll of the alias to the new model, including the download",
            value=figures.swap_seconds,
        )


def _facts(model: LoadedModel) -> dict[str, str]:
    card = model.card
    return {
        "version": str(model.version),
        "backbone": card.backbone,
        "precision": card.precision,
        "image_size": str(card.image_size),
        "backbone_weights": card.backbone_weights,
    }

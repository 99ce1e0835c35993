"""The figures of the model that answers, read from its host when Prometheus asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost


class ModelCollector(Collector):
    """Shows what a host serves, counts and times."""

    def __init__(self, models: ModelHost) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """The figures as metrics."""
        model, figures = self._models.current, self._models.figures
        if model is not None:
            yield InfoMetricFamily("mycoflow_model", "The model version that answers", value=_facts(model))
        yield GaugeMetricFamily(
            "mycoflow_served_version",
            "Number of the model version that answers; 0 before the first",
            value=0 if model is None else model.version,
        )
        yield CounterMetricFamily(
            "mycoflow_model_load_failures", "Model versions that could not be served", value=figures.load_failures
        )
        yield CounterMetricFamily(
            "mycoflow_model_swaps", "Times that another model version took over", value=figures.swaps
        )
        yield GaugeMetricFamily(
            "mycoflow_model_load_seconds", "Time to load and warm the model that answers", value=figures.load_seconds
        )
        yield GaugeMetricFamily(
            "mycoflow_model_swap_seconds",
            "Time of the last swap, from the look at the alias to the first answer, with the download",
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

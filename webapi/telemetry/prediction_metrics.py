"""The figures of predictions: how many, how sure, how long each stage takes, and what people say of them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ml.data.feedback import Verdict
from ml.serving.admission import Load
from ml.serving.answering import Stage

_STAGE_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class PredictionMetrics:
    """Counters that the way of a prediction feeds. Labels are few: never an image, a person or an address.

    Args: load, whose places are shown.
    """

    def __init__(self, registry: CollectorRegistry, load: Load) -> None:
        self._stages = Histogram(
            "mycoflow_stage_duration_seconds",
            "Time of one image in one stage, without the wait for its turn",
            ("stage",),
            buckets=_STAGE_BUCKETS_SECONDS,
            registry=registry,
        )
        self._answered = Counter(
            "mycoflow_predictions_total",
            "Predictions answered, by their first name",
            ("class", "outcome"),
            registry=registry,
        )
        self._refused = Counter(
            "mycoflow_predictions_refused_total",
            "Predictions not answered, by the type of problem",
            ("reason",),
            registry=registry,
        )
        self._confidence = Histogram(
            "mycoflow_prediction_confidence",
            "Probability of the first name of each prediction answered",
            buckets=_CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._feedback = Counter("mycoflow_feedback_total", "Opinions on predictions", ("verdict",), registry=registry)
        # There from 0, for a rate cannot know what a first one grew from.
        for verdict in ("ok", "nok"):
            self._feedback.labels(verdict)
        for reason in ("busy", "maintenance"):
            self._refused.labels(reason)
        in_progress = Gauge(
            "mycoflow_predictions_in_progress",
            "Predictions that have one of the places",
            registry=registry,
        )
        in_progress.set_function(lambda: load.in_progress)
        places = Gauge(
            "mycoflow_prediction_places", "Predictions under way at most, waiting ones included", registry=registry
        )
        places.set(load.places)

    def observe_stage(self, stage: Stage, seconds: float) -> None:
        """Note how long one image was in a stage."""
        self._stages.labels(stage).observe(seconds)

    def count_answer(self, name: str, confidence: float, is_cached: bool) -> None:
        """Note an answer.

        Args: name, its first; confidence, that name's probability, 0 to 1.
        """
        self._answered.labels(name, "cached" if is_cached else "computed").inc()
        self._confidence.observe(confidence)

    def count_refusal(self, reason: str) -> None:
        """Note a request that got a problem instead. Args: reason, the problem's type, such as `busy`."""
        self._refused.labels(reason).inc()

    def count_feedback(self, verdict: Verdict) -> None:
        """Note an opinion."""
        self._feedback.labels(verdict).inc()

"""Metrics of predictions: their number and confidence, the duration of each stage, and feedback."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ml.data.feedback import Verdict
from ml.serving.admission import AdmissionControl
from ml.serving.answering import Stage
from ml.serving.prediction_store import Prediction

_STAGE_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class PredictionMetrics:
    """Counters and histograms of predictions. Labels have few values: never an image, a person or an address.

    Args: admission, the admission control whose places are shown.
    """

    def __init__(self, registry: CollectorRegistry, admission: AdmissionControl) -> None:
        self._stages = Histogram(
            "mycoflow_stage_duration_seconds",
            "Time of one image in one stage, without the wait for a slot",
            ("stage",),
            buckets=_STAGE_BUCKETS_SECONDS,
            registry=registry,
        )
        self._answered = Counter(
            "mycoflow_predictions_total",
            "Predictions answered, by the top class",
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
            "Probability of the top class of each prediction answered",
            buckets=_CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._feedback = Counter("mycoflow_feedback_total", "Opinions on predictions", ("verdict",), registry=registry)
        # Export these from 0: Prometheus computes no increase for the first sample of a series.
        for verdict in ("ok", "nok"):
            self._feedback.labels(verdict)
        for reason in ("busy", "maintenance"):
            self._refused.labels(reason)
        in_progress = Gauge(
            "mycoflow_predictions_in_progress",
            "Predictions in progress, including those that wait for a slot",
            registry=registry,
        )
        in_progress.set_function(lambda: admission.in_progress)
        places = Gauge("mycoflow_prediction_places", "Maximum of mycoflow_predictions_in_progress", registry=registry)
        places.set(admission.places)

    def observe_stage(self, stage: Stage, seconds: float) -> None:
        """Record the duration of a stage for one image."""
        self._stages.labels(stage).observe(seconds)

    def count_prediction(self, prediction: Prediction) -> None:
        """Count the answer of a prediction."""
        self.count_answer(prediction.answer.top_class or "", prediction.answer.confidence, prediction.is_cached)

    def count_answer(self, name: str, confidence: float, is_cached: bool) -> None:
        """Count an answer.

        Args: name, its top class; confidence, from 0 to 1.
        """
        self._answered.labels(name, "cached" if is_cached else "computed").inc()
        self._confidence.observe(confidence)

    def count_refusal(self, reason: str) -> None:
        """Count a request that was answered with a problem. Args: reason, the problem's type, such as `busy`."""
        self._refused.labels(reason).inc()

    def count_feedback(self, verdict: Verdict) -> None:
        """Count a feedback."""
        self._feedback.labels(verdict).inc()

"""The targets of the figures, and ratios between figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """The target of a figure, on two cores with 1000 images of 160 x 160 pixels."""

    kind: Literal["at least", "at most"]
    bound: float

    def is_met_by(self, value: float) -> bool:
        """Whether a figure meets the target."""
        return value >= self.bound if self.kind == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.kind} {self.bound:g}"


TARGETS = {
    "retrain_cold_seconds": Target("at most", 90),
    "retrain_warm_seconds": Target("at most", 45),
    "speedup_cold": Target("at least", 30),
    "speedup_features": Target("at least", 1),
    "serve_p50_ms_1": Target("at most", 35),
    "serve_speedup_1": Target("at least", 12),
    "serve_speedup_8": Target("at least", 12),
    "litserve_ratio_1": Target("at least", 1),
    "litserve_ratio_8": Target("at least", 1),
    "serve_rss_mb": Target("at most", 300),
    "serve_start_seconds": Target("at most", 4),
    "cached_rps_8": Target("at least", 300),
    "newest_1000_p95_ms": Target("at most", 50),
    "count_since_p95_ms": Target("at most", 50),
    "data_query_p95_ms": Target("at most", 50),
}

# name: (numerator, denominator). Above 1, Mycoflow is faster: their seconds / ours, our requests per second / theirs.
_RATIOS = {
    "speedup_cold": ("recipe_total_seconds", "retrain_cold_seconds"),
    "speedup_warm": ("recipe_total_seconds", "retrain_warm_seconds"),
    "speedup_features": ("keras_features_seconds", "retrain_cold_seconds"),
    "serve_speedup_1": ("serve_rps_1", "mlflow_keras_rps_1"),
    "serve_speedup_8": ("serve_rps_8", "mlflow_keras_rps_8"),
    "litserve_ratio_1": ("serve_rps_1", "litserve_rps_1"),
    "litserve_ratio_8": ("serve_rps_8", "litserve_rps_8"),
    # Above 1, EfficientNet-Lite0 is faster than VGG16, and takes less memory.
    "backbone_speedup_night": ("vgg16_night_seconds", "efficientnet_lite0_night_seconds"),
    "backbone_speedup_1": ("efficientnet_lite0_serve_rps_1", "vgg16_serve_rps_1"),
    "backbone_speedup_8": ("efficientnet_lite0_serve_rps_8", "vgg16_serve_rps_8"),
    "backbone_memory_ratio": ("vgg16_serve_rss_mb", "efficientnet_lite0_serve_rss_mb"),
}


def compare(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios for which both figures were measured."""
    return {
        name: figures[above] / figures[below]
        for name, (above, below) in _RATIOS.items()
        if above in figures and below in figures
    }

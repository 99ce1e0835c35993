"""Plots of a study: which values gave good results together, and which hyperparameters are important."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ml.training.training_plots import DOTS_PER_INCH

if TYPE_CHECKING:
    from optuna import Study


def save_parallel_coordinates(study: "Study", name: str, path: Path) -> None:
    """Draw a line through the values of each completed trial. Darker lines have better results.

    Args: name, the figure that trials are compared by; path, PNG file to write.
    """
    from optuna.visualization.matplotlib import plot_parallel_coordinate  # noqa: PLC0415 - seconds of import

    _save(lambda: plot_parallel_coordinate(study, target_name=name), path)


def save_importances(study: "Study", name: str, path: Path) -> None:
    """Draw how much the result depends on each hyperparameter, as shares that add up to 1.

    Args: name, the figure that trials are compared by; path, PNG file to write.
    Source: PED-ANOVA, arXiv 2304.10255.
    """
    from optuna.visualization.matplotlib import plot_param_importances  # noqa: PLC0415

    _save(lambda: plot_param_importances(study, target_name=name), path)


def _save(draw: Callable[[], object], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")  # a worker has no screen
    import matplotlib.pyplot as plt  # noqa: PLC0415

    with warnings.catch_warnings(), plt.rc_context():
        warnings.simplefilter("ignore")  # Optuna warns that these plots are experimental, and imprecise for few trials
        draw()
        figure = plt.gcf()
        figure.set_size_inches(11, 5.5)
        figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")
        plt.close(figure)

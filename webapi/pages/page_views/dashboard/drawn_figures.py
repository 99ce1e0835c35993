"""The charts of the dashboard, with their words."""

from collections.abc import Iterator, Sequence

from flask_babel import gettext as _

from ml.evaluation.drift import CONSIDERABLE_PSI
from ml.evaluation.floor import floor_of
from ml.figures import title_of
from ml.reporting.figures_over_time.reading import FiguresOverTime, Moved, Table
from ml.settings import Settings
from webapi.pages.page_views.dashboard.charts import Chart, Level, Line, Mark, draw
from webapi.pages.page_words.dashboard_words import name_drift


def draw_figures(figures: FiguresOverTime, settings: Settings, class_name: str | None) -> list[Chart]:
    """Return the charts. Args: class_name, the chosen class."""
    return [*_of_quality(figures, settings, class_name), *_of_data(figures, settings), *_of_answers(figures)]


def draw_moves(moves: Sequence[Moved]) -> list[Mark]:
    """Return the marks of promotions and rollbacks."""
    return [Mark(at=int(each.at.timestamp()), kind=each.kind, version=each.version) for each in moves]


def name_main_figure(settings: Settings) -> str:
    """Name the figure that the floor applies to."""
    figure = floor_of(settings).figure
    return str(_("Accuracy")) if figure == "accuracy" else title_of(figure)


def tell_move(move: Moved) -> str:
    """Say in words which version went into production."""
    if move.version is None:
        return str(_("No version in production any more"))
    words = {
        "promotion": _("Version %(version)s promoted", version=move.version),
        "rollback": _("Rolled back to version %(version)s", version=move.version),
    }
    return str(words.get(move.kind) or _("Version %(version)s put into production by hand", version=move.version))


def _name_moved(drift: Table) -> Table:
    names = [name_drift(str(each).split()) for each in drift.columns["moved"]]
    return Table(drift.at, {**drift.columns, "moved": names})


def _interval(low: str = "low", high: str = "high") -> list[Line]:
    return [
        Line(key=low, label=_("95 % interval, low"), look="edge"),
        Line(key=high, label=_("95 % interval, high"), look="edge"),
    ]


def _of_quality(figures: FiguresOverTime, settings: Settings, class_name: str | None) -> Iterator[Chart]:
    floor = floor_of(settings)
    name = name_main_figure(settings)
    more = {"images": _("Images"), "version": _("Version")}
    yield draw(
        "accuracy",
        name,
        _("Of the version in production at the time, on the part of the evaluation set that decides."),
        "share",
        figures.accuracy,
        [
            Line(key="value", label=name),
            *_interval(),
            Line(key="below", label=_("Below the floor"), look="dots", colour=2),
        ],
        level=Level(label=_("Floor"), value=floor.main),
        words=more,
    )
    if figures.recall is not None and class_name is not None:
        own = floor.recalls.get(class_name)
        yield draw(
            "recall",
            _("Recall of %(name)s", name=class_name),
            _("Share of the evaluation set's images of this class that get the right answer."),
            "share",
            figures.recall,
            [Line(key="value", label=_("Recall")), *_interval()],
            level=None if own is None else Level(label=_("Floor"), value=own),
            words=more,
        )
    yield draw(
        "calibration",
        _("Calibration error"),
        _("How far confidence and accuracy differ. Below 5 % is good."),
        "share",
        figures.calibration,
        [
            Line(key="calibration_error", label=_("Calibration error")),
            *_interval("calibration_error_low", "calibration_error_high"),
        ],
    )


def _of_data(figures: FiguresOverTime, settings: Settings) -> Iterator[Chart]:
    threshold = settings.new_images_threshold
    yield draw(
        "new_images",
        _("New images on the way to %(threshold)s", threshold=threshold),
        _("At each nightly check, since the snapshot of the version in production. A promotion starts the count anew."),
        "count",
        figures.new_images,
        [
            Line(key="human", label=_("Labelled by people"), look="bar"),
            Line(key="harvested", label=_("Labelled by the model"), look="bar", colour=3),
        ],
        level=Level(label=_("Threshold"), value=threshold),
    )
    yield draw(
        "arrivals",
        _("Arrivals a day"),
        _("Images that entered the pool, by the origin of their label."),
        "count",
        figures.arrivals,
        [
            Line(key="curated", label=_("Curated"), look="bar"),
            Line(key="confirmed", label=_("Confirmed"), look="bar", colour=4),
            Line(key="harvested", label=_("Labelled by the model"), look="bar", colour=3),
        ],
        by_day=True,
    )


def _of_answers(figures: FiguresOverTime) -> Iterator[Chart]:
    yield draw(
        "confidence",
        _("Confidence of the answers"),
        _("Each day, half of the answers are surer than the median; four in five lie between the two edges."),
        "share",
        figures.confidence,
        [
            Line(key="median", label=_("Median")),
            Line(key="low", label=_("10th percentile"), look="edge"),
            Line(key="high", label=_("90th percentile"), look="edge"),
        ],
        by_day=True,
        words={"answers": _("Answers")},
    )
    yield draw(
        "drift",
        _("Drift"),
        _("How far recent photos differ from those of the training: 0 means not at all."),
        "score",
        _name_moved(figures.drift),
        [
            Line(key="confidence_psi", label=_("Confidence, PSI")),
            Line(key="class_psi", label=_("Classes, PSI"), colour=2),
            Line(key="confidence_ks", label=_("Confidence, KS"), colour=3),
            Line(key="feature_mmd", label=_("Features, squared MMD"), colour=4),
        ],
        level=Level(label=_("A considerable PSI"), value=CONSIDERABLE_PSI),
        words={"moved": _("Drifted")},
    )
    yield draw(
        "novelty",
        _("Photos of none of the classes"),
        _("Share of recent photos that seem to show none of the known classes. Of known photos, about 5 % do."),
        "share",
        figures.drift,
        [Line(key="novel_share", label=_("Of none of the classes"))],
    )
    yield draw(
        "estimates",
        _("Estimated and observed accuracy"),
        _("Estimated from the confidence of recent answers, and observed in the feedback of people."),
        "share",
        figures.estimates,
        [
            Line(key="estimated_accuracy", label=_("Estimated"), colour=3),
            Line(key="observed_accuracy", label=_("Observed")),
            *_interval("observed_accuracy_low", "observed_accuracy_high"),
        ],
    )
    yield draw(
        "feedback",
        _("Feedback a day"),
        _("What people said of the answers."),
        "count",
        figures.feedback,
        [Line(key="ok", label="OK", look="bar", colour=4), Line(key="nok", label=_("Not OK"), look="bar", colour=2)],
        by_day=True,
    )

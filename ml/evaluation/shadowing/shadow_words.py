"""The figures of a challenger in shadow in sentences, for Airflow's question and the command line."""

from ml.confidence.estimation import Share
from ml.evaluation.shadowing.shadow_figures import Judged, ShadowFigures
from ml.settings import Settings

_CHANGES = 5


def describe_shadow(figures: ShadowFigures | None) -> list[str]:
    """Describe the figures in sentences. Args: figures, None if the challenger was never compared on uploads."""
    if figures is None:
        return ["The challenger was not compared on uploads."]
    lines = []
    shadow, counts = figures.shadow, figures.counts
    if shadow.problem is not None:
        lines.append(f"The last comparison on uploads failed: {shadow.problem}")
    if figures.different is None:
        lines.append("No user asked about a photo in the last days, so the challenger was not compared on uploads.")
        return lines
    lines.append(
        f"On {counts.photos} uploads of the last days, it differs from version {shadow.champion_version} on "
        f"{counts.different}: {_percent(figures.different)}."
    )
    if figures.fresh_different is not None and counts.fresh < counts.photos:
        lines.append(
            f"On the {counts.fresh} of them from which no training learned, they differ on {counts.fresh_different}: "
            f"{_percent(figures.fresh_different)}."
        )
    if counts.champion_confidence is not None and counts.challenger_confidence is not None:
        lines.append(
            f"The mean confidence is {counts.challenger_confidence:.1%}, the champion's "
            f"{counts.champion_confidence:.1%}."
        )
    if counts.challenger_novel is not None:
        champion = "" if counts.champion_novel is None else f", the champion {counts.champion_novel}"
        lines.append(f"It takes {counts.challenger_novel} photos for none of the known classes{champion}.")
    changes = [
        f"{_name(change.champion_class)} becomes {_name(change.challenger_class)} {change.photos} times"
        for change in figures.changes[:_CHANGES]
    ]
    if changes:
        lines.append(f"Most frequent changes: {'; '.join(changes)}.")
    lines.extend(_describe_judged(figures))
    return lines


def shadow_page(settings: Settings, challenger: int) -> str | None:
    """Return the address of the page of a challenger in shadow; None where the settings name no service."""
    if settings.public_url is None:
        return None
    return f"{settings.public_url.rstrip('/')}/versions/{challenger}/shadow"


def _describe_judged(figures: ShadowFigures) -> list[str]:
    lines = []
    if figures.of_sample is not None:
        lines.append(f"Experts have named {figures.of_sample.photos} photos of the sample. {_right(figures.of_sample)}")
    if figures.of_named is not None:
        lines.append(f"Of all {figures.of_named.photos} uploads that people have named: {_right(figures.of_named)}")
    return lines


def _right(judged: Judged) -> str:
    chance = "more than chance" if judged.is_significant else "no more than chance"
    return (
        f"the challenger is right about {judged.challenger:.1%}, the champion about {judged.champion:.1%}; the "
        f"difference is {chance}, p = {judged.p_value:.2g}."
    )


def _percent(share: Share) -> str:
    return f"{share.share:.1%}, 95 % interval {share.low:.1%} to {share.high:.1%}"


def _name(class_name: str | None) -> str:
    return "no class" if class_name is None else repr(class_name)

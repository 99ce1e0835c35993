"""A challenger in shadow in words: its figures in rows, and whose answer to a photo is right."""

from typing import NamedTuple

from flask_babel import format_decimal
from flask_babel import gettext as _

from ml.evaluation.shadowing.shadow_figures import DifferentPhoto, Judged, ShadowFigures, Share
from webapi.pages.page_words.template_words import write_percent

_SMALLEST_P = 0.001


class Fact(NamedTuple):
    """A row of figures. Args: of_both, a figure of both models together; else one of each."""

    name: str
    of_both: str | None = None
    champion: str = ""
    challenger: str = ""


class JudgedRow(NamedTuple):
    """Which model is right about some photos, in words. Args: chance, whether the difference is more than chance."""

    name: str
    photos: int
    champion: str
    challenger: str
    chance: str


def list_figures(figures: ShadowFigures) -> list[Fact]:
    """Return the rows of the table of figures."""
    counts = figures.counts
    facts = [Fact(str(_("Uploads compared")), str(counts.photos))]
    if figures.different is not None:
        facts.append(Fact(str(_("They differ on")), _write_share(counts.different, figures.different)))
    if figures.fresh_different is not None and counts.fresh < counts.photos:
        name = _("They differ, of the %(count)s photos from which no training learned, on", count=counts.fresh)
        facts.append(Fact(str(name), _write_share(counts.fresh_different, figures.fresh_different)))
    if counts.champion_confidence is not None and counts.challenger_confidence is not None:
        confidences = (write_percent(each) for each in (counts.champion_confidence, counts.challenger_confidence))
        facts.append(Fact(str(_("Mean confidence")), None, *confidences))
    if counts.champion_novel is not None or counts.challenger_novel is not None:
        novel = (_write_count(each) for each in (counts.champion_novel, counts.challenger_novel))
        facts.append(Fact(str(_("Photos like none of the known classes")), None, *novel))
    return facts


def list_judged(figures: ShadowFigures) -> list[JudgedRow]:
    """Return the rows of the table that says which model is right."""
    rows = []
    if figures.of_sample is not None:
        rows.append(_write_judged(str(_("The random sample, as far as experts have named it")), figures.of_sample))
    if figures.of_named is not None:
        rows.append(_write_judged(str(_("All uploads that people have named")), figures.of_named))
    return rows


def describe_change(name: str | None) -> str:
    """Return the class of an answer in a change of answers."""
    return name or str(_("no class"))


def judge_answers(photo: DifferentPhoto) -> str:
    """Say in a sentence which answer to a photo is right, as a person named it."""
    is_champion_right, is_challenger_right = (
        photo.named == name for name in (photo.champion_class, photo.challenger_class)
    )
    if is_champion_right or is_challenger_right:
        return str(
            _("It is %(name)s: the challenger is right.", name=photo.named)
            if is_challenger_right
            else _("It is %(name)s: the champion is right.", name=photo.named)
        )
    return str(_("It is %(name)s: both are wrong.", name=photo.named))


def _write_judged(name: str, judged: Judged) -> JudgedRow:
    p_value = f"< {format_decimal(_SMALLEST_P)}" if judged.p_value < _SMALLEST_P else f"= {_round(judged.p_value)}"
    chance = (
        _("more than chance (p %(value)s)", value=p_value)
        if judged.is_significant
        else _("no more than chance (p %(value)s)", value=p_value)
    )
    return JudgedRow(name, judged.photos, write_percent(judged.champion), write_percent(judged.challenger), str(chance))


def _round(p_value: float) -> str:
    return str(format_decimal(round(p_value, 3), format="0.###"))


def _write_share(count: int, share: Share) -> str:
    low, high = write_percent(share.low), write_percent(share.high)
    return str(
        _("%(count)s, or %(share)s (95 %% interval %(low)s to %(high)s)", count=count, share=write_percent(share.share),
          low=low, high=high)
    )  # fmt: skip


def _write_count(count: int | None) -> str:
    return str(_("not measured")) if count is None else str(count)

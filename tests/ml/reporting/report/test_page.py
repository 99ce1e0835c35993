"""The page as HTML: its contents, that it needs no other files, and that names from users are escaped."""

from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from ml.catalog.models.evaluations import Shortfall
from ml.figures import FIGURES
from ml.reporting.health import Health, PartFigures
from ml.reporting.report.facts import Facts
from ml.reporting.report.formats import in_unit, lasted
from ml.reporting.report.page import render
from ml.settings import Settings
from webapi.telemetry.health_metrics import health_metrics

MOST_BYTES = 150_000
ALONE = {"meta", "img", "source", "br"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """Parses a page into tags with attributes, words and images. Fails if tags are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ALONE:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words = f"{self.words} {' '.join(data.split())}".strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_shows_the_state_of_the_deployment(facts: Facts) -> None:
    words = Page(render(facts)).words
    for part in (
        "All is well.",
        "92.0%",  # accuracy of the part that decides
        "85.0% to 95.9%",  # its interval by Wilson
        "Version 2 is in production since 2026-03-28 06:00",
        "150 new images since the model's snapshot: 120 labelled by people, 30 harvested.",
        "24 images entered the pool in 2 days; most on 2026-03-30: 24.",
        "91.4%, estimated from its confidence in the last 60 images, calibrated on 150 labelled images.",
        "90.0% of 40 images that people judged; with 95% certainty between 76.9% and 96.0%.",
        "version 2: promoted 93.0% against 65.0%",
        "The gate: The challenger is better.",
        "s3://photos/incoming",
        "In production: version 2",
    ):
        assert part in words


def test_classes_are_sorted_by_recall_lowest_first(facts: Facts) -> None:
    words = Page(render(facts)).words
    listed = words[words.index("Figures per class") : words.index("Confusion matrix")]
    assert sorted(facts.health.classes, key=listed.index) == ["russula", "amanita", "boletus"]


def test_the_page_needs_no_other_files_and_runs_no_scripts(facts: Facts) -> None:
    page = Page(render(facts))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "form", "object", "a"} == set()
    assert [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    images = [image["src"] for image in page.all("img")] + [source["srcset"] for source in page.all("source")]
    assert len(images) == 4
    for image in images:
        assert image is not None
        kind, _, data = image.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(b64decode(data)).tag == "{http://www.w3.org/2000/svg}svg"


def test_every_figure_marked_as_reported_is_on_the_page(facts: Facts) -> None:
    words = Page(render(facts)).words
    shown = {family.name: family.samples for family in health_metrics(facts.health, facts.settings)}
    for figure in (figure for figure in FIGURES if figure.is_reported and figure.is_gauge):
        assert shown[figure.gauge]
        for sample in shown[figure.gauge]:
            told = lasted(sample.value) if figure.unit == "seconds" else in_unit(sample.value, figure.unit)
            assert told in words, figure.name


def test_the_task_s_own_figures_stand_beside_the_main_one(facts: Facts, health: Health) -> None:
    parts = [replace(part, figures={"exact_match": 0.437, "accuracy": 0.9}) for part in health.parts]
    page = Page(render(replace(facts, health=replace(health, parts=parts))))
    assert page.words.count("Exact match") == 1
    assert page.words.count("43.7%") == len(parts)


def test_each_class_has_its_f1(facts: Facts) -> None:
    assert Page(render(facts)).words.count("88.7%") == 3


def test_plots_have_alternative_texts(facts: Facts) -> None:
    trend, arrivals = (image["alt"] for image in Page(render(facts)).all("img"))
    assert trend == (
        "Accuracy at the last 5 nightly checks: first 90.0%, last 92.0%, lowest 65.0%, highest 93.0%; "
        "1 below the floor of 70.0%."
    )
    assert arrivals == "24 images entered the pool in 2 days; most on 2026-03-30: 24."


def test_a_class_below_its_floor_is_named_and_a_floor_of_an_unknown_class_too(facts: Facts, health: Health) -> None:
    below = [Shortfall("russula", 0.7, 0.8, "recall")]
    parts = [replace(part, shortfalls=below) if part.is_deciding else part for part in health.parts]
    settings = Settings(class_floors={"russula": 0.8, "morel": 0.5})
    nights = [replace(facts.nights[-1], shortfalls=below)]
    page = Page(render(replace(facts, settings=settings, nights=nights, health=replace(health, parts=parts))))
    assert page.words.count("Recall 70.0% of russula is below its floor of 80.0%.") == 2
    assert "of russula a recall of 80.0%" in page.words
    assert "MYCOFLOW_CLASS_FLOORS names morel" in page.words


def test_names_from_users_are_escaped(facts: Facts, health: Health) -> None:
    figures = {"image_count": 10, "recall": 0.5, "precision": 0.5, "f1": 0.5}
    part = PartFigures(HOSTILE, 0.5, 10, True, facts.at, {HOSTILE: figures, "b": figures}, [[5, 5], [5, 5]], [])
    hostile = replace(
        facts,
        health=replace(
            health, classes=[HOSTILE, "b"], parts=[part], backbone=HOSTILE, backbone_weights=HOSTILE, pool={HOSTILE: 3}
        ),
        nights=[replace(facts.nights[0], reasons=[HOSTILE])],
        arrivals=[replace(facts.arrivals[0], counts={HOSTILE: 3})],
        attempts=[replace(facts.attempts[0], reason=HOSTILE, reasons=[HOSTILE], warnings=[HOSTILE])],
        batches=[replace(facts.batches[0], source=HOSTILE)],
        alerts=[replace(facts.alerts[0], title=HOSTILE, body=HOSTILE)],
    )
    page = Page(render(hostile))
    assert page.all("script") == []
    assert [image for image in page.all("img") if "alt" not in image] == []
    assert page.words.count("alert(1)</script>") >= 10


def test_a_page_with_many_classes_with_long_names_is_small_enough_for_mail(facts: Facts, health: Health) -> None:
    classes = [f"Amanita muscaria variety number {number}" for number in range(300)]
    figures = {"image_count": 2, "recall": 0.5, "precision": 0.5, "f1": 0.5}
    confusion = [[int(column in (row, (row + 1) % 300)) for column in range(300)] for row in range(300)]
    part = PartFigures("anchor", 0.5, 600, True, facts.at, dict.fromkeys(classes, figures), confusion, [])
    many = replace(facts, nights=facts.nights * 6, arrivals=facts.arrivals * 15)
    html = render(replace(many, health=replace(health, classes=classes, parts=[part])))
    assert len(html.encode()) < MOST_BYTES
    assert "Most frequent confusions" in html
    assert "20 of 300 classes" in html


@pytest.mark.parametrize("is_held", [False, True])
def test_waiting_decisions_are_listed_with_what_to_do(facts: Facts, health: Health, is_held: bool) -> None:
    waiting = replace(health, approvals_waiting=1, waiting_images=12, quarantined_batches=1, is_promotion_held=is_held)
    words = Page(render(replace(facts, health=waiting))).words
    assert "Answer in Airflow, under required actions." in words
    assert "1 batch in quarantine" in words
    assert ("mycoflow release" in words) is is_held


def test_a_rejected_challenger_leaves_two_counts_of_new_images(facts: Facts, health: Health) -> None:
    rejected = replace(health, untried_images=20)
    assert "20 of them are newer than the last training" in Page(render(replace(facts, health=rejected))).words
    assert "of them are newer than the last training" not in Page(render(facts)).words

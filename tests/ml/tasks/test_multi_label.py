"""A new task needs one module and one line in `registered.py`. Then a night runs, and the service answers."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from ml import cycle
from ml.app import Workspace, load_classifier, open_workspace
from ml.catalog.accounts.tokens import issue_token
from ml.catalog.annotations import Annotation
from ml.catalog.database import open_catalog
from ml.catalog.items.item_records import Split
from ml.catalog.locks import lock_membership
from ml.catalog.models.evaluations import latest_evaluation
from ml.catalog.tables import accounts, items, monitorings, results
from ml.errors import SettingsError
from ml.ingest.admitting import admit_from_person
from ml.ingest.inspection import Inspector
from ml.ingest.sources.arrivals import ArrivedFile
from ml.reporting.report.page import make_report
from ml.settings import Settings
from ml.training.recipes import Finetune, Retrain
from tests import multi_label_task
from tests.application import application_as_web
from tests.deployments import Origin, copy_deployment, drop_deployment
from webapi import application_state

COLOURS = {"blue": (40, 60, 230), "green": (40, 200, 60), "red": (230, 50, 40)}
SHOWN = [names for count in (1, 2, 3) for names in combinations(COLOURS, count)]
SIZE = 32


def draw(names: tuple[str, ...], random: np.random.Generator) -> bytes:
    """Draw one patch of each colour on random grey squares. No patches overlap, and no two images are copies."""
    pixels = np.repeat(np.kron(random.integers(40, 200, (8, 8)), np.ones((4, 4)))[..., np.newaxis], 3, axis=2)
    corners = random.permutation([(0, 0), (0, 16), (16, 0), (16, 16)])
    for name, (top, left) in zip(names, corners, strict=False):
        height, width = random.integers(10, 16, 2)
        pixels[top : top + height, left : left + width] = COLOURS[name]
    noisy = pixels + random.normal(0, 5, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def take_in(workspace: Workspace, split: Split, count: int, seed: int) -> None:
    """Add images, with annotations by a person, to a split: `count` images of each combination of colours."""
    random = np.random.default_rng(seed)
    inspector = Inspector(workspace.catalog, "test", split)
    accepted = []
    for number in range(count):
        for names in SHOWN:
            content = draw(names, random)
            file = ArrivedFile(f"{number}-{names}", "1", names[0], None, lambda content=content: content)
            found = inspector.inspect(file).accepted
            assert found is not None
            accepted.append(replace(found, candidate=replace(found.candidate, annotation=Annotation(names))))
    with workspace.catalog.begin() as connection:
        lock_membership(connection, "pool")
        for each in accepted:
            admit_from_person(connection, each, split, mirrored=False, received_at=None)


@pytest.fixture
def settings(empty: Origin, server_home: Path, tmp_path: Path) -> Iterator[Settings]:
    """A deployment with another task and another model name. It harvests confident answers."""
    made = copy_deployment(empty, server_home, tmp_path / "home")
    update = {"task": multi_label_task.NAME, "model_name": "colours", "harvest_confidence": 0.6}
    yield made.model_copy(update=update)
    drop_deployment(made, server_home)


@pytest.fixture
def colours(settings: Settings) -> Iterator[Workspace]:
    with open_workspace(settings) as workspace:
        take_in(workspace, "evaluation", 6, seed=0)
        take_in(workspace, "pool", 20, seed=1)
        yield workspace


def ask_the_service(workspace: Workspace, settings: Settings, image: bytes) -> dict[str, Any]:
    with workspace.catalog.begin() as connection:
        row = sa.insert(accounts).values(login="ada", role="user", password_hash="none").returning(accounts.c.id)
        token = issue_token(connection, connection.execute(row).scalar_one(), timedelta(hours=1)).token
    with application_as_web(settings) as app:
        application_state.current(app).models.poll()
        headers, data = {"Authorization": f"Bearer {token}"}, {"file": (io.BytesIO(image), "colours.png")}
        answer: Any = app.test_client().post("/predictions?nb_preds=3", data=data, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


@pytest.mark.heavy
def test_a_night_of_another_task_ends_with_a_version_that_the_service_serves(
    colours: Workspace, settings: Settings
) -> None:
    first = cycle.retrain(colours, "first", "test", Retrain(snapshot_size=200))
    assert (first.production_version, first.verdict.decision) == (1, "promote")
    card = load_classifier(colours, 1).card
    assert (card.task, card.classes) == (multi_label_task.NAME, tuple(COLOURS))
    (version,) = colours.registry.versions()
    assert (colours.registry.model_name, version.tags["task"]) == ("colours", multi_label_task.NAME)
    assert float(version.tags["f1_samples"]) == pytest.approx(first.verdict.challenger_figure, abs=1e-4)
    with colours.catalog.begin() as connection:
        evaluation = latest_evaluation(connection, 1)
    assert evaluation is not None
    assert evaluation.main_figure > 0.8
    assert evaluation.figures.keys() == {"f1_samples", "exact_match"}
    assert 0 < evaluation.figures["exact_match"] <= evaluation.figures["f1_samples"] == evaluation.main_figure
    assert (evaluation.accuracy, evaluation.confusion) == (None, None)
    assert {name: each["image_count"] for name, each in evaluation.per_class.items()} == dict.fromkeys(COLOURS, 24)

    take_in(colours, "pool", 15, seed=2)
    assert cycle.monitor(colours).reasons == ["105 new images reach the threshold of 100."]
    with colours.catalog.begin() as connection:
        (kept,) = connection.scalars(sa.select(monitorings.c.figures))
    assert set(kept) == {"precision_macro", "recall_macro", "f1_macro"}
    drift = cycle.measure_drift(colours)
    assert drift.reference_features >= 20
    assert drift.estimated_accuracy is None  # nothing is calibrated where an item may have several classes
    second = cycle.retrain(colours, "second", "test", Retrain(snapshot_size=200))
    assert second.verdict.champion_version == 1
    assert second.production_version == (2 if second.verdict.decision == "promote" else 1)

    page = make_report(colours.catalog, settings)
    assert '<td class="name">green</td>' in page
    assert "F1 samples, night by night" in page
    assert not [word for word in ("onfusion", "95% interval") if word in page]

    shown = ("blue", "red")
    answered = ask_the_service(colours, settings, draw(shown, np.random.default_rng(3)))
    assert answered["model"] == {"name": "colours", "version": second.production_version}
    assert {each["name"] for each in answered["results"] if each["is_found"]} == set(shown)
    assert answered["results"][2]["name"] == "green"
    with colours.catalog.begin() as connection:
        asked = items.join(results).select().where(items.c.source == "upload")
        row = connection.execute(asked).one()
    assert row.answer == {"found": list(shown)}
    assert row.top_class == answered["results"][0]["name"]
    assert row.margin == pytest.approx(
        (answered["results"][0]["proba"] - answered["results"][1]["proba"]) / 100, abs=0.01
    )
    assert (row.class_names, row.label_origin) == (list(shown), "harvested")


@contextmanager
def start_service(settings: Settings) -> Iterator[None]:
    with application_as_web(settings) as app:
        application_state.current(app).start()
        yield


@pytest.mark.parametrize("opened", [open_workspace, open_catalog, start_service])
def test_a_home_refuses_another_task_and_another_model_name(
    opened: Callable[[Settings], AbstractContextManager[object]],
    colours: Workspace,
    settings: Settings,
    free_port: Callable[[], int],
) -> None:
    cycle.take_snapshot(colours, "first", "test", Retrain(snapshot_size=100))
    settings = settings.model_copy(update={"metrics_port": free_port()})
    for update, name in (
        ({"task": "classification"}, "MYCOFLOW_TASK=multi_label"),
        ({"model_name": "other"}, "MODEL_NAME=colours"),
    ):
        with pytest.raises(SettingsError, match=name), opened(settings.model_copy(update=update)):
            pass
    with opened(settings):
        pass


def test_a_training_that_the_task_does_not_have_is_refused(colours: Workspace) -> None:
    with pytest.raises(SettingsError, match=r"MYCOFLOW_TASK=multi_label has: retrain\. Received: finetune"):
        cycle.take_snapshot(colours, "first", "test", Finetune(100, layers=1, epochs=1))


def test_a_task_that_nobody_registered_is_refused_by_every_command(settings: Settings) -> None:
    refused = settings.model_copy(update={"task": "detection"})
    with pytest.raises(SettingsError, match=r"classification.*Received: 'detection'"), open_workspace(refused):
        pass

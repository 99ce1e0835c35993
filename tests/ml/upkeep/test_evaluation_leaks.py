"""`mycoflow check`: what crosses already is found, leaves the pool, and its figures are marked."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image, ImageOps

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.items.texts import read_text
from ml.catalog.tables import copy_hashes, evaluations, events, image_statistics, items
from ml.data.descriptions import change_description
from ml.data.evaluation_sets import current_evaluation_set
from ml.data.membership import Arrival, enter
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.ingest.folder import ingest_folder
from ml.upkeep.evaluation_leaks import remove_leaks
from tests.ml.data.copies.test_copy_comparison import scene


def write(folder: Path, label: str, name: str, picture: Image.Image) -> Path:
    path = folder / label / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=88)
    return folder


MODEL = """
    INSERT INTO training.model_versions
        (version, mlflow_run_id, snapshot_id, backbone_id, classes, image_size, precision)
    VALUES (:version, 'r', :snapshot, 't', '{a,b}', 32, 'fp32')
"""


def save_figures(connection: sa.Connection, version: int, set_version: int) -> None:
    figures = dict.fromkeys(("main_figure", "accuracy", "precision_macro", "recall_macro", "f1_macro"), 0.5)
    row = {"model_version": version, "evaluation_set_version": set_version, "part": "anchor"}
    row |= {"is_deciding": True, "image_count": 10, "per_class": {}, "confusion": [], **figures}
    connection.execute(sa.insert(evaluations).values(row))


@pytest.fixture
def leaking(catalog: Catalog, tmp_path: Path) -> Catalog:
    """A catalog of before this release: three of ten evaluation images have a copy in the pool."""
    for seed in range(10):
        write(tmp_path / "held out", "ab"[seed % 2], str(seed), scene(seed))
    ingest_folder(catalog, tmp_path / "held out", "evaluation")
    with catalog.begin() as connection:
        connection.execute(sa.delete(copy_hashes))
        connection.execute(sa.delete(image_statistics))
        # No image of the evaluation set is known while the pool comes in.
        connection.execute(
            sa.update(items).values(split=None, evaluation_part=None, class_names=None, label_origin=None)
        )
    write(tmp_path / "pool", "a", "turned", scene(0).rotate(90, expand=True))
    write(tmp_path / "pool", "b", "mirrored", ImageOps.mirror(scene(1)))
    write(tmp_path / "pool", "a", "cut", scene(2).crop((15, 3, 238, 176)))
    for seed in range(20, 60):
        write(tmp_path / "pool", "ab"[seed % 2], str(seed), scene(seed))
    ingest_folder(catalog, tmp_path / "pool", "pool")
    with catalog.begin() as connection:
        values = {"split": "evaluation", "evaluation_part": "anchor", "class_names": ["a"], "label_origin": "curated"}
        connection.execute(sa.update(items).where(items.c.split.is_(None)).values(values))
    return catalog


def test_copies_leave_the_pool_and_snapshots_stay(leaking: Catalog) -> None:
    with leaking.begin() as connection:
        snapshot_id = create_snapshot(connection, SnapshotRules(100, 0.20, 0.30), None)
    count = sa.text(f"SELECT count(*) FROM training.snapshot_items WHERE snapshot_id = {snapshot_id}")
    report = remove_leaks(leaking, mirrored=True, actor="check")
    assert len(report.withdrawn) == 3
    with leaking.begin() as connection:
        held = connection.execute(sa.select(items.c.id, items.c.copy_of).where(items.c.held_back == "copy"))
        assert dict(held.tuples().all()) == report.withdrawn
        assert connection.execute(count).scalar_one() == 43
    assert remove_leaks(leaking, mirrored=True, actor="ada").withdrawn == {}
    with leaking.begin() as connection:
        checks = sa.select(events.c.actor, events.c.detail).where(events.c.kind == "check.finished")
        said = connection.execute(checks.order_by(events.c.id)).tuples().all()
    assert said == [
        ("check", {"withdrawn": 3, "marked_evaluations": 0}),
        ("ada", {"withdrawn": 0, "marked_evaluations": 0}),
    ]


def test_mirror_images_stay_where_left_and_right_differ(leaking: Catalog) -> None:
    assert len(remove_leaks(leaking, mirrored=False, actor="check").withdrawn) == 2


def test_figures_that_stood_on_a_learned_copy_are_marked_and_no_others(leaking: Catalog) -> None:
    with leaking.begin() as connection:
        snapshot_id = create_snapshot(connection, SnapshotRules(100, 0.20, 0.30), None)
        set_version, _ = current_evaluation_set(connection)
        for version, snapshot in ((1, snapshot_id), (2, None)):
            connection.execute(sa.text(MODEL), {"version": version, "snapshot": snapshot})
            save_figures(connection, version, set_version)
    assert remove_leaks(leaking, mirrored=True, actor="check").marked_evaluations == 1
    with leaking.begin() as connection:
        marks = connection.execute(sa.select(evaluations.c.model_version, evaluations.c.learned_copies))
        assert dict(marks.tuples().all()) == {1: 3, 2: 0}


def test_a_learned_photo_marks_figures_whatever_text_it_had_and_texts_alone_cross_nothing(catalog: Catalog) -> None:
    """It was learned under a former description, and is measured with under two texts, of which one changes."""
    picture, chair = ImageRecord("a" * 64, "image/png", 32, 32, 100), Annotation(("a",))
    learned, *measured = (ItemRecord("shop", picture, read_text(text)) for text in ("a chair", "a stool", "a bench"))
    filler = [ItemRecord("shop", text=read_text(f"thing {number}")) for number in range(40)]
    alone = ItemRecord("shop", text=read_text("a chair"))
    with catalog.begin() as connection:
        arrivals = [Arrival(each, Annotation(("ab"[number % 2],))) for number, each in enumerate(filler)]
        enter(connection, [Arrival(learned, chair), *arrivals], "pool", "test")
        enter(connection, [Arrival(each, chair) for each in (*measured, alone)], "evaluation", "test")
        snapshot_id = create_snapshot(connection, SnapshotRules(100, 0.20, 0.30), None)
        version = change_description(connection, learned.id, read_text("a wooden chair"), "test")
        first_set, _ = current_evaluation_set(connection)
        connection.execute(sa.text(MODEL), {"version": 1, "snapshot": snapshot_id})
        save_figures(connection, 1, first_set)
    report = remove_leaks(catalog, mirrored=True, actor="check")
    assert report.withdrawn.keys() == {version}
    with catalog.begin() as connection:
        change_description(connection, report.withdrawn[version], read_text("a stool of oak"), "test")
        second_set, _ = current_evaluation_set(connection)
        save_figures(connection, 1, second_set)
    assert remove_leaks(catalog, mirrored=True, actor="check").withdrawn == {}
    with catalog.begin() as connection:
        marks = connection.execute(sa.select(evaluations.c.evaluation_set_version, evaluations.c.learned_copies))
        assert dict(marks.tuples().all()) == {first_set: 2, second_set: 2}


def test_a_group_on_both_sides_leaves_the_pool(catalog: Catalog, add_images: Callable[..., list[str]]) -> None:
    (crossing,) = add_images("a", 1, group="walk 7")
    (stays,) = add_images("a", 1, group="walk 8")
    (original,) = add_images("a", 1, split="evaluation", part="anchor", group="walk 7")
    assert remove_leaks(catalog, mirrored=True, actor="check").withdrawn == {crossing: original}
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(items.c.held_back).where(items.c.id == stays)) is None

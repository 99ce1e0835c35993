"""Names of classes have visible characters, wherever they come from, and nothing that a terminal obeys."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from ml.catalog.class_names import MAX_CHARACTERS, mend_class_name, mend_class_names, read_class_name
from ml.catalog.database import Catalog, _alembic_config
from ml.errors import LabelError, ModelLoadError
from ml.registry.foreign_runs import check_classes
from ml.settings import Settings
from ml.tasks.card import load_card
from ml.tasks.registered_tasks import find_task
from ml.tasks.task import Task

REFUSED = {
    "nothing": "",
    "one blank": " ",
    "a no-break space": "\u00a0",
    "a tab": "\t",
    "ESC": "oak\x1b[31m",
    "a newline": "oak\nash",
    "a newline at the end": "oak\n",
    "a carriage return": "oak\rash",
    "a bell": "\aoak",
    "a C1 control": "oak\x9b31m",
    "DEL": "oak\x7f",
    "a line separator": "oak\u2028ash",
    "another direction": "oak\u202eash",
    "an isolate": "\u2066oak\u2069",
    "a zero width space": "\u200b",
    "a byte order mark": "\ufeffoak",
    "only joiners": "\u200d",
    "half a surrogate pair": "oak\ud800",
    "a private character": "oak\ue000",
    "an unassigned one": "oak\u0378",
    "too many characters": "o" * (MAX_CHARACTERS + 1),
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_names_that_are_not_visible_are_refused_in_ascii(name: str) -> None:
    with pytest.raises(LabelError, match="Expected a class name") as refused:
        read_class_name(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("oak", "oak"),
        (" oak ", "oak"),
        ("e\u0301", "\u00e9"),
        ("Amanita muscaria var. guessowii", "Amanita muscaria var. guessowii"),
        ("[red]oak[/red]", "[red]oak[/red]"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u7ea2\u83c7 \N{MUSHROOM}", "\u7ea2\u83c7 \N{MUSHROOM}"),
        ("o" * MAX_CHARACTERS, "o" * MAX_CHARACTERS),
    ],
)
def test_names_of_all_languages_are_accepted(text: str, name: str) -> None:
    assert read_class_name(text) == name
    assert mend_class_name(name) == name


def test_stored_names_are_mended_to_names_that_are_accepted_and_stay_different() -> None:
    names = [*list(REFUSED.values())[1:], "o" * (MAX_CHARACTERS + 2), "oak", " oak", "oak ", "oakash"]
    mended = [mend_class_name(name) for name in names]
    assert len(set(mended)) == len(mended)
    assert [read_class_name(name) for name in mended] == mended
    assert mend_class_name("oak\x1b[31m") == r"oak\x1b[31m"
    assert mend_class_name(" ") == r"\x20"


@pytest.mark.parametrize(
    "names",
    [
        ["e\u0301", "\u00e9"],
        ["a\x01", r"a\x01"],
        ["e\u0301\x01", "\u00e9\x01", "oak"],
        [" ", r"\x20", "\u00a0"],
        ["o" * 300, "o" * 301],
        ["a" * 198 + "\x01", "a" * 198 + r"\x01"],
    ],
    ids=ascii,
)
def test_different_names_of_a_model_stay_different(names: list[str]) -> None:
    for order in (names, names[::-1]):
        mended = mend_class_names(order)
        assert len(set(mended)) == len(mended)
        assert [read_class_name(name) for name in mended] == mended
        assert mend_class_names(mended) == mended
    assert mend_class_names(["oak", "ash"]) == ["oak", "ash"]
    assert len(set(mend_class_names([names[0]] * 2))) == 1


@pytest.mark.parametrize("name", list(REFUSED.values())[:6])
def test_the_task_and_foreign_models_refuse_them(name: str) -> None:
    task: Task = find_task("classification")
    with pytest.raises(LabelError):
        task.read_label(name)
    with pytest.raises(ModelLoadError, match="Correct the list of class names"):
        check_classes(["oak", name], 2)


def test_a_models_card_of_an_older_release_is_mended(write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "1-run", 1)
    first = load_card(bundle).classes[0]
    card = (bundle / "model.json").read_text()
    (bundle / "model.json").write_text(card.replace(f'"{first}"', '"oak\\u001b[31m"', 1))
    assert load_card(bundle).classes[0] == r"oak\x1b[31m"
    for classes in ('["oak", 1]', '{"oak": 1, "ash": 2}', '["oak", "oak"]', "null", "[]"):
        start, end = card.index("[", card.index('"classes"')), card.index("]", card.index('"classes"')) + 1
        (bundle / "model.json").write_text(card[:start] + classes + card[end:])
        with pytest.raises(ModelLoadError, match="distinct class names"):
            load_card(bundle)


def test_the_migration_mends_stored_names_everywhere(new_database: Callable[[], str]) -> None:
    engine = sa.create_engine(new_database())
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "schema_0011")
        connection.execute(sa.text(OLD_ROWS))
        command.upgrade(config, "head")
        read = {
            query: connection.execute(sa.text(query)).scalar_one()
            for query in (
                "SELECT class_names FROM training.items",
                "SELECT array_agg(class_name ORDER BY class_name) FROM training.item_classes",
                "SELECT classes FROM training.model_versions",
                "SELECT per_class FROM training.evaluations",
            )
        }
        stored = connection.execute(sa.text("SELECT classes FROM training.snapshots")).scalar_one()
    engine.dispose()
    names = [r"oak\x1b[31m", r"\x20"]
    assert stored == mend_class_names(["e\u0301", "\u00e9", "a\x01", r"a\x01"])
    assert len(set(stored)) == 4
    assert list(read.values()) == [names, sorted(names), [*names, "ash"], {r"oak\x1b[31m": {"f1": 1}, "ash": {"f1": 0}}]


OLD_ROWS = r"""
INSERT INTO training.texts (sha256, content) VALUES (encode(sha256('a text'), 'hex'), 'a text');
INSERT INTO training.items (id, text_sha256, split, group_key, source, class_names, label_origin)
SELECT sha256, sha256, 'pool', '1', 'test', ARRAY[E'oak\x1b[31m', ' '], 'curated' FROM training.texts;
INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
VALUES (1, 'run', 'b', ARRAY[E'oak\x1b[31m', ' ', 'ash'], 32, 'fp32');
INSERT INTO training.snapshots (cutoff, requested_size, strategy, classes, pool_state)
VALUES (now(), 10, 'newest', ARRAY[E'e\u0301', E'\u00e9', E'a\x01', 'a\x01'], 'x');
INSERT INTO training.evaluation_sets (content_sha256) VALUES (repeat('a', 64));
INSERT INTO training.evaluations
    (model_version, evaluation_set_version, part, is_deciding, image_count, main_figure, per_class, shortfalls)
VALUES (1, 1, 'anchor', true, 1, 1, '{"oak\u001b[31m": {"f1": 1}, "ash": {"f1": 0}}', '[]');
"""


def test_no_text_reaches_a_terminal_with_its_controls(settings: Settings, catalog: Catalog, tmp_path: Path) -> None:
    for class_name in ("oak", "ash\x1b[2J"):
        folder = tmp_path / f"photos of {class_name}" / class_name
        folder.mkdir(parents=True)
        (folder / "a\x1b[2Jb.png").write_bytes(b"no image")
    code = "import sys; from ml.cli.main import main; sys.argv = ['mycoflow', *sys.argv[1:]]; main()"
    assert settings.database_url is not None
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "FORCE_COLOR": "",
        "COLUMNS": "500",
    }
    for arguments in (
        ["ingest", str(tmp_path / "photos of oak"), "--split", "pool"],
        ["ingest", str(tmp_path / "photos of ash\x1b[2J"), "--split", "pool"],
        ["ingest", str(tmp_path / "no\x1b[2J[/red]"), "--split", "pool"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, check=False, timeout=120
        )
        printed = done.stdout + done.stderr
        assert rb"\x1b[2J" in printed
        assert b"\x1b[2J" not in printed
    with catalog.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM training.items")).scalar_one() == 0

"""`mycoflow snapshot ...` on real images: arguments in, text out."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from ml.app import Workspace
from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.items.texts import read_text
from ml.catalog.object_store import image_key
from ml.catalog.snapshots.snapshot_contents import Member, compare_members, load_members
from ml.cli import snapshot_commands
from ml.data.data_changes import Change, apply_changes
from ml.data.descriptions import change_description
from ml.data.membership import Arrival, enter
from ml.data.snapshot_export import NO_CLASS, file_name
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.errors import ImageStoreError, MycoflowError, SnapshotError, SnapshotExportError
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.settings import Settings

Run = Callable[..., str]
RULES = SnapshotRules(size=1000, validation_ratio=0.2, harvest_share=0.3)


@pytest.fixture
def settings(filled_workspace: Workspace) -> Settings:
    return filled_workspace.settings


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mycoflow snapshot ...` on the test's database; expected errors are raised."""
    assert settings.database_url is not None
    monkeypatch.setenv("MYCOFLOW_HOME", str(settings.mycoflow_home))
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())

    def run_command(*arguments: str) -> str:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(snapshot_commands.snapshot_app, arguments)
        if isinstance(result.exception, MycoflowError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run_command


def take(catalog: Catalog) -> int:
    with catalog.begin() as connection:
        return create_snapshot(connection, RULES, None)


@pytest.fixture
def taken(catalog: Catalog) -> Catalog:
    """One snapshot of 60 images of each of three digits."""
    take(catalog)
    return catalog


def words(said: str) -> list[list[str]]:
    """The cells of each line of a table."""
    return [line.replace("│", " ").split() for line in said.splitlines()]


def test_an_empty_list_says_how_to_take_a_snapshot(run: Run) -> None:
    assert "mycoflow retrain" in run("list")
    with pytest.raises(SnapshotError, match="snapshot list"):
        run("show", "1")


def test_snapshots_are_listed_and_shown(run: Run, taken: Catalog) -> None:
    (line,) = [line for line in words(run("list")) if "newest" in line]
    assert (line[0], line[line.index("newest") + 1], line[-1]) == ("1", "180", "3")
    said = run("show", "1")
    assert "newest: 180 images of 1000 requested. Versions: none." in " ".join(said.split())
    (of_all,) = [line for line in words(said) if line[:1] == ["all"]]
    assert (of_all[1], of_all[4:]) == ("180", ["180", "0", "0"])
    assert int(of_all[2]) + int(of_all[3]) == 180
    assert sum(line[:2] == [digit, "60"] for digit in "012" for line in words(said)) == 3


def test_a_diff_lists_images_added_removed_and_relabelled(run: Run, taken: Catalog, few_digits: DigitFolders) -> None:
    with taken.begin() as connection:
        members = load_members(connection, 1)
        zero, one = (next(each.item_id for each in members if each.annotation.label == digit) for digit in "01")
        changes = [Change("exclude", zero), Change("relabel", one, Annotation(("2",)))]
        apply_changes(connection, changes, "account:1", mirrored=True)
    ingest_folder(taken, few_digits.later, "pool")
    take(taken)
    said = run("diff", "1", "2", "--images")
    assert "120 images added, 1 removed, 179 kept, 1 of them relabelled." in said
    assert ["0", "60", "99", "40", "1"] in words(said)
    assert ["1", "60", "99", "40", "0"] in words(said)
    assert ["2", "60", "101", "40", "0"] in words(said)
    assert ["curated", "180", "298", "120", "1"] in words(said)
    assert ["confirmed", "0", "1", "0", "0"] in words(said)
    assert f"- {zero} 0" in said
    assert f"~ {one} 1 -> 2" in said
    assert sum(line[:1] == ["+"] for line in words(said)) == 120
    assert "0 images added, 0 removed, 180 kept" in run("diff", "1", "1")


def test_an_export_has_each_image_in_its_folder_and_a_manifest(run: Run, taken: Catalog, tmp_path: Path) -> None:
    target = tmp_path / "export"
    assert "180 items of snapshot 1" in run("export", "1", str(target))
    manifest = json.loads((target / "manifest.json").read_text())
    assert (manifest["snapshot"], manifest["selection"], manifest["classes"]) == (1, "newest", ["0", "1", "2"])
    with taken.begin() as connection:
        members = {member.item_id: member for member in load_members(connection, 1)}
    entries = manifest["images"]
    assert {entry["sha256"] for entry in entries} == set(members)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {entry["file"] for entry in entries} | {"manifest.json"}
    for entry in entries:
        member, content = members[entry["sha256"]], (target / entry["file"]).read_bytes()
        assert entry["file"] == f"{member.fold}/{member.annotation.label}/{member.item_id}.png"
        assert entry["file_sha256"] == sha256(content).hexdigest()
        assert content == taken.store.get(image_key(member.item_id))
        stated = (member.annotation.label, "curated", member.group_key)
        assert (entry["label"], entry["label_origin"], entry["group"]) == stated


def test_an_export_has_the_texts_of_items_and_items_without_an_image(run: Run, taken: Catalog, tmp_path: Path) -> None:
    with taken.begin() as connection:
        described = load_members(connection, 1)[0]
        version = change_description(connection, described.item_id, read_text("a c\u00e8pe"), "test")
        alone = ItemRecord("shop", text=read_text("a zero"))
        enter(connection, [Arrival(alone, Annotation(("0",)))], "pool", "test")
    take(taken)
    assert "181 items of snapshot 2" in run("export", "2", str(tmp_path / "export"))
    entries = {
        each["sha256"]: each for each in json.loads((tmp_path / "export" / "manifest.json").read_text())["images"]
    }
    assert len(entries) == 181
    assert {each["text"] for each in entries.values()} == {None, "a c\u00e8pe", "a zero"}
    assert (entries[alone.id]["file"], entries[alone.id]["text"]) == (None, "a zero")
    file = tmp_path / "export" / entries[version]["file"]
    assert (entries[version]["text"], file.read_bytes()) == (
        "a c\u00e8pe",
        taken.store.get(image_key(described.item_id)),
    )


def test_an_archive_is_the_same_each_time(run: Run, taken: Catalog, tmp_path: Path) -> None:
    archives = [tmp_path / "one.zip", tmp_path / "other.zip"]
    for archive in archives:
        run("export", "1", str(archive))
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with zipfile.ZipFile(archives[0]) as content:
        assert content.testzip() is None
        assert Counter(name.split("/")[0] for name in content.namelist()).keys() == {
            "train",
            "validation",
            "manifest.json",
        }
        assert all(entry.external_attr >> 16 == 0o644 for entry in content.infolist())


def test_an_export_that_fails_leaves_nothing(run: Run, taken: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    with taken.begin() as connection:
        taken.store.delete(image_key(load_members(connection, 1)[-1].item_id))
    for target in (folder / "export", folder / "export.zip"):
        with pytest.raises(ImageStoreError):
            run("export", "1", str(target))
    assert list(folder.iterdir()) == []


def test_an_export_replaces_no_files_and_names_a_folder_that_it_cannot_write(
    run: Run, taken: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(SnapshotExportError, match="a path that does not exist"):
        run("export", "1", str(tmp_path / "there"))
    with pytest.raises(SnapshotExportError, match="writable folder"):
        run("export", "1", str(tmp_path / "nowhere" / "export"))
    with pytest.raises(SnapshotError, match="got 99"):
        run("export", "99", str(tmp_path / "none"))


def folder_of(member: Member, *names: str) -> str:
    (folder,) = file_name(Member(**vars(member) | {"annotation": Annotation(names)})).split("/")[1:-1]
    return folder


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("Amanita muscaria (L.) Lam.", "Amanita muscaria (L.) Lam."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".hidden", "%2Ehidden"),
        ("a\\b 100%", "a%5Cb 100%25"),
        ("蘑" * 100, "蘑" * 85),
    ],
)
def test_a_class_of_any_name_stays_inside_the_export(taken: Catalog, label: str, folder: str) -> None:
    with taken.begin() as connection:
        member = load_members(connection, 1)[0]
    assert folder_of(member, label) == folder


def test_the_folder_of_several_classes_names_each_once(taken: Catalog) -> None:
    with taken.begin() as connection:
        member = load_members(connection, 1)[0]
    assert folder_of(member, "rod", "cell", "rod") == "rod, cell"
    assert folder_of(member) == NO_CLASS


def test_labels_that_look_like_markup_are_shown_as_they_are(run: Run, taken: Catalog) -> None:
    with taken.begin() as connection:
        connection.execute(
            sa.text("UPDATE training.items SET class_names = ARRAY['[/red] x'] WHERE class_names = '{0}'")
        )
    take(taken)
    assert "[/red] x" in run("show", "2")
    assert "[/red] x" in run("diff", "1", "2")


def test_equal_snapshots_have_no_differences(taken: Catalog) -> None:
    with taken.begin() as connection:
        members = load_members(connection, 1)
    changes = compare_members(members, members)
    assert (changes.added, changes.removed, changes.relabelled) == ([], [], [])

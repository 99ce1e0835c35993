"""Folders as real computers leave them: litter is ignored, anything else foreign is one line, and the rest comes in."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ml.catalog.class_names import ClassSpellings, find_fault, same_class_key
from ml.catalog.database import Catalog
from ml.catalog.object_store import FolderStore
from ml.errors import SettingsError, SourceError
from ml.ingest.folder import ingest_folder
from ml.ingest.inspection import Inspected, Inspector
from ml.ingest.layout.class_folders import list_files
from ml.ingest.layout.litter import is_litter
from ml.ingest.layout.printable_names import printable
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.sources.drop_folder import DropFolder
from ml.ingest.sources.opening import open_source
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.ml.ingest.arriving import CERTIFIED, batch, files, pull, reasons, rows
from tests.ml.ingest.buckets import Bucket, s3_bucket

Drop = Callable[[dict[str, list[int]]], Path]
Encode = Callable[..., bytes]
LITTER = ["@eaDir", "__MACOSX", "lost+found", "#recycle", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000"]
LITTER += ["@Recycle", "@EADIR"]
LITTER_FILES = ["Thumbs.db", "thumbs.DB", "desktop.ini", "._001.png", ".DS_Store", "Icon\r", "001.png@SynoEAStream"]


@pytest.fixture
def folder(drop_folder: Drop) -> Path:
    """Two classes of two images, and litter everywhere."""
    found = drop_folder({"a": [1, 2], "b": [3, 4]})
    for place in (found, found / "a", found / "b"):
        for name in LITTER:
            (place / name / "deep").mkdir(parents=True)
            (place / name / "001.png").write_bytes((found / "a" / "001.png").read_bytes())
        for name in LITTER_FILES:
            (place / name).write_bytes(b"litter")
    return found


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with s3_bucket() as found:
        yield found


def taken(found: Path) -> list[str]:
    return sorted(file.path.relative_to(found).as_posix() for file in list_files(found))


def problems(found: Path) -> dict[str, str]:
    return {file.path.name: file.problem.reason for file in list_files(found) if file.problem is not None}


@pytest.mark.parametrize("name", ["Recycled", "RECYCLER", "recycler", "found.000"])
@pytest.mark.parametrize("trace", ["S-1-5-21-1004/Dc1.png", "INFO2", "file0000.chk", "dir0000.chk/1.png"])
def test_a_bin_of_windows_is_litter_and_a_class_of_that_name_is_a_class(
    catalog: Catalog, folder: Path, bucket: Bucket, name: str, trace: str
) -> None:
    image = (folder / "a" / "001.png").read_bytes()
    for place in (folder / name, folder / "a" / name):
        (place / trace).parent.mkdir(parents=True)
        (place / trace).write_bytes(image)
        (place / "Dc2.png").write_bytes(image)
    assert (taken(folder), problems(folder)) == (IMAGES, {})
    bucket.upload(folder, "bin")
    offered = open_source(bucket.url("bin"), bucket.settings(), []).files()
    assert sorted(file.name for file in offered) == IMAGES
    for place in (folder / name, folder / "a" / name):
        shutil.rmtree(place)
        place.mkdir()
        (place / "1.png").write_bytes(image)
    assert taken(folder) == sorted([*IMAGES, f"a/{name}", f"{name}/1.png"])
    assert problems(folder) == {name: "nested_folder"}
    bucket.upload(folder, "class")
    found = list(open_source(bucket.url("class"), bucket.settings(), []).files())
    assert {file.name for file in found if file.label == name} == {f"{name}/1.png"}
    assert {file.name for file in found if file.problem is not None} == {f"a/{name}/1.png"}


IMAGES = ["a/001.png", "a/002.png", "b/003.png", "b/004.png"]


def test_litter_is_ignored_by_a_person_s_run(catalog: Catalog, folder: Path) -> None:
    assert taken(folder) == IMAGES
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.rejects) == (4, [])


def test_litter_is_ignored_by_a_source_and_counts_for_no_quarantine(catalog: Catalog, folder: Path) -> None:
    (batch_id,) = pull(catalog, folder)
    assert sorted(file.name for file in files(catalog, batch_id)) == IMAGES
    assert (batch(catalog, batch_id).reject_share, batch(catalog, batch_id).state) == (0, "waiting")


def test_litter_in_a_bucket_is_ignored_too(catalog: Catalog, folder: Path, bucket: Bucket) -> None:
    bucket.upload(settle(folder), "new")
    for key in ("new/", "new/a/", "new/a", "new/c/", "new/c", "new/a_$folder$", "new/b/@eaDir/003.png/SYNO@.jpg"):
        bucket.put(key, b"")
    (batch_id,) = pull(catalog, open_source(bucket.url("new"), bucket.settings(), []))
    assert sorted(file.name for file in files(catalog, batch_id) if file.name != "c") == IMAGES


@pytest.mark.parametrize("name", ["Amanita", "recycle", "thumbs", "@home", "#1", "$", "lost", "desktop", "macosx"])
def test_names_that_people_give_are_no_litter(name: str) -> None:
    assert not is_litter(name)


def test_rows_of_groups_that_name_no_file_are_one_line_each(catalog: Catalog, folder: Path, bucket: Bucket) -> None:
    names = [*(f"a/gone {number}.png" for number in range(30)), "\0", "/a/001.png", "", "../a/001.png"]
    names.append("".join(map(chr, range(0x4E00, 0x6000))))
    table = "file,group\n" + "".join(f"{name},walk\n" for name in [*names, *IMAGES[:2]])
    (folder / "groups.csv").write_text(table)
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.rejected) == (4, {"no_such_file": 35})
    assert {row.group_key for row in rows(catalog)} > {"walk"}
    bucket.upload(settle(folder), "new")
    for source in (DropFolder(folder), open_source(bucket.url("new"), bucket.settings(), [])):
        (batch_id,) = pull(catalog, source)
        assert reasons(catalog, batch_id) == {("duplicate", None): 4, ("rejected", "no_such_file"): 35}
        assert batch(catalog, batch_id).reject_share == 0
        assert pull(catalog, source) == []


def test_objects_that_differ_by_unicode_form_are_all_taken(catalog: Catalog, folder: Path, bucket: Bucket) -> None:
    images = [(folder / name).read_bytes() for name in IMAGES]
    for key, image in zip(
        ["c\u00e8pe/1.png", "ce\u0300pe/1.png", "c\u00e8pe/\u00fc.png", "c\u00e8pe/u\u0308.png"], images, strict=True
    ):
        bucket.put(f"new/{key}", image)
    bucket.put("new/groups.csv", "file,group\nce\u0300pe/1.png,walk\n".encode())
    source = open_source(bucket.url("new"), bucket.settings(), [])
    assert {(file.label, file.group) for file in source.files() if file.name.endswith("/1.png")} == {
        ("c\u00e8pe", "walk")
    }
    (batch_id,) = pull(catalog, source)
    assert reasons(catalog, batch_id) == {("waiting", "unknown_label"): 4}
    assert pull(catalog, source) == []


def test_a_folder_inside_a_class_is_one_line_and_the_rest_comes_in(catalog: Catalog, folder: Path) -> None:
    (folder / "a" / "more" / "still more").mkdir(parents=True)
    for number in range(9):
        (folder / "a" / "more" / f"{number}.png").write_bytes(b"-")
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.rejected) == (4, {"nested_folder": 1})
    assert report.rejects[0].path == str(folder / "a" / "more")


def test_foreign_entries_of_a_source_are_told_once_and_count_for_no_quarantine(catalog: Catalog, folder: Path) -> None:
    for number in range(8):
        (folder / "a" / f"part {number}").mkdir()
    (batch_id,) = pull(catalog, folder)
    assert reasons(catalog, batch_id) == {("rejected", "nested_folder"): 8, ("waiting", "unknown_label"): 4}
    assert batch(catalog, batch_id).reject_share == 0
    (folder / "a" / "part 1" / "new.png").write_bytes(b"-")
    assert pull(catalog, folder) == []


def test_folders_inside_a_class_of_a_bucket_are_one_line_each(catalog: Catalog, folder: Path, bucket: Bucket) -> None:
    bucket.upload(settle(folder), "new")
    for number in range(9):
        bucket.put(f"new/a/more/{number}.png", b"-")
    bucket.put("new/ /1.png", b"-")
    (batch_id,) = pull(catalog, open_source(bucket.url("new"), bucket.settings(), []))
    found = {file.name: file.reason for file in files(catalog, batch_id) if file.outcome == "rejected"}
    assert found == {"a/more/0.png": "nested_folder", " /1.png": "folder_name"}
    assert batch(catalog, batch_id).reject_share == 0


@pytest.mark.parametrize("place", [".", "a"])
@pytest.mark.parametrize("target", ["itself", "each other", ".", ".."])
def test_a_loop_of_links_stops_nothing(catalog: Catalog, folder: Path, place: str, target: str) -> None:
    where = folder / place
    if target == "each other":
        (where / "one").symlink_to("two")
        (where / "two").symlink_to("one")
    else:
        (where / "one").symlink_to("one" if target == "itself" else target)
    report = ingest_folder(catalog, folder, "pool")
    assert report.accepted == 4
    names = {"one", "two"} if target == "each other" else {"one"}
    assert {Path(reject.path).name for reject in report.rejects} == names
    (batch_id,) = pull(catalog, folder, CERTIFIED)
    assert batch(catalog, batch_id).state == "done"


def test_a_link_to_another_class_gives_no_image_two_labels(catalog: Catalog, folder: Path) -> None:
    (folder / "alias").symlink_to("a")
    (folder / ".store" / "c").mkdir(parents=True)
    (folder / ".store" / "c" / "9.png").write_bytes((folder / "a" / "001.png").read_bytes()[:-1] + b"x")
    (folder / "c").symlink_to(".store/c")
    (folder / "d").symlink_to(".store/c")
    (folder / "e").symlink_to("c")
    (folder / "up").symlink_to(".")
    assert problems(folder) == dict.fromkeys(["alias", "d", "e", "up"], "link_loop")
    assert sorted(path for path in taken(folder) if path.endswith("9.png")) == ["c/9.png"]
    told = {file.path.name: str(file.problem) for file in list_files(folder) if file.problem is not None}
    assert told["up"] == "expected a folder, got a link to the folder that it is in, which is taken already"
    assert told["alias"] == "expected a folder, got a link to 'a', which is taken already"


def test_what_lies_beside_the_class_folders_counts_for_no_quarantine(catalog: Catalog, folder: Path) -> None:
    for name in ("README.txt", "labels.xlsx", "1.png", "2.png", "3.png"):
        (folder / name).write_bytes(b"-")
    for name in ("outside", "outside.png"):
        (folder / name).symlink_to("../private")
        (folder / "a" / name).symlink_to("/private")
    (folder / "loop").symlink_to("loop")
    (batch_id,) = pull(catalog, folder)
    assert (batch(catalog, batch_id).reject_share, batch(catalog, batch_id).state) == (0, "waiting")
    expected = {"outside_class_folder": 5, "link_outside": 4, "link_loop": 1}
    found = {reason: count for (outcome, reason), count in reasons(catalog, batch_id).items() if outcome == "rejected"}
    assert found == expected
    assert ingest_folder(catalog, folder, "pool").rejected == expected
    (loop,) = [file for file in files(catalog, batch_id) if file.name == "loop"]
    assert loop.message == "expected a folder, got a link that leads to itself"


@pytest.mark.parametrize(
    ("name", "fault"), [(b"Bl\xe4tterpilz", "not UTF-8"), (b" ", "blank"), (b"a\x07b", "control characters")]
)
def test_a_folder_whose_name_is_no_class_is_one_line(catalog: Catalog, folder: Path, name: bytes, fault: str) -> None:
    odd = Path(os.fsdecode(bytes(folder) + b"/" + name))
    odd.mkdir()
    (odd / "1.png").write_bytes(b"-")
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.rejected) == (4, {"folder_name": 1})
    assert fault in report.rejects[0].message
    report.rejects[0].path.encode()
    (batch_id,) = pull(catalog, folder)
    assert ("rejected", "folder_name") in reasons(catalog, batch_id)


def test_a_folder_of_foreign_entries_alone_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"Did you mean to ingest '.*train'\?"):
        list_files(tmp_path)
    with pytest.raises(SourceError, match="' ': expected a folder with the name of a class, got a blank name"):
        (tmp_path / "x" / " ").mkdir(parents=True)
        list_files(tmp_path / "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_folders_that_nobody_may_list_or_enter_are_one_line_each() -> None:
    script = """
import json, os, sys
from pathlib import Path
from ml.ingest.layout.class_folders import list_files, read_content
from ml.errors import InvalidImageError
os.seteuid(65534)
found = {}
for file in list_files(Path(sys.argv[1])):
    try:
        if file.problem: raise file.problem
        read_content(file.path)
        found[file.path.name] = "read"
    except InvalidImageError as error:
        found[file.path.name] = error.reason
print(json.dumps(found))
"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for label, mode in {"open": 0o755, "closed": 0o000, "listed": 0o744, "lost+found": 0o700}.items():
            (folder / label).mkdir()
            (folder / label / f"{label}.png").write_bytes(b"-")
            (folder / label).chmod(mode)
        (folder / "open" / "secret.png").write_bytes(b"-")
        (folder / "open" / "secret.png").chmod(0)
        done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "open.png": "read",
        "secret.png": "unreadable",
        "closed": "unreadable_folder",
        "listed.png": "unreadable",
    }


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["closed", "a"], ids=["a class", "a part of a class"])
def test_files_that_nobody_may_look_at_stop_no_ingestion(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "closed.png").write_bytes((folder / "a" / "001.png").read_bytes())
    settle(folder)
    for call in ("stat", "lstat", "open"):
        monkeypatch.setattr(os, call, refusing(getattr(os, call), number))
    monkeypatch.setattr("io.open", refusing(open, number))
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.rejected) == (4, {"unreadable": 1})
    (batch_id,) = pull(catalog, DropFolder(folder))
    assert reasons(catalog, batch_id) == {("duplicate", None): 4, ("rejected", "refused"): 1}


def refusing(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Return a call of the system that fails for the file closed.png."""

    def called(path: Any, *args: Any, **options: Any) -> Any:
        if isinstance(path, str | os.PathLike) and os.fspath(path).endswith("closed.png"):
            raise OSError(number, os.strerror(number), path)
        return call(path, *args, **options)

    return called


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_class_folder_that_may_be_listed_and_not_entered_stops_no_ingestion(catalog: Catalog, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        shared = settle(Path(shutil.copytree(folder, Path(name) / "drop")))
        (shared / "listed").mkdir()
        (shared / "listed" / "1.png").write_bytes(b"-")
        Path(name).chmod(0o755)
        (shared / "listed").chmod(0o744)
        (Path(name) / "store").mkdir()
        (Path(name) / "store").chmod(0o777)
        catalog = replace(catalog, store=FolderStore(Path(name) / "store"))
        os.seteuid(65534)
        try:
            report = ingest_folder(catalog, shared, "pool")
            (batch_id,) = pull(catalog, DropFolder(shared))
        finally:
            os.seteuid(0)
    assert (report.accepted, report.rejected) == (4, {"unreadable": 1})
    assert reasons(catalog, batch_id) == {("duplicate", None): 4, ("rejected", "refused"): 1}


@pytest.mark.parametrize("name", [b"Bl\xe4tter", b"\xff", b"new\x80\xfe photos", "Blätter 🍄".encode()], ids=repr)
def test_a_folder_with_any_name_of_its_own_is_ingested(catalog: Catalog, folder: Path, name: bytes) -> None:
    odd = folder.rename(Path(os.fsdecode(bytes(folder.parent) + b"/" + name)))
    assert ingest_folder(catalog, odd, "pool").accepted == 4
    assert {row.source for row in rows(catalog)} == {f"folder:{printable(os.fsdecode(name))}"}
    (batch_id,) = pull(catalog, DropFolder(settle(odd)))
    assert reasons(catalog, batch_id) == {("duplicate", None): 4}
    (odd / "groups.csv").write_text("nothing")
    with pytest.raises(SourceError, match="expected the header file,group") as refusal:
        ingest_folder(catalog, odd, "pool")
    str(refusal.value).encode()


def test_a_source_that_is_a_loop_itself_is_told_when_it_is_listed(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for url in (str(loop), loop.as_uri()):
        with pytest.raises(SourceError, match="is no folder"):
            list(open_source(url, Settings(), []).files())
    with pytest.raises(SourceError, match="is no folder"):
        list_files(loop)
    with pytest.raises(SettingsError, match="MYCOFLOW_INGEST_SOURCES: expected a folder, got '~nobody-at-all/x'"):
        open_source("~nobody-at-all/x", Settings(), [])


VARIANTS = ["Amanita muscaria", "amanita muscaria", "Amanita_muscaria", " Amanita  muscaria ", "\uff21manita muscaria"]


def test_names_that_differ_by_case_blanks_underscores_or_form_are_one_class() -> None:
    assert len({same_class_key(name) for name in VARIANTS}) == 1
    assert same_class_key("c\u00e8pe") == same_class_key("CE\u0300PE")
    assert same_class_key("Straße") == same_class_key("STRASSE")
    assert len({same_class_key(name) for name in ("a b", "ab", "a-b", "a.b")}) == 4
    assert find_fault("Amanita") is None


@pytest.mark.parametrize(
    "hidden", ["\u200d", "\u200c", "\ufe0f", "\u034f", "\u3164", "\u2800", "\U000e0101"], ids=ascii
)
def test_characters_that_nobody_sees_make_no_other_class_and_no_name(hidden: str) -> None:
    for name in (f"Amanita{hidden}", f"{hidden}amanita", f"Ama{hidden}{hidden}nita"):
        assert same_class_key(name) == same_class_key("Amanita")
    assert find_fault(hidden) == find_fault(f" {hidden}{hidden}") == "a blank name"


def test_names_in_use_win_over_names_that_were_only_settled() -> None:
    spellings = ClassSpellings(["a b"])
    assert [spellings.settle(name) for name in ("A_B", "C", "D")] == ["a b", "C", "D"]
    assert not spellings.knows(["a b", "C"])
    spellings.learn(["c", "A B"])
    assert [spellings.settle(name) for name in ("C", "D", "d", "a_b", "A B")] == ["c", "D", "D", "a b", "A B"]


def test_a_name_that_is_refused_becomes_no_spelling() -> None:
    spellings = ClassSpellings()
    refused = ["Amanita\n", "\tamanita", "a" * 201, "\u2028amanita", "\u3000"]
    assert [spellings.settle(name) for name in refused] == refused
    assert [spellings.settle(name) for name in ("Amanita", "amanita", "\u3000amanita")] == ["Amanita"] * 3


def test_a_source_warns_of_spellings_before_it_takes_a_file(
    catalog: Catalog, drop_folder: Drop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = drop_folder({"Amanita muscaria": [1, 2, 3], "amanita_muscaria": [4], "AMANITA MUSCARIA": [5]})
    seen: list[int] = []
    inspect = Inspector.inspect

    def inspected(self: Inspector, file: ArrivedFile) -> Inspected:
        seen.append(sum("which is the same name" in record.getMessage() for record in caplog.records))
        return inspect(self, file)

    monkeypatch.setattr(Inspector, "inspect", inspected)
    pull(catalog, folder)
    assert seen == [2] * 5


def test_spellings_that_are_in_use_stay_apart() -> None:
    spellings = ClassSpellings(["a b", "a_b"])
    assert [spellings.settle(name) for name in ("a b", "a_b", "A B", "c", "C")] == ["a b", "a_b", "a b", "c", "c"]


def test_folders_with_one_name_are_one_class_and_a_warning_comes_first(
    catalog: Catalog, drop_folder: Drop, caplog: pytest.LogCaptureFixture
) -> None:
    folder = drop_folder({"Amanita muscaria": [1, 2, 3], "amanita_muscaria": [4], "AMANITA MUSCARIA": [5]})
    seen: list[list[str]] = []

    def look(_done: int, _total: int) -> None:
        seen.append([record.getMessage() for record in caplog.records if record.levelno == logging.WARNING])

    report = ingest_folder(catalog, folder, "pool", on_progress=look)
    assert report.accepted == 5
    assert {row.label for row in rows(catalog)} == {"Amanita muscaria"}
    assert len(seen[0]) == 2
    assert "The class 'amanita_muscaria' is taken as 'Amanita muscaria', which is the same name." in seen[0]


def test_a_later_source_uses_the_spelling_that_is_known(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path, textured: Callable[..., Image.Image], encode: Encode
) -> None:
    ingest_folder(catalog, drop_folder({"Amanita muscaria": [1]}).rename(tmp_path / "first"), "pool")
    folder = tmp_path / "later" / "amanita_muscaria"
    folder.mkdir(parents=True)
    (folder / "2.png").write_bytes(encode(textured(2), "PNG"))
    (batch_id,) = pull(catalog, folder.parent)
    assert reasons(catalog, batch_id) == {("waiting", "certification"): 1}
    (tmp_path / "again" / "AMANITA  MUSCARIA").mkdir(parents=True)
    (tmp_path / "again" / "AMANITA  MUSCARIA" / "1.png").write_bytes(encode(textured(3), "PNG"))
    assert ingest_folder(catalog, tmp_path / "again", "evaluation").accepted == 1
    assert {row.label for row in rows(catalog)} == {"Amanita muscaria"}


@pytest.mark.parametrize("is_source", [False, True], ids=["a person", "a source"])
@pytest.mark.parametrize("other", ["amanita_muscaria", "AMANITA MUSCARIA", "Amanita\u200d muscaria"], ids=ascii)
def test_of_two_ingestions_at_once_the_first_to_write_settles_the_spelling(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_source: bool, other: str
) -> None:
    first = drop_folder({"Amanita muscaria": [1, 2]}).rename(tmp_path / "first")
    second = drop_folder({other: [3, 4], "b": [5]})
    inspect = Inspector.inspect

    def inspected(self: Inspector, file: ArrivedFile) -> Inspected:
        monkeypatch.setattr(Inspector, "inspect", inspect)
        found = inspect(self, file)
        ingest_folder(catalog, first, "pool")
        return found

    monkeypatch.setattr(Inspector, "inspect", inspected)
    if is_source:
        pull(catalog, second)
    else:
        assert ingest_folder(catalog, second, "pool").accepted == 3
    assert sorted({row.label for row in rows(catalog)}) == ["Amanita muscaria", "b"]


def test_a_source_that_states_two_spellings_waits_under_one(
    catalog: Catalog, drop_folder: Drop, textured: Callable[..., Image.Image], encode: Encode
) -> None:
    folder = drop_folder({"New species": [1]})
    pull(catalog, folder)
    (folder / "new_species").mkdir()
    (folder / "new_species" / "2.png").write_bytes(encode(textured(2), "PNG"))
    pull(catalog, folder)
    assert {row.label for row in rows(catalog)} == {"New species"}


def test_settings_name_a_folder_with_any_name(tmp_path: Path, drop_folder: Drop) -> None:
    odd = drop_folder({"a": [1]}).rename(tmp_path / "it's 100% [new] ?#")
    for url in (str(odd), odd.as_uri()):
        assert [file.name for file in open_source(url, Settings(), []).files()] == ["a/001.png"]

"""Reading a folder of classes, and what its groups.csv may say."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.errors import SourceError
from ml.ingest.layout.class_folders import list_files

MakeFolder = Callable[[str, dict[str, list[int]]], Path]


def test_classes_are_mixed_in_their_overall_proportions(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"many": list(range(30)), "few": list(range(30, 40))})
    labels = [file.label for file in list_files(folder)]
    for start in range(0, 40, 8):
        assert Counter(labels[start : start + 8]) == {"many": 6, "few": 2}


def test_the_order_is_always_the_same(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [3, 1, 2], "b": [6, 5]})
    assert [file.path.name for file in list_files(folder)] == ["001.png", "005.png", "002.png", "006.png", "003.png"]


def test_hidden_files_and_folders_are_left_out(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1], ".git": [2]})
    (folder / "a" / ".DS_Store").write_bytes(b"")
    assert [file.path.name for file in list_files(folder)] == ["001.png"]


def test_two_spellings_of_an_accent_are_one_class(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"c\u00e8pe": [1], "ce\u0300pe": [2]})
    assert {file.label for file in list_files(folder)} == {"c\u00e8pe"}


@pytest.mark.parametrize("classes", [{}, {"a": []}, {".hidden": [1]}])
def test_a_folder_without_images_of_classes_is_refused(classes: dict[str, list[int]], image_folder: MakeFolder) -> None:
    folder = image_folder("data", classes)
    folder.mkdir(exist_ok=True)
    with pytest.raises(SourceError, match="expected one sub-folder per class"):
        list_files(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder: expected one sub-folder per class"):
        list_files(tmp_path / "nowhere")


def test_a_folder_of_parts_is_not_taken_for_a_folder_of_classes(image_folder: MakeFolder, tmp_path: Path) -> None:
    image_folder("data/train", {"a": [1]})
    with pytest.raises(SourceError, match=r"Did you mean to ingest .*train"):
        list_files(tmp_path / "data")


def test_groups_come_from_the_table(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1, 2], "b": [3]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\nb/003.png,walk 7\n", encoding="utf-8-sig")
    groups = {file.path.name: file.group for file in list_files(folder)}
    assert groups == {"001.png": "walk 7", "002.png": None, "003.png": "walk 7"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected the header file,group, got 'nothing'"),
        ("name;group\n", "expected the header file,group, got 'name;group'"),
        ("file,group\na/001.png\n", "row 2: expected a file and a group"),
        ("file,group\na/001.png,\n", "row 2: expected a file and a group"),
        ("file,group\na/001.png," + 201 * "g", "row 2: expected a file and a group of 1 to 200 characters"),
        ("file,group\na/001.png,g\na/001.png,h\n", "row 3: 'a/001.png' is in group 'g' already, got 'h'"),
    ],
)
def test_a_wrong_table_of_groups_is_refused(table: str, message: str, image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1, 2]})
    (folder / "groups.csv").write_text(table)
    with pytest.raises(SourceError, match=message):
        list_files(folder)


@pytest.mark.parametrize("name", ["a/009.png", "../data/a/001.png", "b/001.png", "a\\001.png", "001.png", "/a/001.png"])
def test_a_row_that_names_no_file_is_one_problem_and_the_others_count(name: str, image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1, 2]})
    (folder / "groups.csv").write_text(f"file,group\n{name},g\na/001.png,g\n{name},h\n")
    (problem, *others) = list_files(folder)
    assert problem.problem is not None
    assert problem.problem.reason == "no_such_file"
    assert f"row 4 names {name!r}: expected an image file" in str(problem.problem)
    assert [(file.label, file.group) for file in others] == [("a", "g"), ("a", None)]


@pytest.mark.parametrize(
    "table",
    [
        "file,group\na/001.png,g\n\n",
        "file,group\n\n\na/001.png,g\n",
        "\r\nfile,group\r\na/001.png,g\r\n,\r\n",
        "file,group\n \na/001.png,g\n , ,\n",
    ],
)
def test_blank_rows_of_a_table_are_skipped(table: str, image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1]})
    (folder / "groups.csv").write_text(table)
    assert [file.group for file in list_files(folder)] == ["g"]


def test_a_message_counts_blank_rows_too(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1]})
    (folder / "groups.csv").write_text("file,group\n\na/001.png\n")
    with pytest.raises(SourceError, match=r"groups\.csv', row 3: expected a file and a group"):
        list_files(folder)


def test_a_table_that_is_not_utf8_is_refused(image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1]})
    (folder / "groups.csv").write_bytes(b"file,group\na/001.png,\xff\n")
    with pytest.raises(SourceError, match="expected a CSV file in UTF-8"):
        list_files(folder)

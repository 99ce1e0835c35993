"""How the demo divides a folder of photos, and what it says before it starts anything."""

import csv
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.errors import MycoflowError, SettingsError, SourceError
from ml.settings import Settings
from stack.demo.demo_images import DemoImages, demand_accepted
from stack.demo.demo_photos import photo_images
from stack.environment import ROOT


def write_photos(folder: Path, label: str, count: int, groups: int | None = None) -> None:
    """Write different photos of a class; with a number of groups, also their rows in groups.csv."""
    (folder / label).mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        random = np.random.default_rng([len(list(folder.rglob("*.png"))), count])
        name = f"{label}/{index:03d}.png"
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / name)
        if groups is not None:
            rows.append((name, f"{label}-{index % groups}"))
    is_new = not (folder / "groups.csv").exists()
    with (folder / "groups.csv").open("a", newline="") as file:
        csv.writer(file).writerows([("file", "group")] * is_new + rows)


def read(folder: Path) -> tuple[DemoImages, list[str]]:
    return photo_images(folder, folder.parent / "home" / "demo", lambda _done, _total: None)


def parts_of(images: DemoImages) -> dict[str, dict[Path, str | None]]:
    return {
        part.name: {file.path: file.label for file in part.files}
        for part in (images.evaluation, images.first, images.later)
    }


def test_each_class_is_in_every_part_and_no_group_is_divided(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "Amanita muscaria", 40, groups=13)
    write_photos(tmp_path / "photos", "boletus", 30)
    write_photos(tmp_path / "photos", "amanita_muscaria", 10)  # the same class
    images, left_out = read(tmp_path / "photos")
    parts = parts_of(images)
    assert left_out == []
    assert sum(map(len, parts.values())) == 80
    for name, share in {"evaluation": 0.2, "first": 0.4, "later": 0.4}.items():
        counts = Counter(parts[name].values())
        assert set(counts) == {"Amanita muscaria", "boletus"}
        assert abs(counts["Amanita muscaria"] / 50 - share) <= 0.1
        assert abs(counts["boletus"] / 30 - share) <= 0.1
    with (tmp_path / "photos" / "groups.csv").open() as file:
        groups = dict(list(csv.reader(file))[1:])
    parts_of_group = defaultdict(set)
    for name, files in parts.items():
        for path in files:
            key = path.relative_to(tmp_path / "photos").as_posix()
            parts_of_group[groups.get(key, key)].add(name)
    assert {len(found) for found in parts_of_group.values()} == {1}

    shutil.copytree(tmp_path / "photos", tmp_path / "elsewhere")
    again = parts_of(read(tmp_path / "elsewhere")[0])
    assert [{path.name for path in files} for files in again.values()] == [
        {path.name for path in files} for files in parts.values()
    ]


def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for label in ("amanita", "boletus"):
        write_photos(photos, label, 12)
    write_photos(photos, "russula", 9)
    write_photos(photos, "suillus", 20, groups=3)
    (photos / "amanita" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    (photos / "amanita" / "empty.png").touch()
    (photos / "boletus" / "notes.txt").write_text("found near the lake")
    shutil.copy(photos / "boletus" / "003.png", photos / "boletus" / "copy of 3.png")
    (photos / "boletus" / "old").mkdir()
    shutil.copy(photos / "boletus" / "003.png", photos / "loose.png")
    images, left_out = read(photos)
    assert {label for files in parts_of(images).values() for label in files.values()} == {"amanita", "boletus"}
    assert sum(map(len, parts_of(images).values())) == 24
    said = "\n".join(left_out)
    for name in ("torn.jpg", "empty.png", "notes.txt", "copy of 3.png", "boletus/old", "loose.png"):
        assert name in said
    assert "'russula': too small a class, 9 photos in 9 groups" in left_out
    assert "'suillus': too small a class, 20 photos in 3 groups" in left_out
    assert len(left_out) == 8


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"amanita": 30}, ["Got 1 such class."]),
        ({"amanita": 9, "boletus": 9}, ["Got 0 such classes", "'boletus': 9 photos in 9 groups"]),
        ({"amanita": 30, "boletus": 4}, ["Got 1 such class, and smaller ones: 'boletus': 4 photos"]),
    ],
)
def test_too_few_photos_are_refused_with_the_number_needed(
    tmp_path: Path, classes: dict[str, int], words: list[str]
) -> None:
    for label, count in classes.items():
        write_photos(tmp_path / "photos", label, count)
    with pytest.raises(SettingsError, match="at least 2 sub-folders, one per class, with 10 readable photos") as raised:
        read(tmp_path / "photos")
    for each in words:
        assert each in str(raised.value)


def test_a_folder_of_folders_of_classes_is_refused_with_the_one_that_is_perhaps_meant(tmp_path: Path) -> None:
    for label in ("amanita", "boletus"):
        write_photos(tmp_path / "photos" / "initial", label, 12)
    (tmp_path / "photos" / "initial" / "groups.csv").unlink()
    with pytest.raises(SourceError, match="Did you mean to ingest"):
        read(tmp_path / "photos")


def test_a_part_of_which_most_is_refused_ends_the_demo(tmp_path: Path) -> None:
    for label in ("amanita", "boletus"):
        write_photos(tmp_path / "photos", label, 20)
    later = read(tmp_path / "photos")[0].later
    demand_accepted(later, 8, {"near_evaluation": 8})
    with pytest.raises(MycoflowError, match=r"half of the 16 images of the part 'later'.*got 7 \(near_evaluation: 9\)"):
        demand_accepted(later, 7, {"near_evaluation": 9})


def test_photos_in_the_folder_that_the_demo_empties_are_not_deleted(
    home: Path, processes_on: Callable[[Path], list[str]]
) -> None:
    photos = home / "demo" / "digits" / "evaluation"
    for label in ("amanita", "boletus"):
        write_photos(photos, label, 12)
    (home / "demo" / "made-by-the-demo").touch()
    link = home / "my photos"
    link.symlink_to(photos)
    for folder, words in ((photos, "outside"), (link, "outside"), (home / "nowhere", "is no folder")):
        said = _demo(home, folder)
        assert words in " ".join(said.split())
    assert len(list(photos.rglob("*.png"))) == 24
    assert processes_on(home) == []


def _demo(home: Path, photos: Path) -> str:
    settings = {"MYCOFLOW_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stack", "demo", "--photos", str(photos)]
    done = subprocess.run(command, env=settings, cwd=home, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_make_hands_on_a_folder_with_blanks_and_quotes() -> None:
    command = ["make", "--dry-run", "-o", "setup", "demo", "PHOTOS=../Bob's photos"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert r"demo --photos '../Bob'\''s photos'" in said


def test_a_demo_of_photos_needs_fewer_arrivals_than_it_has(tmp_path: Path) -> None:
    for label in ("amanita", "boletus"):
        write_photos(tmp_path / "photos", label, 10)
    images = read(tmp_path / "photos")[0]
    assert images.settings == {"new_images_threshold": 4}
    assert len(images.later.files) == 8
    assert Settings.model_fields["new_images_threshold"].default == 500

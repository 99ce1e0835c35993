"""Every file of a version is checked against one list, whose own hash is in MLflow's database."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.errors import ModelLoadError
from ml.registry.file_hashes import FILE_NAME, FILES_SHA256_TAG, check_files, write_hashes
from ml.registry.mlflow_registry import Registry

FILES = ("model.onnx", "head.npz", "model.json")


def client_of(registry: Registry) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(registry._tracking_uri, registry_uri=registry._tracking_uri)


def log_version(registry: Registry, bundle: Path, attempt_id: int) -> str:
    with registry.start_run(attempt_id) as run:
        run.log_model(bundle)
    registry.register(run.mlflow_run_id, {})
    return run.mlflow_run_id


@pytest.fixture
def run_id(registry: Registry, bundle: Path) -> str:
    return log_version(registry, bundle, 1)


def stored(registry: Registry, version: int = 1) -> Path:
    """The folder of a version's files in the artifact store."""
    uri = client_of(registry).get_model_version_download_uri("mycoflow", str(version))
    return Path(uri.removeprefix("file://")) / "artifacts"


def reverse_classes(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "classes": card["classes"][::-1]}))


def flip_a_bit(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "reversed classes": reverse_classes,
    **{f"flipped {name}": lambda folder, name=name: flip_a_bit(folder, name) for name in (*FILES, FILE_NAME)},
    **{f"no {name}": lambda folder, name=name: (folder / name).unlink() for name in (*FILES, FILE_NAME)},
    **{f"empty {name}": lambda folder, name=name: (folder / name).write_bytes(b"") for name in (*FILES, FILE_NAME)},
    "truncated": lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-100]),
    "an extra file": lambda folder: (folder / "extra.bin").write_bytes(b"x"),
    "swapped files": lambda folder: shutil.copy(folder / "head.npz", folder / "model.onnx"),
    "a list that was made again": lambda folder: (reverse_classes(folder), write_hashes(folder)),
    "a list of other text": lambda folder: (folder / FILE_NAME).write_text("all is well\n"),
}


def test_damage_in_the_artifact_store_is_refused(registry: Registry, run_id: str, tmp_path: Path) -> None:
    folder = stored(registry)
    whole = shutil.copytree(folder, tmp_path / "whole")
    for name, damage in DAMAGE.items():
        damage(folder)
        for use in (
            lambda: registry.download(1, tmp_path / "models"),
            lambda: registry.download_logged(run_id, tmp_path),
        ):
            with pytest.raises(ModelLoadError) as refused:
                use()
            assert "estore the" in str(refused.value), name
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    assert list((tmp_path / "models").iterdir()) == []
    registry.download(1, tmp_path / "models")


@pytest.mark.usefixtures("run_id")
def test_a_damaged_local_copy_is_fetched_again(registry: Registry, tmp_path: Path) -> None:
    copy = registry.download(1, tmp_path)
    whole = {file.name: file.read_bytes() for file in copy.iterdir()}
    for name, damage in {**DAMAGE, "no folder": shutil.rmtree}.items():
        damage(copy)
        assert registry.download(1, tmp_path) == copy
        assert {file.name: file.read_bytes() for file in copy.iterdir()} == whole, name


@pytest.mark.usefixtures("run_id")
def test_a_file_in_place_of_a_local_copy_is_replaced(registry: Registry, tmp_path: Path) -> None:
    copy = registry.download(1, tmp_path)
    shutil.rmtree(copy)
    copy.write_text("no folder")
    assert registry.download(1, tmp_path) == copy
    assert (copy / "model.onnx").is_file()


@pytest.mark.usefixtures("run_id")
def test_a_file_in_place_of_the_folder_of_copies_is_said(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("no folder")
    with pytest.raises(ModelLoadError, match="Move away what is there"):
        registry.download(1, tmp_path / "models")


def other_bundle(bundle: Path, folder: Path) -> Path:
    """A bundle that loads as well, but answers with other classes."""
    shutil.copytree(bundle, folder)
    reverse_classes(folder)
    return folder


@pytest.mark.usefixtures("run_id")
def test_the_files_of_another_version_are_refused_and_not_kept(
    registry: Registry, bundle: Path, tmp_path: Path
) -> None:
    log_version(registry, other_bundle(bundle, tmp_path / "other"), 2)
    copies = [registry.download(version, tmp_path / "models") for version in (1, 2)]
    shutil.rmtree(copies[0])
    copies[1].rename(copies[0])
    assert registry.download(1, tmp_path / "models") == copies[0]
    first = json.loads((copies[0] / "model.json").read_text())["classes"]
    assert first == json.loads((bundle / "model.json").read_text())["classes"]
    shutil.rmtree(copies[0])
    shutil.rmtree(stored(registry, 1))
    shutil.copytree(stored(registry, 2), stored(registry, 1))
    with pytest.raises(ModelLoadError, match="The files were changed after the training"):
        registry.download(1, tmp_path / "models")


def test_a_tag_that_was_changed_or_a_version_registered_by_hand_is_compared_with_the_run(
    registry: Registry, run_id: str, tmp_path: Path
) -> None:
    client = client_of(registry)
    client.delete_model_version_tag("mycoflow", "1", FILES_SHA256_TAG)
    reverse_classes(stored(registry))
    write_hashes(stored(registry))
    with pytest.raises(ModelLoadError, match="The files were changed"):
        registry.download(1, tmp_path)
    client.set_model_version_tag("mycoflow", "1", FILES_SHA256_TAG, "../../outside")
    with pytest.raises(ModelLoadError, match="Expected a SHA-256 in the tag"):
        registry.download(1, tmp_path)
    client.set_model_version_tag("mycoflow", "1", FILES_SHA256_TAG, "0" * 64)
    with pytest.raises(ModelLoadError, match="The files were changed"):
        registry.download(1, tmp_path)


def test_a_version_of_an_older_release_has_no_list(registry: Registry, run_id: str, tmp_path: Path) -> None:
    client_of(registry).delete_model_version_tag("mycoflow", "1", FILES_SHA256_TAG)
    client_of(registry).delete_tag(run_id, FILES_SHA256_TAG)
    (stored(registry) / FILE_NAME).unlink()
    copy = registry.download(1, tmp_path)
    (copy / "head.npz").unlink()
    assert registry.download(1, tmp_path) == copy
    assert (copy / "head.npz").is_file()


def test_the_list_is_what_sha256sum_reads(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "copy")
    write_hashes(folder)
    subprocess.run(["sha256sum", "--check", "--strict", FILE_NAME], cwd=folder, check=True, capture_output=True)
    listed = (folder / FILE_NAME).read_text().splitlines()
    assert [line.split("  ")[1] for line in listed] == sorted({file.name for file in bundle.iterdir()} - {FILE_NAME})
    check_files(folder, None)


def test_any_mlflow_client_refuses_a_changed_network(registry: Registry, run_id: str) -> None:
    import mlflow

    folder = stored(registry).parent
    mlflow.pyfunc.load_model(str(folder))
    flip_a_bit(folder / "artifacts", "model.onnx")
    with pytest.raises(ValueError, match="SHA256SUMS"):
        mlflow.pyfunc.load_model(str(folder))
    assert run_id

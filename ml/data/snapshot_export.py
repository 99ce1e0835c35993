"""Write a snapshot's images to a folder or an archive, by fold and class, with a manifest that says what each is."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, ZipInfo

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.object_store import image_key
from ml.catalog.snapshots.snapshot_contents import Member, SnapshotSummary, load_members, summarise_snapshot
from ml.errors import ImageStoreError, SnapshotExportError
from ml.progress import Progress

MANIFEST = "manifest.json"
NO_CLASS = "no class"  # folder of the images that show none
_BATCH_IMAGES = 32
_READERS = 8  # a remote store answers slowly
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}
_FOLDER_BYTES = 255  # what file systems allow
# What would leave the folder, hide it, or mean something else when it is read back.
_UNSAFE = re.compile(r"^\.|[/\\%\x00-\x1f]")

Write = Callable[[str, bytes], None]


def export_snapshot(catalog: Catalog, snapshot_id: int, target: Path, on_progress: Progress | None = None) -> int:
    """Write `<fold>/<class>/<hash>.<jpg or png>` for each image, and `manifest.json`. All of it is there, or nothing.

    The images are as they are stored: upright, without metadata. The same snapshot gives the same bytes each time.

    Args:
        target: a path where nothing is yet; an archive when it ends in .zip, else a folder.
        on_progress: called with (images written, images in all).
    Returns: the number of images.
    Raises:
        SnapshotError: there is no such snapshot.
        SnapshotExportError: something is there already, or it cannot be written.
        ImageStoreError: the bytes of an image cannot be read.
    """
    with catalog.begin() as connection:
        summary = summarise_snapshot(connection, snapshot_id)
        members = [member for member in load_members(connection, snapshot_id) if member.image_sha256 is not None]
    with _translated_errors(target), _open_target(target) as write:
        entries = []
        for member, content in _read(catalog, members):
            entries.append(_entry(member, content))
            write(entries[-1]["file"], content)
            if on_progress is not None:
                on_progress(len(entries), len(members))
        write(MANIFEST, _manifest(summary, entries))
    return len(members)


def file_name(member: Member) -> str:
    """Where an image lies in an export: in the folder of its label, each class named once.

    What no folder may be called is written as %XX, and what is too long is cut off. The manifest has all of it.
    """
    names = Annotation(tuple(dict.fromkeys(member.annotation.class_names)))
    folder = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", names.label) or NO_CLASS
    folder = folder.encode()[:_FOLDER_BYTES].decode(errors="ignore")
    return f"{member.fold}/{folder}/{member.item_id}{_SUFFIXES[str(member.media_type)]}"


def _read(catalog: Catalog, members: Sequence[Member]) -> Iterator[tuple[Member, bytes]]:
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(members), _BATCH_IMAGES):
            batch = members[start : start + _BATCH_IMAGES]
            contents = readers.map(lambda member: catalog.store.get(image_key(str(member.image_sha256))), batch)
            yield from zip(batch, contents, strict=True)


def _entry(member: Member, content: bytes) -> dict[str, Any]:
    return {
        "file": file_name(member),
        "file_sha256": sha256(content).hexdigest(),
        "sha256": member.item_id,  # of the bytes as received: the image's name everywhere else
        "label": member.annotation.label,
        **({} if member.annotation.detail is None else {"annotation": member.annotation.detail}),
        "label_origin": member.label_origin,
        "fold": member.fold,
        "group": member.group_key,
        "source": member.source,
        "received_at": member.received_at.astimezone(UTC).isoformat(),
    }


def _manifest(summary: SnapshotSummary, entries: Sequence[dict[str, Any]]) -> bytes:
    head = {name: value for name, value in asdict(summary).items() if name not in ("id", "cutoff", "model_versions")}
    pinned = {"snapshot": summary.id, "cutoff": summary.cutoff.astimezone(UTC).isoformat()}
    return json.dumps(pinned | head | {"images": entries}, indent=1, ensure_ascii=False).encode()


@contextmanager
def _translated_errors(target: Path) -> Iterator[None]:
    if target.exists():
        raise SnapshotExportError(f"Expected a path where nothing is yet, got {target}. Name another, or remove it.")
    try:
        yield
    except ImageStoreError:
        raise
    except OSError as error:
        raise SnapshotExportError(
            f"Could not write {target}: {error.strerror}. Expected a path in a writable folder with free space."
        ) from error


@contextmanager
def _open_target(target: Path) -> Iterator[Write]:
    """Gives a function that writes a file. What was written comes to its place at the end, at once."""
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.absolute().parent) as folder:
        unfinished = Path(folder) / "unfinished"
        if target.suffix == ".zip":
            with ZipFile(unfinished, "w") as archive:
                yield lambda name, content: archive.writestr(_archived(name), content)
        else:
            yield lambda name, content: _write_file(unfinished / name, content)
        unfinished.rename(target)


def _archived(name: str) -> ZipInfo:
    """An entry without a date. Its contents stay as they are: images are compressed already."""
    entry = ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

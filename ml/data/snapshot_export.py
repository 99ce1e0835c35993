"""Export a snapshot to a folder or a ZIP archive: images by fold and class, and a manifest that describes each item."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ml.catalog.items.texts import load_texts
from ml.catalog.object_store import image_key
from ml.catalog.snapshots.snapshot_contents import Member, SnapshotSummary, load_members, summarise_snapshot
from ml.errors import ImageStoreError, SnapshotExportError
from ml.progress import Progress

MANIFEST = "manifest.json"
NO_CLASS = "no class"  # folder of the images that show none
_BATCH_IMAGES = 32
_READERS = 8  # parallel reads, because a remote store answers slowly
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}
_FOLDER_BYTES = 255  # the limit of file systems
# Characters that would leave the folder, hide it, or change the name when it is decoded.
_UNSAFE = re.compile(r"^\.|[/\\%\x00-\x1f]")

Write = Callable[[str, bytes], None]


def export_snapshot(catalog: Catalog, snapshot_id: int, target: Path, on_progress: Progress | None = None) -> int:
    """Write `<fold>/<class>/<hash>.<jpg or png>` for each image, and `manifest.json`. After an error, nothing is left.

    The files are the stored images: upright, without metadata. The manifest has the texts, and an item without an image
    has no file. The export of a snapshot always has the same bytes, unless a photo was erased since; the manifest says
    so.

    Args:
        target: a path that does not exist; a ZIP archive if it ends in .zip, else a folder.
        on_progress: called with (items written, items in all).
    Returns: the number of items.
    Raises:
        SnapshotError: no snapshot has this id.
        SnapshotExportError: the target exists already, or cannot be written.
        ImageStoreError: an image cannot be read.
    """
    with catalog.begin() as connection:
        summary = summarise_snapshot(connection, snapshot_id)
        members = load_members(connection, snapshot_id)
        texts = load_texts(connection, {member.text_sha256 for member in members if member.text_sha256 is not None})
    with _translated_errors(target), _open_target(target) as write:
        entries = []
        for member, content in _read(catalog, members):
            entries.append(_entry(member, content, texts))
            if content is not None:
                write(entries[-1]["file"], content)
            if on_progress is not None:
                on_progress(len(entries), len(members))
        write(MANIFEST, _manifest(summary, entries))
    return len(members)


def file_name(member: Member) -> str:
    """Return the path of an image in an export, in the folder of its label, with each class named once.

    Unsafe characters of the label are written as %XX, and the end of a label that is too long is left out. The manifest
    has the whole label.
    """
    names = Annotation(tuple(dict.fromkeys(member.annotation.class_names)))
    folder = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", names.label) or NO_CLASS
    folder = folder.encode()[:_FOLDER_BYTES].decode(errors="ignore")
    return f"{member.fold}/{folder}/{member.item_id}{_SUFFIXES[str(member.media_type)]}"


def _read(catalog: Catalog, members: Sequence[Member]) -> Iterator[tuple[Member, bytes | None]]:
    """Yield each member with the bytes of its image, or None without an image."""

    def read(member: Member) -> bytes | None:
        return None if member.image_sha256 is None else catalog.store.get(image_key(member.image_sha256))

    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(members), _BATCH_IMAGES):
            batch = members[start : start + _BATCH_IMAGES]
            yield from zip(batch, readers.map(read, batch), strict=True)


def _entry(member: Member, content: bytes | None, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "file": None if content is None else file_name(member),
        "file_sha256": None if content is None else sha256(content).hexdigest(),
        "sha256": member.item_id,  # of the received bytes if the item is an image alone
        "text": texts.get(member.text_sha256 or ""),
        "label": member.annotation.label,
        **({"erased": True} if member.is_erased else {}),
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
        raise SnapshotExportError(f"Expected a path that does not exist, got {target}. Name another one, or remove it.")
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
    """Yield a function that writes a file to a temporary place, which becomes `target` at the end of the block."""
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.absolute().parent) as folder:
        unfinished = Path(folder) / "unfinished"
        if target.suffix == ".zip":
            with ZipFile(unfinished, "w") as archive:
                yield lambda name, content: archive.writestr(_archived(name), content)
        else:
            yield lambda name, content: _write_file(unfinished / name, content)
        unfinished.rename(target)


def _archived(name: str) -> ZipInfo:
    """Return a ZIP entry without a date and without compression, because images are compressed already."""
    entry = ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

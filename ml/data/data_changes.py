"""What an admin does to labels and membership: certify, relabel, exclude. All of a list, or nothing of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.batches import find_waiting, load_batch
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import images
from ml.data.copies.near_copies import prepare_search
from ml.data.membership import confirm, exclude
from ml.errors import ImageChangeError, UnknownImageError

Action = Literal["certify", "relabel", "exclude"]


@dataclass(frozen=True)
class Change:
    """What to do to one image.

    Args:
        action: `certify` makes the label that it has a person's word, `relabel` gives it another, `exclude` takes it
            out of the pool and the evaluation set. The first two also end an exclusion.
        label: with `relabel` only.
    """

    action: Action
    sha256: str
    label: str | None = None


@dataclass(frozen=True)
class ImageState:
    """What an admin's change is about."""

    label: str | None
    label_origin: str | None
    split: str | None
    held_back: str | None


@dataclass(frozen=True)
class Changed:
    """How one change went. `before` and `after` are equal where there was nothing to do."""

    change: Change
    before: ImageState
    after: ImageState

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


_STATE = [images.c[name] for name in ImageState.__dataclass_fields__]


def change_images(catalog: Catalog, changes: Sequence[Change], actor: str, mirrored: bool) -> list[Changed]:
    """Make changes in their order, all of them or none; see `apply_changes`. What takes long is done before.

    Raises: also ImageStoreError, the store cannot be read.
    """
    entering = list(dict.fromkeys(each.sha256 for each in changes if each.action != "exclude"))
    prepare_search(catalog, entering, mirrored)
    with catalog.begin() as connection:
        return apply_changes(connection, changes, actor, mirrored)


def settle_batches(catalog: Catalog, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool) -> int:
    """Certify or exclude all that still waits of some batches; see `decide_batches`. What takes long is done before.

    Raises: also ImageStoreError, the store cannot be read.
    """
    if action != "exclude":
        with catalog.begin() as connection:
            waiting = find_waiting(connection, batch_ids)
        prepare_search(catalog, waiting, mirrored)
    with catalog.begin() as connection:
        return decide_batches(connection, batch_ids, action, actor, mirrored)


def apply_changes(connection: sa.Connection, changes: Sequence[Change], actor: str, mirrored: bool) -> list[Changed]:
    """Make changes in their order, each with a line in the audit log. An error leaves the transaction to roll back.

    Args:
        actor: `account:<id>`, or a person's name on the command line.
        mirrored: whether a mirror image is a copy.
    Raises:
        UnknownImageError: naming the images that nobody knows.
        ImageChangeError: an image without a label is to be certified.
    """
    lock_membership(connection, "pool")
    _demand_known(connection, {change.sha256 for change in changes})
    return [_apply(connection, change, actor, mirrored) for change in changes]


def decide_batches(
    connection: sa.Connection, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool
) -> int:
    """Certify or exclude all that still waits of some batches: of all of them or, after an error, of none.

    Args:
        actor: who decides, for the record.
        mirrored: whether a mirror image is a copy.
    Returns: how many images.
    Raises: UnknownBatchError.
    """
    lock_membership(connection, "pool")  # before looking: another admin may be deciding the same images
    for batch_id in batch_ids:
        load_batch(connection, batch_id)
    changes = [Change(action, sha256) for sha256 in find_waiting(connection, batch_ids)]
    return len(apply_changes(connection, changes, actor, mirrored))


def _demand_known(connection: sa.Connection, sha256s: set[str]) -> None:
    known = set(connection.scalars(sa.select(images.c.sha256).where(images.c.sha256.in_(sha256s))))
    if unknown := sorted(sha256s - known):
        raise UnknownImageError(f"Expected hashes of known images, got {', '.join(unknown)}. Nothing was changed.")


def _apply(connection: sa.Connection, change: Change, actor: str, mirrored: bool) -> Changed:
    before = _read(connection, change.sha256)
    if change.action == "exclude":
        exclude(connection, change.sha256, actor)
    else:
        confirm(connection, change.sha256, _label(change, before), actor, mirrored, is_readmitted=True)
    changed = Changed(change, before, _read(connection, change.sha256))
    if changed.is_changed:
        detail = {"image_sha256": change.sha256, "before": asdict(before), "after": asdict(changed.after)}
        write_event(connection, f"data.{change.action}", actor, detail)
    return changed


def _label(change: Change, before: ImageState) -> str:
    label = before.label if change.action == "certify" else change.label
    if label is None:
        raise ImageChangeError(
            f"Expected an image with a label to certify, got {change.sha256}, which has none. Relabel it instead. "
            "Nothing was changed."
        )
    return label


def _read(connection: sa.Connection, sha256: str) -> ImageState:
    return ImageState(*connection.execute(sa.select(*_STATE).where(images.c.sha256 == sha256)).one())

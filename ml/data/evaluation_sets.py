"""The evaluation set: images no model ever trains on, versioned, in two parts."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.annotations import Annotation
from ml.catalog.tables import evaluation_set_images, evaluation_sets, images
from ml.errors import EvaluationSetError

RECENT_IMAGES = 500  # the latest of the recent part
RECENT_DECIDES_FROM = 100  # images; below that the anchor decides


@dataclass(frozen=True)
class EvaluationImage:
    """One image of an evaluation set; `part` is anchor or recent."""

    sha256: str
    label: str
    part: str

    @property
    def annotation(self) -> Annotation:
        """What it is said to show."""
        return Annotation((self.label,))


def current_evaluation_set(connection: sa.Connection) -> tuple[int, list[EvaluationImage]]:
    """The evaluation set as it is now: all of the anchor, the latest of the recent part.

    Returns: its version (a new one when a member or a label changed) and its images, ordered by hash.
    Raises: EvaluationSetError, it is empty.
    """
    members = current_members(connection)
    if not members:
        raise EvaluationSetError(
            "Expected images in the evaluation set, found none. "
            "Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    return _version_of(connection, members), members


def current_members(connection: sa.Connection) -> list[EvaluationImage]:
    """What the evaluation set would hold if it were looked at now, ordered by hash."""
    return sorted(
        [*_members(connection, "anchor", None), *_members(connection, "recent", RECENT_IMAGES)],
        key=lambda member: member.sha256,
    )


def deciding_part(members: Iterable[EvaluationImage]) -> str:
    """The part that the floor and the gate look at: recent once it is large enough, the anchor before that."""
    parts = [member.part for member in members]
    is_recent = parts.count("recent") >= RECENT_DECIDES_FROM or "anchor" not in parts
    return "recent" if is_recent else "anchor"


def load_evaluation_set(connection: sa.Connection, version: int) -> list[EvaluationImage]:
    """The images of one version, ordered by hash."""
    table = evaluation_set_images
    query = (
        sa.select(table.c.image_sha256, table.c.label, table.c.part)
        .where(table.c.version == version)
        .order_by(table.c.image_sha256)
    )
    return [EvaluationImage(*row) for row in connection.execute(query)]


def group_keys(connection: sa.Connection, sha256s: list[str]) -> dict[str, str]:
    """What each image belongs to, by its hash."""
    query = sa.select(images.c.sha256, images.c.group_key).where(images.c.sha256.in_(sha256s))
    return dict(connection.execute(query).tuples().all())


def _members(connection: sa.Connection, part: str, limit: int | None) -> list[EvaluationImage]:
    query = (
        sa.select(images.c.sha256, images.c.label, images.c.evaluation_part)
        .where(images.c.split == "evaluation", images.c.evaluation_part == part, images.c.held_back.is_(None))
        .order_by(images.c.received_at.desc(), images.c.sha256)
        .limit(limit)
    )
    return [EvaluationImage(*row) for row in connection.execute(query)]


def _version_of(connection: sa.Connection, members: Iterable[EvaluationImage]) -> int:
    rows = [(member.sha256, member.label, member.part) for member in members]
    content = hashlib.sha256(repr(rows).encode()).hexdigest()
    created = connection.execute(
        insert(evaluation_sets)
        .values(content_sha256=content)
        .on_conflict_do_nothing()
        .returning(evaluation_sets.c.version)
    ).scalar_one_or_none()
    if created is None:
        found: int = connection.execute(
            sa.select(evaluation_sets.c.version).where(evaluation_sets.c.content_sha256 == content)
        ).scalar_one()
        return found
    connection.execute(
        sa.insert(evaluation_set_images),
        [{"version": created, "image_sha256": sha256, "label": label, "part": part} for sha256, label, part in rows],
    )
    return int(created)

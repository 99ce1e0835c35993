"""Inspect one file of a person or a source: read it, check it, measure it, and store its bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

import sqlalchemy as sa
from PIL import Image

from ml.catalog.annotations import AnnotationReader
from ml.catalog.class_names import ClassSpellings
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import ImageStatistics
from ml.catalog.items.item_records import ItemRecord, Split
from ml.catalog.object_store import image_key
from ml.data.copies.image_statistics import measure
from ml.data.feedback import list_spellings
from ml.data.membership import read_states
from ml.errors import InvalidImageError, LabelError
from ml.ingest.contact_sheet import shrink
from ml.ingest.guard import Candidate, is_known_to_person, is_known_to_source
from ml.ingest.photo_quality import check_quality
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.validation import SanitisedImage, sanitise

REASONS = {"invalid_label": "the folder or the table has a label that the task cannot read"}


@dataclass(frozen=True)
class Accepted:
    """An item that passed the inspection; the bytes of its image are stored.

    Args: image_sha256, statistics, of its image.
    """

    candidate: Candidate
    record: ItemRecord
    image_sha256: str
    statistics: ImageStatistics

    def settle(self, spellings: ClassSpellings) -> "Accepted":
        """Return the item with the spellings that are in use."""
        annotation = self.candidate.annotation.settle(spellings)
        return replace(self, candidate=replace(self.candidate, annotation=annotation))


def learn_spellings(connection: sa.Connection, spellings: ClassSpellings, found: Iterable[Accepted]) -> None:
    """Read the names in use again if items have new ones. Others may have written since the inspection."""
    if not spellings.knows(name for each in found for name in each.candidate.annotation.class_names):
        spellings.learn(list_spellings(connection))


@dataclass(frozen=True)
class Inspected:
    """The result of an inspection: an accepted item, an item that is stored already, or the reason to refuse the file.

    Args:
        known_id: id of the item that is stored already.
        picture: small version of a source's image; None for an unreadable file, and for a file that a person offers.
    """

    file: ArrivedFile
    accepted: Accepted | None = None
    known_id: str | None = None
    error: InvalidImageError | None = None
    picture: Image.Image | None = None


@dataclass(frozen=True)
class Inspector:
    """Inspects files one by one.

    Args:
        origin: where the files come from; it is stored with them.
        reader: reads their labels.
        split: the split that a person chose for them; None for a source that nobody watches: then photos of bad
            quality are refused too.
        spellings: which spelling of a label is used.
    """

    catalog: Catalog
    origin: str
    reader: AnnotationReader
    split: Split | None
    spellings: ClassSpellings

    def inspect(self, file: ArrivedFile) -> Inspected:
        """Read and check a file, and store its bytes if it is accepted.

        Raises: SourceError, SourceUnavailableError, ImageStoreError.
        """
        try:
            if file.problem is not None:
                raise file.problem
            if file.label is None:
                raise InvalidImageError("outside_class_folder", "expected a file in a class folder")
            file.demand_texts()
            annotation = self.reader.read_label(self.spellings.settle(file.label))
            content = file.read()
            candidate = Candidate(sha256(content).hexdigest(), annotation, file.group)
            if self._is_known(candidate):
                return Inspected(file, known_id=candidate.item_id)
            image = sanitise(content)
        except LabelError as error:
            return Inspected(file, error=InvalidImageError("invalid_label", str(error)))
        except InvalidImageError as error:
            return Inspected(file, error=error)
        picture = shrink(image.content) if self.split is None else None
        try:
            return Inspected(file, accepted=self._accept(candidate, image), picture=picture)
        except InvalidImageError as error:
            return Inspected(file, error=error, picture=picture)

    def _is_known(self, candidate: Candidate) -> bool:
        with self.catalog.begin() as connection:
            known = read_states(connection, [candidate.item_id]).get(candidate.item_id)
        if self.split is None:
            return is_known_to_source(candidate, known)
        return is_known_to_person(candidate, known, self.split)

    def _accept(self, candidate: Candidate, image: SanitisedImage) -> Accepted:
        statistics = measure(image.content)
        if self.split is None:
            check_quality(statistics)
        self.catalog.store.put(image_key(image.sha256), image.content)
        record = ItemRecord(self.origin, image.record, group=candidate.group)
        return Accepted(candidate, record, image.sha256, statistics)

"""Looking at one file that a source offers: the checks of `mycoflow ingest`, and those for what nobody looked at."""

from dataclasses import dataclass, field, replace
from hashlib import sha256

from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.images.image_records import ImageRecord, Membership, find_memberships
from ml.catalog.object_store import image_key
from ml.data.image_statistics import look_at
from ml.data.near_copies import KnownLooks
from ml.errors import InvalidImageError
from ml.ingest.contact_sheet import shrink
from ml.ingest.guard import Candidate, is_known
from ml.ingest.photo_quality import check_quality
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.validation import SanitisedImage, sanitise


@dataclass(frozen=True)
class Accepted:
    """An image that may come in; its bytes are stored.

    Args: phash, its perceptual hash.
    """

    candidate: Candidate
    record: ImageRecord
    phash: int


@dataclass(frozen=True)
class Inspected:
    """What was found: an image that may come in, one that is there already, or the reason to refuse the file.

    Args:
        known_sha256: of the image that is there already.
        picture: what a rejected file shows, small; None where it could not be read.
    """

    file: ArrivedFile
    accepted: Accepted | None = None
    known_sha256: str | None = None
    error: InvalidImageError | None = None
    picture: Image.Image | None = None

    def again(self, known: Membership | None) -> "Inspected":
        """The same after a second look at what is known: others may have brought the same image meanwhile."""
        if self.accepted is None:
            return self
        try:
            if not is_known(self.accepted.candidate, known):
                return self
        except InvalidImageError as error:
            return replace(self, accepted=None, error=error)
        return replace(self, accepted=None, known_sha256=self.accepted.candidate.sha256)


@dataclass(frozen=True)
class Inspector:
    """Looks at files one by one, each in the light of those before it.

    Args: source, for the record; looks, the perceptual hashes of all that is known.
    """

    catalog: Catalog
    source: str
    looks: KnownLooks
    _admitted: dict[str, Membership] = field(default_factory=dict)

    def inspect(self, file: ArrivedFile) -> Inspected:
        """Read and check a file, and store its bytes if it may come in.

        Raises: SourceError, SourceUnavailableError, ImageStoreError.
        """
        try:
            if file.label is None:
                raise InvalidImageError("outside_class_folder", "expected a file in a class folder")
            content = file.read()
            candidate = Candidate(sha256(content).hexdigest(), file.label, file.group)
            if is_known(candidate, self._admitted.get(candidate.sha256) or self._find(candidate)):
                return Inspected(file, known_sha256=candidate.sha256)
            image = sanitise(content)
        except InvalidImageError as error:
            return Inspected(file, error=error)
        try:
            return Inspected(file, accepted=self._accept(candidate, image))
        except InvalidImageError as error:
            return Inspected(file, error=error, picture=shrink(image.content))

    def _find(self, candidate: Candidate) -> Membership | None:
        with self.catalog.begin() as connection:
            return find_memberships(connection, [candidate.sha256]).get(candidate.sha256)

    def _accept(self, candidate: Candidate, image: SanitisedImage) -> Accepted:
        look = look_at(image.content)
        check_quality(look)
        self.looks.check(look.phash)
        self.catalog.store.put(image_key(image.sha256), image.content)
        self.looks.add(image.sha256, look.phash)
        self._admitted[image.sha256] = Membership(None, candidate.label, candidate.group_key, "waiting")
        record = ImageRecord(
            sha256=image.sha256,
            group_key=candidate.group_key,
            source=self.source,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            byte_count=len(image.content),
        )
        return Accepted(candidate, record, look.phash)

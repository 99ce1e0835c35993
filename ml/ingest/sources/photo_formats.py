"""How two collections publish their observations and photos as tables."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from ml.ingest.sources.shared_photos import place_photos

Tables = Callable[..., Iterator[tuple[str, ...]]]

# Of 3: "promising". Below, the observers themselves are in doubt.
_LEAST_VOTE = 2.0
_RESEARCH = "research"
_LONGEST_ID = 18


@dataclass(frozen=True)
class Photo:
    """One photo that a collection publishes.

    Args:
        id: larger for what was added later.
        path: below the address of the photos.
        group: the observation; the first of those that share photos.
    """

    id: int
    path: str
    label: str
    group: str
    licence: str
    holder: str


@dataclass(frozen=True)
class PhotoFormat:
    """How one collection publishes.

    Args:
        tables: the files to have before reading.
        read: gives the photos of some labels, in any order. Its first argument reads columns of one of the tables.
        photos_host: what stands before the host's name where the photos are.
    """

    tables: tuple[str, ...]
    read: Callable[[Tables, Collection[str]], Iterator[Photo]]
    photos_host: str


def _read_mushroom_observer(table: Tables, labels: Collection[str]) -> Iterator[Photo]:
    """Photos of observations whose name is agreed on, unless the author keeps them from export.

    Source: mushroomobserver.org/articles/20.
    """
    names = {id: name for id, name in table("names.csv", "id", "text_name")}  # noqa: C416 - dict() wants pairs
    named: dict[str, str] = {}
    wanted: set[str] = set()
    for id, name_id, vote in table("observations.csv", "id", "name_id", "vote_cache"):
        named[id] = names.get(name_id, name_id)
        if named[id] in labels and _is_agreed(vote):
            wanted.add(id)
    links = partial(table, "images_observations.csv", "image_id", "observation_id")
    shown = {image_id for image_id, id in links() if id in wanted}
    observed = place_photos((link for link in links() if link[0] in shown), named)
    columns = ("id", "copyright_holder", "license", "ok_for_export")
    for id, holder, licence, is_exported in table("images.csv", *columns):
        if id in observed and _is_number(id) and is_exported == "1":
            place = observed[id]
            yield Photo(int(id), f"640/{id}.jpg", place.label, f"mushroom-observer:{place.group}", licence, holder)


def _is_agreed(vote: str) -> bool:
    try:
        return float(vote) >= _LEAST_VOTE
    except ValueError:  # NULL: nobody has voted
        return False


def _read_inaturalist(table: Tables, labels: Collection[str]) -> Iterator[Photo]:
    """Photos of observations of research grade.

    Source: github.com/inaturalist/inaturalist-open-data.
    """
    taxa = {id: name for id, name in table("taxa.csv.gz", "taxon_id", "name") if name in labels}
    observations = partial(table, "observations.csv.gz", "observation_uuid", "taxon_id", "quality_grade")
    named = {id: taxa[taxon_id] for id, taxon_id, grade in observations() if taxon_id in taxa and grade == _RESEARCH}
    columns = ("photo_id", "extension", "observer_id", "license", "observation_uuid")
    rows = {row[0]: row for row in table("photos.csv.gz", *columns) if row[4] in named and _is_number(row[0])}
    # The other observations of these photos. The tables are too large to keep all observations from the first reading.
    links = [link for link in table("photos.csv.gz", "photo_id", "observation_uuid") if link[0] in rows]
    others = {observation for _, observation in links} - named.keys()
    if others:
        named |= {id: taxa.get(taxon_id, taxon_id) for id, taxon_id, _ in observations() if id in others}
    observed = place_photos(links, named)
    holders = _holders(table, {observer_id for _, _, observer_id, *_ in rows.values()})
    for id, extension, observer_id, licence, _ in (rows[id] for id in observed):
        place, holder = observed[id], holders.get(observer_id, observer_id)
        path = f"photos/{id}/medium.{extension}"
        yield Photo(int(id), path, place.label, f"inaturalist:{place.group}", licence, holder)


def _is_number(id: str) -> bool:
    """Whether an id is a number of a usual length: others are damage."""
    return id.isascii() and id.isdecimal() and len(id) <= _LONGEST_ID


def _holders(table: Tables, wanted: Collection[str]) -> Mapping[str, str]:
    rows = table("observers.csv.gz", "observer_id", "login", "name")
    return {id: name or login for id, login, name in rows if id in wanted}


FORMATS = {
    "mushroom-observer": PhotoFormat(
        ("names.csv", "observations.csv", "images_observations.csv", "images.csv"), _read_mushroom_observer, "images."
    ),
    "inaturalist": PhotoFormat(
        ("taxa.csv.gz", "observations.csv.gz", "photos.csv.gz", "observers.csv.gz"), _read_inaturalist, ""
    ),
}

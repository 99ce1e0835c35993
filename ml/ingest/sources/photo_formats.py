"""How two collections publish their observations and photos as tables."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

Tables = Callable[..., Iterator[tuple[str, ...]]]

# Of 3: "promising". Below, the observers themselves are in doubt.
_LEAST_VOTE = 2.0
_RESEARCH_GRADE = "research"


@dataclass(frozen=True)
class Photo:
    """One photo that a collection publishes.

    Args:
        id: larger for what was added later.
        path: below the address of the photos.
        group: the observation.
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
    names = {id: name for id, name in table("names.csv", "id", "text_name") if name in labels}
    observations = {
        id: names[name_id]
        for id, name_id, vote in table("observations.csv", "id", "name_id", "vote_cache")
        if name_id in names and _is_agreed(vote)
    }
    links = table("images_observations.csv", "image_id", "observation_id")
    observed = {image_id: id for image_id, id in links if id in observations}
    columns = ("id", "copyright_holder", "license", "ok_for_export")
    for id, holder, licence, is_exported in table("images.csv", *columns):
        if id in observed and id.isdigit() and is_exported == "1":
            group = f"mushroom-observer:{observed[id]}"
            yield Photo(int(id), f"640/{id}.jpg", observations[observed[id]], group, licence, holder)


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
    observations = {
        id: taxa[taxon_id]
        for id, taxon_id, grade in table("observations.csv.gz", "observation_uuid", "taxon_id", "quality_grade")
        if taxon_id in taxa and grade == _RESEARCH_GRADE
    }
    columns = ("photo_id", "extension", "observation_uuid", "observer_id", "license")
    found = [row for row in table("photos.csv.gz", *columns) if row[2] in observations and row[0].isdigit()]
    holders = _holders(table, {observer_id for *_, observer_id, _ in found})
    for id, extension, observation, observer_id, licence in found:
        group, holder = f"inaturalist:{observation}", holders.get(observer_id, observer_id)
        yield Photo(int(id), f"photos/{id}/medium.{extension}", observations[observation], group, licence, holder)


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

"""The page of an answer: a photo of a known species, one that is like none of them, and answers that are less sure."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask

from ml.backbones.preprocessing import to_pixels
from ml.catalog.database import Catalog
from ml.catalog.images.batches import add_rights
from ml.catalog.images.photo_vectors import index_vectors, save_vectors
from ml.ingest.folder import ingest_folder
from ml.serving.loaded_model import LoadedModel
from ml.tasks.classification.classification_task import TASK
from tests.tiny_model import IMAGE_SIZE
from tests.webapi.pages.coloured_species import (
    COLOURS,
    UNKNOWN_COLOUR,
    between,
    coloured_photo,
    write_fitted_bundle,
)
from tests.webapi.pages.conftest import FORMS, ask, find_barriers
from webapi import application_state

Serve = Callable[[Path], LoadedModel]
WIDTH = "image => image.decode().then(() => image.naturalWidth)"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that measures novelty."""
    return write_fitted_bundle(tmp_path_factory.mktemp("species"))


@pytest.fixture
def serve(app: Flask, site: str) -> Iterator[Serve]:
    """Puts a version into service, in place of the one that the site begins with."""

    def put(bundle: Path) -> LoadedModel:
        model = LoadedModel.load(bundle, TASK)
        application_state.current(app).models.serve(model)
        return model

    yield put


@pytest.fixture
def photo_in(tmp_path: Path) -> Callable[..., Path]:
    """Writes a photo in a colour: photo_in(COLOURS["amanita"])."""

    def write(colour: tuple[float, ...]) -> Path:
        path = tmp_path / "mine.png"
        path.write_bytes(coloured_photo(colour, 1000))
        return path

    return write


def add_known_photos(catalog: Catalog, model: LoadedModel, folder: Path) -> None:
    """Take in photos that came with the data, and index them by their features. One has a licence and a holder."""
    vectors = {}
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(500, 508):
            content = coloured_photo(colour, number)
            (folder / name / f"{number}.png").write_bytes(content)
            pixels = to_pixels(content, IMAGE_SIZE)[np.newaxis]
            vectors[hashlib.sha256(content).hexdigest()] = model.predict(pixels).features[0]
    ingest_folder(catalog, folder, "pool")
    credited = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "amanita").iterdir()]
    with catalog.begin() as connection:
        add_rights(connection, dict.fromkeys(credited[:4], ("CC BY-SA 4.0", "Ada Lovelace")))
        save_vectors(connection, model.card.backbone_id, vectors)
        index_vectors(connection, model.card.backbone_id)


def test_a_photo_of_a_known_species_is_named_with_its_likes_and_the_place_that_speaks_for_it(
    log_in_as: Callable[..., Any], serve: Serve, bundle: Path, catalog: Catalog, photo_in: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    add_known_photos(catalog, serve(bundle), tmp_path / "known")
    page = log_in_as("alice")
    answer = ask(page, photo_in(COLOURS["amanita"]))
    assert page.get_by_role("heading", level=1).inner_text() == "amanita"
    assert page.title().startswith("amanita")
    assert page.get_by_text("I am very sure.").is_visible()
    assert page.get_by_text("Model version 7.").is_visible()
    names, shares = page.locator("th[scope=row]").all_inner_texts(), page.locator("td.share").all_inner_texts()
    assert (names[0], sorted(names)) == ("amanita", sorted(COLOURS))
    assert 95 < float(shares[0].removesuffix("%")) <= 100
    bars = [float(each.get_attribute("value")) for each in page.locator("td.bar progress").all()]
    assert bars == sorted(bars, reverse=True)

    similar = page.get_by_role("region", name="The most similar photos that I know").get_by_role("listitem")
    assert similar.count() == 6
    credits = set()
    for each in similar.all():
        each.scroll_into_view_if_needed()
        assert each.locator(".name").inner_text() == "amanita"
        assert each.get_by_role("img", name="A photo of amanita").evaluate(WIDTH) > 0
        credits.add(each.locator(".hint").inner_text())
    assert credits == {"Ada Lovelace, CC BY-SA 4.0", "It came with the data."}

    looked = page.locator(".layers img").last
    assert not looked.is_visible()
    page.get_by_text("Where the model looked").click()
    looked.scroll_into_view_if_needed()
    assert looked.evaluate(WIDTH) == 96  # as wide as the photo
    page.wait_for_function("() => [...document.querySelectorAll('.layers img')].every((each) => each.naturalWidth)")
    photo, heat = (each.bounding_box() for each in page.locator(".layers img").all())
    assert photo == heat
    assert count_warm_points(page) > 100
    assert page.get_by_text("Warm colours lie on the parts that speak for amanita.").is_visible()
    assert find_barriers(page) == []
    assert page.request.get(f"{answer}/map").headers["content-type"] == "image/png"
    assert page.faults == []


def count_warm_points(page: Any) -> int:
    """Count the points of the map that are coloured, as the browser decodes it."""
    script = """(image) => {
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, place) => place % 4 === 3 && value > 40).length;
    }"""
    return int(page.locator(".layers img").last.evaluate(script))


@FORMS
def test_a_photo_like_none_of_the_species_is_called_so_everywhere(
    log_in_as: Callable[..., Any], serve: Serve, bundle: Path, photo_in: Callable[..., Path], scripts: bool
) -> None:
    serve(bundle)
    page = log_in_as("alice", java_script_enabled=scripts)
    ask(page, photo_in(UNKNOWN_COLOUR))
    said = "This looks like none of the species I know"
    assert page.get_by_role("heading", level=1).inner_text() == said
    assert page.title().startswith(said)
    assert page.get_by_text("If it is one of them after all, it would be:").is_visible()
    nearest = page.locator("th[scope=row]").first.inner_text()
    for sure in ("I am very sure.", "I am rather sure.", "OK, that is right"):
        assert page.get_by_text(sure).count() == 0
    assert page.get_by_role("button", name=f"It is {nearest} after all").is_visible()
    assert not scripts or find_barriers(page) == []
    page.locator("summary", has_text="It is something else").click()
    page.get_by_role("radio", name="Another species").check()
    page.locator("[name=other_name]").fill("Blue stranger")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("You said: wrong, it is another species: Blue stranger.").wait_for()
    page.goto("/photos")
    assert page.locator(".photos .name").inner_text() == "Like none of the species I know"
    assert page.get_by_role("img", name="My photo, like none of the species I know").count() == 1


def test_a_photo_like_none_of_the_species_may_be_one_of_them_after_all(
    log_in_as: Callable[..., Any], serve: Serve, bundle: Path, photo_in: Callable[..., Path]
) -> None:
    serve(bundle)
    page = log_in_as("alice", locale="fr")
    ask(page, photo_in(UNKNOWN_COLOUR))
    nearest = page.locator("th[scope=row]").first.inner_text()
    assert page.get_by_role("heading", level=1).inner_text().startswith("Cela ne ressemble à aucune")
    page.get_by_role("button", name=nearest).click()
    page.get_by_text(f"Votre avis : juste, c\u2019est {nearest}.").wait_for()


def test_the_words_say_how_sure_an_answer_is(
    log_in_as: Callable[..., Any], serve: Serve, photo_in: Callable[..., Path], tmp_path: Path
) -> None:
    model = serve(write_fitted_bundle(tmp_path / "random", sees=False))
    page = log_in_as("alice")
    for least, words in (
        (0.9, "I am very sure."),
        (0.7, "I am rather sure."),
        (0.5, "I am not sure: it could well be something else."),
    ):
        photo = next(
            path
            for path in (photo_in(between("amanita", "boletus", share)) for share in np.linspace(0, 0.6, 60))
            if least <= confidence_of(model, path) < least + 0.1
        )
        ask(page, photo)
        assert page.locator(".sure").inner_text() == words
        assert page.get_by_role("heading", level=1).inner_text() == "amanita"


def confidence_of(model: LoadedModel, photo: Path) -> float:
    return model.predict(to_pixels(photo.read_bytes(), IMAGE_SIZE)[np.newaxis]).answers[0].confidence

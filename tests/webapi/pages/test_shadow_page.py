"""The page of a challenger in shadow, and its figures over HTTP; and that users see nothing of it."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.shadows.shadow_records import begin_shadow, end_scoring
from ml.catalog.tables import items
from ml.data.reviewing.deciding import Decision, decide, read_seen
from ml.tasks.registered_tasks import find_task
from tests.ml.shadow_rows import CHALLENGER, CHAMPION, add_uploads, answer_in_shadow, fill_shadow
from tests.webapi.pages.conftest import find_barriers

MARKUP = "<b onclick=\"x\">'Oak' & co</b>"
CLASSES = ["boletus", "amanita", MARKUP]
# 30 photos: on every third they differ, in two ways.
SAID: list[tuple[str | None, str | None]] = [
    ("boletus", "amanita"), ("amanita", "amanita"), ("boletus", "boletus"),
    ("amanita", MARKUP), (None, None), (MARKUP, MARKUP),
] * 5  # fmt: skip
OF_USERS = tuple(f"mycoflow_{name}" for name in ("drift", "observed", "novel", "pool", "new", "waiting", "untried"))
PAGE = f"/versions/{CHALLENGER}/shadow"


@pytest.fixture
def uploader(add_account: Callable[[str, Role], Account]) -> Account:
    return add_account("uma", "user")


@pytest.fixture
def uploads(catalog: Catalog, uploader: Account) -> list[str]:
    return fill_shadow(catalog, SAID, CLASSES, uploader.id, sample=8)


@pytest.fixture
def bob(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    return client_of("bob", "admin")


def texts_of(page: str) -> str:
    """The text of a page, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def without_tokens(page: str) -> str:
    """A page without what is new in every request: tokens and times."""
    return re.sub(r'value="[\w.-]{40,}"|"exported_at": "[^"]+"', "", page)


def name_as(catalog: Catalog, account: Account, sha256: str, label: str) -> None:
    with catalog.begin() as connection:
        seen = read_seen(connection, [sha256])[sha256]
    decision = Decision(sha256, "disputed", seen, "correct", label)
    assert decide(catalog, account, [decision], True, find_task("classification")).decided


def test_the_page_says_on_how_many_they_differ_and_shows_both_answers(bob: FlaskClient, uploads: list[str]) -> None:
    page = bob.get(PAGE)
    assert page.status_code == 200
    text = texts_of(page.text)
    assert "Version 8 in shadow" in text
    assert "Uploads compared 30" in text
    assert "They differ on 10, or 33.3% (95 % interval 19.2% to 51.2%)" in text  # Wilson
    assert "Mean confidence 60.0% 80.0%" in text
    assert "Photos like none of the known classes 0 8" in text
    assert "a random sample of 8 of these photos" in text
    assert "Ask the experts: 8 photos wait in review" in text
    assert "boletus amanita 5" in text
    assert MARKUP not in page.text
    shown = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", page.text)
    assert shown == [sha256 for sha256, (one, other) in zip(uploads, SAID, strict=True) if one != other]
    assert text.count("Champion version 7 boletus 60.0%") == text.count("Challenger version 8 amanita 80.0%") == 5
    assert bob.get(f"/photos/{shown[0]}/thumbnail").status_code == 200


def test_the_photos_of_one_change_are_shown_alone(bob: FlaskClient, uploads: list[str]) -> None:
    link = next(
        unescape(each) for each in re.findall(r'href="(/versions/8/shadow[?][^"]*)#photos"', bob.get(PAGE).text)
        if "Oak" in each
    )  # fmt: skip
    shown = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", bob.get(link).text)
    assert shown == [sha256 for sha256, said in zip(uploads, SAID, strict=True) if said == ("amanita", MARKUP)]
    assert "There are none." in bob.get(f"{PAGE}?was=x%00&now=y").text


def test_the_photos_are_read_page_by_page(catalog: Catalog, bob: FlaskClient) -> None:
    uploads = fill_shadow(catalog, [("boletus", "amanita")] * 30, CLASSES)
    first = bob.get(PAGE).text
    older = unescape(re.findall(r'rel="next" href="([^"]+)#photos"', first)[0])
    found = [re.findall(r"/photos/([0-9a-f]{64})/thumbnail", text) for text in (first, bob.get(older).text)]
    assert [len(each) for each in found] == [24, 6]
    assert found[0] + found[1] == uploads
    assert 'rel="next"' not in bob.get(older).text
    assert bob.get(f"{PAGE}?from=nonsense").status_code == 200


def test_what_experts_said_shows_which_is_right(
    admin: FlaskClient,
    bob: FlaskClient,
    uploads: list[str],
    catalog: Catalog,
    add_account: Callable[[str, Role], Account],
) -> None:
    assert "Nobody has named one of these photos yet." in bob.get(PAGE).text
    eve = add_account("eve", "expert")
    with catalog.begin() as connection:
        sample = list(
            connection.execute(
                sa.text("SELECT item_id, challenger_class FROM training.shadow_answers WHERE sample_place IS NOT NULL")
            )
        )
    for sha256, challenger_class in sample[:7]:
        name_as(catalog, eve, sha256, challenger_class)
    text = texts_of(bob.get(PAGE).text)
    assert "They have answered 7." in text
    assert "as far as experts have named it 7 0.0% 100.0% more than chance (p = 0.016)" in text  # 2 * 0.5 ** 7
    assert text.count("the challenger is right.") == 7
    assert "Ask the experts: 1 photos wait in review" in text
    answer: Any = admin.get(f"/shadows/{CHALLENGER}").json
    assert answer["of_sample"] == {"photos": 7, "champion": 0.0, "challenger": 100.0, "p_value": 0.015625}


def test_the_states_before_figures_are_told_in_words(bob: FlaskClient, catalog: Catalog) -> None:
    assert bob.get(PAGE).status_code == 404
    assert bob.get("/versions/99999999999/shadow").status_code == 404
    with catalog.begin() as connection:
        for version in (CHAMPION, CHALLENGER):
            facts = ModelVersion(version, f"run{version}", None, "backbone:1", CLASSES, 32, "fp32")
            save_model_version(connection, facts)
    assert "was not compared on uploads yet" in bob.get(PAGE).text
    with catalog.begin() as connection:
        begin_shadow(connection, CHALLENGER, CHAMPION)
    assert "The comparison with version 7 is under way." in bob.get(PAGE).text
    with catalog.begin() as connection:
        end_scoring(connection, CHALLENGER, f"Expected a model, got {MARKUP}.")
    failed = bob.get(PAGE).text
    assert MARKUP not in failed
    assert f"The last comparison failed Expected a model, got {MARKUP}." in texts_of(failed)
    with catalog.begin() as connection:
        end_scoring(connection, CHALLENGER, None)
    text = bob.get(PAGE).text
    assert "No user asked about a photo in the last 7 days." in text
    assert "failed" not in text


def test_an_erased_photo_is_gone_from_page_and_figures(bob: FlaskClient, uploads: list[str], catalog: Catalog) -> None:
    with catalog.begin() as connection:  # as in the moment between the erasure and the deletion of the bytes
        connection.execute(sa.update(items).where(items.c.id == uploads[0]).values(held_back="erased"))
    page = bob.get(PAGE).text
    assert uploads[0] not in page
    assert "Uploads compared 29" in texts_of(page)


def test_the_page_is_for_admins(client_of: Callable[..., FlaskClient], uploads: list[str]) -> None:
    user, expert = client_of("otto", "user"), client_of("eve", "expert")
    assert [user.get(path).status_code for path in (PAGE, "/review/disputed")] == [403, 403]
    assert [expert.get(path).status_code for path in (PAGE, "/review/disputed")] == [403, 200]


def test_users_pages_answers_and_figures_stay_the_same(
    catalog: Catalog,
    client_of: Callable[..., FlaskClient],
    admin: FlaskClient,
    scrape: Callable[[], dict[str, float]],
    add_champion: Callable[..., None],
) -> None:
    uma = client_of("uma", "user")
    with catalog.begin() as connection:
        owner = connection.scalar(sa.text("SELECT id FROM users.accounts WHERE login = 'uma'"))
    uploads = add_uploads(catalog, [one for one, _ in SAID], CLASSES, owner)
    add_champion(3, 0.8)

    def look() -> list[object]:
        pages = [uma.get(path).text for path in ("/photos", "/account/data", "/answers/1")]
        answers = [admin.get(path) for path in ("/past_pred_acc?nb_last_preds=50", "/data/query")]
        assert [each.status_code for each in answers] == [200, 200]
        figures = {name: value for name, value in scrape().items() if name.startswith(OF_USERS)}
        return [*map(without_tokens, pages), *(each.json for each in answers), figures]

    before = look()
    assert CLASSES[0] in str(before[0])
    assert before[-1]
    answer_in_shadow(catalog, uploads, SAID, CLASSES)
    assert look() == before


def test_the_figures_are_read_over_http(admin: FlaskClient, uploads: list[str], expert: FlaskClient) -> None:
    answer: Any = admin.get(f"/shadows/{CHALLENGER}").json
    assert (answer["version"], answer["champion"], answer["photos"]) == (CHALLENGER, CHAMPION, 30)
    assert answer["different"] == {"count": 10, "of": 30, "percent": 33.33, "low": 19.23, "high": 51.22}
    assert answer["mean_confidence"] == {"champion": 60.0, "challenger": 80.0}
    assert answer["novel"] == {"champion": 0, "challenger": 8}
    assert {(each["champion"], each["challenger"], each["photos"]) for each in answer["changes"]} == {
        ("boletus", "amanita", 5),
        ("amanita", MARKUP, 5),
    }
    assert (answer["of_sample"], answer["of_named"], answer["problem"]) == (None, None, None)
    assert [admin.get(f"/shadows/{version}").status_code for version in (CHAMPION, 99, 0)] == [404, 404, 422]
    assert expert.get(f"/shadows/{CHALLENGER}").status_code == 403


@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
def test_the_page_has_no_barrier_and_fits_a_phone(
    log_in_as: Callable[..., Any], uploads: list[str], locale: str
) -> None:
    page = log_in_as("bob", "admin", locale=locale, viewport={"width": 390, "height": 844})
    for path in (PAGE, "/review/disputed"):
        page.goto(path)
        assert (path, find_barriers(page)) == (path, [])
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
    assert page.faults == []

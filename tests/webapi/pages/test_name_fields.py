"""Fields for a class: they list the names that fit, of ten classes or of ten thousand, and work without scripts."""

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.tables import feedback, items
from tests.webapi.pages.test_whole_site import find_barriers

PASSWORD = "correct horse battery"
MOST_BYTES = 150 * 1024
# Species that somebody has certified, and as many that only a source has named, which wait for a reviewer.
FILL = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, 20000) AS n;
INSERT INTO training.items
    (id, image_sha256, group_key, source, split, class_names, label_origin, entered_pool_at, held_back)
SELECT sha256, sha256, sha256, 'test', CASE WHEN n <= 10000 THEN 'pool' END,
    ARRAY[CASE WHEN n <= 10000 THEN 'Cortinarius number ' ELSE 'Mycéna number ' END || lpad((n % 10000)::text, 4, '0')],
    CASE WHEN n <= 10000 THEN 'curated' ELSE 'stated' END, CASE WHEN n <= 10000 THEN now() END,
    CASE WHEN n > 10000 THEN 'waiting' END
FROM generate_series(1, 20000) AS n, encode(sha256(n::text::bytea), 'hex') AS sha256;
"""
LISTED = ".names [role=option]"


@pytest.fixture
def ten_thousand(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text(FILL))


@pytest.fixture
def ask(log_in_as: Callable[..., Any], photo_file: Path) -> Callable[..., Any]:
    """Names a photo as a person, and opens the form that says that the answer is wrong."""

    def name(login: str = "alice", role: Role = "user", **options: Any) -> Any:
        page = log_in_as(login, role, **options)
        page.locator("#file").set_input_files(photo_file)
        page.get_by_role("button", name="Name this photo").click()
        page.wait_for_url("**/answers/*")
        page.locator("summary", has_text="Not OK").click()
        return page

    return name


@pytest.fixture
def session(
    app: Flask,
    add_account: Callable[[str, Role], Account],
    send_form: Callable[..., TestResponse],
    serve_version: Callable[[int], None],
) -> Callable[..., FlaskClient]:
    """Opens sessions without a browser, while version 1 answers: session(login, role)."""
    serve_version(1)

    def new(login: str, role: Role) -> FlaskClient:
        add_account(login, role)
        client = app.test_client()
        send_form(client, "/login", login=login, password=PASSWORD)
        return client

    return new


def said(catalog: Catalog) -> list[str | None]:
    with catalog.begin() as connection:
        return list(connection.scalars(sa.select(feedback.c.corrected_label).order_by(feedback.c.id)))


@pytest.mark.usefixtures("ten_thousand")
def test_a_person_finds_a_species_among_ten_thousand_by_keyboard(ask: Callable[..., Any], catalog: Catalog) -> None:
    page = ask()
    field = page.get_by_role("combobox", name="Its name")
    assert field.get_attribute("aria-expanded") == "false"
    field.focus()
    page.keyboard.type("NUMBER 777")
    page.locator(LISTED).first.wait_for()
    page.wait_for_function("() => document.querySelectorAll('.names [role=option]').length === 10")
    names = page.locator(LISTED).all_inner_texts()
    assert names == [f"Cortinarius number 777{digit}" for digit in range(10)]
    assert field.get_attribute("aria-expanded") == "true"
    assert page.locator(f"#{field.get_attribute('aria-controls')}").get_attribute("role") == "listbox"
    assert field.get_attribute("aria-activedescendant") is None
    for key, place in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", 9), ("ArrowDown", 0)):
        page.keyboard.press(key)
        marked = page.locator("[aria-selected=true]")
        assert marked.inner_text() == names[place]
        assert field.get_attribute("aria-activedescendant") == marked.get_attribute("id")
    assert find_barriers(page) == []
    page.keyboard.press("Enter")
    assert (field.input_value(), page.locator(LISTED).count()) == (names[0], 0)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("You said: wrong, it is Cortinarius number 7770.").wait_for()
    assert said(catalog) == [names[0]]
    assert page.faults == []


def test_after_the_session_has_ended_a_field_keeps_what_is_typed(ask: Callable[..., Any]) -> None:
    page = ask()
    page.context.clear_cookies()
    page.locator("[name=label]").click()
    with page.expect_response(
        lambda response: "/login?next=/classes" in response.url
    ):  # where the list would have been
        page.keyboard.type("boletus")
    assert (page.locator("[name=label]").input_value(), page.locator(LISTED).count()) == ("boletus", 0)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Please log in again").wait_for()
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=login]").fill("alice")
    page.locator("#login-form button").click()
    assert page.locator("input[name=label]").input_value() == "boletus"


def test_a_click_chooses_escape_closes_and_an_arrow_lists_all(ask: Callable[..., Any]) -> None:
    page = ask()
    field = page.locator("[name=label]")
    field.focus()
    page.keyboard.press("ArrowDown")
    page.locator("[aria-selected=true]").wait_for()
    assert page.locator(LISTED).all_inner_texts() == ["amanita", "boletus", "cantharellus", "russula"]
    page.keyboard.press("Escape")
    assert page.locator(LISTED).count() == 0
    page.keyboard.type("bol")
    page.get_by_role("option", name="boletus").click()
    assert field.input_value() == "boletus"
    assert page.evaluate("() => document.activeElement.name") == "label"
    field.fill("zzzz")
    page.get_by_text("No name has these letters.").wait_for()
    page.keyboard.press("Tab")
    assert page.get_by_text("No name has these letters.").count() == 0


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_what_was_typed_is_read_whatever_its_case_and_blanks(
    ask: Callable[..., Any], catalog: Catalog, scripts: bool
) -> None:
    page = ask(java_script_enabled=scripts)
    other = "boletus" if page.locator("#name").inner_text() != "boletus" else "amanita"
    page.locator("[name=label]").fill(f"  {other.upper()} ")
    page.get_by_role("button", name="Send").click()
    page.get_by_text(f"You said: wrong, it is {other}.").wait_for()
    assert said(catalog) == [other]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
@pytest.mark.usefixtures("ten_thousand")
def test_an_unknown_name_is_answered_with_those_that_are_near(
    ask: Callable[..., Any], catalog: Catalog, scripts: bool
) -> None:
    page = ask(java_script_enabled=scripts)
    page.locator("[name=label]").fill("Cortinarus numbr 4711")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Did you mean one of these?").wait_for()
    assert page.locator(".near button").first.inner_text() == "Cortinarius number 4711"
    assert page.locator("input[name=label]").input_value() == "Cortinarus numbr 4711"
    assert page.locator(".near button[name=label]").count() == 20
    assert said(catalog) == []
    page.get_by_role("button", name="Cortinarius number 4711").click()
    page.get_by_text("You said: wrong, it is Cortinarius number 4711.").wait_for()


@pytest.mark.parametrize("typed", ["Quite unheard of", "<img src=x>", "%", "\N{MUSHROOM}\N{MUSHROOM}\N{MUSHROOM}"])
def test_a_name_that_is_near_nothing_is_told_and_kept(ask: Callable[..., Any], catalog: Catalog, typed: str) -> None:
    page = ask(java_script_enabled=False)
    page.locator("[name=label]").fill(typed)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Nobody has used this name yet. Check its spelling").wait_for()
    assert page.locator("[name=label]").input_value() == typed
    assert (page.locator(".near").count(), page.locator("main img[src=x]").count()) == (0, 0)
    assert said(catalog) == []


def test_without_an_answer_the_field_takes_what_is_typed(ask: Callable[..., Any], catalog: Catalog) -> None:
    page = ask()
    page.route("**/classes?*", lambda route: route.fulfill(status=503, body="<main>Out of order</main>"))
    other = "boletus" if page.locator("#name").inner_text() != "boletus" else "amanita"
    page.locator("[name=label]").click()
    page.keyboard.type(other)
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_text(f"You said: wrong, it is {other}.").wait_for()
    assert said(catalog) == [other]


@pytest.mark.usefixtures("ten_thousand")
def test_the_route_lists_at_most_twenty_names_to_those_who_may_give_them(session: Callable[..., FlaskClient]) -> None:
    user, expert = session("alice", "user"), session("ada", "expert")
    for text, names in (
        ("", 20),
        ("cortinarius", 20),
        ("CORTINARIUS NUMBER 00", 20),
        ("number 0001", 1),
        ("number", 20),
        ("bol", 1),
        ("myce", 0),
    ):
        found: Any = user.get("/classes", query_string={"text": text}).json
        assert len(found["names"]) == names, text
    assert found["names"] == []  # only a source has named it
    found = expert.get("/review/classes?text=MYCENA number 000").json
    assert found["names"] == [f"Mycéna number 000{digit}" for digit in range(10)]
    assert found["meant"] == "Mycéna number 0000"
    assert expert.get("/review/classes?text=number 0001").json["meant"] is None  # type: ignore[index]
    assert user.get("/review/classes?text=a").status_code == 403


@pytest.mark.parametrize("text", ["\0", "x" * 5000, "\ud800", "a\nb", "'; DROP TABLE items; --", "%5B", "\u202e"])
def test_no_text_brings_the_route_down(session: Callable[..., FlaskClient], text: str) -> None:
    answer = session("alice", "user").get("/classes?text=" + text.encode("utf-8", "surrogatepass").hex(" ").replace(
        " ", "%").join(["%", ""]))  # fmt: skip
    assert answer.status_code == 200
    assert answer.json == {"names": [], "meant": None, "told": "No name has these letters."}


@pytest.mark.usefixtures("ten_thousand")
def test_a_reviewer_corrects_by_digit_and_by_letters_among_ten_thousand(
    log_in_as: Callable[..., Any], catalog: Catalog
) -> None:
    page = log_in_as("ada", "expert")
    page.goto("/review/waiting")
    shown = page.eval_on_selector_all("#grid li", "all => all.map(each => each.dataset.item)")
    assert len(shown) == 50
    assert page.locator(".classes a").count() == 21  # all, and twenty classes
    assert find_barriers(page) == []
    digit = page.locator(".digits li").nth(4).get_attribute("data-label")
    page.keyboard.press("5")
    page.get_by_text(f"Corrected to {digit}.").wait_for()
    page.keyboard.press("c")
    page.keyboard.type("ortinarius number 123")  # faster than the list
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.get_by_text("Corrected to Cortinarius number 1230.").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("number 0042")
    page.locator(LISTED).first.wait_for()
    page.wait_for_function("() => document.querySelectorAll('.names [role=option]').length === 2")
    assert find_barriers(page) == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_text("Corrected to Cortinarius number 0042.").wait_for()
    with catalog.begin() as connection:
        query = sa.select(items.c.class_names[1]).where(items.c.label_origin == "confirmed")
        named = sorted(connection.scalars(query))
    assert named == sorted([digit, "Cortinarius number 1230", "Cortinarius number 0042"])


@pytest.mark.usefixtures("ten_thousand")
def test_a_class_of_a_large_queue_is_opened_by_its_name(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("ada", "expert", java_script_enabled=False)
    page.goto("/review/waiting")
    page.get_by_label("Another class").fill("mycéna  NUMBER 9998")
    page.get_by_role("button", name="Show", exact=True).click()
    assert page.locator(".group h2").all_inner_texts() == ["Mycéna number 9998 1"]
    page.get_by_label("Another class").fill("Mycena numbr 9998")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_text("Nothing waits here.").wait_for()
    page.locator(".gone a").first.click()
    assert page.locator(".group h2").all_inner_texts() == ["Mycéna number 9998 1"]


def test_a_misspelt_class_is_refused_with_what_is_near_and_the_photo_stays(
    log_in_as: Callable[..., Any], ten_thousand: None, catalog: Catalog
) -> None:
    page = log_in_as("ada", "expert")
    page.goto("/review/waiting?class=Mycéna number 0007")
    page.keyboard.press("/")
    page.keyboard.type("Cortinarus numbr 4711")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # certify the rest: there is none
    page.get_by_text("Nobody has used this name yet").wait_for()
    page.get_by_text("Near it: Cortinarius number 4711").wait_for()
    assert page.locator("#grid :checked").count() == 1
    with catalog.begin() as connection:
        query = sa.select(sa.func.count()).where(items.c.label_origin == "confirmed")
        assert connection.scalars(query).one() == 0


@pytest.fixture
def weigh() -> Iterator[Callable[[Any, str], int]]:
    """Gives what a page weighs with all that it loads but photos, each file compressed."""

    def measure(page: Any, path: str) -> int:
        sizes: list[int] = []

        def note(response: Any) -> None:
            if response.request.resource_type != "image" or response.url.endswith(".svg"):
                sizes.append(len(gzip.compress(response.body())))

        page.on("response", note)
        page.goto(path, wait_until="networkidle")
        page.remove_listener("response", note)
        return sum(sizes)

    yield measure


@pytest.mark.usefixtures("ten_thousand")
def test_with_ten_thousand_classes_pages_are_as_light(
    ask: Callable[..., Any], weigh: Callable[[Any, str], int], catalog: Catalog
) -> None:
    page = ask("ada", "expert")
    answer = "/" + page.url.split("/", 3)[3]
    with catalog.begin() as connection:  # and an account that has seen all of them
        connection.execute(
            sa.text("""
            INSERT INTO logs.results (item_id, model_version, probabilities, top_class, confidence, margin)
            SELECT id, 2, '{0.5,0.5}', class_names[1], 0.5, 0 FROM training.items WHERE split = 'pool';
            INSERT INTO logs.predictions (result_id, account_id, is_cached)
            SELECT results.id, accounts.id, false FROM logs.results, users.accounts WHERE top_class LIKE 'Cort%';
            """)
        )
    for path in ("/", answer, "/photos", "/review", "/review/waiting", "/review/waiting?class=Myc%C3%A9na number 0001"):
        assert 10_000 < weigh(page, path) < MOST_BYTES, path
        assert len(set(re.findall("number ([0-9]{4})", page.content()))) < 200, path
    page.goto("/photos?species=cortinarius NUMBER 0012")
    assert page.locator(".photos li").count() == 1
    assert page.locator("[name=species]").input_value() == "Cortinarius number 0012"

"""The house: an admin looks after accounts, maintenance, batches, alerts, backups and checks."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role, find_account, verify_password
from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.batches import FileOutcome, add_batch
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.logs.events import write_event
from ml.catalog.logs.outbox import raise_alert
from ml.catalog.object_store import image_key
from ml.catalog.tables import accounts, events, items, maintenance
from ml.data.membership import Arrival, wait
from tests.webapi.pages.conftest import PASSWORD, PHONE, find_barriers

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>"
SendForm = Callable[..., TestResponse]


@pytest.fixture
def bob(app: Flask, add_account: Callable[[str, Role], Account], send_form: SendForm) -> FlaskClient:
    """The only admin."""
    add_account("bob", "admin")
    return log_in(app, send_form, "bob")


def log_in(app: Flask, send_form: SendForm, login: str, password: str = PASSWORD) -> FlaskClient:
    client = app.test_client()
    send_form(client, "/login", login=login, password=password)
    return client


@pytest.fixture
def source_batch(catalog: Catalog, png: Callable[[int], bytes]) -> int:
    """A batch in quarantine, with two photos that wait and a rejected file."""

    ids = [hashlib.sha256(png(seed)).hexdigest() for seed in (51, 52)]
    for sha256, seed in zip(ids, (51, 52), strict=True):
        catalog.store.put(image_key(sha256), png(seed))
    arrivals = [
        Arrival(ItemRecord("source", ImageRecord(each, "image/png", 32, 32, 100)), Annotation(("amanita",)))
        for each in ids
    ]
    files = [FileOutcome(f"{each}.png", "1", "amanita", "waiting", item_id=each) for each in ids]
    files.append(FileOutcome("torn.png", "1", "amanita", "rejected", "unreadable", "Expected an image."))
    with catalog.begin() as connection:
        wait(connection, arrivals, "source")
        return add_batch(connection, f"s3://{MARKUP}", files, True, 0.33)


def events_of(catalog: Catalog, prefix: str) -> list[tuple[str, str, dict[str, Any]]]:
    query = sa.select(events.c.kind, events.c.actor, events.c.detail).where(events.c.kind.startswith(prefix))
    with catalog.begin() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(events.c.id))]


def id_of(catalog: Catalog, login: str) -> int | None:
    with catalog.begin() as connection:
        return connection.scalar(sa.select(accounts.c.id).where(accounts.c.login == login))


def secret_in(answer: TestResponse) -> str:
    (found,) = re.findall(r'<output class="secret"[^>]*>([^<]+)</output>', answer.text)
    return str(found)


def test_an_account_is_added_and_its_password_is_shown_once(
    bob: FlaskClient, app: Flask, catalog: Catalog, send_form: SendForm
) -> None:
    answer = send_form(bob, "/house/accounts", login="alice", role="expert")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    password = secret_in(answer)
    assert len(password) >= 20
    for path in ("/house/accounts", "/house/accounts/alice"):
        shown = bob.get(path).text
        assert "alice" in shown
        assert password not in shown
    with catalog.begin() as connection:
        assert verify_password(find_account(connection, "alice"), password)
    actor = f"account:{id_of(catalog, 'bob')}"
    detail = {"account": f"account:{id_of(catalog, 'alice')}", "role": "expert"}
    assert events_of(catalog, "account.") == [("account.added", actor, detail)]
    assert log_in(app, send_form, "alice", password).get("/review").status_code == 200


@pytest.mark.parametrize(
    ("login", "role", "words"),
    [("bob", "user", "This login is taken"), ("Alice", "user", "small letters"), ("", "user", "small letters"),
     (MARKUP, "user", "small letters"), ("a" * 65, "user", "small letters"), ("alice\n", "user", "small letters"),
     ("alice", "owner", "Not a valid choice")],
)  # fmt: skip
def test_a_wrong_login_or_role_adds_nothing(
    bob: FlaskClient, catalog: Catalog, send_form: SendForm, login: str, role: str, words: str
) -> None:
    answer = send_form(bob, "/house/accounts", login=login, role=role)
    assert answer.status_code == 422
    assert words in answer.text
    assert "<script>alert" not in answer.text
    with catalog.begin() as connection:
        assert connection.scalars(sa.select(accounts.c.login)).all() == ["bob"]


def test_a_role_is_changed_and_holds_at_once(
    bob: FlaskClient, app: Flask, catalog: Catalog, send_form: SendForm, add_account: Any
) -> None:
    add_account("alice", "user")
    alice = log_in(app, send_form, "alice")
    assert alice.get("/review").status_code == 403
    changed = send_form(bob, "/house/accounts/alice", role="expert")
    assert changed.status_code == 303
    assert "alice has the role expert now." in bob.get(changed.headers["Location"]).text
    assert alice.get("/review").status_code == 200
    ((kind, _actor, detail),) = events_of(catalog, "account.")
    assert (kind, detail["before"], detail["after"]) == ("account.role_changed", "user", "expert")


def test_a_new_password_replaces_the_old_one_and_enables_the_account(
    bob: FlaskClient, app: Flask, catalog: Catalog, send_form: SendForm, add_account: Any
) -> None:
    add_account("alice", "user")
    alice = log_in(app, send_form, "alice")
    assert send_form(bob, "/house/accounts/alice/disable").status_code == 303
    assert alice.get("/photos").status_code == 303  # to the login
    assert "disabled" in bob.get("/house/accounts").text
    answer = send_form(bob, "/house/accounts/alice/password")
    password = secret_in(answer)
    assert password not in bob.get("/house/accounts/alice").text
    assert log_in(app, send_form, "alice").get("/photos").status_code == 303  # the old password
    assert log_in(app, send_form, "alice", password).get("/photos").status_code == 200
    assert [kind for kind, _, _ in events_of(catalog, "account.")] == ["account.disabled", "account.reset"]
    assert {actor for _, actor, _ in events_of(catalog, "account.")} == {f"account:{id_of(catalog, 'bob')}"}


def test_an_account_is_erased_after_a_question(
    bob: FlaskClient, catalog: Catalog, send_form: SendForm, add_account: Any
) -> None:
    add_account("alice", "user")
    assert "Erase alice?" in bob.get("/house/accounts/alice/erase").text
    assert id_of(catalog, "alice") is not None
    erased = send_form(bob, "/house/accounts/alice/erase")
    assert "The account alice is erased." in bob.get(erased.headers["Location"]).text
    assert id_of(catalog, "alice") is None
    for path in ("", "/erase", "/disable", "/password"):
        assert bob.get(f"/house/accounts/alice{path}").status_code == 404


@pytest.mark.parametrize(
    ("path", "fields"), [("/disable", {}), ("/erase", {}), ("", {"role": "user"}), ("", {"role": "expert"})]
)
def test_the_last_admin_stays(
    bob: FlaskClient, catalog: Catalog, send_form: SendForm, add_account: Any, path: str, fields: dict[str, str]
) -> None:
    add_account("alice", "user")
    answer = send_form(bob, f"/house/accounts/bob{path}", **fields)
    assert answer.status_code == 409
    assert "You are the only admin" in answer.text
    assert bob.get("/house").status_code == 200
    assert events_of(catalog, "account.") == []


def test_maintenance_begins_and_ends_after_a_question_and_says_so(
    bob: FlaskClient, catalog: Catalog, send_form: SendForm
) -> None:
    assert "The service works as usual." in bob.get("/house").text
    begun = send_form(bob, "/house/maintenance", to="on")
    shown = bob.get(begun.headers["Location"]).text
    assert "Maintenance has begun" in shown
    assert "End maintenance" in shown
    assert send_form(bob, "/house/maintenance", to="on").status_code == 303  # from an old page: it stays on
    assert "Maintenance is on" in bob.get("/house").text
    ended = send_form(bob, "/house/maintenance", to="off")
    assert "Maintenance is over." in bob.get(ended.headers["Location"]).text
    with catalog.begin() as connection:
        switches = connection.execute(sa.select(maintenance.c.is_on, maintenance.c.actor)).all()
    assert [is_on for is_on, _ in switches] == [True, True, False]
    assert {actor for _, actor in switches} == {f"account:{id_of(catalog, 'bob')}"}


@pytest.mark.parametrize(
    ("settlement", "words", "held_back"),
    [("certify", "certified: 2", None), ("reject", "excluded: 2", "excluded")],
)
def test_a_batch_is_decided_about_after_a_question(
    bob: FlaskClient, catalog: Catalog, send_form: SendForm, source_batch: int, settlement: str, words: str,
    held_back: str | None,
) -> None:  # fmt: skip
    listed = bob.get("/house/batches").text
    assert "quarantined" in listed
    assert "33.0%" in listed
    assert "<script>alert" not in listed
    assert "2 wait" in bob.get("/house").text
    path = f"/house/batches/{source_batch}/{settlement}"
    assert bob.get(path).status_code == 200
    decided = send_form(bob, path)
    assert words in bob.get(decided.headers["Location"]).text
    with catalog.begin() as connection:
        assert set(connection.scalars(sa.select(items.c.held_back))) == {held_back}
    actors = {actor for _, actor, _ in events_of(catalog, "data.")}
    assert actors == {f"account:{id_of(catalog, 'bob')}"}
    assert bob.get(f"/house/batches/999/{settlement}").status_code == 404
    assert bob.get(f"/house/batches/{source_batch}/burn").status_code == 404


def test_alerts_are_shown_in_words_with_the_page_where_one_acts(bob: FlaskClient, catalog: Catalog) -> None:
    assert "No alert yet." in bob.get("/house").text
    kinds: list[Any] = ["quarantine", "promotion_waiting", "below_floor", "moved_externally", "task_failed"]
    with catalog.begin() as connection:
        for kind in kinds:
            raise_alert(connection, kind, kind, f"{kind} {MARKUP}", f"Line 1\nLine 2 {MARKUP}")
    shown = bob.get("/house").text
    assert shown.count('<span lang="en">') == len(kinds)
    assert "<script>alert" not in shown
    for words in ("A batch waits", "An approval waits", "Below the floor", "Changed in MLflow", "A task failed"):
        assert words in shown
    for place in ("/house/batches", "/versions", "/dashboard"):
        assert f'<p><a href="{place}">' in shown


@pytest.mark.parametrize(("days", "age", "is_old"), [(0, "1 hour", False), (3, "3 days", False), (10, "1 week", True)])
def test_the_age_of_the_last_backup_is_told(
    bob: FlaskClient, catalog: Catalog, days: int, age: str, is_old: bool
) -> None:
    assert "No backup is known." in bob.get("/house").text
    with catalog.begin() as connection:
        for name, ago in (("older", 400), (f"latest {MARKUP}", days)):
            number = write_event(connection, "backup.made", "an operator", {"folder": f"/backups/{name}", "files": 3})
            change = sa.update(events).where(events.c.id == number)
            connection.execute(change.values(happened_at=sa.func.now() - sa.func.make_interval(0, 0, 0, ago)))
    shown = bob.get("/house").text
    assert f"The last backup is {age} old" in shown
    assert "/backups/latest" in shown
    assert "/backups/older" not in shown
    assert "<script>alert" not in shown
    assert ("older than a week" in shown) == is_old


def test_what_the_last_check_found_is_told(bob: FlaskClient, catalog: Catalog, source_batch: int) -> None:
    assert "There was no check yet." in bob.get("/house").text
    with catalog.begin() as connection:
        write_event(connection, "check.finished", "check", {"withdrawn": 7, "marked_evaluations": 0})
        copy, original = connection.scalars(sa.select(items.c.id).order_by(items.c.id)).all()
        change = sa.update(items).where(items.c.id == copy)
        connection.execute(change.values(held_back="copy", copy_of=original))
    shown = bob.get("/house").text
    assert "Photos that it took out of the pool: 7" in shown
    assert "because the evaluation set has a copy of them: 1" in shown
    assert f"/photos/{copy}/thumbnail" in shown
    assert f"/photos/{original}/thumbnail" in shown


def test_the_house_has_no_barrier_and_fits_a_phone(
    log_in_as: Callable[..., Any], catalog: Catalog, source_batch: int, add_account: Any
) -> None:
    add_account("alice", "user")
    with catalog.begin() as connection:
        raise_alert(connection, "quarantine", "q", "A batch waits", "Look at it.")
        write_event(connection, "backup.made", "an operator", {"folder": "/backups/1", "files": 3})
    page = log_in_as("bob", "admin", locale="fr-FR", **PHONE)
    page.get_by_role("link", name="Maison").click()
    account, batch = "/house/accounts/alice", f"/house/batches/{source_batch}"
    asking = [f"{account}/{each}" for each in ("password", "disable", "erase")] + [
        f"{batch}/certify",
        f"{batch}/reject",
    ]
    for path in ("/house", "/house/maintenance", "/house/accounts", account, "/house/batches", *asking):
        page.goto(path)
        page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert (path, find_barriers(page)) == (path, [])
        assert (path, page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")) == (path, True)
    page.goto(f"{account}/password")
    page.locator("button.danger").click()
    page.locator("output.secret").wait_for()
    assert find_barriers(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.faults == []


def test_an_admin_adds_an_account_with_scripts_off(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("bob", "admin", java_script_enabled=False)
    page.get_by_role("link", name="House").click()
    page.get_by_role("link", name="See and change accounts").click()
    page.locator("[name=login]").fill("alice")
    page.get_by_role("button", name="Add this account").click()
    assert len(page.locator("output.secret").inner_text()) >= 20
    page.get_by_role("button", name="Back to the accounts").click()
    page.get_by_role("link", name="alice").click()
    page.get_by_role("link", name="Disable the account").click()
    page.get_by_role("button", name="Disable the account").click()
    assert page.get_by_text("alice is disabled, and logged out everywhere.").is_visible()
    assert Path(page.url).name == "alice"

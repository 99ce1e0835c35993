"""The dashboard without a browser: its words, its tables, its JSON, and what an address may ask for."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from itertools import combinations

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.clock import now
from ml.catalog.database import Catalog
from ml.catalog.models.attempts import note_approval_asked, start_attempt
from ml.catalog.models.verdicts import StoredVerdict, save_verdict
from ml.catalog.tables import served_models, snapshots
from ml.errors import SnapshotError
from ml.reporting.task_failures import FailedTask, notify_failure
from ml.settings import Settings
from tests import three_years
from tests.ml.image_rows import add_item
from webapi.access.session_cookie import SESSION_COOKIE
from webapi.pages.page_views.static_files import STATIC

AIRFLOW = "http://airflow.example"
SNAPSHOT = (
    sa.insert(snapshots)
    .values(cutoff=sa.func.now(), requested_size=1000, strategy="newest", classes=["a", "b"], pool_state="state")
    .returning(snapshots.c.id)
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    update = {"airflow_public_url": AIRFLOW, "mlflow_tracking_uri": "http://127.0.0.1:1", "new_images_threshold": 77}
    return settings.model_copy(update=update)


@pytest.fixture
def open_session(
    app: Flask, catalog: Catalog, add_account: Callable[[str, Role], Account]
) -> Callable[..., FlaskClient]:
    def open_one(role: Role) -> FlaskClient:
        with catalog.begin() as connection:
            token = issue_token(connection, add_account(f"a-{role}", role).id, timedelta(hours=1)).token
        client = app.test_client()
        client.set_cookie(SESSION_COOKIE, token)
        return client

    return open_one


@pytest.fixture
def troubled(catalog: Catalog, settings: Settings, add_champion: Callable[..., None]) -> None:
    """A champion that does not load, a failed night, and an approval that waits."""
    add_champion(1, 0.9)
    error = SnapshotError("<b>Nothing</b> to score.")
    notify_failure(settings, FailedTask("monitor_production", "run", "monitor", -1, 3, is_training=False, error=error))
    with catalog.begin() as connection:
        row = {"version": None, "refused_version": 1, "load_error": "<i>Damaged</i>."}
        alive = now(connection) + timedelta(hours=1)
        connection.execute(sa.insert(served_models).values(process="host:1", alive_until=alive, **row))
        snapshot_id = connection.execute(SNAPSHOT).scalar_one()
        attempt_id = start_attempt(connection, "one", "test", {}, snapshot_id)
        save_verdict(connection, attempt_id, StoredVerdict(1, None, 1, "promote", ["Better."], [], 0.9, None))
        note_approval_asked(connection, attempt_id)


def list_classes(text: str) -> list[str]:
    return [unescape(each) for each in re.findall(r'<th scope="row"><a[^>]*>(.*?)</a>', text)]


def list_troubles(text: str) -> dict[str, str]:
    return dict(re.findall(r'<li data-kind="(\w+)">(.*?)</li>', text, re.DOTALL))


@pytest.mark.usefixtures("troubled")
def test_the_three_troubles_are_on_top_in_words_with_links(open_session: Callable[..., FlaskClient]) -> None:
    client = open_session("admin")
    text = client.get("/dashboard").text
    found = list_troubles(text)
    assert list(found) == ["not_served", "task_failed", "approval"]
    assert text.index('id="troubles"') < text.index('id="over-time"')
    assert "Version 1 is in production, but does not load." in found["not_served"]
    assert "&lt;i&gt;Damaged&lt;/i&gt;." in found["not_served"]
    assert "The task monitor of monitor_production failed." in found["task_failed"]
    assert f'href="{AIRFLOW}/dags/monitor_production/runs/run/tasks/monitor"' in found["task_failed"]
    assert "&lt;b&gt;Nothing&lt;/b&gt;" in found["task_failed"]
    assert "1 new version waits" in found["approval"]
    assert 'href="/versions/rollback"' in found["not_served"]
    assert 'href="/versions"' in found["approval"]
    for address in re.findall(r'href="(/[^"]+)"', "".join(found.values())):
        assert client.get(address).status_code in {200, 503}  # 503: this test has no MLflow
    assert "Nothing is wrong" not in text
    french = client.get("/dashboard", headers={"Accept-Language": "fr"}).text
    assert "La version 1 est en production, mais ne se charge pas." in french


@pytest.mark.usefixtures("troubled")
def test_an_expert_sees_the_troubles_without_the_messages_of_errors(open_session: Callable[..., FlaskClient]) -> None:
    text = open_session("expert").get("/dashboard").text
    assert list(list_troubles(text)) == ["not_served", "task_failed", "approval"]
    assert "Damaged" not in text
    assert 'href="/versions' not in text  # experts cannot act there
    assert "Nothing&lt;" not in text


def test_an_empty_installation_says_so_and_has_no_trouble(open_session: Callable[..., FlaskClient]) -> None:
    client = open_session("expert")
    text = client.get("/dashboard").text
    for words in ("Nothing is wrong.", "No model yet", "Not measured yet", "None yet", "The pool is empty."):
        assert words in text
    assert "<summary>Table</summary>" not in text
    figures = client.get("/dashboard/figures").json
    assert figures is not None
    assert [len(chart["at"]) for chart in figures["charts"]] == [0] * 9
    assert figures["until"] - figures["since"] == 90 * 86400


def test_the_way_to_retraining_follows_the_setting(
    catalog: Catalog, open_session: Callable[..., FlaskClient], add_champion: Callable[..., None]
) -> None:
    with catalog.begin() as connection:
        snapshot_id = connection.execute(SNAPSHOT).scalar_one()
    add_champion(1, 0.9, snapshot_id)
    with catalog.begin() as connection:
        member = {"split": "pool", "class_names": ["a"], "label_origin": "confirmed"}
        for number in range(12):
            add_item(connection, f"{number:064x}", **member, entered_pool_at=now(connection))
    client = open_session("expert")
    text = client.get("/dashboard").text
    assert 'value="12" max="77"' in text
    assert "12 of 77 that no training has used." in text
    figures = client.get("/dashboard/figures").json
    assert figures is not None
    (chart,) = [each for each in figures["charts"] if each["name"] == "new_images"]
    assert (chart["title"], chart["level"]) == ("New images on the way to 77", {"label": "Threshold", "value": 77.0})


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("since=2026-01-01&until=2026-01-01", 200),
        ("since=&until=&zone=&class=", 200),
        ("zone=Pacific/Chatham", 200),
        ("zone=Asia/Calcutta&since=2000-01-01&until=2199-12-31", 200),
        ("since=2026-02-01&until=2026-01-01", 422),
        ("since=2026-02-30", 422),
        ("since=yesterday", 422),
        ("until=9999-12-31", 422),
        ("since=0001-01-01", 422),
        ("zone=Mars/Olympus", 422),
        ("zone=../../etc/passwd", 422),
        ("zone=utc'; DROP TABLE", 422),
        ("class=%00%ff'\"<b>", 200),
        ("until=2000-01-01", 200),
    ],
)
def test_an_address_may_ask_for_days_zones_and_classes_only(
    open_session: Callable[..., FlaskClient], asked: str, status: int
) -> None:
    client = open_session("expert")
    assert client.get(f"/dashboard?{asked}").status_code == status
    assert client.get(f"/dashboard/figures?{asked}").status_code == status


def test_only_experts_and_admins_see_the_figures(client: FlaskClient, open_session: Callable[..., FlaskClient]) -> None:
    """Also in the first request of a process, which has not read the key of forms yet."""
    user = open_session("user")
    for path in ("/dashboard", "/dashboard/figures"):
        assert user.get(path).status_code == 403
        assert client.get(path).status_code == 303
    assert "/dashboard" not in user.get("/photos").text
    assert "/dashboard" in open_session("expert").get("/photos").text


@pytest.fixture
def three_years_full(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        three_years.fill(connection, class_count=60, images=2000, repeats=1)


@pytest.mark.usefixtures("three_years_full")
def test_tables_have_the_same_figures_as_the_charts_and_lead_to_earlier_ones(
    open_session: Callable[..., FlaskClient],
) -> None:
    client = open_session("expert")
    address = "/dashboard?since=2000-01-01"
    text = client.get(address).text
    figures = client.get(address.replace("?", "/figures?")).json
    assert figures is not None
    charts = {chart["name"]: chart for chart in figures["charts"]}
    assert len(charts["accuracy"]["at"]) == three_years.NIGHTS - three_years.NIGHTS // 97
    assert any(mark["kind"] == "rollback" and mark["version"] == 5 for mark in figures["marks"])
    assert "Rolled back to version 5" in text
    last = f"{charts['accuracy']['columns']['value'][-1]:.1%}"
    rows = re.findall(r"<tr>.*?</tr>", text, re.DOTALL)
    assert last in rows[1]
    assert "The latest 100 of 1084 rows." in text
    earlier = unescape(re.findall(r'href="([^"]+)">Earlier ones', text)[0])
    assert "since=2000-01-01" in earlier
    assert "The latest 100 of" in client.get(earlier).text
    assert client.get(earlier).text != text


@pytest.mark.usefixtures("three_years_full")
def test_a_class_with_a_hostile_name_can_be_chosen_and_stays_text(open_session: Callable[..., FlaskClient]) -> None:
    client = open_session("expert")
    assert len(list_classes(client.get("/dashboard?since=2000-01-01").text)) == 40  # of 60
    for name in (three_years.FIRST_CLASS, three_years.FIRST_CLASS.upper()):
        text = client.get("/dashboard", query_string={"class": name, "since": "2000-01-01"}).text
        assert three_years.FIRST_CLASS in list_classes(text)
        assert "<b>muscaria" not in text
        assert unescape(re.findall(r'<h3 id="chart-recall">(.*?)</h3>', text)[0]).endswith(three_years.FIRST_CLASS)
    near = client.get("/dashboard", query_string={"class": "amanita muscari"}).text
    assert "No class is named amanita muscari." in near
    assert "Near it:" in near


def read_colours() -> tuple[dict[str, str], dict[str, str]]:
    """The colours of charts, by name, in light and in dark."""
    found = re.findall(r"--mycoflow-chart-([1-4]|level|text): (#[0-9a-f]{6});", (STATIC / "mycoflow.css").read_text())
    return dict(found[: len(found) // 2]), dict(found[len(found) // 2 :])


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("theme", "ground"), [(0, "#ffffff"), (1, "#13171f")], ids=["light", "dark"])
def test_lines_stand_out_and_differ_from_each_other(theme: int, ground: str) -> None:
    """For people who see colours and for those who do not see red and green apart; dashes tell lines apart as well."""
    colours = read_colours()[theme]
    assert set(colours) == {"1", "2", "3", "4", "level", "text"}
    for colour in colours.values():
        bright, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3
    lines = [colours[number] for number in "1234"]
    for first, second in combinations(lines, 2):
        assert (
            sum((a - b) ** 2 for a, b in zip(seen_without_green(first), seen_without_green(second), strict=True)) > 0.1
        )


def seen_without_green(colour: str) -> tuple[float, float, float]:
    """What a person with deuteranopia sees. Source: Machado et al. (2009), severity 1."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return (
        0.367 * red + 0.861 * green - 0.228 * blue,
        0.280 * red + 0.673 * green + 0.047 * blue,
        -0.012 * red + 0.043 * green + 0.969 * blue,
    )

"""The pages of model versions: what they tell of each, and what the numbers lead to."""

import re
from html import unescape

import pytest
from flask.testing import FlaskClient

from ml.catalog.tables import results
from tests.webapi.pages.versions.conftest import Trained

CELL = re.compile(r'href="(/versions/2/confused\?[^"]+)"[^>]*>(\d+)</a>')


def read(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def words(page: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_list_says_what_is_in_production_how_good_each_is_and_why(bob: FlaskClient, trained: Trained) -> None:
    page = read(bob, "/versions")
    shown = words(page)
    assert re.search(r"1 In production not served", shown)
    assert re.search(r"\d+\.\d% \d+\.\d% to \d+\.\d%", shown)
    assert "The challenger is as good as the champion" in shown
    assert "<b>95.0%" not in page
    assert 'value="2"' in page


def test_before_the_first_model_the_list_says_what_to_do(bob: FlaskClient) -> None:
    shown = words(read(bob, "/versions"))
    assert "No model version yet" in shown
    assert "Airflow does not answer" in shown  # it knows no such runs


def test_one_version_has_its_origin_figures_curves_calibration_and_confusions(
    bob: FlaskClient, trained: Trained
) -> None:
    page = read(bob, "/versions/2")
    shown = words(page)
    assert "more <i>boleti</i>" in shown
    assert "<i>boleti" not in page
    assert "Calibration error" in shown
    assert "Loss over the epochs" in shown
    assert "Accuracy over the epochs" in shown
    assert "Tail loss over the epochs" in shown
    assert page.count("data:image/svg+xml;base64,") == 4
    assert re.search(r"amanita 16 \d+\.\d% \d+\.\d% \d+\.\d%", shown)
    assert re.match(r" \d of amanita called cantharellus", shown.partition("Most frequent confusions")[2])

    cells = dict(CELL.findall(page))
    assert sum(map(int, cells.values())) == 52
    for address, count in cells.items():
        photos = read(bob, unescape(address))
        thumbnails = set(re.findall(r'src="(/photos/[0-9a-f]{64}/thumbnail)"', photos))
        assert len(thumbnails) == int(count)
        assert bob.get(min(thumbnails)).status_code == 200


def test_two_versions_are_compared_on_the_same_photos(bob: FlaskClient, trained: Trained) -> None:
    page = read(bob, "/versions/compare?version=1&version=2")
    shown = words(page)
    assert re.search(r"Both answered the same 52 photos of \d\d observations\.", shown)
    assert "The difference is larger than chance explains" in shown
    assert re.search(r"version 2 against version 1: \+\d+\.\d points, standard error \d+\.\d", shown)
    differing = int(re.findall(r"Photos on which they differ (\d+)", shown)[0])
    first = set(re.findall(r"/photos/[0-9a-f]{64}/thumbnail", page))
    assert len(first) == min(24, differing)
    (following,) = re.findall(r'href="(/versions/compare\?[^"]*from=24[^"]*)"', page)
    second = set(re.findall(r"/photos/[0-9a-f]{64}/thumbnail", read(bob, unescape(following))))
    assert second
    assert not first & second

    with trained.workspace.catalog.begin() as connection:
        connection.execute(results.delete().where(results.c.model_version == 1, results.c.top_class.is_not(None)))
    shown = words(read(bob, "/versions/compare?version=1&version=2"))
    assert "Version 1 has not answered 52 photos" in shown
    assert "mycoflow evaluate --version 1" in shown
    assert "There is no photo in the evaluation set that both versions know and have answered." in shown


def test_a_mistyped_address_is_told_or_shows_nothing(bob: FlaskClient, trained: Trained) -> None:
    for query in ("", "version=1", "version=1&version=1", "version=one&version=2", "version=1&version=2&version=3"):
        answer = bob.get(f"/versions/compare?{query}", follow_redirects=True)
        assert (answer.status_code, answer.request.path) == (200, "/versions"), query
        assert "Choose two versions to compare." in answer.text
    for path in ("/versions/3", "/versions/0", "/versions/99999999999999", "/versions/3/promote"):
        answer = bob.get(path)
        assert answer.status_code == 404, path
        assert "no such version" in words(answer.text)
    for query in ("true=amanita", "true=<script>&predicted=%00", "true=amanita&predicted=boletus&from=-1", "from=²"):
        page = read(bob, f"/versions/2/confused?{query}")
        assert "<script>" not in page
        assert "No photo of the evaluation set is called so" in words(page)


def test_the_figures_of_an_evaluation_stand_at_the_run_in_mlflow(bob: FlaskClient, trained: Trained) -> None:
    from mlflow import MlflowClient

    registry = trained.workspace.registry
    newest = registry.versions()[0]
    client = MlflowClient(trained.workspace.settings.mlflow_tracking_uri)
    logged = client.get_run(newest.mlflow_run_id).data.metrics
    assert logged["evaluation_accuracy"] == pytest.approx(0.92, abs=0.08)
    assert {"evaluation_precision_macro", "evaluation_recall_macro", "evaluation_f1_macro"} <= set(logged)
    (point,) = client.get_metric_history(newest.mlflow_run_id, "evaluation_accuracy")
    assert point.step == 1
    client.delete_run(newest.mlflow_run_id)
    assert "Version 2" in words(read(bob, "/versions/2"))

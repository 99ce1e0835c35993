import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr

from ml.catalog import database
from ml.catalog.annotations import Annotation
from ml.catalog.database import MIGRATIONS, Catalog, head_revision, migrate, open_catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.home_choices import find_choice
from ml.catalog.images.copy_index import load_statistics
from ml.catalog.images.feature_vectors import load_features
from ml.catalog.items.item_records import find_item_images
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.logs.results import find_result, load_results
from ml.catalog.models.backbone_records import find_backbone_by_recipe
from ml.catalog.models.evaluations import latest_evaluation
from ml.catalog.models.training_failures import last_failure
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.catalog.tables import (
    attempts,
    backbones,
    class_recalls,
    images,
    item_classes,
    metadata,
    monitorings,
    training_failures,
)
from ml.data.evaluation_sets import current_evaluation_set, load_evaluation_set
from ml.data.membership import State, read_states
from ml.errors import DatabaseUnavailableError, SchemaVersionError, SettingsError
from ml.settings import Settings

BACKBONE = sa.insert(backbones).values(
    recipe="kept",
    backbone="vgg16",
    onnx_sha256="a",
    fp32_sha256="a",
    weights_recipe="random:0",
    precision="fp32",
    image_size=32,
)
OLD_ROWS = """
    INSERT INTO training.trunks (recipe, onnx_sha256, fp32_sha256, weights_recipe, precision, image_size)
        VALUES ('random:0 32px fp32 rgb-bilinear-1', 'a', 'a', 'random:0', 'fp32', 32);
    INSERT INTO training.home_choices (name, value, reason) VALUES ('weights', 'bundled', 'no network');
"""
APPENDED = """
from alembic import op

revision = "schema_9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        "ALTER TABLE training.backbones ADD COLUMN note text NOT NULL DEFAULT 'none'; "
        "CREATE TABLE training.appended (id bigint PRIMARY KEY); GRANT SELECT ON training.appended TO web"
    )
"""


def test_the_tables_in_code_are_the_tables_that_the_migrations_make(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _parents: (kind, name) != ("schema", "tuning"),  # Optuna's, see below
            "compare_type": True,
            # Indexes live in the migrations alone: code never names one.
            "include_object": lambda _object, _name, kind, _reflected, _compared: kind != "index",
        }
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_the_tables_of_studies_are_those_that_optuna_would_make(catalog: Catalog) -> None:
    from optuna.storages._rdb.models import SCHEMA_VERSION, BaseModel

    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = tuning"))
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, BaseModel.metadata) == []
        version = connection.execute(sa.text("SELECT schema_version FROM version_info")).scalar_one()
    assert version == SCHEMA_VERSION


def test_migrating_twice_changes_nothing_the_second_time(new_database: Callable[[], str], tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(new_database()))
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        connection.execute(BACKBONE)
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert connection.execute(sa.select(backbones.c.recipe)).scalars().all() == ["kept"]


@pytest.fixture
def newer_code(tmp_path: Path) -> Path:
    """The migrations of a checkout that appended one: a new table with its grants, and a column of an old table."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9999_appended.py").write_text(APPENDED.format(head=head_revision()))
    return folder


def test_an_appended_migration_brings_a_database_along_with_its_data_and_grants(
    settings: Settings, newer_code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        connection.execute(BACKBONE)
        before = grants_on_tables(connection)
    monkeypatch.setattr(database, "MIGRATIONS", newer_code)
    with pytest.raises(SchemaVersionError, match=r"expected schema_9999\. Run `mycoflow migrate`"):
        open_catalog(settings).__enter__()
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert connection.execute(sa.text("SELECT recipe, note FROM training.backbones")).all() == [("kept", "none")]
        assert grants_on_tables(connection) - before == {("web", "training.appended", "SELECT")}
        assert before <= grants_on_tables(connection)
    assert {role for role, _, _ in before} == {"web", "training", "grafana_ro"}


@pytest.fixture
def older(new_database: Callable[[], str], tmp_path: Path) -> Callable[[int, str], Settings]:
    """older(4, statements): make a database with migrations 1 to 3 and run the statements. Returns its settings."""

    def make(number: int, rows: str) -> Settings:
        settings, before = Settings(mycoflow_home=tmp_path, database_url=SecretStr(new_database())), tmp_path / "before"
        newer = shutil.ignore_patterns("__pycache__", *(f"{later:04}_*" for later in range(number, 100)))
        shutil.copytree(MIGRATIONS, before, ignore=newer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "MIGRATIONS", before)
            migrate(settings)
            with open_catalog(settings) as catalog, catalog.begin() as connection:
                connection.execute(sa.text(rows))
        return settings

    return make


NIGHTS = """
INSERT INTO training.model_versions (version, mlflow_run_id, trunk_id, classes, image_size, precision)
VALUES (1, 'run', 't:1', '{a}', 32, 'fp32');
INSERT INTO training.evaluation_sets (content_sha256) VALUES ('set');
INSERT INTO training.monitorings (model_version, evaluation_set_version, accuracy, new_images_human,
                                  new_images_harvested, is_retraining_requested, reasons)
SELECT 1, version, 0.65, 0, 0, reason <> '', ARRAY['500 new images reach the threshold of 500.', reason]
FROM training.evaluation_sets, (VALUES ('Accuracy 65.0% is below the floor of 72.5%.'), ('')) AS told (reason)
"""


def test_nights_from_before_the_floor_was_stored_are_below_it_where_their_reasons_say_so(
    older: Callable[[int, str], Settings],
) -> None:
    settings = older(5, NIGHTS)
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        query = sa.text("SELECT is_below_floor, shortfalls FROM training.monitorings ORDER BY is_below_floor")
        stored = connection.execute(query).all()
    assert stored == [(False, []), (True, [{"label": None, "value": 0.65, "floor": 0.725}])]


def test_backbones_and_choices_from_before_backbones_had_names_become_those_of_vgg16(
    older: Callable[[int, str], Settings],
) -> None:
    settings = older(4, OLD_ROWS)
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        kept = find_backbone_by_recipe(connection, "vgg16 random:0 32px fp32 rgb-bilinear-1")
        assert kept is not None
        assert kept.backbone == "vgg16"
        assert find_choice(connection, "weights of vgg16") == "bundled"


IMAGES = """
INSERT INTO training.images (sha256, group_key, source, media_type, width, height, byte_count, received_at, split,
                             evaluation_part, label, label_origin, entered_pool_at, held_back)
SELECT repeat(digit, 64), 'walk 7', 'folder', 'image/jpeg', 320, 240, 20000, timestamptz '2026-01-01 00:00+00', split,
       CASE split WHEN 'evaluation' THEN 'anchor' END, label, origin, CASE split WHEN 'pool' THEN now() END, NULL
FROM (VALUES ('1', 'pool', 'boletus', 'curated'), ('2', 'evaluation', 'amanita', 'confirmed'), ('3', NULL, NULL, NULL))
    AS known (digit, split, label, origin);
UPDATE training.images SET copy_of = repeat('1', 64) WHERE sha256 = repeat('3', 64);
INSERT INTO training.labels (image_sha256, label, origin, said_by) VALUES (repeat('1', 64), 'boletus', 'curated', 'me');
INSERT INTO training.image_rights VALUES (repeat('1', 64), 'CC0', 'Ada');
INSERT INTO training.image_statistics (image_sha256, thumbnail, brightness, contrast, sharpness, aspect)
VALUES (repeat('1', 64), decode(repeat('00', 1024), 'hex'), 0, 0, 0, 1);
INSERT INTO training.features VALUES (repeat('1', 64), 'backbone', 'identity', decode('00000000', 'hex'));
INSERT INTO training.snapshots (cutoff, requested_size, strategy, classes, pool_state)
VALUES (now(), 1, 'newest', '{boletus}', '1');
INSERT INTO training.snapshot_images SELECT id, repeat('1', 64), 'boletus', 'curated', 'train' FROM training.snapshots;
INSERT INTO training.evaluation_sets (content_sha256) VALUES ('set');
INSERT INTO training.evaluation_set_images SELECT version, repeat('2', 64), 'amanita', 'anchor'
FROM training.evaluation_sets;
INSERT INTO logs.results (image_sha256, model_version, probabilities) VALUES (repeat('3', 64), 1, '{1}');
"""


def test_images_from_before_items_become_items_with_all_that_was_known_of_them(
    older: Callable[[int, str], Settings],
) -> None:
    settings = older(7, IMAGES)
    migrate(settings)
    one, two, three = ("1" * 64, "2" * 64, "3" * 64)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert read_states(connection, [one, two, three]) == {
            one: State("pool", None, Annotation(("boletus",)), "curated", None, "walk 7", None),
            two: State("evaluation", "anchor", Annotation(("amanita",)), "confirmed", None, "walk 7", None),
            three: State(None, None, None, None, None, "walk 7", one),
        }
        assert find_item_images(connection, [one, two, three]) == {one: one, two: two, three: three}
        stored = connection.execute(sa.select(images).order_by(images.c.sha256)).all()
        assert [row[:5] for row in stored] == [(key, "image/jpeg", 320, 240, 20000) for key in (one, two, three)]
        assert {row.received_at.year for row in stored} == {2026}
        assert {row.class_name for row in connection.execute(sa.select(item_classes))} == {"boletus", "amanita"}
        (taken,) = load_snapshot(connection, 1).items
        assert (taken.item_id, taken.annotation, taken.fold) == (one, Annotation(("boletus",)), "train")
        (member,) = load_evaluation_set(connection, 1)
        assert (member.item_id, member.annotation, member.part) == (two, Annotation(("amanita",)), "anchor")
        assert current_evaluation_set(connection)[1] == [member]
        assert list(load_statistics(connection, [one, two])) == [one]
        assert list(load_features(connection, [one], "backbone", ["identity"])) == [(one, "identity")]
        assert find_result(connection, three, 1) is not None
        said = connection.execute(sa.text("SELECT item_id, class_names, said_by FROM training.annotations")).all()
        assert said == [(one, ["boletus"], "me")]


def test_no_constraint_or_index_is_still_called_by_what_items_were(catalog: Catalog) -> None:
    names = """
        SELECT conname FROM pg_constraint
        WHERE conrelid = ANY ('{training.items,training.snapshot_items,training.annotations,logs.results}'::regclass[])
        UNION SELECT indexname FROM pg_indexes WHERE tablename IN ('items', 'snapshot_items', 'annotations', 'results')
    """
    with catalog.begin() as connection:
        found = set(connection.scalars(sa.text(names)))
    assert "items_pkey" in found
    assert not [name for name in found if name.startswith(("images_", "labels_", "snapshot_images"))]


SCORED = """
INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
VALUES (1, 'run', 'b:1', '{a,b,c}', 32, 'fp32');
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT repeat(digit, 64), 'image/png', 32, 32, 100 FROM (VALUES ('1'), ('2')) AS known (digit);
INSERT INTO training.items (id, image_sha256, group_key, source)
SELECT sha256, sha256, sha256, 'test' FROM training.images;
INSERT INTO logs.results (item_id, model_version, probabilities)
VALUES (repeat('1', 64), 1, '{0.25,0.625,0.125}'), (repeat('2', 64), 7, '{0.5,0.5}'), (repeat('2', 64), 8, '{1}');
INSERT INTO training.evaluation_sets (content_sha256) VALUES ('set');
INSERT INTO training.evaluations (model_version, evaluation_set_version, part, is_deciding, image_count, accuracy,
                                  precision_macro, recall_macro, f1_macro, per_class, confusion)
SELECT 1, version, 'anchor', true, 10, 0.75, 0.5, 0.5, 0.5, '{}', '[]' FROM training.evaluation_sets;
"""


def test_results_and_figures_from_before_tasks_become_those_of_classification(
    older: Callable[[int, str], Settings],
) -> None:
    settings = older(8, SCORED)
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        known = load_results(connection, 1, ["1" * 64])["1" * 64]
        assert (known.top_class, known.confidence, known.margin) == ("b", 0.625, 0.375)
        foreign = [load_results(connection, version, ["2" * 64])["2" * 64] for version in (7, 8)]
        assert [(each.top_class, each.confidence, each.margin) for each in foreign] == [(None, 0.5, 0), (None, 1, 1)]
        evaluation = latest_evaluation(connection, 1)
        assert evaluation is not None
        assert (evaluation.main_figure, evaluation.accuracy, evaluation.figures) == (0.75, 0.75, {})
        assert (find_choice(connection, "task"), find_choice(connection, "model name")) == (
            "classification",
            "mycoflow",
        )


def test_a_home_that_never_trained_has_chosen_no_task(older: Callable[[int, str], Settings]) -> None:
    settings = older(8, "SELECT 1")
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert find_choice(connection, "task") is None


TOLD = """
INSERT INTO training.snapshots (cutoff, requested_size, strategy, classes, pool_state)
VALUES (now(), 1, 'newest', '{a}', '1');
INSERT INTO training.attempts (request_key, reason, parameters, snapshot_id)
SELECT key, 'test', parameters::jsonb, id
FROM training.snapshots, (VALUES ('scheduled__2026-01-02T03:00:00+00:00', '{}'), ('search', '{"kind": "tune"}'))
    AS asked (key, parameters);
INSERT INTO logs.alerts (kind, event_key, title, body, raised_at)
SELECT kind, event_key, 'title', 'body', timestamptz '2026-01-01 00:00+00' + day * interval '1 day'
FROM (VALUES
    ('retraining_failed', 'retraining-failed:scheduled__2026-01-02T03:00:00+00:00:train:try 3', 1),
    ('retraining_failed', 'retraining-failed:scheduled__2026-01-02T03:00:00+00:00:train:try 12', 2),
    ('retraining_failed', 'retraining-failed:no attempt:snapshot:try 1', 3),
    ('task_failed', 'task-failed:ingest_images.ingest:SourceError:2026-01-01', 4),
    ('promotion_waiting', 'promotion-waiting:attempt 2:champion None', 5),
    ('promotion_waiting', 'promotion-waiting:attempt 2:champion 1', 6),
    ('promotion_waiting', 'promotion-waiting:attempt 20:champion 1', 7)
) AS told (kind, event_key, day)
"""


def test_what_alerts_told_of_trainings_becomes_their_state(older: Callable[[int, str], Settings]) -> None:
    settings = older(9, TOLD)
    migrate(settings)
    night = "scheduled__2026-01-02T03:00:00+00:00"
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        failures = connection.execute(sa.select(training_failures).order_by(training_failures.c.failed_at)).all()
        assert [(*row[:3], row.failed_at.day) for row in failures] == [
            (night, "train", 3, 2),
            (night, "train", 12, 3),
            ("no attempt", "snapshot", 1, 4),
        ]
        query = sa.select(attempts.c.request_key, attempts.c.kind, attempts.c.approval_asked_at)
        stored = connection.execute(query.order_by(attempts.c.id)).all()
        assert [row[:2] for row in stored] == [(night, "retrain"), ("search", "tune")]
        assert stored[0].approval_asked_at is None
        assert stored[1].approval_asked_at == datetime(2026, 1, 7, tzinfo=UTC)
        last = last_failure(connection)
        assert last is not None
        assert last == failures[2].failed_at
        assert len(latest_alerts(connection, 100)) == 7  # what was told stays


@pytest.mark.parametrize(("byte_count", "is_kept"), [(4, True), (2048, True), (5120, True), (0, False), (2047, False)])
def test_features_may_have_any_whole_number_of_values(catalog: Catalog, byte_count: int, is_kept: bool) -> None:
    insert = sa.text("INSERT INTO training.features VALUES ('none', 'backbone', 'identity', :vector)")
    refused = nullcontext() if is_kept else pytest.raises(sa.exc.IntegrityError, match="features_vector_check")
    with refused, catalog.begin() as connection:
        connection.execute(insert, {"vector": bytes(byte_count)})
        assert connection.scalar(sa.text("SELECT octet_length(vector) FROM training.features")) == byte_count


def grants_on_tables(connection: sa.Connection) -> set[tuple[str, str, str]]:
    """What each of our roles may do with which table."""
    statement = """
        SELECT grantee, table_schema || '.' || table_name, privilege_type FROM information_schema.role_table_grants
        WHERE grantee IN ('web', 'training', 'grafana_ro')
    """
    return {tuple(row) for row in connection.execute(sa.text(statement))}


@pytest.mark.parametrize("use", [migrate, lambda settings: open_catalog(settings).__enter__()])
def test_a_schema_newer_than_the_code_is_refused_in_one_sentence(
    use: Callable[[Settings], object], settings: Settings, newer_code: Path
) -> None:
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(database, "MIGRATIONS", newer_code)
        migrate(settings)
    with pytest.raises(SchemaVersionError, match=r"DATABASE_URL.*at migration schema_9999.*update Mycoflow") as refused:
        use(settings)
    assert head_revision() in str(refused.value)


@pytest.mark.parametrize("revision", ["0001", "0009"])
@pytest.mark.parametrize("use", [migrate, lambda settings: open_catalog(settings).__enter__()])
def test_a_database_of_an_earlier_checkout_is_refused_with_what_to_do(
    use: Callable[[Settings], object], revision: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    url = new_database()
    stamp(url, revision)
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(url))
    with pytest.raises(SchemaVersionError, match=f"earlier checkout .migration {revision}.*cannot be carried") as told:
        use(settings)
    assert "name an empty database there, then run `mycoflow migrate`" in str(told.value)


def test_a_home_of_an_earlier_checkout_is_named(server_home: Path) -> None:
    url = embedded_url(server_home, "mycoflow")  # the catalog of a home without DATABASE_URL
    stamp(url, "0009")
    with pytest.raises(SchemaVersionError, match=f"in {server_home} was made by an earlier.*MYCOFLOW_HOME to a new"):
        open_catalog(Settings(mycoflow_home=server_home)).__enter__()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))  # the server is everybody's
    engine.dispose()


def stamp(url: str, revision: str) -> None:
    """Leave in a database what Alembic leaves: the id of the migration that it is at."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(
            ScriptDirectory(str(MIGRATIONS), recursive_version_locations=True), head_revision()
        )
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()


def test_an_external_database_that_was_not_migrated_is_refused_with_the_remedy(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(new_database()))
    with pytest.raises(SchemaVersionError, match="mycoflow migrate"), open_catalog(settings):
        pass


def test_a_server_that_does_not_answer_is_reported_as_unavailable(tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(DatabaseUnavailableError, match="does not answer"), open_catalog(settings):
        pass


def test_a_database_url_of_another_kind_is_a_wrong_setting(tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr("sqlite:///x.db"))
    with pytest.raises(SettingsError, match="expected a postgresql"), open_catalog(settings):
        pass


@pytest.mark.parametrize(
    ("role", "table", "allowed"),
    [
        ("web", "users.accounts", True),
        ("web", "logs.predictions", True),
        ("web", "training.attempts", True),
        ("web", "training.training_failures", True),
        ("training", "training.training_failures", True),
        ("web", "training.cross_fitted_answers", True),
        ("web", "training.photo_vectors", True),
        ("grafana_ro", "training.photo_vectors", False),
        ("web", "training.review_entries", True),
        ("web", "training.review_decisions", True),
        ("grafana_ro", "training.review_decisions", False),
        ("training", "training.cross_fitted_answers", True),
        ("grafana_ro", "training.training_failures", True),
        ("training", "users.accounts", False),
        ("training", "training.features", True),
        ("web", "training.backbones", True),
        ("training", "training.backbones", True),
        ("grafana_ro", "training.backbones", True),
        ("grafana_ro", "users.accounts", False),
        ("grafana_ro", "training.evaluations", True),
        ("grafana_ro", "training.drift_checks", True),
        ("grafana_ro", "training.items", True),
        ("grafana_ro", "training.texts", False),
        ("web", "training.texts", True),
        ("training", "training.texts", True),
        ("grafana_ro", "public.alembic_version", True),
        ("web", "training.drift_checks", True),
        ("grafana_ro", "logs.predictions", True),
        ("training", "tuning.trials", True),
        ("web", "tuning.trials", False),
        ("grafana_ro", "tuning.trials", False),
        ("training", "logs.served_models", True),
        ("grafana_ro", "logs.served_models", True),
    ],
)
def test_each_database_role_reads_what_it_needs_and_no_more(
    catalog: Catalog, role: str, table: str, allowed: bool
) -> None:
    with catalog.begin() as connection:
        may_read = connection.execute(sa.select(sa.func.has_table_privilege(role, table, "SELECT"))).scalar_one()
        schema = table.partition(".")[0]
        may_use = connection.execute(sa.select(sa.func.has_schema_privilege(role, schema, "USAGE"))).scalar_one()
    assert (may_read and may_use) is allowed


def test_the_nights_may_read_who_an_account_is_and_nothing_else_of_it(catalog: Catalog) -> None:
    allowed = sa.text(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'users' AND table_name = 'accounts' "
        "AND has_column_privilege('training', 'users.accounts', column_name, 'SELECT')"
    )
    with catalog.begin() as connection:
        assert set(connection.scalars(allowed)) == {"id", "login"}
        tokens = sa.select(sa.func.has_table_privilege("training", "users.tokens", "SELECT"))
        assert connection.execute(tokens).scalar_one() is False


def test_no_role_but_the_owner_may_write_where_it_only_reads(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        for role, table in [
            ("grafana_ro", "training.images"),
            ("grafana_ro", "training.items"),
            ("grafana_ro", "training.texts"),
            ("web", "training.attempts"),
            ("web", "training.training_failures"),
            ("web", "training.photo_vectors"),
            ("web", "training.review_entries"),
            ("training", "training.review_entries"),
            ("training", "training.review_decisions"),
            ("grafana_ro", "training.training_failures"),
            ("web", "training.backbones"),
            ("web", "training.drift_checks"),
            ("web", "training.snapshots"),
            ("training", "tuning.alembic_version"),
            ("training", "logs.served_models"),
            ("training", "training.item_classes"),
            ("web", "training.item_classes"),
            ("training", "tuning.version_info"),
        ]:
            for privilege in ("INSERT", "UPDATE", "DELETE"):
                granted = sa.select(sa.func.has_table_privilege(role, table, privilege))
                assert connection.execute(granted).scalar_one() is False, (role, table, privilege)


def test_the_service_erases_what_a_training_said_of_a_photo_and_what_a_person_typed_and_changes_neither(
    catalog: Catalog,
) -> None:
    answers = sa.func.has_table_privilege("web", "training.cross_fitted_answers", sa.bindparam("privilege"))
    with catalog.begin() as connection:
        held = {
            each: connection.scalar(sa.select(answers), {"privilege": each}) for each in ("DELETE", "INSERT", "UPDATE")
        }
        changed = sa.text(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'logs' "
            "AND table_name = 'feedback' "
            "AND has_column_privilege('web', 'logs.feedback', column_name, 'UPDATE')"
        )
        assert set(connection.scalars(changed)) == {"account_id", "proposed_name"}
        may = sa.text("SELECT has_column_privilege('web', 'training.review_decisions', :column, 'UPDATE')")
        may_change = {each: connection.scalar(may, {"column": each}) for each in ("reason", "decision", "changes")}
        assert may_change == {"reason": True, "decision": False, "changes": False}
    assert held == {"DELETE": True, "INSERT": False, "UPDATE": False}


def test_roles_get_a_login_only_where_a_password_is_set(settings: Settings) -> None:
    with_password = settings.model_copy(update={"database_grafana_password": SecretStr("o'clock \\ 100%")})
    migrate(with_password)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        logins = dict(
            connection.execute(
                sa.text("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname IN ('web', 'grafana_ro')")
            )
            .tuples()
            .all()
        )
    assert logins == {"web": False, "grafana_ro": True}


def test_what_is_drawn_of_former_nights_gets_typed_columns(older: Callable[[int, str], Settings]) -> None:
    rows = """
        INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
        VALUES (1, 'run', 'b\\:1', '{a, b}', 32, 'fp32');
        INSERT INTO training.evaluation_sets (content_sha256) VALUES ('set');
        INSERT INTO training.evaluations
            (model_version, evaluation_set_version, part, is_deciding, image_count, main_figure, per_class)
        SELECT 1, version, 'recent', is_deciding, 10, 0.9, jsonb_build_object(
            'a', jsonb_build_object('image_count', 10.0, 'recall', 0.75),
            'b', jsonb_build_object('image_count', 0.0, 'recall', 0.0))
        FROM training.evaluation_sets, unnest(ARRAY[true, false]) AS is_deciding;
        INSERT INTO training.monitorings (model_version, evaluation_set_version, main_figure, new_images_human,
            new_images_harvested, is_retraining_requested, reasons, figures)
        SELECT 1, version, 0.9, 0, 0, false, '{}', figures::jsonb FROM training.evaluation_sets,
            unnest(ARRAY['{}', jsonb_build_object('calibration_error', 0.04)::text]) AS figures;
    """
    settings = older(23, rows)
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        recalls = sa.select(class_recalls.c.class_name, class_recalls.c.image_count, class_recalls.c.recall)
        assert connection.execute(recalls).all() == [("a", 10, 0.75)]
        errors = connection.execute(sa.select(monitorings.c.calibration_error).order_by(monitorings.c.id))
        assert errors.scalars().all() == [None, 0.04]

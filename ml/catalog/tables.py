"""The tables, as SQLAlchemy objects. The migrations create them; a test compares the two.

There are three schemas: `users` (accounts), `training` (data, snapshots and models), `logs` (the service's records).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

metadata = MetaData()


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _at(name: str) -> Column[object]:
    """Return a time column. Its default is the database's time when the row is written, not the transaction's start."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def _item(primary_key: bool = False) -> Column[str]:
    return Column("item_id", Text, ForeignKey("training.items.id"), nullable=False, primary_key=primary_key)


def _annotation(is_optional: bool = False) -> tuple[Column[list[str]], Column[object]]:
    """Return the columns of an ml.catalog.annotations.Annotation: its class names and its detail."""
    return Column("class_names", ARRAY(Text), nullable=is_optional), Column("annotation", JSONB(none_as_null=True))


def _shortfalls() -> Column[object]:
    """Return the column of figures below their floor: a list of ml.catalog.models.evaluations.Shortfall."""
    return Column("shortfalls", JSONB, nullable=False, server_default=text("'[]'"))


def _drawn(name: str) -> Column[float]:
    """Return a column for a figure of the nightly check that people see over time."""
    return Column(name, Float, Computed(f"(figures ->> '{name}')::double precision", persisted=True))


def _answer_of(role: str) -> tuple[Column[str], ...]:
    """Return the columns of an ml.catalog.answers.Answer by one of two models. Args: role, which of them."""
    return (
        Column(f"{role}_class", Text),  # null if the model found no class
        Column(f"{role}_confidence", REAL, nullable=False),
        Column(f"{role}_margin", REAL, nullable=False),
        Column(f"{role}_probabilities", ARRAY(REAL), nullable=False),  # in the order of the version's classes
        Column(f"{role}_novelty", REAL),
        Column(f"{role}_answer", JSONB(none_as_null=True)),  # the rest of the answer, which only the task reads
    )


def _owned_image() -> Column[str]:
    """Return the primary key of a table that holds at most one row per image, deleted with the image."""
    reference = ForeignKey("training.images.sha256", ondelete="CASCADE")
    return Column("image_sha256", Text, reference, primary_key=True)


accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("login", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    _at("created_at"),
    Column("disabled_at", DateTime(timezone=True)),
    schema="users",
)

tokens = Table(
    "tokens",
    metadata,
    _id(),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="CASCADE"), nullable=False),
    Column("token_sha256", Text, nullable=False, unique=True),
    _at("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    schema="users",
)

# One row, which a migration writes: the key that signs the forms of the web pages.
page_keys = Table(
    "page_keys",
    metadata,
    _id(),
    Column("key", Text, nullable=False),
    _at("made_at"),
    schema="users",
)

# One row per item. Its split and annotation are the current ones; the table `annotations` holds their history.
items = Table(
    "items",
    metadata,
    Column("id", Text, primary_key=True),  # ml.catalog.items.item_records.item_id computes it from the parts
    Column("image_sha256", Text, ForeignKey("training.images.sha256")),
    Column("text_sha256", Text, ForeignKey("training.texts.sha256")),
    Column("group_key", Text, nullable=False),
    Column("source", Text, nullable=False),
    _at("received_at"),
    Column("split", Text),  # pool or evaluation; null for an item that is only predicted
    Column("evaluation_part", Text),  # anchor or recent
    *_annotation(is_optional=True),
    Column("label_origin", Text),  # curated, confirmed, harvested, or stated (by a source only)
    Column("entered_pool_at", DateTime(timezone=True)),  # null while the item is not in the pool
    # The reason why an item is in no split: suspended, excluded, waiting, copy, superseded; erased: it has no parts.
    Column("held_back", Text),
    # The original of a copy. If both have a split, they have the same group.
    Column("copy_of", Text, ForeignKey("training.items.id", ondelete="SET NULL")),
    # The former version of an item whose description changed.
    Column("supersedes", Text, ForeignKey("training.items.id", ondelete="SET NULL")),
    schema="training",
)

# One row per item and class that the item shows. Triggers on `items` maintain it.
item_classes = Table(
    "item_classes",
    metadata,
    Column("class_name", Text, primary_key=True),
    Column("received_at", DateTime(timezone=True), primary_key=True),
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="CASCADE"), primary_key=True),
    Column("entered_pool_at", DateTime(timezone=True)),
    Column("label_origin", Text, nullable=False),
    schema="training",
)

# The parts of items.
images = Table(
    "images",
    metadata,
    Column("sha256", Text, primary_key=True),  # of the received bytes
    Column("media_type", Text, nullable=False),  # of the stored bytes
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("byte_count", Integer, nullable=False),
    # The account that sent it first. Its quota counts the image.
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    _at("received_at"),
    schema="training",
)

texts = Table(
    "texts",
    metadata,
    Column("sha256", Text, primary_key=True),  # of the content in UTF-8
    Column("content", Text, nullable=False),
    schema="training",
)

annotations = Table(
    "annotations",
    metadata,
    _id(),
    _item(),
    *_annotation(),
    Column("origin", Text, nullable=False),
    Column("said_by", Text, nullable=False),
    _at("said_at"),
    schema="training",
)

snapshots = Table(
    "snapshots",
    metadata,
    _id(),
    Column("cutoff", DateTime(timezone=True), nullable=False),
    Column("requested_size", Integer, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("pool_state", Text, nullable=False),
    schema="training",
)

snapshot_items = Table(
    "snapshot_items",
    metadata,
    Column("snapshot_id", BigInteger, ForeignKey("training.snapshots.id"), primary_key=True),
    _item(primary_key=True),
    *_annotation(),
    Column("label_origin", Text, nullable=False),
    Column("fold", Text, nullable=False),
    schema="training",
)

# One row per training. The request key is an Airflow run id, or a key that the command line makes; with it a step that
# runs again finds its former results.
attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("request_key", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("kind", Text, Computed("coalesce(parameters ->> 'kind', 'retrain')", persisted=True), nullable=False),
    Column("snapshot_id", BigInteger, ForeignKey("training.snapshots.id"), nullable=False),
    Column("mlflow_run_id", Text),
    Column("model_version", Integer, unique=True),
    _at("started_at"),
    Column("approval_asked_at", DateTime(timezone=True)),  # with MYCOFLOW_PROMOTION=approve; the last time
    Column("finished_at", DateTime(timezone=True)),
    schema="training",
)

# The answers of a training to the items of its snapshot, each by a head that was fitted without the item's group.
cross_fitted_answers = Table(
    "cross_fitted_answers",
    metadata,
    Column("attempt_id", BigInteger, ForeignKey("training.attempts.id"), primary_key=True),
    _item(primary_key=True),
    Column("probabilities", ARRAY(REAL), nullable=False),  # in the order of the snapshot's classes
    Column("suspected_class", Text),  # null unless the answer contradicts the label surely
    Column("doubt", REAL),  # probability of the suspected class less that of the label
    schema="training",
)

# A step may give up before its attempt exists: no reference to `attempts`.
training_failures = Table(
    "training_failures",
    metadata,
    Column("request_key", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("try_number", Integer, primary_key=True, autoincrement=False),
    _at("failed_at"),
    schema="training",
)

home_choices = Table(
    "home_choices",
    metadata,
    Column("name", Text, primary_key=True),  # `task`, `model name`, `backbone`, or `weights of <backbone>`
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _at("chosen_at"),
    schema="training",
)

backbones = Table(
    "backbones",
    metadata,
    Column("recipe", Text, primary_key=True),  # backbone, weights, input size, precision, preprocessing
    Column("backbone", Text, nullable=False),
    Column("onnx_sha256", Text, nullable=False),
    Column("fp32_sha256", Text, nullable=False),  # before quantisation
    Column("weights_recipe", Text, nullable=False),
    Column("precision", Text, nullable=False),  # of the file `onnx_sha256`: int8 or fp32
    Column("image_size", Integer, nullable=False),
    Column("parity", JSONB(none_as_null=True)),  # comparison of int8 and fp32: figures, decision and reason
    _at("made_at"),
    schema="training",
)

features = Table(
    "features",
    metadata,
    Column("part_sha256", Text, primary_key=True),  # of an image or a text
    Column("backbone_id", Text, primary_key=True),
    Column("view", Text, primary_key=True, server_default="identity"),
    Column("vector", LargeBinary, nullable=False),  # float32, little endian; the backbone decides the length
    schema="training",
)

# The features of known photos once more, as pgvector reads them. `training.index_photo_vectors` indexes them.
photo_vectors = Table(
    "photo_vectors",
    metadata,
    _owned_image(),
    Column("backbone_id", Text, primary_key=True),
    Column("vector", ARRAY(REAL), nullable=False),
    schema="training",
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("mlflow_run_id", Text, nullable=False),
    Column("snapshot_id", BigInteger, ForeignKey("training.snapshots.id")),
    Column("backbone_id", Text, nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("image_size", Integer, nullable=False),
    Column("precision", Text, nullable=False),
    _at("registered_at"),
    schema="training",
)

evaluation_sets = Table(
    "evaluation_sets",
    metadata,
    Column("version", BigInteger, Identity(always=True), primary_key=True),
    Column("content_sha256", Text, nullable=False, unique=True),
    _at("created_at"),
    schema="training",
)

evaluation_set_items = Table(
    "evaluation_set_items",
    metadata,
    Column("version", BigInteger, ForeignKey("training.evaluation_sets.version"), primary_key=True),
    _item(primary_key=True),
    *_annotation(),
    Column("part", Text, nullable=False),
    schema="training",
)

evaluations = Table(
    "evaluations",
    metadata,
    _id(),
    Column("model_version", Integer, ForeignKey("training.model_versions.version"), nullable=False),
    Column("evaluation_set_version", BigInteger, ForeignKey("training.evaluation_sets.version"), nullable=False),
    Column("part", Text, nullable=False),
    Column("is_deciding", Boolean, nullable=False),  # the floor and the gate use this part
    Column("image_count", Integer, nullable=False),
    Column("main_figure", Float, nullable=False),  # the figure that the floor applies to; accuracy in classification
    Column("accuracy", Float),  # this and the next three: null if the task does not have the figure
    Column("precision_macro", Float),
    Column("recall_macro", Float),
    Column("f1_macro", Float),
    Column("per_class", JSONB, nullable=False),
    Column("confusion", JSONB(none_as_null=True)),
    Column("learned_copies", Integer, nullable=False, server_default=text("0")),  # items with a copy in the snapshot
    Column("figures", JSONB, nullable=False, server_default=text("'{}'")),  # other figures of the task, name -> value
    _shortfalls(),
    _at("evaluated_at"),
    schema="training",
)

# One row per deciding evaluation and class with images. Only a trigger on `evaluations` writes it.
class_recalls = Table(
    "class_recalls",
    metadata,
    Column("class_name", Text, primary_key=True),
    Column("evaluated_at", DateTime(timezone=True), primary_key=True),
    Column("evaluation_id", BigInteger, ForeignKey("training.evaluations.id"), primary_key=True),
    Column("model_version", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("recall", Float, nullable=False),
    schema="training",
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("attempt_id", BigInteger, ForeignKey("training.attempts.id"), primary_key=True),
    Column("model_version", Integer, ForeignKey("training.model_versions.version"), nullable=False),
    Column("champion_version", Integer),
    Column("evaluation_set_version", BigInteger, ForeignKey("training.evaluation_sets.version"), nullable=False),
    Column("decision", Text, nullable=False),  # promote or keep
    Column("reasons", ARRAY(Text), nullable=False),
    Column("warnings", ARRAY(Text), nullable=False),
    Column("challenger_figure", Float, nullable=False),  # main figure; so is the next column
    Column("champion_figure", Float),
    _at("decided_at"),
    schema="training",
)

# Append-only except completed_at. A row without completed_at is an intent, possibly from before a crash.
promotions = Table(
    "promotions",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # promotion, rollback, external or release
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _at("intended_at"),
    Column("completed_at", DateTime(timezone=True)),
    schema="training",
)

monitorings = Table(
    "monitorings",
    metadata,
    _id(),
    Column("model_version", Integer, ForeignKey("training.model_versions.version"), nullable=False),
    Column("evaluation_set_version", BigInteger, ForeignKey("training.evaluation_sets.version"), nullable=False),
    Column("main_figure", Float, nullable=False),
    Column("new_images_human", Integer, nullable=False),
    Column("new_images_harvested", Integer, nullable=False),
    Column("is_retraining_requested", Boolean, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    _shortfalls(),
    Column("figures", JSONB, nullable=False, server_default=text("'{}'")),  # of ml.figures.NIGHTLY, name -> value
    Column("is_below_floor", Boolean, Computed("shortfalls <> '[]'::jsonb", persisted=True), nullable=False),
    _drawn("calibration_error"),
    _drawn("calibration_error_low"),
    _drawn("calibration_error_high"),
    _at("monitored_at"),
    schema="training",
)

# One row per night and model version. A figure is null if there were too few images for it.
drift_checks = Table(
    "drift_checks",
    metadata,
    _id(),
    Column("model_version", Integer, ForeignKey("training.model_versions.version"), nullable=False),
    Column("night", Date, nullable=False, server_default=text("(clock_timestamp() AT TIME ZONE 'UTC')::date")),
    Column("reference_images", Integer, nullable=False),
    Column("recent_images", Integer, nullable=False),
    Column("reference_features", Integer, nullable=False),
    Column("recent_features", Integer, nullable=False),
    Column("calibration_images", Integer, nullable=False),
    Column("feedback_images", Integer, nullable=False),
    Column("confidence_psi", Float),
    Column("confidence_ks", Float),
    Column("confidence_p_value", Float),
    Column("class_psi", Float),
    Column("class_p_value", Float),
    Column("feature_mmd", Float),
    Column("feature_p_value", Float),
    Column("novel_share", Float),  # of recent predictions
    Column("novelty_p_value", Float),
    Column("moved", ARRAY(Text), nullable=False),  # distributions that drifted: confidence, classes, features, novelty
    Column("estimated_accuracy", Float),
    Column("observed_accuracy", Float),
    Column("observed_accuracy_low", Float),
    Column("observed_accuracy_high", Float),
    _at("checked_at"),
    UniqueConstraint("model_version", "night"),
    schema="training",
)

# One row per challenger that was compared with the champion on uploads, before it may go into production.
shadows = Table(
    "shadows",
    metadata,
    Column(
        "challenger_version",
        Integer,
        ForeignKey("training.model_versions.version"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("champion_version", Integer, ForeignKey("training.model_versions.version"), nullable=False),
    _at("started_at"),
    Column("scored_at", DateTime(timezone=True)),  # the last time; null if that never ended
    Column("problem", Text),  # why the last scoring failed; null if it did not
    schema="training",
)

# One row per challenger and upload, with the answers of both models. Users never see them.
shadow_answers = Table(
    "shadow_answers",
    metadata,
    Column(
        "challenger_version",
        Integer,
        ForeignKey("training.shadows.challenger_version", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="CASCADE"), primary_key=True),
    Column("asked_at", DateTime(timezone=True), nullable=False),  # when a user last asked about it
    Column("is_learned", Boolean, nullable=False),  # a training up to these two learned from it or from its group
    *_answer_of("champion"),
    *_answer_of("challenger"),
    Column(
        "is_different",
        Boolean,
        Computed("champion_class IS DISTINCT FROM challenger_class", persisted=True),
        nullable=False,
    ),
    Column("sample_place", Integer),  # in the sample that experts are asked about; null outside it
    schema="training",
)

# One row per batch from a source.
ingest_batches = Table(
    "ingest_batches",
    metadata,
    _id(),
    Column("source", Text, nullable=False),
    Column("is_quarantined", Boolean, nullable=False),
    Column("reject_share", Float, nullable=False),
    Column("contact_sheet_key", Text),  # key in the object store; null if no file was rejected
    _at("ingested_at"),
    schema="training",
)

# One row per file of a batch, with its outcome.
ingest_files = Table(
    "ingest_files",
    metadata,
    _id(),
    Column("batch_id", BigInteger, ForeignKey("training.ingest_batches.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # within the source
    Column("version", Text, nullable=False),  # changes when the file's content changes
    Column("label", Text),  # from the source
    Column("outcome", Text, nullable=False),  # entered, waiting, duplicate or rejected
    Column("reason", Text),
    Column("message", Text),
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="SET NULL")),
    schema="training",
)

image_rights = Table(
    "image_rights",
    metadata,
    _owned_image(),
    Column("licence", Text, nullable=False),
    Column("holder", Text, nullable=False),
    schema="training",
)

# Statistics of an image's pixels, computed without a model.
image_statistics = Table(
    "image_statistics",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, unique=True),
    _owned_image(),
    Column("thumbnail", LargeBinary, nullable=False),  # 32 x 32 grey pixels
    Column("brightness", REAL, nullable=False),
    Column("contrast", REAL, nullable=False),
    Column("sharpness", REAL, nullable=False),
    Column("aspect", REAL, nullable=False),
    schema="training",
)

# Hashes to find copies by. Images of items that are only predicted have none.
copy_hashes = Table(
    "copy_hashes",
    metadata,
    Column("statistics_id", BigInteger, ForeignKey("training.image_statistics.id", ondelete="CASCADE"), nullable=False),
    Column("bits", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),  # whole, crop or corner
    Column("low_word", Integer, nullable=False),
    Column("high_word", Integer, nullable=False),
    schema="training",
)

# The account from whose predictions an item was harvested. Rows never change.
harvests = Table(
    "harvests",
    metadata,
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    Column("model_version", Integer, nullable=False),
    _at("harvested_at"),
    schema="training",
)

# One row per item and model version: the answer, computed once. The features are in training.features.
results = Table(
    "results",
    metadata,
    _id(),
    _item(),
    Column("model_version", Integer, nullable=False),
    Column("probabilities", ARRAY(REAL), nullable=False),  # in the order of the version's classes
    Column("top_class", Text),  # null if the model found no class
    Column("confidence", REAL, nullable=False),
    Column("margin", REAL, nullable=False),
    Column("novelty", REAL),
    Column("answer", JSONB(none_as_null=True)),  # the rest of the answer, which only the task reads
    _at("computed_at"),
    UniqueConstraint("item_id", "model_version"),
    schema="logs",
)

# One request by one user for one result.
predictions = Table(
    "predictions",
    metadata,
    _id(),
    Column("result_id", BigInteger, ForeignKey("logs.results.id"), nullable=False),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    Column("is_cached", Boolean, nullable=False),
    _at("requested_at"),
    schema="logs",
)

feedback = Table(
    "feedback",
    metadata,
    _id(),
    Column("prediction_id", BigInteger, ForeignKey("logs.predictions.id"), nullable=False),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    Column("verdict", Text, nullable=False),  # ok or nok
    Column("corrected_label", Text),
    Column("instead", Text),  # with nok, in place of a class: other, none (of the known), or unsure
    Column("proposed_name", Text),  # of the other class, as it was typed
    _at("given_at"),
    schema="logs",
)

# Photos that an account sent at once, in a ZIP or as addresses.
prediction_batches = Table(
    "prediction_batches",
    metadata,
    _id(),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # of the ZIP; empty for addresses
    Column("is_ready", Boolean, nullable=False),  # false while its ZIP is on its way into the store
    Column("has_archive", Boolean, nullable=False),  # its ZIP is in the store, until all photos are done
    Column("is_cancelled", Boolean, nullable=False, server_default=text("false")),
    _at("created_at"),
    Column("served_at", DateTime(timezone=True)),  # when its turn began last
    Column("finished_at", DateTime(timezone=True)),
    schema="logs",
)

batch_photos = Table(
    "batch_photos",
    metadata,
    _id(),
    Column("batch_id", BigInteger, ForeignKey("logs.prediction_batches.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, in the order of the ZIP or of the addresses
    Column("name", Text, nullable=False),  # the name in the ZIP, or the address
    Column("entry", Integer),  # its place in the ZIP
    Column("state", Text, nullable=False, server_default=text("'waiting'")),  # PhotoState of ml.serving
    Column("problem", Text),  # the kind of problem, if it failed
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("prediction_id", BigInteger, ForeignKey("logs.predictions.id", ondelete="SET NULL")),
    Column("done_at", DateTime(timezone=True)),
    UniqueConstraint("batch_id", "number"),
    schema="logs",
)

# What waits for a reviewer. Only triggers write it; the function training.refresh_review_entries says when.
review_entries = Table(
    "review_entries",
    metadata,
    Column("queue", Text, primary_key=True),  # mispredicted, waiting, uncertain, suspected or disputed
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="CASCADE"), primary_key=True),
    Column("class_name", Text),  # predicted, suspected, or of an item that waits, stated
    Column("rank", Float, nullable=False),  # the lowest comes first
    Column("result_id", BigInteger),
    Column("feedback_id", BigInteger),
    Column("attempt_id", BigInteger),
    schema="training",
)

review_decisions = Table(
    "review_decisions",
    metadata,
    _id(),
    _item(),
    Column("queue", Text, nullable=False),
    Column("decision", Text, nullable=False),  # certify, correct or reject
    Column("class_name", Text),
    Column("reason", Text),  # of a rejection; empty after the account is erased
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    Column("changes", JSONB, nullable=False),  # each item that it changed: id, former and new state
    _at("decided_at"),
    Column("undone_at", DateTime(timezone=True)),
    schema="training",
)

events = Table(
    "events",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    _at("happened_at"),
    schema="logs",
)

# The outbox: one row per event, with the state of its delivery.
alerts = Table(
    "alerts",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("event_key", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    _at("raised_at"),
    Column("sent_at", DateTime(timezone=True)),
    Column("sent_to", ARRAY(Text), nullable=False, server_default=text("'{}'")),  # receivers that have the alert
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    schema="logs",
)

# One row per living process of the service. The process writes its own row.
served_models = Table(
    "served_models",
    metadata,
    Column("process", Text, primary_key=True),
    Column("version", Integer),  # the version that answers; null if there is none
    Column("refused_version", Integer),  # the version in production, if it does not load in this process
    Column("load_error", Text),
    _at("started_at"),
    Column("alive_until", DateTime(timezone=True), nullable=False),
    schema="logs",
)

# The last row says whether maintenance mode is on.
maintenance = Table(
    "maintenance",
    metadata,
    _id(),
    Column("is_on", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    _at("changed_at"),
    schema="logs",
)

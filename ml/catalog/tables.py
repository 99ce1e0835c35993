"""The tables as SQLAlchemy sees them. The migrations create them; a test holds the two against each other.

Three schemas: `users` (who), `training` (what the nights work on), `logs` (what the service did).
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
    """A time by the database's clock, taken when the row is written, not when its transaction began."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def _item(primary_key: bool = False) -> Column[str]:
    return Column("item_id", Text, ForeignKey("training.items.id"), nullable=False, primary_key=primary_key)


def _annotation(is_optional: bool = False) -> tuple[Column[list[str]], Column[object]]:
    """What ml.catalog.annotations.Annotation holds: its class names, and its detail."""
    return Column("class_names", ARRAY(Text), nullable=is_optional), Column("annotation", JSONB(none_as_null=True))


def _shortfalls() -> Column[object]:
    """What is below its floor, as ml.catalog.models.evaluations.Shortfall has it."""
    return Column("shortfalls", JSONB, nullable=False, server_default=text("'[]'"))


def _owned_image() -> Column[str]:
    """The key of what belongs to one image and goes with it."""
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

# One row per item ever seen. Membership (split, annotation) is what is true now; `annotations` is how it came to be.
items = Table(
    "items",
    metadata,
    Column("id", Text, primary_key=True),  # as ml.catalog.items.item_records.item_id makes it of the parts
    Column("image_sha256", Text, ForeignKey("training.images.sha256")),
    Column("text_sha256", Text, ForeignKey("training.texts.sha256")),
    Column("group_key", Text, nullable=False),
    Column("source", Text, nullable=False),
    _at("received_at"),
    Column("split", Text),  # pool, evaluation, or neither: only predicted
    Column("evaluation_part", Text),  # anchor or recent
    *_annotation(is_optional=True),
    Column("label_origin", Text),  # curated, confirmed, harvested, or stated by a source and by nobody else
    Column("entered_pool_at", DateTime(timezone=True)),  # set exactly while the item is in the pool
    # suspended, excluded, waiting, copy or superseded: why an item with an annotation is not in the pool
    Column("held_back", Text),
    # The original of a copy. Where both are members, they are of one group.
    Column("copy_of", Text, ForeignKey("training.items.id", ondelete="SET NULL")),
    # The former version of an item whose description changed.
    Column("supersedes", Text, ForeignKey("training.items.id", ondelete="SET NULL")),
    schema="training",
)

# Each class that an item shows, once. Triggers on `items` keep it.
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
    Column("sha256", Text, primary_key=True),  # of the bytes as received
    Column("media_type", Text, nullable=False),  # of the bytes as stored
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("byte_count", Integer, nullable=False),
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

# One row per retraining, keyed by who asked (an Airflow run id, or one made by the command line), so that a step
# that runs again finds what it already did.
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
    Column("name", Text, primary_key=True),  # `task`, `model name`, `backbone`, or `weights of` one
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
    Column("precision", Text, nullable=False),  # what came of it: int8 or fp32
    Column("image_size", Integer, nullable=False),
    Column("parity", JSONB(none_as_null=True)),  # int8 against fp32: the figures, the decision and its reason
    _at("made_at"),
    schema="training",
)

features = Table(
    "features",
    metadata,
    Column("part_sha256", Text, primary_key=True),  # of an image or a text
    Column("backbone_id", Text, primary_key=True),
    Column("view", Text, primary_key=True, server_default="identity"),
    Column("vector", LargeBinary, nullable=False),  # float32 little endian, as long as the backbone says
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
    Column("is_deciding", Boolean, nullable=False),  # the part that the floor and the gate look at
    Column("image_count", Integer, nullable=False),
    Column("main_figure", Float, nullable=False),  # the task's, which the floor applies to: accuracy of classification
    Column("accuracy", Float),  # this and the next: where the task has them
    Column("precision_macro", Float),
    Column("recall_macro", Float),
    Column("f1_macro", Float),
    Column("per_class", JSONB, nullable=False),
    Column("confusion", JSONB(none_as_null=True)),
    Column("learned_copies", Integer, nullable=False, server_default=text("0")),  # of its images, in what it learned
    Column("figures", JSONB, nullable=False, server_default=text("'{}'")),  # the task's other shares, by name
    _shortfalls(),
    _at("evaluated_at"),
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
    Column("challenger_figure", Float, nullable=False),  # the main figures
    Column("champion_figure", Float),
    _at("decided_at"),
    schema="training",
)

# Append-only, but for completed_at: a row without it is an intent that a crash may have left.
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
    _at("monitored_at"),
    schema="training",
)

# One row per night and model version; figures are missing where there were too few images.
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
    Column("moved", ARRAY(Text), nullable=False),  # what drifts: confidence, classes, features
    Column("estimated_accuracy", Float),
    Column("observed_accuracy", Float),
    Column("observed_accuracy_low", Float),
    Column("observed_accuracy_high", Float),
    _at("checked_at"),
    UniqueConstraint("model_version", "night"),
    schema="training",
)

# One row per batch that a source brought, and one per file of it, whatever became of it.
ingest_batches = Table(
    "ingest_batches",
    metadata,
    _id(),
    Column("source", Text, nullable=False),
    Column("is_quarantined", Boolean, nullable=False),
    Column("reject_share", Float, nullable=False),
    Column("contact_sheet_key", Text),  # in the object store; none without rejects
    _at("ingested_at"),
    schema="training",
)

ingest_files = Table(
    "ingest_files",
    metadata,
    _id(),
    Column("batch_id", BigInteger, ForeignKey("training.ingest_batches.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # within the source
    Column("version", Text, nullable=False),  # changes with the file
    Column("label", Text),  # as the source states it
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

# What is measured of an image's pixels, without knowing what it shows.
image_statistics = Table(
    "image_statistics",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, unique=True),
    _owned_image(),
    Column("thumbnail", LargeBinary, nullable=False),  # 32 x 32 greys
    Column("brightness", REAL, nullable=False),
    Column("contrast", REAL, nullable=False),
    Column("sharpness", REAL, nullable=False),
    Column("aspect", REAL, nullable=False),
    schema="training",
)

# By which copies are found, of images whose items belong somewhere.
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

# Which account brought what was harvested; no row is ever changed.
harvests = Table(
    "harvests",
    metadata,
    Column("item_id", Text, ForeignKey("training.items.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", BigInteger, ForeignKey("users.accounts.id", ondelete="SET NULL")),
    Column("model_version", Integer, nullable=False),
    _at("harvested_at"),
    schema="training",
)

# (item, model version) -> the answer, computed once. The features lie in training.features.
results = Table(
    "results",
    metadata,
    _id(),
    _item(),
    Column("model_version", Integer, nullable=False),
    Column("probabilities", ARRAY(REAL), nullable=False),  # in the order of the version's classes
    Column("top_class", Text),  # none where the task may find none
    Column("confidence", REAL, nullable=False),
    Column("margin", REAL, nullable=False),
    Column("novelty", REAL),
    Column("answer", JSONB(none_as_null=True)),  # what the columns do not say
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
    _at("given_at"),
    schema="logs",
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

# The outbox: written once per event, kept with what became of it.
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
    Column("sent_to", ARRAY(Text), nullable=False, server_default=text("'{}'")),  # names of those who have it already
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    schema="logs",
)

# One row per process of the service that is alive, written by itself.
served_models = Table(
    "served_models",
    metadata,
    Column("process", Text, primary_key=True),
    Column("version", Integer),  # that answers; none before the first
    Column("refused_version", Integer),  # in production, and does not load there
    Column("load_error", Text),
    _at("started_at"),
    Column("alive_until", DateTime(timezone=True), nullable=False),
    schema="logs",
)

# The last row says whether predictions are answered.
maintenance = Table(
    "maintenance",
    metadata,
    _id(),
    Column("is_on", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    _at("changed_at"),
    schema="logs",
)

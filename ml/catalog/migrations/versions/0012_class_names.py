"""Write the characters of stored class names that are not visible as codes.

The rules are those of ml.catalog.class_names at the time of this migration. They stay here as they were.
"""

import hashlib
import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "schema_0012"
down_revision = "schema_0011"
branch_labels = None
depends_on = None

LISTS = (
    "items.class_names",
    "annotations.class_names",
    "snapshot_items.class_names",
    "evaluation_set_items.class_names",
    "snapshots.classes",
    "model_versions.classes",
)
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
JOINERS = frozenset("\u200c\u200d")
UNSEEN = re.compile(
    "[\u200c\u200d\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
LONGEST = 200
JSON = ("evaluations.per_class", "evaluations.shortfalls", "monitorings.shortfalls")
TEXTS = ("logs.results.top_class", "logs.feedback.corrected_label")


def upgrade() -> None:
    connection = op.get_bind()
    names = {name for place in LISTS for name in _list_names(connection, place)}
    names |= {name for place in TEXTS for name in _names(connection, place)}
    originals: dict[str, list[str]] = {}
    for name in sorted(names):
        originals.setdefault(_mend(name), []).append(name)
    for mended, sharing in originals.items():
        for name in sharing:
            if name != mended:
                _rename(connection, name, mended if len(sharing) == 1 else _add_hash(mended, name))


def _mend(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    if not any(_is_visible(each) and not each.isspace() for each in UNSEEN.sub("", composed)):
        return _shorten("".join(map(_code, composed)))
    core = composed.strip(" ")
    start = composed.index(core)
    shown = "".join(each if _is_visible(each) else _code(each) for each in core)
    before, after = r"\x20" * start, r"\x20" * (len(composed) - start - len(core))
    return _shorten(f"{before}{shown}{after}")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in HIDDEN_CATEGORIES or character in JOINERS


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else character.encode("unicode_escape").decode()


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST else _add_hash(name, name)


def _add_hash(shown: str, name: str) -> str:
    return f"{shown[: LONGEST - 13]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _list_names(connection: sa.Connection, place: str) -> list[str]:
    table, column = place.split(".")
    return list(connection.scalars(sa.text(f"SELECT DISTINCT unnest({column}) FROM training.{table}")))  # noqa: S608


def _names(connection: sa.Connection, place: str) -> list[str]:
    table, _, column = place.rpartition(".")
    query = sa.text(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
    return list(connection.scalars(query))


def _rename(connection: sa.Connection, name: str, mended: str) -> None:
    values = {"old": name, "new": mended}
    for place in LISTS:
        table, column = place.split(".")
        connection.execute(
            sa.text(
                f"UPDATE training.{table} SET {column} = array_replace({column}, :old, :new) "  # noqa: S608
                f"WHERE :old = ANY ({column})"
            ),
            values,
        )
    for place in TEXTS:
        table, _, column = place.rpartition(".")
        connection.execute(sa.text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old"), values)  # noqa: S608
    for place in JSON:
        table, column = place.split(".")
        old, new = (f"to_jsonb(CAST(:{value} AS text))::text" for value in values)
        connection.execute(
            sa.text(
                f"UPDATE training.{table} SET {column} = replace({column}::text, {old}, {new})::jsonb "  # noqa: S608
                f"WHERE strpos({column}::text, {old}) > 0"
            ),
            values,
        )

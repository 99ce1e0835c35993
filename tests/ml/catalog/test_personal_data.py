"""The export of personal data has every column of every table that names an account."""

import pytest
import sqlalchemy as sa
from sqlalchemy.sql import visitors

from ml.catalog.accounts.personal_data import KINDS
from ml.catalog.tables import accounts, maintenance, metadata, prediction_batches, predictions, tokens

_NAMES_OF_ACCOUNTS = ("account_id", "given_by", "decided_by", "said_by", "actor")
_ELSEWHERE = {
    tokens.c.token_sha256,  # a secret
    predictions.c.result_id,  # the export has the photo and the version of this result
    # How far the service is with a batch.
    prediction_batches.c.is_ready,
    prediction_batches.c.has_archive,
    prediction_batches.c.served_at,
    *maintenance.c,  # each switch is an event too
}


def exported() -> set[sa.Column[object]]:
    chosen = [column for kind in KINDS.values() for column in kind.query.selected_columns]
    parts = (part for column in chosen for part in visitors.iterate(column))
    return {part for part in parts if isinstance(part, sa.Column)}


@pytest.mark.parametrize(
    "table", [each for each in metadata.sorted_tables if set(_NAMES_OF_ACCOUNTS) & {*each.c.keys()}]
)
def test_the_export_has_all_that_is_stored_about_an_account(table: sa.Table) -> None:
    missing = {*table.c} - exported() - _ELSEWHERE
    assert {column.name for column in missing} <= set(_NAMES_OF_ACCOUNTS)


def test_no_table_refers_to_accounts_by_another_name() -> None:
    referring = {
        key.parent.name
        for table in metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table is accounts
    }
    assert referring == {"account_id"}

"""The table of figures against what the catalog stores: all that is listed is there, all that is there is shown."""

import sqlalchemy as sa

from ml.catalog.tables import drift_checks, evaluations, metadata, monitorings
from ml.figures import FIGURES, NIGHTLY


def test_every_figure_has_one_row() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    metrics = [figure.metric for figure in FIGURES if figure.metric]
    assert len(set(metrics)) == len(metrics)


def test_every_column_in_the_table_is_one_of_the_catalog() -> None:
    stored = {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns}
    assert {column for figure in FIGURES for column in figure.columns} - stored == set()


def test_every_figure_that_is_stored_is_in_the_table_and_shown() -> None:
    numbers = {
        f"{table.name}.{column.name}"
        for table in (evaluations, monitorings, drift_checks)
        for column in table.columns
        if isinstance(column.type, sa.Float)
    }
    shown = [figure for figure in FIGURES if figure.is_gauge and (figure.panels or figure.is_reported)]
    assert numbers - {column for figure in shown for column in figure.columns} == set()


def test_every_figure_of_the_night_is_shown_everywhere() -> None:
    for figure in NIGHTLY:
        assert figure.is_gauge and figure.metric and figure.panels and figure.is_reported, figure.name

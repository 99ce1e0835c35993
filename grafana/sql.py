"""SQL that several panels share. The role grafana_ro cannot read accounts."""

CHAMPION = """(
    SELECT to_version FROM training.promotions
    WHERE completed_at IS NOT NULL AND kind <> 'release' ORDER BY id DESC LIMIT 1
)"""


def champion_at(moment: str) -> str:
    """Return SQL for the version in production at a time. Args: moment, the column of the time."""
    return f"""(
    SELECT to_version FROM training.promotions
    WHERE completed_at <= {moment} AND kind <> 'release' ORDER BY id DESC LIMIT 1
)"""  # noqa: S608 - a column's name, from this package

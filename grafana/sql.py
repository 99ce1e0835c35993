"""What several panels ask the database. Only figures: the role grafana_ro sees no accounts."""

CHAMPION = """(
    SELECT to_version FROM training.promotions
    WHERE completed_at IS NOT NULL AND kind <> 'release' ORDER BY id DESC LIMIT 1
)"""


def champion_at(moment: str) -> str:
    """The version in production at a moment. Args: moment, a column."""
    return f"""(
    SELECT to_version FROM training.promotions
    WHERE completed_at <= {moment} AND kind <> 'release' ORDER BY id DESC LIMIT 1
)"""  # noqa: S608 - a column's name, from this package

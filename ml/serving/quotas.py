"""Quotas: how much one account may store, so that none fills the disk for all."""

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.database import Catalog
from ml.catalog.tables import events, images
from ml.errors import QuotaError
from ml.settings import Settings

_GB = 1_000_000_000


def demand_image_quota(catalog: Catalog, settings: Settings, account_id: int, sha256: str) -> None:
    """Refuse a new image of an account that has stored as much as it may. An image counts for who sent it first.

    Requests at the same moment may each pass, so an account may have a few images more than its quota.

    Raises: QuotaError; DatabaseUnavailableError.
    """
    is_stored = sa.exists().where(images.c.sha256 == sha256)
    stored = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(images.c.byte_count), 0), is_stored)
    with catalog.begin() as connection:
        count, byte_count, is_known = connection.execute(stored.where(images.c.account_id == account_id)).one()
    if is_known:
        return
    if count >= settings.quota_images or byte_count >= settings.quota_image_gb * _GB:
        raise QuotaError(
            f"Expected at most {settings.quota_images:,} stored photos and {settings.quota_image_gb:g} GB of an "
            f"account, and this one has {count:,} with {byte_count / _GB:.3g} GB. Erase some with "
            "DELETE /images/{sha256}, or ask the operator for more."
        )


def demand_event_quota(catalog: Catalog, settings: Settings, account_id: int) -> None:
    """Refuse a new event of an account that has stored as many as it may.

    Raises: QuotaError; DatabaseUnavailableError.
    """
    of_account = (events.c.actor == actor_name(account_id)) & events.c.kind.startswith("client:")
    with catalog.begin() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(events).where(of_account)) or 0
    if count >= settings.quota_events:
        raise QuotaError(
            f"Expected at most {settings.quota_events:,} stored events of an account, and this one has {count:,}. They "
            f"are deleted after {settings.retention_days_logs} days, or ask the operator for more."
        )

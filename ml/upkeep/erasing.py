"""Erase accounts and photos, which their owners may request (GDPR, article 17)."""

from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account, demand_account, demand_other_admin, erase_account
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import drop_image, is_not_erased
from ml.catalog.locks import UPKEEP, image_lock, lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.logs.prediction_batches import delete_batches_of, forget_photo_names
from ml.catalog.object_store import image_key
from ml.catalog.tables import (
    annotations,
    cross_fitted_answers,
    features,
    feedback,
    harvests,
    images,
    ingest_files,
    items,
    predictions,
    results,
    shadow_answers,
)
from ml.data.membership import erase
from ml.deadlines import Deadline
from ml.errors import UnknownImageError

_OF_ACCOUNTS = ("upload", "url")  # sources of items that accounts sent


def erase_owner(catalog: Catalog, account: Account, actor: str) -> None:
    """Erase an account for good, with an event in the audit log. Its predictions and feedback stay, anonymous.

    Args: actor, who erases it, for the audit log.
    Raises: LastAdminError, it is the last enabled admin; UnknownAccountError, it was erased already;
        ImageStoreError, a ZIP of its batches cannot be deleted now; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        demand_other_admin(connection, account)
    delete_batches_of(catalog, account.id)  # with the files in the store, which no row names afterwards
    with catalog.begin() as connection:
        erase_account(connection, account)
        write_event(connection, "account.erased", actor, {"account": actor_name(account)})


def erase_login(catalog: Catalog, login: str, actor: str) -> None:
    """Erase the account with a login, as `erase_owner` does.

    Raises: UnknownAccountError, and the errors of erase_owner.
    """
    with catalog.begin() as connection:
        account = demand_account(connection, login)
    erase_owner(catalog, account, actor)


def erase_photo(catalog: Catalog, account: Account, sha256: str) -> None:
    """Erase a photo that an account asked about: bytes, thumbnail, features, and the account of its predictions.

    The names that people typed for it go too, the answers of trainings that learned from it, and of models in shadow.

    Answers stay, anonymous. Another owner keeps the photo: an account that asked about the same photo, or the
    deployment, if it has the photo from a source of its own. Then only the link to this account goes.

    A backup copies the files of all rows of its dump. While one runs, the bytes stay until it ends.

    Raises: UnknownImageError, the account has no prediction of such a photo; ImageStoreError, the bytes cannot be
        deleted now: ask again, or let a purge delete them; BusyError; DatabaseUnavailableError.
    """
    with catalog.lock(image_lock(sha256)):  # no prediction stores this photo meanwhile
        with catalog.begin() as connection:
            lock_membership(connection, "pool")
            _demand_own(connection, account, sha256)
            is_kept = connection.execute(sa.select(_has_other_owner(account, sha256))).scalar_one()
            if is_kept:
                _unlink(connection, sha256, account.id)
                write_event(connection, "image.unlinked", actor_name(account), {"image_sha256": sha256})
            else:
                erase(connection, sha256, actor_name(account))
        if not is_kept and not _is_upkeep_running(catalog):
            _delete_photo(catalog, sha256)


def erase_photos(catalog: Catalog, account: Account, deadline: Deadline, on_erased: Callable[[str], object]) -> int:
    """Erase all photos that an account asked about, as `erase_photo` does, before the account itself is erased.

    Args: deadline, no further photo after it; on_erased, called with the hash of each photo, also after a failure.
    Returns: the number of photos that are left for the next call.
    Raises: LastAdminError, the account cannot be erased, so nothing is; and the errors of erase_photo.
    """
    asked = sa.select(results.c.item_id).join(predictions).where(predictions.c.account_id == account.id)
    with catalog.begin() as connection:
        demand_other_admin(connection, account)
        hashes = connection.scalars(asked.distinct()).all()
    for done, sha256 in enumerate(hashes):
        if not deadline.remaining():
            return len(hashes) - done
        try:
            with suppress(UnknownImageError):  # another request erased it meanwhile
                erase_photo(catalog, account, sha256)
        finally:
            on_erased(sha256)
    return 0


def find_unfinished(connection: sa.Connection) -> dict[str, int]:
    """Return the erased photos that are still stored, because the store failed or a crash came: hash -> bytes."""
    query = sa.select(images.c.sha256, images.c.byte_count).join(items, items.c.image_sha256 == images.c.sha256)
    return dict(connection.execute(query.where(~is_not_erased())).tuples().all())


def finish_erasures(catalog: Catalog) -> None:
    """Delete the photos that `find_unfinished` finds, except those that somebody sends again. Call it after an upkeep.

    Raises: ImageStoreError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        unfinished = find_unfinished(connection)
    for sha256 in unfinished:
        with catalog.lock(image_lock(sha256)):
            with catalog.begin() as connection:
                is_erased = sha256 in find_unfinished(connection)
            if is_erased and not _is_upkeep_running(catalog):
                _delete_photo(catalog, sha256)


def _is_upkeep_running(catalog: Catalog) -> bool:
    """Whether a backup or a purge is running. One that starts later finds the item erased already."""
    with catalog.autocommit() as connection:  # the lock ends with the statement
        return not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock_shared(*UPKEEP.key)))


def _demand_own(connection: sa.Connection, account: Account, sha256: str) -> None:
    """Lock the item, so that nobody adds a prediction of it. An erased item is its owner's until its bytes are gone."""
    is_own = _is_predicted(sha256) & (predictions.c.account_id == account.id)
    query = sa.select(items.c.id).where(items.c.id == sha256, sa.exists().where(is_own)).with_for_update()
    if connection.execute(query).scalar_one_or_none() is None:
        raise UnknownImageError("Expected the hash of a photo that you asked about, got another.")


def _has_other_owner(account: Account, sha256: str) -> sa.ColumnElement[bool]:
    item = items.alias()
    others = (
        _is_predicted(sha256) & (predictions.c.account_id != account.id),
        (item.c.id == sha256) & item.c.source.not_in(_OF_ACCOUNTS),
        (item.c.id != sha256) & (item.c.image_sha256 == sha256),
        ingest_files.c.item_id == sha256,
        (annotations.c.item_id == sha256) & (annotations.c.origin == "curated"),
    )
    return sa.or_(*(sa.exists().where(other) for other in others))


def _is_predicted(sha256: str) -> sa.ColumnElement[bool]:
    return (results.c.item_id == sha256) & (predictions.c.result_id == results.c.id)


def _delete_photo(catalog: Catalog, sha256: str) -> None:
    """Delete the bytes, then the rows that name them: a crash between the two leaves what a purge finishes."""
    catalog.store.delete(image_key(sha256))
    with catalog.begin() as connection:
        drop_image(connection, sha256)
        connection.execute(sa.delete(features).where(features.c.part_sha256 == sha256))
        connection.execute(sa.delete(cross_fitted_answers).where(cross_fitted_answers.c.item_id == sha256))
        connection.execute(sa.delete(shadow_answers).where(shadow_answers.c.item_id == sha256))
        connection.execute(sa.delete(images).where(images.c.sha256 == sha256))  # thumbnail and hashes go with it
        connection.execute(sa.delete(harvests).where(harvests.c.item_id == sha256))  # sent again, it may be harvested
        _unlink(connection, sha256)


def _unlink(connection: sa.Connection, sha256: str, account_id: int | None = None) -> None:
    """Remove the link of a photo to an account, or if None to all accounts, and the names that they gave it."""
    of_item = sa.select(results.c.id).where(results.c.item_id == sha256)
    asked = sa.select(predictions.c.id).where(predictions.c.result_id.in_(of_item))
    of_batches = asked if account_id is None else asked.where(predictions.c.account_id == account_id)
    forget_photo_names(connection, of_batches)
    for table, is_of_photo in (
        (feedback, feedback.c.prediction_id.in_(asked)),
        (predictions, predictions.c.result_id.in_(of_item)),
        (harvests, harvests.c.item_id == sha256),
        (images, images.c.sha256 == sha256),
    ):
        of_account = sa.true() if account_id is None else table.c.account_id == account_id
        typed = {"proposed_name": None} if table is feedback else {}
        connection.execute(sa.update(table).where(is_of_photo, of_account).values(account_id=None, **typed))

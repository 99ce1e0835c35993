"""Every error that Mycoflow raises on purpose.

    MycoflowError
    ├── SettingsError (ValueError)           a setting is missing or out of range
    ├── GrafanaError (RuntimeError)          Grafana refuses a request
    │   └── GrafanaUnavailableError (ConnectionError)  Grafana does not answer, or refuses every request
    ├── AirflowError (RuntimeError)          Airflow refuses a request
    │   └── AirflowUnavailableError (ConnectionError)  Airflow does not answer
    ├── CatalogError
    │   ├── DatabaseUnavailableError (ConnectionError)
    │   ├── SchemaVersionError               the database is not at this code's migration
    │   ├── ImageStoreError (OSError)        an image's bytes cannot be written or read
    │   ├── UnknownImageError (LookupError)
    │   ├── ImageChangeError (ValueError)    an image cannot be changed as asked
    │   ├── LabelError (ValueError)          a label is no annotation of the task
    │   ├── MissingPartError (ValueError)    an item has no image, and a model reads images
    │   ├── UnknownBatchError (LookupError)
    │   ├── UnknownPredictionError (LookupError)
    │   ├── NoPredictionsError (LookupError) nothing was predicted yet
    │   ├── FeedbackError (ValueError)       the feedback does not fit the prediction
    │   ├── ReviewError (ValueError)         a reviewer's decision does not fit the item
    │   ├── ReviewConflictError (RuntimeError)  somebody else decided first
    │   ├── EventError (ValueError)          an event cannot be stored
    │   ├── CursorError (ValueError)         the cursor of a page is not valid
    │   ├── SnapshotError (ValueError)       the pool cannot give a usable snapshot
    │   ├── SnapshotExportError (OSError)    a snapshot cannot be written to the given folder
    │   ├── BackupError (ValueError)         a backup cannot be made or restored as asked
    │   ├── EvaluationSetError (ValueError)  the evaluation set is empty or does not fit the model
    │   ├── ErasedAccountError (LookupError) the account of a request was erased meanwhile
    │   └── AccountError (ValueError)        login taken, bad role, weak password
    │       ├── UnknownAccountError (LookupError)
    │       └── LastAdminError               without this account, there would be no admin
    ├── ServingError
    │   ├── BusyError (TimeoutError)         too many requests are in progress, or no slot was free in time
    │   │   └── AccountBusyError             too many of them are of this account
    │   ├── QuotaError (ValueError)          the account has stored as much as it may
    │   ├── BatchLimitError (RuntimeError)   the account has as many prediction batches under way as it may
    │   ├── TimeOverError (TimeoutError)     the work was not finished in the time of a request
    │   ├── ScoringUnfinishedError (TimeoutError)  too many images to score in the time of one request
    │   └── ForbiddenError (PermissionError) the account may not do this
    ├── IngestError
    │   ├── SourceError (ValueError)         the source does not look as expected
    │   ├── SourceUnavailableError (ConnectionError)  the source does not answer
    │   ├── InvalidImageError (ValueError)   one file is refused; `reason` says why in one word
    │   ├── InvalidTextError (ValueError)    one text is refused; `reason` says why in one word
    │   ├── ArchiveError (ValueError)        a ZIP, a list or one entry is refused; `reason` says why in one word
    │   └── FetchError                       the image at a URL cannot be downloaded
    │       ├── TargetRefusedError (ValueError)       the URL points to an address that is not allowed
    │       ├── TargetMissingError (LookupError)      the host says that there is no such file
    │       ├── TargetTooLargeError (ValueError)      the file is larger than an image may be
    │       ├── TargetTooSlowError (TimeoutError)     the download did not finish in time
    │       └── TargetFailedError (ConnectionError)   no such host, no answer, or an unusable answer
    │           └── UnknownHostError                  no such host
    └── ModelError
        ├── WeightsError (ValueError)        the weights are not available or do not fit the backbone
        ├── TrainingError (RuntimeError)     training diverged or took longer than allowed
        ├── ModelLoadError (RuntimeError)    a model version's files do not load or do not answer
        ├── NoActivationMapError (LookupError)  a model version cannot say where in an image it saw a class
        ├── RegistryUnavailableError (ConnectionError)
        ├── RegistryStateError (RuntimeError) somebody changed in MLflow what Mycoflow needs
        ├── NoChampionError (LookupError)    no version carries the alias `production`
        ├── UnknownVersionError (LookupError)
        └── PromotionError (RuntimeError)
            ├── StaleChampionError           the champion is not the one that was expected
            └── PromotionHeldError           a rollback holds automatic promotion

Messages say what was expected, what came, and what to do next.
"""


class MycoflowError(Exception):
    """Base class of all errors here: catch it to report any expected failure."""


class SettingsError(MycoflowError, ValueError):
    """A setting is missing or out of range."""


class GrafanaError(MycoflowError, RuntimeError):
    """Grafana refuses a request."""


class GrafanaUnavailableError(GrafanaError, ConnectionError):
    """Grafana does not answer, or refuses every request."""


class AirflowError(MycoflowError, RuntimeError):
    """Airflow refuses a request."""


class AirflowUnavailableError(AirflowError, ConnectionError):
    """Airflow does not answer."""


class CatalogError(MycoflowError):
    """Something is wrong with the stored data."""


class DatabaseUnavailableError(CatalogError, ConnectionError):
    """PostgreSQL does not answer."""


class SchemaVersionError(CatalogError):
    """The database is not at the migration that this code expects."""


class ImageStoreError(CatalogError, OSError):
    """An image's bytes cannot be written or read."""


class UnknownImageError(CatalogError, LookupError):
    """No image has that hash."""


class ImageChangeError(CatalogError, ValueError):
    """An image's label or membership cannot be changed as asked."""


class LabelError(CatalogError, ValueError):
    """A label is nothing that the task can read."""


class MissingPartError(CatalogError, ValueError):
    """An item lacks the part that a model reads."""


class UnknownBatchError(CatalogError, LookupError):
    """No batch has that number, or the account may not see it."""


class UnknownPredictionError(CatalogError, LookupError):
    """No prediction has that number."""


class NoPredictionsError(CatalogError, LookupError):
    """Nothing was predicted yet."""


class FeedbackError(CatalogError, ValueError):
    """The feedback does not fit the prediction."""


class ReviewError(CatalogError, ValueError):
    """A reviewer's decision does not fit the item."""


class ReviewConflictError(CatalogError, RuntimeError):
    """Somebody else decided about the item, or changed it, since the reviewer saw it."""


class EventError(CatalogError, ValueError):
    """An event cannot be stored."""


class CursorError(CatalogError, ValueError):
    """The cursor of a page is not valid."""


class SnapshotError(CatalogError, ValueError):
    """The pool cannot give a usable snapshot."""


class SnapshotExportError(CatalogError, OSError):
    """A snapshot cannot be written to the given folder."""


class BackupError(CatalogError, ValueError):
    """A backup cannot be made or restored as asked."""


class EvaluationSetError(CatalogError, ValueError):
    """The evaluation set is empty or does not fit the model."""


class ErasedAccountError(CatalogError, LookupError):
    """The account of a request was erased while the request ran."""


class AccountError(CatalogError, ValueError):
    """An account cannot be created or changed as asked."""


class UnknownAccountError(AccountError, LookupError):
    """No account has that login."""


class LastAdminError(AccountError):
    """The last admin cannot be erased or disabled, and stays admin."""


class ServingError(MycoflowError):
    """A request is refused, but nothing is broken."""


class BusyError(ServingError, TimeoutError):
    """Too many requests are in progress, or no slot was free in time. A later request may succeed."""


class AccountBusyError(BusyError):
    """Too many requests of this account are in progress; others are still answered."""


class QuotaError(ServingError, ValueError):
    """The account has stored as much as it may."""


class BatchLimitError(ServingError, RuntimeError):
    """The account has as many prediction batches under way as it may."""


class TimeOverError(ServingError, TimeoutError):
    """The work was not finished in the time of a request. Nothing else is wrong."""


class ScoringUnfinishedError(ServingError, TimeoutError):
    """Too many images were not scored yet for one request. The scores are stored: another request continues."""


class ForbiddenError(ServingError, PermissionError):
    """The account may not do what it requested."""


class IngestError(MycoflowError):
    """Images could not be ingested."""


class SourceError(IngestError, ValueError):
    """The source does not look as expected."""


class SourceUnavailableError(IngestError, ConnectionError):
    """The source does not answer now. A later try may succeed."""


class InvalidImageError(IngestError, ValueError):
    """One file is refused.

    Args:
        reason: one word, for counting; REASONS of ml.ingest.validation, guard, folder and quality explain them.
        message: what was expected and what came, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidTextError(IngestError, ValueError):
    """One text is refused.

    Args:
        reason: one word, for counting; `ml.catalog.items.texts.read_text` names them.
        message: what was expected and what came, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ArchiveError(IngestError, ValueError):
    """A ZIP of photos, a list of addresses, or one entry of a ZIP is refused.

    Args:
        reason: a word, for programs.
        message: what was expected and what came, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FetchError(IngestError):
    """The image at a URL cannot be downloaded."""


class TargetRefusedError(FetchError, ValueError):
    """The URL points to an address that is not allowed."""


class TargetMissingError(FetchError, LookupError):
    """The host says that there is no such file."""


class TargetTooLargeError(FetchError, ValueError):
    """The file is larger than an image may be."""


class TargetTooSlowError(FetchError, TimeoutError):
    """The download did not finish in time."""


class TargetFailedError(FetchError, ConnectionError):
    """The host does not exist, does not answer, or answers with something else."""


class UnknownHostError(TargetFailedError):
    """The host does not exist."""


class ModelError(MycoflowError):
    """Something is wrong with a model or with the model registry."""


class WeightsError(ModelError, ValueError):
    """The weights are not available or do not fit the backbone."""


class TrainingError(ModelError, RuntimeError):
    """Training diverged or took longer than allowed."""


class ModelLoadError(ModelError, RuntimeError):
    """A model version's files do not load or do not answer."""


class NoActivationMapError(ModelError, LookupError):
    """A model version cannot say where in an image it saw a class, or it is not served any more."""


class RegistryUnavailableError(ModelError, ConnectionError):
    """MLflow does not answer."""


class RegistryStateError(ModelError, RuntimeError):
    """Somebody deleted, renamed or replaced in MLflow what Mycoflow needs. The message says how to mend it."""


class NoChampionError(ModelError, LookupError):
    """No version carries the alias `production`."""


class UnknownVersionError(ModelError, LookupError):
    """The registry has no such model version."""


class PromotionError(ModelError, RuntimeError):
    """The alias was not moved."""


class StaleChampionError(PromotionError):
    """The current champion is not the expected one."""


class PromotionHeldError(PromotionError):
    """A rollback holds automatic promotion until an admin releases it."""

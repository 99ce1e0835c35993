"""An attempt's Optuna study. It is in the catalog's database; any number of workers on any machine share it."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.errors import DatabaseUnavailableError, TrainingError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

SCHEMA = "tuning"  # our migrations create its tables
HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 60  # a trial without a heartbeat for this time counts as failed
STARTUP_TRIALS = 5
WARM_UP_EPOCHS = 10
REPORTED_EPOCHS = 5  # number of epochs between two reports of a trial

VALIDATION_LOSS = "validation_loss"
ERROR = "error"


@contextmanager
def open_study(catalog: Catalog, name: str, first: Mapping[str, Any]) -> Iterator["Study"]:
    """Open a study, and create it if it does not exist. A trial's value is its main figure; more is better.

    Args:
        name: name of the study.
        first: parameters of a new study's first trial.
        Raises: DatabaseUnavailableError, the server does not answer, or stopped answering.
    """
    import optuna  # noqa: PLC0415 - only a search needs it

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    # A trial reports the negative loss, because a study has one direction.
    pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS, WARM_UP_EPOCHS, REPORTED_EPOCHS)
    with _translated_errors():
        storage = _storage(catalog.engine.url)
        try:
            try:
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize", pruner=pruner)
                study.enqueue_trial(dict(first))
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(storage=storage, study_name=name, pruner=pruner)
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def count_begun(study: "Study") -> int:
    """Count the trials that were started, whatever their result."""
    return sum(trial.state.name != "WAITING" for trial in study.get_trials(deepcopy=False))


def best_trial(study: "Study") -> "FrozenTrial":
    """Return the trial with the best main figure. If several have it, return the one with the lowest loss.

    Raises: TrainingError, no trial ended with a result.
    """
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
        raise TrainingError(
            f"Expected at least one trial with a result. None of {len(trials)} has one. "
            f"The first error: {errors[0] if errors else 'none was recorded, so the workers died'}"
        )
    return max(complete, key=lambda trial: (trial.value, -trial.user_attrs[VALIDATION_LOSS]))


def _storage(url: sa.URL) -> "RDBStorage":
    from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415
    from optuna.storages import RDBStorage  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat is experimental
        return RDBStorage(
            # Optuna treats the address as a template, so braces are escaped.
            url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}"),
            engine_kwargs={
                "pool_size": 2,  # the trial and its heartbeat
                "pool_pre_ping": True,
                "connect_args": {"connect_timeout": 5, "options": f"-csearch_path={SCHEMA}"},
            },
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            skip_table_creation=True,
        )


@contextmanager
def _translated_errors() -> Iterator[None]:
    from optuna.exceptions import StorageInternalError  # noqa: PLC0415

    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, StorageInternalError) as error:
        raise DatabaseUnavailableError(f"PostgreSQL cannot store the study: {error.__cause__ or error}") from error

"""Optuna's study of an attempt: in the catalog's database, shared by any number of workers, on any machine."""

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

SCHEMA = "tuning"  # its tables come from our migrations
HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 60  # a trial without a heartbeat for so long is given up
STARTUP_TRIALS = 5
WARM_UP_EPOCHS = 10
REPORTED_EPOCHS = 5  # a trial says how it does every so many epochs

VALIDATION_LOSS = "validation_loss"
ERROR = "error"


@contextmanager
def open_study(catalog: Catalog, name: str, first: Mapping[str, Any]) -> Iterator["Study"]:
    """Open a study, made now if it is not there yet. Its value is the main figure, the more the better.

    Args:
        name: of the study.
        first: parameters of the trial that a new study begins with.
    Raises: DatabaseUnavailableError, the server does not answer or went away.
    """
    import optuna  # noqa: PLC0415 - the nights do without

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    # What a trial reports is a loss with its sign turned, since a study has one direction.
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
    """Trials that were begun, however they ended."""
    return sum(trial.state.name != "WAITING" for trial in study.get_trials(deepcopy=False))


def best_trial(study: "Study") -> "FrozenTrial":
    """The trial with the best main figure; of equals, the one with the lower loss.

    Raises: TrainingError, no trial ended with a result.
    """
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
        raise TrainingError(
            f"Expected one trial at least that ends with a result. None of {len(trials)} did. "
            f"The first error: {errors[0] if errors else 'none was recorded, so the workers died'}"
        )
    return max(complete, key=lambda trial: (trial.value, -trial.user_attrs[VALIDATION_LOSS]))


def _storage(url: sa.URL) -> "RDBStorage":
    from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415
    from optuna.storages import RDBStorage  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the heartbeat
        return RDBStorage(
            # Optuna takes the address for a template.
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
        raise DatabaseUnavailableError(f"PostgreSQL does not keep the study: {error.__cause__ or error}") from error

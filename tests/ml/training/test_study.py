"""The study of a search: where it looks, what it gives up, and what it takes for the best."""

import pytest

from ml.catalog.database import Catalog
from ml.settings import Settings
from ml.tasks.classification.hyperparameters import DEFAULTS, Hyperparameters
from ml.tasks.registered_tasks import find_task
from ml.training.recipes import PinnedSettings, Tune, decode_recipe, encode_recipe
from ml.training.study import REPORTED_EPOCHS, STARTUP_TRIALS, VALIDATION_LOSS, WARM_UP_EPOCHS, best_trial, open_study
from ml.training.tuning import _pruning, first_trial, suggest, take_trial

# Here the trials are told by hand, which leaves no heartbeat.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")


CLASSIFICATION = find_task("classification")


def defaults(may_mirror: bool) -> dict[str, object]:
    return first_trial(CLASSIFICATION, Settings.model_construct(head_solver="adam"), may_mirror)


@pytest.mark.parametrize("may_mirror", [True, False])
def test_what_an_ordinary_retraining_takes_lies_in_the_search_space(may_mirror: bool) -> None:
    from optuna.trial import FixedTrial

    taken, is_mirrored = suggest(CLASSIFICATION, FixedTrial(defaults(may_mirror)), may_mirror)  # type: ignore[arg-type]
    assert (Hyperparameters.of(taken), is_mirrored) == (DEFAULTS, may_mirror)


def test_mirrored_images_are_tried_only_where_they_show_what_they_show() -> None:
    from optuna.trial import FixedTrial

    plain = {**defaults(True), "mirrored_views": False}
    assert suggest(CLASSIFICATION, FixedTrial(plain), True)[1] is False  # type: ignore[arg-type]
    assert "mirrored_views" not in defaults(False)
    assert (
        take_trial(Tune(200, 1, pinned=PinnedSettings(mirrored_views=True)), defaults(False)).pinned.mirrored_views
        is False
    )


def test_what_a_trial_took_is_read_back_from_the_record() -> None:
    taken = take_trial(Tune(200, 1), {**defaults(True), "dropout_rate": 0.5})
    read = decode_recipe(encode_recipe(taken))
    assert read == taken
    assert isinstance(read, Tune)
    assert Hyperparameters.of(read.hyperparameters or {}) == Hyperparameters(dropout_rate=0.5)
    assert read.pinned.mirrored_views is True
    assert Hyperparameters.of({}) == DEFAULTS


def test_a_trial_far_behind_the_others_is_given_up_after_its_first_epochs(catalog: Catalog) -> None:
    from optuna import TrialPruned

    with open_study(catalog, "study", {}) as study:
        for _ in range(STARTUP_TRIALS):
            good = study.ask()
            for epoch in range(0, WARM_UP_EPOCHS + REPORTED_EPOCHS, REPORTED_EPOCHS):
                good.report(-0.1, epoch)
            study.tell(good, 0.9)
        on_epoch = _pruning(study.ask())
        for epoch in range(WARM_UP_EPOCHS):
            on_epoch(epoch, {"val_loss": 3.0})
        with pytest.raises(TrialPruned, match=r"3\.000"):
            on_epoch(WARM_UP_EPOCHS, {"val_loss": 3.0})


def test_of_equal_accuracies_the_lower_loss_is_the_best(catalog: Catalog) -> None:
    with open_study(catalog, "study", {}) as study:
        for accuracy, loss in [(0.9, 0.3), (0.9, 0.2), (0.8, 0.1)]:
            trial = study.ask()
            trial.set_user_attr(VALIDATION_LOSS, loss)
            study.tell(trial, accuracy)
        assert best_trial(study).number == 1


def test_opening_a_study_again_finds_its_trials(catalog: Catalog) -> None:
    with open_study(catalog, "study", defaults(False)) as study:
        study.tell(study.ask(), 0.5)
    with open_study(catalog, "study", defaults(False)) as study:
        assert [trial.value for trial in study.trials] == [0.5]

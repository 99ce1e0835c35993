import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml import deadlines
from ml.deadlines import Deadline
from ml.errors import TrainingError
from ml.tasks.classification.fitting.head_training import MAXIMUM_EPOCHS, TrainedHead
from ml.tasks.classification.hyperparameters import Hyperparameters

TRAIN_ELSEWHERE = """
import hashlib, numpy as np
from ml.deadlines import Deadline
from ml.tasks.classification.fitting.head_training import train_head
data = np.load({path!r})
head = train_head(data["f"], data["y"], data["vf"], data["vy"], 10, 0, Deadline(120.0))
print(hashlib.sha256(head.kernel.tobytes() + head.bias.tobytes()).hexdigest())
"""

Train = Callable[..., TrainedHead]


def validation_loss(head: TrainedHead, fold: Any) -> float:
    right = head.classify(fold.features)[np.arange(len(fold.labels)), fold.labels]
    return float(-np.log(right).mean())


def test_a_head_on_random_features_learns_the_digits(head: TrainedHead, unseen: Any) -> None:
    accuracy = (head.classify(unseen.features).argmax(axis=1) == unseen.labels).mean()
    assert accuracy > 0.7
    assert head.history["loss"][-1] < head.history["loss"][0] / 2
    assert {len(values) for values in head.history.values()} == {len(head.history["loss"])}
    assert len(head.history["loss"]) < MAXIMUM_EPOCHS


def test_the_best_epoch_is_kept_and_folded_exactly(head: TrainedHead, validation_fold: Any) -> None:
    assert validation_loss(head, validation_fold) == pytest.approx(min(head.history["val_loss"]), abs=1e-4)


def test_the_same_seed_gives_the_same_bits_in_another_process(
    head: TrainedHead, training_fold: Any, validation_fold: Any, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    path = tmp_path / "data.npz"
    np.savez(
        path,
        f=training_fold.features,
        y=training_fold.labels,
        vf=validation_fold.features,
        vy=validation_fold.labels,
    )
    expected = hashlib.sha256(head.kernel.tobytes() + head.bias.tobytes()).hexdigest()
    assert run_python(TRAIN_ELSEWHERE.format(path=str(path))) == expected


def test_another_seed_gives_another_head(head: TrainedHead, train: Train) -> None:
    assert not np.array_equal(train(seed=1).kernel, head.kernel)


def test_each_hyperparameter_is_heeded(head: TrainedHead, train: Train) -> None:
    quick = train(hyperparameters=Hyperparameters(learning_rate=1e-2))
    assert quick.history["learning_rate"][0] == pytest.approx(1e-2)
    decayed = train(hyperparameters=Hyperparameters(weight_decay=0.5))
    assert np.linalg.norm(decayed.kernel) < np.linalg.norm(head.kernel)
    for other in (Hyperparameters(dropout_rate=0.5), Hyperparameters(batch_size=128)):
        assert not np.array_equal(train(hyperparameters=other).kernel, head.kernel)


def test_each_epoch_is_reported(train: Train) -> None:
    reported: list[tuple[int, dict[str, float]]] = []
    head = train(on_epoch=lambda epoch, figures: reported.append((epoch, figures)))
    assert [epoch for epoch, _ in reported] == list(range(len(head.history["loss"])))
    assert [figures["val_loss"] for _, figures in reported] == head.history["val_loss"]


def test_training_stops_at_the_end_of_its_budget_with_the_best_weights(
    train: Train, validation_fold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: now[-1]))

    def use_up_the_budget(epoch: int, _: dict[str, float]) -> None:
        now.append(3.0 * epoch)

    head = train(deadline=Deadline(6.0), on_epoch=use_up_the_budget)
    assert len(head.history["loss"]) == 3
    assert validation_loss(head, validation_fold) == pytest.approx(min(head.history["val_loss"]), abs=1e-4)


def test_a_budget_too_small_for_one_epoch_is_an_error(train: Train) -> None:
    with pytest.raises(TrainingError, match="MYCOFLOW_TRAINING_BUDGET_MINUTES"):
        train(deadline=Deadline(0.0))


def test_a_diverging_loss_is_an_error(train: Train, validation_fold: Any) -> None:
    with pytest.raises(TrainingError, match="finite loss"):
        train(validation_features=np.full_like(validation_fold.features, 3e38))


def test_features_that_are_not_numbers_are_refused(train: Train, training_fold: Any) -> None:
    damaged = training_fold.features.copy()
    damaged[3, 5] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        train(features=damaged)


def test_an_empty_validation_fold_is_refused(train: Train) -> None:
    empty = np.zeros((0, 512), np.float32)
    with pytest.raises(TrainingError, match="images in both folds"):
        train(validation_features=empty, validation_labels=np.zeros(0, np.int64))


def test_folds_with_features_of_two_backbones_are_refused(train: Train, validation_fold: Any) -> None:
    with pytest.raises(TrainingError, match=r"validation features of shape \(n, 512\).*\(100, 64\)"):
        train(validation_features=validation_fold.features[:, :64])


def test_labels_beyond_the_classes_are_refused(train: Train) -> None:
    with pytest.raises(TrainingError, match="from 0 to 4"):
        train(class_count=5)

"""The critical modules, and the tests that should notice every fault in them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Modules to put faults into, and the test files that should notice them, as paths from the root."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


_EVALUATION, _DATA, _ACCESS = "tests/ml/evaluation", "tests/ml/data", "tests/webapi/access"

TARGETS = {
    "gate": Target(("ml/evaluation/gate.py", "ml/confidence/paired_scores.py"), (f"{_EVALUATION}/test_gate.py",)),
    "floor": Target(("ml/evaluation/floor.py",), (f"{_EVALUATION}/test_floor.py",)),
    "triggers": Target(("ml/evaluation/triggers.py",), (f"{_EVALUATION}/test_triggers.py",)),
    "promotion": Target(
        ("ml/evaluation/promotion.py", "ml/catalog/models/journal.py"),
        (f"{_EVALUATION}/test_promotion.py", f"{_EVALUATION}/test_promotion_alerts.py"),
    ),
    "selection": Target(
        ("ml/data/selection.py", "ml/data/snapshot_rules.py", "ml/data/pool.py"),
        (
            f"{_DATA}/test_harvest_in_snapshots.py",
            f"{_DATA}/test_selection.py",
            f"{_DATA}/test_snapshot_rules.py",
            f"{_DATA}/test_new_classes.py",
        ),
    ),
    "membership": Target(
        (
            "ml/data/membership.py",
            "ml/ingest/guard.py",
            "ml/ingest/admitting.py",
            "ml/data/evaluation_sets.py",
            "ml/data/data_changes.py",
            "ml/data/new_classes.py",
        ),
        (
            "tests/ml/ingest/test_guard.py",  # the quick ones first
            f"{_DATA}/test_evaluation_sets.py",
            "tests/ml/ingest/test_admitting.py",
            f"{_DATA}/test_membership_neighbours.py",
            f"{_DATA}/test_membership.py",
            f"{_DATA}/test_data_changes.py",
            f"{_DATA}/test_new_classes.py",
            "tests/ml/ingest/test_copies.py",
            "tests/ml/ingest/test_folder.py",
        ),
    ),
    "harvest": Target(
        ("ml/data/harvest.py",),
        (f"{_DATA}/test_harvest.py", "tests/ml/ingest/test_copies.py", "tests/webapi/test_harvest.py"),
    ),
    "access": Target(
        (
            "webapi/access/authentication.py",
            "webapi/access/limits.py",
            "webapi/access/passwords.py",
        ),
        (_ACCESS,),
    ),
    "accounts": Target(
        ("ml/catalog/accounts/user_accounts.py", "ml/catalog/accounts/tokens.py"),
        ("tests/ml/catalog/accounts",),
    ),
    "confidence": Target(
        ("ml/confidence/cross_fitting.py", "ml/confidence/calibration.py", "ml/confidence/novelty.py"),
        (
            "tests/ml/confidence/test_cross_fitting.py",
            "tests/ml/confidence/test_calibration.py",
            "tests/ml/confidence/test_estimation.py",
            "tests/ml/confidence/test_novelty.py",
        ),
    ),
    "addresses": Target(
        ("ml/ingest/addresses.py", "ml/ingest/fetch.py"),
        ("tests/ml/ingest/test_addresses.py", "tests/ml/ingest/test_fetch.py"),
    ),
    "preprocessing": Target(("ml/backbones/preprocessing.py",), ("tests/ml/backbones/test_preprocessing.py",)),
}

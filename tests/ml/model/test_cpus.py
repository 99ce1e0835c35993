from pathlib import Path

import pytest

from ml.model.cpus import usable_cpus


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("1600000 100000", 4), ("nonsense", 4)],
)
def test_a_containers_share_limits_the_cpus(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cpus(tmp_path / "cpu.max") == expected


def test_without_a_quota_all_allowed_cpus_count(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "none") == 4

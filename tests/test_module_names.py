"""The tree by its file names: one name means one thing, and no folder is crowded."""

import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("ml", "webapi", "stack", "dags", "plugins", "grafana", "soak", "benchmarks")
BOUNDED = ("ml", "webapi", "stack")
MOST_MODULES = 15
# What a tool asks for by this name: Python, and Alembic of the folder of migrations.
DEMANDED = {"__init__", "__main__", "env"}


def list_modules(*folders: str) -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in map(Path, listed) if path.suffix == ".py" and (ROOT / path).exists()]


def test_no_two_modules_or_packages_share_a_name() -> None:
    modules = list_modules(*FOLDERS)
    packages = {package for path in modules for package in path.parents if package.name}
    named: dict[str, list[str]] = {}
    for path in [*modules, *packages]:
        named.setdefault(path.stem, []).append(str(path))
    shared = {name: paths for name, paths in named.items() if len(paths) > 1 and name not in DEMANDED}
    assert len(modules) > 300
    assert shared == {}


def test_no_folder_is_crowded() -> None:
    modules = [path for path in list_modules(*BOUNDED) if path.name != "__init__.py"]
    counts = Counter(path.parent for path in modules)
    assert len(counts) > 20
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}

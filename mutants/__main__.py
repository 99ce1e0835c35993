"""`make mutants`: put faults into critical code, one at a time, and count those that the tests notice.

    python -m mutants [--sample N] [TARGET ...]

mutation_targets.py lists the targets; without arguments, all of them run. Cosmic Ray makes the faults in a copy of the
tree, and runs the target's tests on each. A fault that no test notices is printed. The last line of each module has its
share of noticed faults and the time that it took. All faults take hours; a sample of each module estimates the share.
"""

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from mutants.mutation_targets import TARGETS
from mutants.warm_tests import SECONDS

ROOT = Path(__file__).parents[1]
COSMIC_RAY = ROOT / ".venv-mutants" / "bin" / "cosmic-ray"
SOCKET = "tests.sock"
# These faults prove nothing: other operators in a type such as `int | None`, and `is` in place of `==` for small ints.
_LEFT_OUT = [
    "core/ReplaceBinaryOperator_BitOr_(?!BitAnd)",
    "core/ReplaceComparisonOperator_Is(Not)?_(?!Is)",
    "core/ReplaceComparisonOperator_(?!Is)[A-Za-z]+_Is(Not)?",
]

out = Console(soft_wrap=True, highlight=False)


def main() -> None:
    """Measure the targets on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, metavar="N", help="try N random faults of each module, always the same")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        parser.error(f"expected some of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    if arguments.sample is not None and arguments.sample < 1:
        parser.error(f"--sample: expected a number of faults from 1, got {arguments.sample}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = _copy_tree(Path(folder) / "tree")
        for name in names:
            for module in TARGETS[name].modules:
                _measure(tree, name, module, TARGETS[name].tests, arguments.sample)


def _copy_tree(tree: Path) -> Path:
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _measure(tree: Path, name: str, module: str, tests: Sequence[str], sample: int | None) -> None:
    """Try the faults of a module, one after the other, and print those that its tests do not notice."""
    began = time.monotonic()
    session, config = tree.parent / "session.sqlite", tree.parent / "config.toml"
    session.unlink(missing_ok=True)
    config.write_text(_configure(module, tree.parent / SOCKET))
    _run([str(COSMIC_RAY), "init", str(config), str(session)], tree)
    _run([str(COSMIC_RAY.with_name("cr-filter-operators")), str(session), str(config)], tree)
    count = _keep_sample(session, sample)
    with _warm_tests(tree, tests):
        _run([str(COSMIC_RAY), "baseline", str(config)], tree)
        _run([str(COSMIC_RAY), "exec", str(config), str(session)], tree)
    results = list(_read_results(session))
    survivors = [fault for outcome, fault in results if outcome == "survived"]
    for survivor in survivors:
        out.print(escape(survivor))
    caught, minutes = len(results) - len(survivors), (time.monotonic() - began) / 60
    share = f"{caught / len(results):.0%}" if results else "no fault"
    tried = f"{len(results)}" if len(results) == count else f"{len(results)} tried of {count}"
    out.print(f"{name}: {module}: {share}, {caught} of {tried} noticed, {minutes:.1f} minutes")


def _keep_sample(session: Path, sample: int | None) -> int:
    """Take all but a random sample of the faults out of a session; return how many there were before."""
    with closing(sqlite3.connect(session)) as connection, connection:
        kept_by_filter = "SELECT job_id FROM mutation_specs WHERE job_id NOT IN (SELECT job_id FROM work_results)"
        faults = [job for (job,) in connection.execute(f"{kept_by_filter} ORDER BY operator_name, occurrence")]
        kept = random.Random(0).sample(faults, min(sample or len(faults), len(faults)))  # noqa: S311 - no secret
        for table in ("mutation_specs", "work_items"):
            dropped = [(job,) for job in set(faults) - set(kept)]
            connection.executemany(f"DELETE FROM {table} WHERE job_id = ?", dropped)  # noqa: S608 - a name of ours
    return len(faults)


@contextmanager
def _warm_tests(tree: Path, tests: Sequence[str]) -> Iterator[None]:
    """Start a process that runs these tests on request; see mutants/warm_tests.py."""
    address = tree.parent / SOCKET
    address.unlink(missing_ok=True)
    command = [sys.executable, "-m", "mutants.warm_tests", "serve", str(address), *tests]
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            while not address.exists():
                if server.poll() is not None:
                    sys.exit(f"{' '.join(command)} ended with status {server.returncode}. Run it to see why.")
                time.sleep(0.1)
            yield
        finally:
            server.terminate()


def _configure(module: str, socket: Path) -> str:
    command = [sys.executable, "-S", "-m", "mutants.warm_tests", "ask", str(socket)]
    return (
        f"[cosmic-ray]\nmodule-path = {json.dumps(module)}\ntimeout = {SECONDS}.0\nexcluded-modules = []\n"
        f"test-command = {json.dumps(' '.join(command))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {json.dumps(_LEFT_OUT)}\n"
    )


def _read_results(session: Path) -> Iterator[tuple[str, str]]:
    """Yield (outcome, diff of the code) for each fault that was tried."""
    for line in _run([str(COSMIC_RAY), "dump", str(session)], session.parent).splitlines():
        _, result = json.loads(line)
        if result is not None and result["worker_outcome"] == "normal":
            yield result["test_outcome"], result["diff"]


def _run(command: Sequence[str], folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}")
    return ended.stdout


if __name__ == "__main__":
    main()

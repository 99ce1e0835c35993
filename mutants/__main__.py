"""`make mutants`: put faults into critical code, one at a time, and count those that the tests notice.

    python -m mutants [TARGET ...]

mutation_targets.py lists the targets; without arguments, all of them run. Cosmic Ray makes the faults in a copy of the
tree, and runs the target's tests on each. A fault that no test notices is printed. The last line of each module has its
share of noticed faults and the time that it took.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    names = parser.parse_args().targets or list(TARGETS)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        parser.error(f"expected some of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = _copy_tree(Path(folder) / "tree")
        for name in names:
            for module in TARGETS[name].modules:
                _measure(tree, name, module, TARGETS[name].tests)


def _copy_tree(tree: Path) -> Path:
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _measure(tree: Path, name: str, module: str, tests: Sequence[str]) -> None:
    """Try every fault of a module, one after the other, and print those that its tests do not notice."""
    began = time.monotonic()
    session, config = tree.parent / "session.sqlite", tree.parent / "config.toml"
    session.unlink(missing_ok=True)
    config.write_text(_configure(module, tree.parent / SOCKET))
    _run([str(COSMIC_RAY), "init", str(config), str(session)], tree)
    _run([str(COSMIC_RAY.with_name("cr-filter-operators")), str(session), str(config)], tree)
    with _warm_tests(tree, tests):
        _run([str(COSMIC_RAY), "baseline", str(config)], tree)
        _run([str(COSMIC_RAY), "exec", str(config), str(session)], tree)
    results = list(_read_results(session))
    survivors = [fault for outcome, fault in results if outcome == "survived"]
    for survivor in survivors:
        out.print(escape(survivor))
    caught, minutes = len(results) - len(survivors), (time.monotonic() - began) / 60
    share = f"{caught / len(results):.0%}" if results else "no fault"
    out.print(f"{name}: {module}: {share}, {caught} of {len(results)} noticed, {minutes:.1f} minutes")


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

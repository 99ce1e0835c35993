"""Honcho's process manager, extended for a stack of servers: logs in files, optional servers, no process left."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from honcho.manager import Manager
from honcho.printer import Printer

from stack.children import Child
from stack.leftovers import end_leftovers

_SIGNALLED = (130, 143)


class Supervisor(Manager):  # type: ignore[misc]
    """Runs the children until one that is not optional ends, or a signal arrives; then ends all of them.

    Args:
        children: the processes to run.
        environment: their environment; it has the mark of the home folder.
        home: the value of that mark.
        logs: the folder for one file of output per child.
        output: the file for honcho's own messages.
    """

    def __init__(
        self, children: Iterable[Child], environment: Mapping[str, str], home: str, logs: Path, output: TextIO
    ) -> None:
        super().__init__(Printer(output))
        self.died: list[str] = []
        self._home = home
        self._optional: set[str] = set()
        for child in children:
            if child.is_optional:
                self._optional.add(child.name)
            self.add_process(child.name, child.command(logs / f"{child.name}.log"), env=dict(environment))

    def terminate(self) -> None:
        """Ask all children to end. Record in `died` those that ended by themselves and so caused this."""
        if self._terminating:
            return
        if self.returncode not in _SIGNALLED:
            self.died = self._missed()
        try:
            super().terminate()
        except KeyError:  # the signal arrived before every child had reported its process id
            end_leftovers(self._home)

    def _any_stopped(self) -> bool:
        """Whether honcho should end all children; it calls this regularly."""
        return bool(self._missed())

    def _missed(self) -> list[str]:
        ended = [name for name, child in self._processes.items() if child.get("returncode") is not None]
        return [name for name in ended if name not in self._optional]

    def kill(self) -> None:
        """Kill the processes that did not end in time, including Airflow's tasks in separate process groups."""
        super().kill()
        end_leftovers(self._home)

"""Run the tests of one fault in a fork of a process with all imports done: imports take longer than the tests.

python -m mutants.warm_tests serve SOCKET TESTS...    import everything except our own modules, then serve requests
python -m mutants.warm_tests ask SOCKET               run the tests; the exit status is pytest's
"""

import os
import signal
import socket
import sys
from pathlib import Path
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer

SECONDS = 600  # limit for the tests of one fault; a fault that makes the tests hang counts as noticed


def serve(address: str, tests: list[str]) -> None:
    """Answer each connection with pytest's exit status, from a fork that imports the current version of our modules."""
    import pytest  # noqa: PLC0415 - `ask` starts once for every fault

    options = ["-x", "-q", "-p", "no:cacheprovider", *tests]
    pytest.main(["--collect-only", *options])
    here = Path.cwd()
    ours = [name for name, module in sys.modules.items() if _lies_in(here, getattr(module, "__file__", None))]
    for name in ours:
        del sys.modules[name]

    class RunTests(StreamRequestHandler):
        def handle(self) -> None:
            signal.alarm(SECONDS)
            sys.dont_write_bytecode = True  # cached bytecode would hide a second fault within the same second
            self.wfile.write(b"%d" % pytest.main(options))

    class Server(ForkingMixIn, UnixStreamServer):
        pass

    with Server(address, RunTests) as server:
        server.serve_forever()


def ask(address: str) -> int:
    """Run the tests once.

    Returns: pytest's exit status; 1 if the tests hung or died.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        answer = client.makefile().read()
    return int(answer) if answer else 1


def _lies_in(folder: Path, file: str | None) -> bool:
    return file is not None and Path(file).is_relative_to(folder)


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        sys.exit(ask(sys.argv[2]))
    os.setpgrp()
    serve(sys.argv[2], sys.argv[3:])

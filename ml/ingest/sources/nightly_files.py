"""Large files that a site publishes every night or month: each is asked for once a night, and pulled if it changed."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from ml.deadlines import Deadline
from ml.errors import (
    FetchError,
    SourceError,
    SourceUnavailableError,
    TargetMissingError,
    TargetRefusedError,
)
from ml.ingest.fetch import NO_VALIDATORS, Validators, fetch_file

_NIGHT_HOURS = 20  # a run at three in the morning must not miss the files of that night


def is_tonights(path: Path) -> bool:
    """Whether a file was written so lately that the site has no newer one."""
    return path.exists() and time.time() - path.stat().st_mtime < _NIGHT_HOURS * 3600


def pull_file(url: str, path: Path, allowed_hosts: str, deadline: Deadline) -> None:
    """Fetch a file, whole or not at all, unless tonight's is there or the site says that ours is still the current one.

    A server that sends nothing may be asked again at once. One that had begun to send is left alone for the night: the
    same gigabytes every hour would be much to ask of it.

    Raises: SourceError, SourceUnavailableError.
    """
    if is_tonights(path):
        return
    note = _note(path)
    if is_tonights(note):
        reason = note.read_text(encoding="utf-8", errors="replace")
        raise SourceUnavailableError(f"{path.name} cannot be had tonight: {reason} {asked_again(path)}")
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        _write_note(path, "the download was interrupted.")  # what stays if this process is killed
        found = fetch_file(url, unfinished, allowed_hosts, deadline, read_validators(path))
        if found is None:
            path.touch()
        else:
            _replace(path, unfinished, found)
        note.unlink()
    except (FetchError, OSError) as error:
        has_begun = unfinished.exists()
        unfinished.unlink(missing_ok=True)  # before the note: the disk may be full
        note.unlink(missing_ok=True)
        if has_begun:
            _write_note(path, str(error))
        kind = SourceError if isinstance(error, TargetRefusedError | TargetMissingError) else SourceUnavailableError
        raise kind(f"{url} cannot be had now: {error}") from error


def read_validators(path: Path) -> Validators:
    """Return the validators of the stored file, or NO_VALIDATORS if there is no file."""
    version = _validators(path)
    if not (path.exists() and version.exists()):
        return NO_VALIDATORS
    try:
        return Validators(**json.loads(version.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # damaged: the file is pulled again
        return NO_VALIDATORS


def discard_unless_comparable(path: Path) -> None:
    """Remove a file that the site cannot compare with its own: it will be pulled again anyhow."""
    if read_validators(path) == NO_VALIDATORS:
        path.unlink()


def give_up(path: Path, reason: str) -> None:
    """Remove a file that is not what it should be, and leave the site alone for the night."""
    path.unlink()
    _validators(path).unlink(missing_ok=True)
    _write_note(path, reason)


def asked_again(path: Path) -> str:
    """When a file that failed is asked for again, for people."""
    return f"It is asked for again after {_NIGHT_HOURS} hours, or once {_note(path)} is removed."


def _replace(path: Path, unfinished: Path, validators: Validators) -> None:
    _validators(path).unlink(missing_ok=True)  # first: those of the old file must never be said of the new one
    unfinished.replace(path)
    if validators != NO_VALIDATORS:
        _validators(path).write_text(json.dumps(asdict(validators)), encoding="utf-8")


def _validators(path: Path) -> Path:
    return path.with_name(f"{path.name}.version")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.failed")


def _write_note(path: Path, reason: str) -> None:
    _note(path).write_text(reason, encoding="utf-8")

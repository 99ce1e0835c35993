"""Damaged files that a program reads when it starts: the error says what to do."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.errors import SettingsError
from ml.ingest.fetch import NO_VALIDATORS
from ml.ingest.sources.nightly_files import read_validators
from ml.settings import Settings, load_settings
from stack.home_lock import exclusive
from stack.secret_files import airflow_secrets

DAMAGE: dict[str, Callable[[Path], object]] = {
    "other bytes": lambda path: path.write_bytes(b"\xff\xfe\x00\x80"),
    "nothing": lambda path: path.write_bytes(b""),
    "half of it": lambda path: path.write_text('{"admin": "se'),
    "another type": lambda path: path.write_text('["admin"]'),
    "other values": lambda path: path.write_text('{"admin": 1, "service": null}'),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_passwords_of_the_stack_say_which_file_to_delete(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    before = airflow_secrets(tmp_path)
    damage(before.password_file)
    with pytest.raises(SettingsError, match=r"passwords\.json, got something else\. Delete it"):
        airflow_secrets(tmp_path)


@pytest.mark.parametrize("name", ["other bytes", "nothing", "a folder"])
def test_a_damaged_secret_of_the_stack_says_which_file_to_delete(tmp_path: Path, name: str) -> None:
    airflow_secrets(tmp_path)
    DAMAGE[name](tmp_path / "jwt_secret")
    with pytest.raises(SettingsError, match="jwt_secret, got something else"):
        airflow_secrets(tmp_path)


def test_a_lock_file_of_other_bytes_is_a_lock_and_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    path = tmp_path / "stack.lock"
    path.write_bytes(b"\xff\xfe")
    with exclusive(tmp_path, "stack"):
        pass
    path.write_bytes(b"\xff\xfe")
    with path.open() as held, pytest.raises(SettingsError, match="already runs"):
        fcntl.flock(held, fcntl.LOCK_EX)
        with exclusive(tmp_path, "stack"):
            pass
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="Move away what is there"), exclusive(tmp_path, "stack"):
        pass


def test_an_env_file_of_other_bytes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / ".env"))
    (tmp_path / ".env").write_bytes(b"MYCOFLOW_WEIGHTS=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"Expected the file \.env"):
        load_settings()
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    load_settings()


@pytest.mark.parametrize("content", [b"\xff", b"", b"{", b"[]", b'{"colour": "red"}', b"1"])
def test_a_damaged_note_about_a_pulled_file_lets_it_be_pulled_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "observations.csv"
    path.write_text("id\n")
    (tmp_path / "observations.csv.version").write_bytes(content)
    assert read_validators(path) == NO_VALIDATORS

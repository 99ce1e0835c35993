"""A separate deployment for measurements: a home folder, the embedded PostgreSQL, and the `mycoflow` commands."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_settings import BenchSettings
from ml.errors import MycoflowError
from ml.settings import Settings, variable, without_settings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finished:
    """A command that succeeded: the duration of its process, and its output."""

    seconds: float
    output: str


@dataclass(frozen=True)
class Deployment:
    """A deployment.

    Args:
        home: MYCOFLOW_HOME; commands run there, so that no `.env` is read.
        environment: the environment of every process, with MYCOFLOW_HOME.
    """

    home: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, said: str = "") -> Finished:
        """Run `mycoflow ...` as a process.

        Args: said, the text for its standard input.
        Raises: MycoflowError, the command failed.
        """
        command = [str(Path(sys.executable).with_name("mycoflow")), *arguments]
        began = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, cwd=self.home, env=self.environment, input=said, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
        if done.returncode != 0:
            raise MycoflowError(f"Expected `mycoflow {' '.join(arguments)}` to succeed. It said:\n{done.stderr}")
        return Finished(seconds, done.stdout)

    def settings(self) -> Settings:
        """Return the settings that the deployment's processes read."""
        fields = Settings.model_fields
        return Settings.model_validate(
            {name: self.environment.get(variable(name), field.default) for name, field in fields.items()}
        )


def new_deployment(settings: BenchSettings, home: Path, backbone: str) -> Deployment:
    """Make a deployment in a new home folder. Weights and size come from `settings`, all else has its default.

    Args: backbone, its name in ml.backbones.registered.
    """
    weights = settings.weights_of(backbone)
    chosen = {
        "MYCOFLOW_HOME": str(home),
        "MYCOFLOW_BACKBONE": backbone,
        "MYCOFLOW_WEIGHTS": weights,
        "MYCOFLOW_IMAGE_SIZE": str(settings.image_size_of(backbone)),
        "MYCOFLOW_METRICS_PORT": "0",
        "MYCOFLOW_RATE_LIMIT": "1000000 per minute",  # all clients use one account
    }
    if weights == "random":
        # With random weights, int8 fails the comparison with fp32 on most photos, but has the same speed.
        chosen["MYCOFLOW_INT8_MINIMUM_AGREEMENT"] = "0"
    home.mkdir(parents=True)
    return Deployment(home, plain_environment() | chosen)


def plain_environment() -> dict[str, str]:
    """Return this process's environment without Mycoflow's settings, and with its code on the import path."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # As in an activated environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return without_settings(os.environ) | quiet | {"PYTHONPATH": python_path, "PATH": path}

"""The settings of the stack on one machine: those of the library, and a port for each server."""

from pydantic import Field, ValidationError

from ml.errors import SettingsError
from ml.settings import Settings, load_settings


class StackSettings(Settings):
    """What `make up` may be told."""

    airflow_port: int = Field(8080, ge=1, le=65535, description="Airflow's pages and REST API")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="MLflow's pages")
    service_port: int = Field(8000, ge=1, le=65535, description="The prediction service")
    prometheus_port: int = Field(9090, ge=0, le=65535, description="Prometheus, where it is installed; 0 none")


def load_stack_settings() -> StackSettings:
    """Read the settings from the environment and `.env`.

    Raises: SettingsError, naming each setting that is wrong.
    """
    load_settings()  # reports what is wrong with the library's own settings in its own words
    try:
        return StackSettings.model_validate({})
    except ValidationError as error:
        lines = [f"{str(e['loc'][0]).upper()}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        raise SettingsError("Wrong settings:\n  " + "\n  ".join(lines)) from error

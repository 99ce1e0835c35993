"""The settings of the benchmarks, from the command line and the environment."""

from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from benchmarks.client import Plan
from ml.backbones.registered import FIRST_BACKBONE, find_backbone
from ml.errors import SettingsError
from ml.settings import PREFIX, describe_errors, list_wrong_names, wrong_settings

BACKBONES = (FIRST_BACKBONE, "efficientnet_lite0")  # measured side by side; the other parts measure the first


class BenchSettings(BaseSettings):
    """Backbone and image size have their usual variables. `.env` is not read: it belongs to another deployment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    data: Path | None = Field(None, description="Folder with initial/ and evaluation/; the digits when empty")
    quick: bool = Field(False, description="One short round of everything, and two epochs of the recipe")
    weights: str = Field("random", description="VGG16's, as everywhere; the speed does not depend on it")
    image_size: int = Field(160, ge=32, le=512, description="Side of the network's square input, pixels")

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().resolve()

    @field_validator("weights")
    @classmethod
    def _absolute_file(cls, value: str) -> str:
        return str(Path(value).expanduser().resolve()) if value.endswith(".weights.h5") else value

    def weights_of(self, backbone: str) -> str:
        """Return the weights of a backbone: every installation has EfficientNet-Lite0's from ImageNet."""
        return self.weights if backbone == FIRST_BACKBONE else "imagenet"

    def image_size_of(self, backbone: str) -> int:
        """Return the image size of a backbone: the one that the environment names, or its own."""
        is_named = backbone == FIRST_BACKBONE or "image_size" in self.model_fields_set
        return self.image_size if is_named else find_backbone(backbone).default_image_size

    @property
    def plan(self) -> Plan:
        """The duration of the measurement of a server."""
        return Plan(rounds=1, seconds=4) if self.quick else Plan(rounds=3, seconds=10)

    @property
    def repeats(self) -> int:
        """How often everything else is measured; the report has the median."""
        return 1 if self.quick else 3


def load_settings(data: Path | None, *, quick: bool) -> BenchSettings:
    """Read the settings.

    Args: data, quick, from the command line.
    Raises: SettingsError, a setting is wrong.
    """
    wrong = list_wrong_names()
    if wrong:
        raise wrong_settings(wrong)
    try:
        settings = BenchSettings.model_validate({"data": data, "quick": quick})
    except ValidationError as error:
        raise wrong_settings(describe_errors(error)) from error
    for part in ("initial", "evaluation"):
        if settings.data is not None and not (settings.data / part).is_dir():
            raise SettingsError(
                f"DATA: expected a folder with initial/ and evaluation/, each one sub-folder per class. "
                f"There is no {settings.data / part}."
            )
    return settings

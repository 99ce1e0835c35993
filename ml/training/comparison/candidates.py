"""The networks of a comparison: backbones with their weights, in each image size and precision. All is checked here."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.registered import REGISTERED, find_backbone, has_source
from ml.catalog.database import Catalog
from ml.errors import SettingsError, WeightsError
from ml.settings import LARGEST_IMAGE_SIZE, Precision, Settings
from ml.training.chosen_backbone import kept_weights

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparisonRequest:
    """The networks that somebody asks for.

    Args:
        backbones: names in ml.backbones.registered; empty for all that have weights here.
        image_sizes: sides of the square input, pixels; empty for MYCOFLOW_IMAGE_SIZE or each backbone's own.
        precisions: fp32, int8 or both.
        weights: name of a backbone -> values of MYCOFLOW_WEIGHTS. A backbone that is missing gets the weights that it
            would be trained with here.
    """

    backbones: Sequence[str] = ()
    image_sizes: Sequence[int] = ()
    precisions: Sequence[str] = PRECISIONS
    weights: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A network to compare.

    Args:
        source: the value of MYCOFLOW_WEIGHTS that gives the weights.
        image_size: side of the square input, pixels.
    """

    backbone: Backbone
    source: str
    weights: BackboneWeights = field(repr=False)
    image_size: int
    precision: Precision

    @property
    def weights_name(self) -> str:
        """Return the weights for people: a word, or the name of a file."""
        return Path(self.source).name

    @property
    def label(self) -> str:
        """Return a name for people."""
        return f"{self.backbone.name}, {self.weights_name}, {self.image_size} px, {self.precision}"


def choose_candidates(catalog: Catalog, settings: Settings, request: ComparisonRequest) -> list[Candidate]:
    """Return the requested networks with their weights, each once. This changes no choice of the home.

    Raises: SettingsError, a backbone, a size or a precision does not exist; WeightsError, weights are not available.
    """
    check_request(request)
    return [
        Candidate(backbone, source, weights, size, precision)
        for backbone, source, weights in _find_weights(catalog, settings, request)
        for size in _sizes(settings, request, backbone)
        for precision in PRECISIONS
        if precision in request.precisions
    ]


def check_request(request: ComparisonRequest) -> None:
    """Check the names and numbers of a request, before anything is opened or downloaded.

    Raises: SettingsError.
    """
    for name in [*request.backbones, *request.weights]:
        if name not in REGISTERED:
            raise SettingsError(
                f"Expected one of Mycoflow's backbones: {', '.join(REGISTERED)}. Received: {name!r}. "
                "`mycoflow backbones` describes them."
            )
    idle = [name for name in request.weights if request.backbones and name not in request.backbones]
    if idle:
        raise SettingsError(
            f"Expected weights for the backbones that are compared: {', '.join(request.backbones)}. "
            f"Received weights for {', '.join(idle)} too. Add the backbone, or leave its weights out."
        )
    unknown = [each for each in request.precisions if each not in PRECISIONS]
    if unknown or not request.precisions:
        received = ", ".join(map(repr, unknown)) or "none"
        raise SettingsError(f"Expected precisions: {', '.join(PRECISIONS)}, or both. Received: {received}.")
    for name in request.backbones or REGISTERED:
        least = find_backbone(name).minimum_image_size
        for size in request.image_sizes:
            if not least <= size <= LARGEST_IMAGE_SIZE:
                raise SettingsError(
                    f"Expected image sizes from {least} to {LARGEST_IMAGE_SIZE} pixels for {name}. Received: {size}."
                )


def _sizes(settings: Settings, request: ComparisonRequest, backbone: Backbone) -> list[int]:
    return sorted(set(request.image_sizes)) or [settings.image_size or backbone.default_image_size]


def _find_weights(
    catalog: Catalog, settings: Settings, request: ComparisonRequest
) -> list[tuple[Backbone, str, BackboneWeights]]:
    found = []
    for backbone in map(find_backbone, dict.fromkeys(request.backbones or REGISTERED)):
        sources = request.weights.get(backbone.name)
        if sources:
            found += [(backbone, source, backbone.resolve_weights(source)) for source in dict.fromkeys(sources)]
            continue
        try:
            found.append((backbone, *_usual_weights(catalog, settings, backbone)))
        except WeightsError as error:
            if request.backbones:
                raise
            logger.warning("%s is not compared: %s", backbone.name, error)
    if not found:
        raise WeightsError(
            f"Expected weights for one of Mycoflow's backbones: {', '.join(REGISTERED)}. Found none here. "
            "`mycoflow backbones` says where they come from."
        )
    return found


def _usual_weights(catalog: Catalog, settings: Settings, backbone: Backbone) -> tuple[str, BackboneWeights]:
    """Return the weights that a training here would take. If they are not available, return those of a new home.

    Raises: WeightsError, neither are available.
    """
    for source in (settings.weights, kept_weights(catalog, backbone)):
        if source is not None and has_source(backbone, source):
            try:
                return source, backbone.resolve_weights(source)
            except WeightsError as error:
                logger.warning("%s is not compared with MYCOFLOW_WEIGHTS=%s: %s", backbone.name, source, error)
    source, _ = backbone.choose_weights()
    return source, backbone.resolve_weights(source)

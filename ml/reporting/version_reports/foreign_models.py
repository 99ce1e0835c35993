"""What a person can state about a model that was trained elsewhere."""

from ml.backbones.scales import SCALES

SCALE_NAMES = tuple(SCALES)
"""Names of the scalings of input pixels, for `ml.evaluation.registering.ModelDescription`."""

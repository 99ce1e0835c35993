import numpy as np

from ml.backbones.standardisation import Standardisation
from ml.tasks.classification.head import Head, fold_into, take_out_of


def test_a_folded_head_gives_plain_features_the_same_probabilities() -> None:
    generator = np.random.default_rng(0)
    features = (generator.normal(80, 30, (50, 512)) * generator.uniform(0.01, 2, 512)).astype(np.float32)
    head = Head(generator.normal(0, 0.1, (512, 4)).astype(np.float32), generator.normal(0, 1, 4).astype(np.float32))
    standardisation = Standardisation.of(features)
    folded = fold_into(standardisation, head)
    np.testing.assert_allclose(folded.classify(features), head.classify(standardisation.apply(features)), atol=1e-4)
    again = take_out_of(standardisation, folded)
    np.testing.assert_allclose(again.kernel, head.kernel, atol=1e-5)
    np.testing.assert_allclose(again.bias, head.bias, atol=1e-3)


def test_a_constant_feature_counts_for_nothing() -> None:
    features = np.random.default_rng(0).normal(0, 1, (20, 512)).astype(np.float32)
    features[:, 7] = 3.0
    standardisation = Standardisation.of(features)
    folded = fold_into(standardisation, Head(np.ones((512, 2), np.float32), np.zeros(2, np.float32)))
    assert (standardisation.apply(features)[:, 7] == 0).all()
    assert (folded.kernel[7] == 0).all()

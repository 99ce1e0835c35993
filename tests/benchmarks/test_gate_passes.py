"""The simulation of the gate, with few draws. docs/decisions/0074 has the figures of many."""

import pytest

from benchmarks.gate_passes import World, decline, first_share, last_share


@pytest.mark.parametrize("images", [250, 500])
def test_an_equally_good_challenger_passes_at_the_last_try_in_two_cases_of_five(images: int) -> None:
    assert last_share(World(images, disagreement=0.06), chains=40) >= 0.4


def test_the_worse_a_challenger_the_less_it_passes() -> None:
    world = World(500, disagreement=0.06)
    shares = [first_share(world, loss, draws=300) for loss in (0, 0.01, 0.03, 0.05)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.75
    assert shares[-1] < 0.05


def test_more_images_separate_a_loss_of_one_point_better() -> None:
    few, many = (first_share(World(images, disagreement=0.06), 0.01, draws=300) for images in (250, 1000))
    assert many < few


def test_the_best_version_ever_limits_the_decline_of_production() -> None:
    bounded, free = (decline(World(250, 0.06, has_best), 0.01, chains=20) for has_best in (True, False))
    assert bounded < 0.06 < free

from __future__ import annotations

import ast
import inspect
import time

import numpy as np
import pytest

from common.errors import ConfigError
from common.privacy import Randomness, discrete_gaussian
from common.privacy.discrete_gaussian import bernoulli_exp, discrete_laplace, draw


class Script:
    """A stand-in for chance: gives what it is told and keeps what it was asked."""

    def __init__(self, *drawn):
        self.drawn, self.asked = list(drawn), []

    def below(self, bound):
        self.asked.append(bound)
        return self.drawn.pop(0)


def test_the_sampler_knows_no_floating_point():
    """No float literal, no true division, no function of floats: chance is compared in whole numbers alone."""
    tree = ast.parse(inspect.getsource(discrete_gaussian))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
            assert node.attr == "isqrt"


@pytest.mark.parametrize(("drawn", "shown"), [((3,), True), ((2, 4), False), ((2, 2, 6), True), ((0, 0, 0, 9), False)])
def test_algorithm_1_by_hand(drawn, shown):
    """γ = 3/4: coins of chance 3/4, 3/8, 3/12, 3/16 until one fails; an odd count of throws shows True."""
    script = Script(*drawn)
    assert bernoulli_exp(3, 4, script) is shown
    assert script.asked == [4, 8, 12, 16][: len(drawn)]


def test_a_coin_of_more_than_one_throws_one_for_each_whole():
    script = Script(1 - 1, 1, 1, 0)  # γ = 5/2 needs two of exp(−1) first: the first one fails here
    assert bernoulli_exp(5, 2, script) is False
    assert script.asked == [1, 2]
    assert bernoulli_exp(0, 1, Script(0)) is True, "exp(0) is certain"


def test_a_negative_zero_is_drawn_again():
    """Algorithm 2 with t = 1: U = 0 is kept at once; V = 0; sign −. Then V = 1 and sign −."""
    no, yes = (0, 1), (0, 0, 2)  # exp(−1): fails on the second coin, shows on the third
    script = Script(0, 0, *no, 1, 0, 0, *yes, *no, 1)
    assert discrete_laplace(1, script) == -1
    assert script.drawn == []


def test_no_variance_is_no_noise_and_needs_no_chance():
    np.testing.assert_array_equal(draw(0, 5, Script()), np.zeros(5, dtype=np.int64))


def test_a_negative_variance_is_refused():
    with pytest.raises(ConfigError, match="variance -1"):
        draw(-1, 5, Script())


@pytest.mark.parametrize("variance", [1, 3, 4, 10**6, 10**15])
def test_samples_are_whole_and_of_the_right_size(variance):
    noise = draw(variance, 400, Randomness(bytes(32)))
    assert noise.dtype == np.int64
    assert noise.shape == (400,)
    assert 0.7 * variance < np.mean(noise.astype(float) ** 2) < 1.4 * variance


def test_a_share_of_4096_numbers_takes_far_less_than_a_second():
    """In seconds of processor time, which a busy machine does not stretch; some 0.03 here."""
    began = time.process_time()
    draw(100_000, 4096, Randomness(bytes(32)))
    assert time.process_time() - began < 0.5

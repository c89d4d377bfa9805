"""Figures of distributions and intervals, worked out by hand."""

from __future__ import annotations

import math

import pytest

from whylike.evaluation.distributions import coverage, reliability, sharpness


def test_the_surprise_is_that_of_the_ratings_that_were_given():
    found = sharpness([[0.25, 0.75], [0.5, 0.5]], [1, 0])
    assert found.nll == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2, abs=1e-4)


def test_probabilities_that_come_true_as_often_as_they_say_have_no_error():
    shares = [[0.25, 0.75]] * 4
    assert sharpness(shares, [0, 1, 1, 1]).calibration_error == 0
    assert sharpness(shares, [0, 0, 0, 0]).calibration_error == 0.75
    assert [(each.predicted, each.observed, each.count) for each in reliability(shares, [0, 0, 1, 1])] == [
        (0.25, 0.5, 4),
        (0.75, 0.5, 4),
    ]


def test_what_is_impossible_is_a_great_surprise_and_no_error():
    assert sharpness([[1.0, 0.0]], [1]).nll > 10


def test_the_ends_belong_to_the_interval():
    found = coverage([(1, 3), (2, 4), (4.5, 5)], [3, 1, 4], 0.8)
    assert (found.covered, found.width, found.claimed) == (pytest.approx(1 / 3, abs=1e-4), 1.5, 0.8)

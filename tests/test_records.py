"""The rating scale: what it takes and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.errors import UsageError
from whylike.records import RatingScale


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("1:5", ("1", "2", "3", "4", "5")),
        ("1:10", tuple("0123456789")),
        ("0.5:5:0.5", tuple("0123456789")),
        ("1:5:0.5", tuple("012345678")),
        ("0:20", tuple("ABCDEFGHIJKLMNOPQRSTU")),
    ],
)
def test_every_value_has_a_label_of_one_character(text: str, labels: tuple[str, ...]):
    scale = RatingScale.parse(text)
    assert scale.labels == labels
    assert len(scale.values) == len(labels)
    assert RatingScale.parse(str(scale)) == scale


@pytest.mark.parametrize(
    "text",
    ["", "5", "5:1", "1:5:0", "1:5:0.3", "1:100", "a:b", "1:2:3:4", "nan:5", "1:inf", "1:5:1e-320", "-1e308:1e308"],
)
def test_what_is_no_scale_is_refused_in_one_sentence(text: str):
    with pytest.raises(UsageError, match=r"is not a rating scale.*for example 1:5") as caught:
        RatingScale.parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="0123456789.:-e", max_size=12))
def test_parsing_never_fails_otherwise(text: str):
    try:
        scale = RatingScale.parse(text)
    except UsageError:
        return
    assert scale.minimum in scale
    assert scale.maximum in scale
    assert scale.nearest(scale.maximum + 1) == scale.maximum

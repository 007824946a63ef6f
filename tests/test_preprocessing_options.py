"""--mean, --std and --input-range: what they mean, and where they do not belong."""

import pytest

from edgepriv import api
from edgepriv.errors import UserError
from edgepriv.recipe import changes_of, written


def test_numbers_and_ends_as_they_are_written():
    asked = changes_of("train", {"mean": "0.485,0.456,0.406", "std": "0.229, 0.224, 0.225"})
    assert asked["model"] == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    assert changes_of("train", {"input_range": "-1:1"}) == {
        "model": {"input_range": (-1, 1)},
        "data": {"range": (-1, 1)},
    }
    assert changes_of("audit", {"input_range": (0, 255), "mean": 0.5}) == {
        "audit": {"input_range": (0, 255), "mean": (0.5,)}
    }


@pytest.mark.parametrize("text", ["", "half", "0.5;0.5", "nan", "1e999", "0.5,", []])
def test_what_is_no_number_is_refused_with_an_example(text):
    with pytest.raises(UserError, match=r"--mean .* such as 0\.5 or"):
        written.numbers("mean", text)


@pytest.mark.parametrize("text", ["255", "0-255", "255:0", "0:0", "0:", "0:inf", "0:1:2", (1, 2, 3)])
def test_what_is_no_range_is_refused_with_an_example(text):
    with pytest.raises(UserError, match="such as 0:255"):
        written.ends("input-range", text)


def test_a_size_is_one_number_or_height_and_width():
    assert [written.size_of(given) for given in ("64", 64, "48x64", (48, 64))] == [
        (64, 64),
        (64, 64),
        (48, 64),
        (48, 64),
    ]
    for given in ("", "x64", "48x", "0", "1x2x3", (1, 2, 3), 1.5, "-4"):
        with pytest.raises(UserError, match="such as 48x64"):
            written.size_of(given)


def test_without_a_model_they_describe_nothing():
    for asked in ({"mean": 0, "std": 1}, {"seed": 0}, {"widths": "8"}, {"label": -1}, {"model_arg": ["stem=plain"]}):
        with pytest.raises(UserError, match="a checkpoint keeps its own"):
            api.harden("none.pt", **asked)


def test_arguments_of_a_model_are_read_as_what_they_are():
    asked = ["stem=plain", "stem_stride=2", "stem_pool=false", "widths=[8, 4]"]
    found = {"stem": "plain", "stem_stride": 2, "stem_pool": False, "widths": [8, 4]}
    assert changes_of("train", {"model_arg": asked}) == {"model": {"args": found}}
    assert changes_of("train", {"model_arg": {"stem": "plain"}, "widths": "5,4"})["model"]["args"] == {
        "stem": "plain",
        "widths": [5, 4],
    }
    with pytest.raises(UserError, match=r"--model-arg 'stem': expected NAME=VALUE"):
        changes_of("train", {"model_arg": ["stem"]})

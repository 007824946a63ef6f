"""--mean, --std and --input-range: what they mean, and where they do not belong."""

import pytest

from edgepriv.cli import options
from edgepriv.errors import UserError


def test_numbers_and_ends_as_they_are_written():
    assert options.preprocessing("0.485,0.456,0.406", "0.229, 0.224, 0.225", None) == {
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "input_range": None,
    }
    assert options.preprocessing(None, None, "-1:1")["input_range"] == (-1, 1)


@pytest.mark.parametrize("text", ["", "half", "0.5;0.5", "nan", "1e999", "0.5,"])
def test_what_is_no_number_is_refused_with_an_example(text):
    with pytest.raises(UserError, match=r"--mean .* such as 0\.5 or"):
        options.numbers("mean", text)


@pytest.mark.parametrize("text", ["255", "0-255", "255:0", "0:0", "0:", "0:inf", "0:1:2"])
def test_what_is_no_range_is_refused_with_an_example(text):
    with pytest.raises(UserError, match="such as 0:255"):
        options.ends("input-range", text)


def test_without_a_model_they_describe_nothing():
    with pytest.raises(UserError, match="a checkpoint keeps its own"):
        options.for_bare_state_dict(None, None, None, None, None, None, None, options.preprocessing("0", "1", None), {})


def test_arguments_of_a_model_are_read_as_what_they_are():
    asked = ["stem=plain", "stem_stride=2", "stem_pool=false", "widths=[8, 4]"]
    assert options.model_settings("resnet18", None, asked)["args"] == {
        "stem": "plain",
        "stem_stride": 2,
        "stem_pool": False,
        "widths": [8, 4],
    }
    assert options.model_settings("resnet18", None)["args"] is None
    with pytest.raises(UserError, match=r"--model-arg 'stem': expected NAME=VALUE"):
        options.model_settings("resnet18", None, ["stem"])

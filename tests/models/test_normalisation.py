"""How a network is fed: input range, mean and std are stated in its own units, and hold for inputs in [0, 1]."""

import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Model, Recipe, parse


@pytest.mark.parametrize(
    ("stated", "fed"),
    [
        ({"mean": (0,), "std": (1,), "input_range": (0, 255)}, lambda bytes_: bytes_),
        ({"mean": (72.9,), "std": (90.0,), "input_range": (0, 255)}, lambda bytes_: (bytes_ - 72.9) / 90),
        ({"mean": (0.286,), "std": (0.353,)}, lambda bytes_: (bytes_ / 255 - 0.286) / 0.353),
        ({"mean": (0,), "std": (1,), "input_range": (-1, 1)}, lambda bytes_: bytes_ / 127.5 - 1),
        ({"mean": (0.5,), "std": (0.5,)}, lambda bytes_: bytes_ / 127.5 - 1),
        ({"mean": (0,), "std": (1,)}, lambda bytes_: bytes_ / 255),
    ],
)
def test_the_network_sees_what_it_was_trained_on(stated, fed):
    pixels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)
    seen = build_classifier(Model(name="lenet", **stated), 10, (1, 16, 16)).normalised(pixels / 255)
    assert torch.allclose(seen, fed(pixels), rtol=1e-5, atol=1e-5)


def test_one_number_serves_every_channel():
    one, three = ({"mean": (0.5,) * n, "std": (0.2,) * n} for n in (1, 3))
    built = [build_classifier(Model(**stated), 10, (3, 8, 8)) for stated in (one, three)]
    assert torch.equal(built[0].mean, built[1].mean)
    assert torch.equal(built[0].std, built[1].std)


def test_another_range_alone_moves_the_defaults_with_it():
    plain, in_bytes = (build_classifier(Model(**own), 10, (1, 8, 8)) for own in ({}, {"input_range": (0, 255)}))
    assert torch.allclose(plain.mean, in_bytes.mean)
    assert torch.allclose(plain.std, in_bytes.std)


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (
            {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)},
            r"mean 123\.7 .* by 255, or .* --input-range 0:255",
        ),
        ({"mean": (0.5,), "std": (127.5,)}, r"std 127.5 is wider than the input range 0 to 1"),
        ({"mean": (-0.5,), "std": (0.5,)}, r"mean -0\.5 lies outside .* --input-range LO:HI"),
        ({"mean": (300,), "std": (1,), "input_range": (0, 255)}, r"mean 300 lies outside the input range 0 to 255"),
        ({"mean": (0.5, 0.5), "std": (0.5,)}, r"need 3 numbers each, or one for every channel \(got 2 and 1\)"),
    ],
)
def test_statistics_in_other_units_than_the_range_are_refused_with_the_remedy(stated, sentence):
    with pytest.raises(UserError, match=sentence):
        build_classifier(Model(**stated), 10, (3, 8, 8))


@pytest.mark.parametrize("range_", [(1, 0), (0, 0), (0, float("inf"))])
def test_a_range_goes_up(range_):
    with pytest.raises(UserError, match="input_range"):
        parse({"model": {"input_range": range_}}, "the recipe")


def test_the_default_range_leaves_the_training_hash_as_it_was_before_it_could_be_said():
    content = Recipe().model_dump(mode="json")
    del content["model"]["input_range"]
    assert parse(content, "an older file").training_hash() == Recipe().training_hash()
    assert Recipe().with_changes(model={"input_range": (0, 255)}).training_hash() != Recipe().training_hash()

"""What nobody can see in a file of public weights is said before training."""

import pytest
import torch

from edgepriv.models import build
from edgepriv.models.starting import identified
from edgepriv.recipe import Recipe
from edgepriv.training.starting import start_notes


@pytest.fixture
def notes(tmp_path):
    torch.save(build("lenet", 5, (3, 28, 28)).state_dict(), tmp_path / "public.pth")

    def notes(shape, **model):
        recipe = Recipe(model={"name": "lenet"} | model, start={"path": str(tmp_path / "public.pth")})
        return start_notes(identified(recipe), 2, shape)

    return notes


def test_how_images_are_fed_is_asked_for_unless_it_is_stated(notes):
    assert any("--mean 0.485,0.456,0.406" in line for line in notes((3, 28, 28)))
    assert len(notes((3, 28, 28), mean=(0.4,), std=(0.2,))) == 1


def test_a_layer_before_the_last_that_is_new_is_named(notes):
    said = notes((1, 32, 32), mean=(0.4,), std=(0.2,))
    assert "beside the last layer, fc1.weight start from random weights" in said
    assert "conv1.weight made of 3 channels for 1" in said[0]

"""Recipes in files: TOML in, every wrong field named; the customary value of what is left open."""

import pytest

from edgepriv import recipe
from edgepriv.errors import UserError
from edgepriv.recipe import Quantize, Recipe, eps_for


def written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


def test_a_file_lists_only_what_differs_from_the_defaults(tmp_path):
    found = recipe.load(written(tmp_path, 'seed = 3\n[quantize]\nbits = "conv1=8,*=4"\n'))
    assert found == Recipe(seed=3, quantize=Quantize(bits="conv1=8,*=4"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed = -1", ["seed", "-1"]),
        ("[train]\nepoch = 3", ["train.epoch", "did you mean 'epochs'"]),
        ("[train]\nlr = 0.0", ["train.lr"]),
        ("[train]\nlr = nan", ["train.lr"]),
        ("[train]\nlr = inf", ["train.lr"]),
        ('[train]\noptimizer = "adam"', ["train.optimizer", "adamw", "sgd"]),
        ("[quantize]\nbits = 17", ["quantize.bits", "17", "2 to 16"]),
        ("[quantize]\nbits = 1", ["quantize.bits", "2 to 16"]),
        ('[quantize]\nbits = "conv1"', ["quantize.bits", "conv1=8"]),
        ("[data]\nmembers = 1", ["data.members"]),
        ("[qat]\nepochs = 1.5", ["qat.epochs"]),
        ("colour = 1", ["colour"]),
    ],
)
def test_a_wrong_field_is_named_with_its_value(tmp_path, text, named):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        recipe.load(path)
    assert all(part in str(error.value) for part in [str(path), *named])
    assert "\n" not in str(error.value)


def test_unreadable_recipes_are_named(tmp_path):
    with pytest.raises(UserError, match="no such recipe"):
        recipe.load(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(written(tmp_path, "[train"))
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(tmp_path / "binary.toml")


def test_a_section_in_a_file_keeps_the_defaults_of_its_stage(tmp_path):
    found = recipe.load(written(tmp_path, "[robust]\nepochs = 3\n[qat]\nepochs = 2\n"))
    assert found.robust.adversarial
    assert found.robust.select == "best"
    assert found.qat.quantized
    assert found.qat.adversarial


def test_customary_budgets():
    assert eps_for((1, 28, 28), "linf") == 0.1
    assert eps_for((3, 32, 32), "linf") == 8 / 255
    assert eps_for((446,), "linf") == 0.05
    assert eps_for((3, 32, 32), "l2") == 0.5

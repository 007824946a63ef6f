"""Changes of a recipe, and what is derived from it."""

import pytest

from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.recipe import parse


def test_changes_are_validated_and_none_changes_nothing():
    base = Recipe(seed=5, train={"epochs": 7})
    assert base.with_changes(seed=None, train={"epochs": None, "lr": 0.5}).train.epochs == 7
    assert base.with_changes(train={"lr": 0.5}).train.lr == 0.5
    assert base.with_changes(seed=0).seed == 0
    with pytest.raises(UserError, match=r"^--epochs: .* \(got -1\)"):
        base.with_changes(train={"epochs": -1})


@pytest.mark.parametrize(("section", "field", "value", "option"), [
    ("smoothing", "share", 1.5, "--label-smoothing"),
    ("dp", "epsilon", 0.0, "--dp-epsilon"),
    ("mixup", "alpha", -1.0, "--mixup"),
    ("adversary", "method", "pdg", "--adv"),
])  # fmt: skip
def test_a_wrong_value_is_told_by_its_option(section, field, value, option):
    with pytest.raises(UserError, match=f"^{option}: "):
        Recipe().with_changes(**{section: {field: value}})
    with pytest.raises(UserError, match=rf"^mine\.toml: {section}\.{field}: "):
        parse({section: {field: value}}, "mine.toml")


def test_a_section_in_python_keeps_them_too():
    assert Recipe(qat={"epochs": 2}).qat == Recipe().with_changes(qat={"epochs": 2}).qat
    assert Recipe(qat={"epochs": 2}).qat.quantized


@pytest.mark.parametrize(("field", "one"), [("mean", 0.5), ("std", 1), ("mean", [0.5])])
def test_one_number_is_a_list_of_one(field, one):
    recipe = parse({"model": {field: one}}, "recipe a.toml")
    assert getattr(recipe.model, field) == (one[0] if isinstance(one, list) else one,)
    assert parse({"audit": {"threat_models": "adaptive"}}, "recipe a.toml").audit.threat_models == ("adaptive",)


def test_a_pair_is_no_word_and_is_told_so():
    with pytest.raises(UserError, match=r"recipe a.toml: model.input_range: input should be a list \(got '0:1'\)"):
        parse({"model": {"input_range": "0:1"}}, "recipe a.toml")


def test_another_norm_forgets_the_lengths_of_the_old_one():
    linf = Recipe(adversary={"eps": 0.1, "step": 0.02})
    assert linf.with_changes(adversary={"norm": "l2"}).adversary.eps is None
    assert linf.with_changes(adversary={"norm": "l2"}).adversary.step is None
    assert linf.with_changes(adversary={"norm": "l2", "eps": 0.3}).adversary.eps == 0.3
    assert linf.with_changes(adversary={"norm": "linf"}) == linf


def test_stages_are_those_with_epochs_in_order():
    assert tuple(Recipe(train={"epochs": 0}, robust={"epochs": 1}, qat={"epochs": 2}).stages()) == ("robust", "qat")


def test_stages_that_have_not_run_are_no_part_of_the_training():
    whole = Recipe(robust={"epochs": 1}, qat={"epochs": 1})
    assert tuple(whole.as_run(["train", "qat"]).stages()) == ("train", "qat")
    assert whole.as_run(["train", "robust", "qat"]) == whole


def test_undefended_drops_every_defence_and_nothing_else():
    defended = Recipe(
        seed=3,
        train={"epochs": 4, "adversarial": True, "flatten": 1.0},
        robust={"epochs": 2},
        qat={"epochs": 2},
        adversary={"method": "pgd"},
        quantize={"bits": 4},
    )
    plain = defended.undefended()
    assert tuple(plain.stages()) == ("train",)
    assert not plain.train.adversarial
    assert plain.train.flatten == 0
    assert not plain.quantize.active
    assert (plain.seed, plain.train.epochs) == (3, 4)

"""What a new defence touches: a toy, declared here in one place, is known everywhere that defences are listed."""

import pytest
from pydantic import Field

from edgepriv import pipeline
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences import DEFENCES, Conflict, Defence, defences_of
from edgepriv.recipe.section import Section
from edgepriv.report.defences import markdown
from edgepriv.report.terminal import measured
from edgepriv.training.stacked import stackable


class Mixup(Section):
    alpha: float = Field(0.0, ge=0)
    draws: int = Field(1, ge=1)


class WithMixup(Recipe):
    mixup: Mixup = Mixup()


MIXUP = Defence(
    name="mixup",
    title="mixup",
    option="--mixup 0.2",
    source="Zhang et al. 2018",
    what="trains on mixtures of two members",
    fields=("mixup",),
    acts_in=lambda recipe, stage: recipe.mixup.alpha > 0,
    conflicts=(Conflict("mixtures are no single examples, which differential privacy counts: use one", ("dp",)),),
    idle="--mixup acts while training, and no stage trains here: use edgepriv train --mixup",
    stacked=False,
    facts="mixup",
    terminal_lines=lambda facts: [f"mixup: {facts['pairs']} pairs"],
)


BEFORE = Recipe(model={"name": "mlp"}).training_hash()


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(DEFENCES, "mixup", MIXUP)


def recipe_of(alpha=0.0, **sections):
    return WithMixup(model={"name": "mlp"}, mixup={"alpha": alpha}, **sections)


def test_models_that_were_trained_before_it_existed_keep_their_hash():
    assert recipe_of().training_hash() == BEFORE
    assert WithMixup(model={"name": "mlp"}, mixup={"draws": 3}).training_hash() == recipe_of().training_hash()
    assert recipe_of(0.2).training_hash() != recipe_of(0.4).training_hash() != recipe_of().training_hash()


def test_an_oblivious_attacker_does_not_know_of_it():
    plain = recipe_of(0.2, quantize={"bits": 4}).undefended()
    assert plain == recipe_of()
    assert recipe_of(0.2, robust={"epochs": 2}).undefended_start() is None


def test_it_is_refused_beside_what_it_excludes():
    with pytest.raises(UserError, match="no single examples"):
        refuse_impossible(recipe_of(0.2, dp={"epsilon": 1.0}))
    refuse_impossible(recipe_of(0.2, robust={"epochs": 1}, adversary={"method": "pgd"}))


def test_its_reference_models_are_trained_as_it_says():
    assert stackable(recipe_of())
    assert not stackable(recipe_of(0.2))


def test_it_is_listed_and_said():
    assert defences_of(recipe_of(0.2)) == ["mixup (train)"]
    assert measured({"mixup": {"pairs": 10}}) == ["mixup: 10 pairs"]
    assert pipeline.defences()[-1]["name"] == "mixup"
    assert "| `--mixup 0.2` | trains on mixtures of two members | Zhang et al. 2018 |" in markdown()


def test_what_is_nobody_elses_stays_when_defences_are_undone():
    recipe = recipe_of(0.2, device="cpu", seed=3, train={"epochs": 4, "lr": 0.5})
    assert (recipe.undefended().device, recipe.undefended().seed, recipe.undefended().train) == ("cpu", 3, recipe.train)

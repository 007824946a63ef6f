"""What a new defence touches: its declaration and its objective. A toy of two such pieces is known everywhere, and trains."""

from dataclasses import replace
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field

from edgepriv import api, pipeline
from edgepriv.api.verb import arguments_of
from edgepriv.data import checked, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Option, Recipe, declared
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences import DEFENCES, Conflict, Defence, defences_of
from edgepriv.recipe.recipe import extended
from edgepriv.recipe.section import Section
from edgepriv.report.defences import markdown
from edgepriv.report.terminal import measured
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.objectives import OBJECTIVES, Objective
from edgepriv.training.stacked import stackable

# --- the first file: edgepriv/recipe/defences/blur.py ---


class Blur(Section):
    share: Annotated[
        float, Option("Blur: replace this share of an input by the batch's mean.", "Defences", ("train",), name="blur")
    ] = Field(0.0, ge=0, lt=1)
    rounds: int = Field(1, ge=1)


BLUR = Defence(
    name="blur",
    title="blur",
    option="--blur 0.2",
    source="nobody",
    what="trains on inputs that are moved to their mean",
    section=Blur,
    fields=("blur",),
    acts_in=lambda recipe, stage: recipe.own(Blur).share > 0,
    conflicts=(Conflict("a mean is no single example, which differential privacy counts: use one", ("dp",)),),
    idle="--blur acts while training, and no stage trains here: use edgepriv train --blur",
    stacked=False,
    facts="blur",
    terminal_lines=lambda facts: [f"blur: {facts['epochs']} epochs"],
)

# --- the second file: edgepriv/training/objectives/blur.py ---


def objective(asked):
    share = asked.recipe.own(Blur).share

    def prepared(batch):
        return replace(batch, x=torch.lerp(batch.x, batch.x.mean(0, keepdim=True), share))

    return Objective(prepared=prepared, facts=lambda members, epochs: {"members": members, "epochs": epochs})


# --- what follows from them ---

BEFORE = Recipe(model={"name": "mlp"}).training_hash()
KIND = extended(Recipe, [BLUR])


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(DEFENCES, "blur", BLUR)
    monkeypatch.setitem(OBJECTIVES, "blur", objective)


def recipe_of(share=0.0, **sections):
    return KIND(model={"name": "mlp"}, blur={"share": share}, **sections)


def test_it_trains_as_its_objective_says():
    rng = np.random.default_rng(0)
    dataset = checked("noise", rng.random((60, 6)).astype(np.float32), np.arange(60) % 3)

    def trained(share):
        recipe = recipe_of(
            share, data={"members": 20, "non_members": 10, "reference": 10}, train={"epochs": 2, "batch_size": 10}
        )
        classifier = new_classifier(recipe, 3, (6,))
        run = run_stages(classifier, recipe, ("train",), dataset, make_split(dataset, recipe.data, 0), quiet=True)
        return run, torch.cat([value.flatten() for value in classifier.state_dict().values()])

    (plain, without), (blurred, with_it) = trained(0.0), trained(0.5)
    assert not torch.equal(without, with_it)
    assert plain.defences == {}
    assert blurred.defences == {"blur": {"members": 20, "epochs": 2}}
    assert measured(blurred.defences) == ["blur: 2 epochs"]


def test_its_option_is_made_of_its_field(monkeypatch):
    monkeypatch.setattr(declared, "Recipe", KIND)
    declared.options_of.cache_clear()
    try:
        assert declared.changes_of("train", {"blur": 0.2}) == {"blur": {"share": 0.2}}
        argument = arguments_of(api.train)["blur"]
        assert (argument.kind, argument.option.group) == (float, "Defences")
        assert "blur" not in declared.options_of("export")
    finally:
        declared.options_of.cache_clear()


def test_models_that_were_trained_before_it_existed_keep_their_hash():
    assert recipe_of().training_hash() == BEFORE
    assert KIND(model={"name": "mlp"}, blur={"rounds": 3}).training_hash() == recipe_of().training_hash()
    assert recipe_of(0.2).training_hash() != recipe_of(0.4).training_hash() != recipe_of().training_hash()


def test_an_oblivious_attacker_does_not_know_of_it():
    plain = recipe_of(0.2, quantize={"bits": 4}).undefended()
    assert plain == recipe_of()
    assert recipe_of(0.2, robust={"epochs": 2}).undefended_start() is None


def test_it_is_refused_beside_what_it_excludes():
    with pytest.raises(UserError, match="no single example"):
        refuse_impossible(recipe_of(0.2, dp={"epsilon": 1.0}))
    refuse_impossible(recipe_of(0.2, robust={"epochs": 1}, adversary={"method": "pgd"}))


def test_its_reference_models_are_trained_as_it_says():
    assert stackable(recipe_of())
    assert not stackable(recipe_of(0.2))


def test_it_is_listed():
    assert defences_of(recipe_of(0.2)) == ["blur (train)"]
    assert pipeline.defences()[-1]["name"] == "blur"
    assert "| `--blur 0.2` | trains on inputs that are moved to their mean | nobody |" in markdown()


def test_what_is_nobody_elses_stays_when_defences_are_undone():
    recipe = recipe_of(0.2, device="cpu", seed=3, train={"epochs": 4, "lr": 0.5})
    assert (recipe.undefended().device, recipe.undefended().seed, recipe.undefended().train) == ("cpu", 3, recipe.train)


def test_every_defence_that_acts_in_training_has_its_objective():
    acting = {name for name, each in DEFENCES.items() if name not in ("regenerator", "memguard")}
    assert acting | {"free", "trades", "mart"} == set(OBJECTIVES)  # ways of adversarial training

"""Defences compose; what does not is refused with the reason."""

import pytest

from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import reasons, refuse_ignored, refuse_impossible

PRIVATE = {"dp": {"epsilon": 8.0}}
ROUNDED = {"quantize": {"bits": 4}, "qat": {"epochs": 1, "activations": 8}}
NOISY = {"noise": {"method": "shapley"}, "noisy": {"epochs": 2}}


@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"epochs": 2, "flatten": 1.0, "relax": 0.5}, "quantize": {"bits": 4}, "qat": {"epochs": 1}},
        NOISY | {"adversary": {"method": "pgd"}, "robust": {"epochs": 1}, "head": {"method": "member"}},
        PRIVATE | {"adversary": {"method": "pgd"}, "train": {"adversarial": True}, "quantize": {"bits": 4}},
        PRIVATE | {"head": {"method": "rank"}, "export": {"output": "label"}},
        PRIVATE | {"dmp": {"share": 1.0}, "distilled": {"epochs": 2}, "quantize": {"bits": 4}, "qat": {"epochs": 1}},
        ROUNDED | {"adversary": {"method": "pgd"}, "export": {"compute": "int8-static"}},
        {"model": {"dropout": 0.5}, "head": {"method": "memguard"}, "quantize": {"bits": 4, "last_k": 5}},
    ],
)
def test_defences_compose(sections):
    assert reasons(Recipe.model_validate(sections)) == []


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (PRIVATE | {"qat": {"epochs": 2}}, "--ptq"),
        ({"dp": {"delta": 1e-5}}, "--dp-epsilon"),
        ({"dp": {"clip": 0.5}}, "--dp-epsilon"),
        ({"dp": {"epsilon": 8.0, "noise": 1.0}}, "use one or the other"),
        ({"dp": {"noise": 1.0, "augmentations": 4}}, "--augment crop"),
        ({"dp": {"noise": 0.0}, "qat": {"epochs": 2}}, "--ptq"),
        ({"dp": {"epsilon": 8.0, "total": 7.0}}, "must be larger"),
        ({"dp": {"epsilon": 8.0, "total": 9.0}} | NOISY, "--ptq"),
        (PRIVATE | {"selena": {"sub_models": 25}, "distilled": {"epochs": 2}}, "--ptq"),
        (
            {"dp": {"epsilon": 8.0, "total": 9.0}, "dmp": {"share": 1.0}, "distilled": {"epochs": 2}},
            "no stage reads one",
        ),
        (PRIVATE | {"precision": "bfloat16"}, "--precision bfloat16"),
        (PRIVATE | {"train": {"flatten": 1.0}}, "mix the examples"),
        (PRIVATE | {"train": {"relax": 1.0}}, "mix the examples"),
        (PRIVATE | {"head": {"method": "member"}}, "--regenerate rank"),
        (NOISY | {"noisy": {"epochs": 2, "relax": 0.5}}, "RelaxLoss"),
        ({"noise": {"method": "uniform"}}, "noisy.epochs"),
        ({"noisy": {"epochs": 3}}, "noise.method"),
        ({"noise": {"tau": 1.0}}, "without a method"),
        ({"quantize": {"last_k": 5}}, "give --bits"),
        ({"quantize": {"first_last": 8}}, "give --bits"),
        (ROUNDED | {"quantize": {"bits": 32}}, "give --bits"),
        (ROUNDED | {"qat": {"epochs": 0, "activations": 8}}, "leave out --ptq"),
        (ROUNDED | {"quantize": {"bits": 4, "quantizer": "dorefa"}}, "dorefa"),
        (ROUNDED | {"quantize": {"bits": 4, "granularity": "block:32"}}, "--granularity"),
        (ROUNDED | {"model": {"batch_dependent": True}}, "one input at a time"),
        ({"head": {"method": "rank"}, "export": {"output": "logits"}}, "no logits"),
        ({"head": {"method": "memguard"}, "export": {"output": "label"}}, "never the label"),
    ],
)
def test_what_does_not_go_together_is_refused(sections, reason):
    with pytest.raises(UserError, match=reason):
        refuse_impossible(Recipe.model_validate(sections))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dp": {"clip": 1.0}}, "the training would not be private: pass --dp-epsilon"),
        ({"dp": {"augmentations": 1}}, "the training would not be private"),
        ({"hamp": {"regularizer": 0.001}}, "pass --hamp 0.5"),
        ({"selena": {"unseen": 10}}, "pass --selena 25"),
        ({"noise": {"tau": Recipe().noise.tau}}, "pass --noise shapley"),
        ({"extra": {"share": 0.5}}, "pass --extra"),
    ],
)
def test_a_detail_of_a_defence_that_is_not_asked_for_is_refused_at_its_default_too(changes, reason):
    refuse_impossible(Recipe().with_changes(**changes))
    with pytest.raises(UserError, match=reason):
        refuse_ignored(Recipe().with_changes(**changes), changes)


def test_a_detail_of_a_defence_that_acts_and_one_that_is_turned_off_are_not():
    whole = {"dp": Recipe().dp.model_dump()}  # a section as a program passes it, no option of a user's
    for changes in (
        {"dp": {"clip": 1.0, "epsilon": 8.0}},
        {"selena": {"sub_models": 0}},
        {"dmp": {"share": 0.0}},
        whole,
    ):
        recipe = Recipe().with_changes(**changes)
        assert refuse_ignored(recipe, changes) is None
    with pytest.raises(UserError, match="would not be private"):
        refuse_ignored(recipe, {"dp": {"clip": 1.0}})


def test_extra_examples_that_are_not_there_have_no_share():
    with pytest.raises(UserError, match="pass --extra npz:FILE"):
        refuse_impossible(Recipe().with_changes(extra={"share": 0.3}))

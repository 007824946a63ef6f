"""The table of defences: an oblivious attacker knows of none of them, and whoever knows one trains with it."""

import dataclasses

import pytest
from every_field import SHARED, everywhere, of_stages

from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import reasons
from edgepriv.recipe.defences import DEFENCES, defences_of
from edgepriv.recipe.defences.base import undone
from edgepriv.training.stacked import stackable

STAGE = {"epochs": 2, "optimizer": "sgd", "select": "best"}
ASKED = {
    "quantization": {"quantize": {"bits": 4}},
    "adversarial": {"adversary": {"method": "pgd", "eps": 0.1, "step": 0.1}, "robust": STAGE},
    "flattening": {"train": STAGE | {"flatten": 0.5}},
    "relaxloss": {"train": STAGE | {"relax": 0.5}},
    "dp": {"dp": {"epsilon": 8.0}},
    "noise": {"noise": {"method": "shapley"}, "noisy": STAGE},
    "regenerator": {"head": {"method": "member"}},
    "memguard": {"head": {"method": "memguard"}},
    "dropout": {"model": {"dropout": 0.5}},
    "mixup": {"mixup": {"alpha": 0.4}},
    "smoothing": {"smoothing": {"share": 0.1}},
    "hamp": {"hamp": {"entropy": 0.5}},
    "selena": {"selena": {"sub_models": 25}, "distilled": STAGE},
    "dmp": {"dmp": {"share": 0.5, "file": "npz:public.npz", "sha256": "00"}, "distilled": STAGE},
    "awp": {"awp": {"gamma": 0.01}},
    "extra": {"extra": {"file": "npz:extra.npz", "sha256": "00"}},
}
"""One recipe for each defence that asks for it and for no other."""
EVERYTHING = Recipe(
    model={"dropout": 0.5},
    train=STAGE | {"adversarial": True, "quantized": True, "flatten": 0.5, "relax": 0.5},
    noisy=STAGE | {"adversarial": True, "flatten": 0.5},
    distilled=STAGE | {"adversarial": True, "relax": 0.5},
    robust=STAGE | {"relax": 0.5},
    qat=STAGE | {"dropout": 0.1},
    adversary={"method": "pgd", "eps": 0.1},
    noise={"method": "shapley"},
    dp={"epsilon": 8.0},
    head={"method": "member"},
    quantize={"bits": 4},
    mixup={"alpha": 0.4},
    smoothing={"share": 0.1},
    hamp={"entropy": 0.5},
    selena={"sub_models": 25},
    dmp={"share": 0.5, "file": "npz:public.npz", "sha256": "00"},
    awp={"gamma": 0.01},
    extra={"file": "npz:extra.npz", "sha256": "00"},
)
"""No such model can be trained: defences that exclude each other are forgotten alike."""
PLAIN = Recipe(train=STAGE)

OWN = {
    "quantization": {f"quantize.{name}" for name in ("bits", "first_last", "last_k", "quantizer", "granularity")}
    | {"train.quantized"},
    "adversarial": {f"adversary.{name}" for name in ("method", "norm", "eps", "step", "steps", "warmup", "fixed")}
    | {"train.adversarial"},
    "flattening": {"train.flatten"},
    "relaxloss": {"train.relax"},
    "dp": {"dp.epsilon", "dp.noise", "dp.delta", "dp.clip", "dp.augmentations"},
    "noise": {f"noise.{name}" for name in ("method", "tau", "eps", "beta", "alpha")},
    "regenerator": {f"head.{name}" for name in ("epochs", "batch_size", "lr")},
    "memguard": {f"head.{name}" for name in ("epsilon", "epochs", "batch_size", "lr")},
    "dropout": {"model.dropout", "train.dropout"},
    "mixup": {"mixup.alpha"},
    "smoothing": {"smoothing.share"},
    "hamp": {"hamp.entropy", "hamp.regularizer"},
    "selena": {"selena.sub_models", "selena.unseen"},
    "dmp": {"dmp.share", "dmp.sha256"},
    "awp": {"awp.gamma"},
    "extra": {"extra.share", "extra.labels", "extra.sha256"},
}
"""The fields of defences that weights depend on where one defence acts, and that leave it the only one."""


def acting(recipe):
    return [name for name, defence in DEFENCES.items() if defence.active(recipe)]


def wrongly_known(base):
    """Fields of a recipe that an oblivious attacker must not know and does, or must know and does not."""
    known = base.undefended().training_hash()
    settings = everywhere(base)
    moved = {path for path, changed in settings.items() if changed.undefended().training_hash() != known}
    impossible = {path for path, changed in settings.items() if reasons(changed.undefended())}
    return impossible | (moved ^ (SHARED & settings.keys()))


def hash_of(name):
    """The training hash where one defence acts."""
    return Recipe.model_validate({"train": STAGE} | ASKED[name]).training_hash()


def hash_without(name):
    """The same once that defence is undone."""
    return undone(Recipe.model_validate({"train": STAGE} | ASKED[name]), [DEFENCES[name]]).training_hash()


def counted_fields(name):
    """Fields of defences on which weights depend where this one acts, and that leave it the only one."""
    asked = Recipe.model_validate({"train": STAGE} | ASKED[name])
    settings = everywhere(asked).items()
    counted = asked.training_hash()
    moved = {path for path, changed in settings if changed.training_hash() != counted and acting(changed) == [name]}
    unowned = SHARED | of_stages(*["epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule"])
    unowned |= of_stages(*["augment", "select", "patience", "ema", "freeze", "train_last", "layer_rates"])
    return moved - unowned


@pytest.mark.parametrize("base", [PLAIN, EVERYTHING], ids=["no defence", "every defence"])
def test_an_oblivious_attacker_knows_of_no_defence(base):
    assert acting(base.undefended()) == []
    assert base.undefended().undefended() == base.undefended()
    assert wrongly_known(base) == set()


def test_a_defence_that_acts_counts_and_no_other_does():
    for name in ASKED:
        assert hash_of(name) != PLAIN.training_hash(), name
        assert hash_without(name) == PLAIN.training_hash(), name
        assert counted_fields(name) == OWN[name], name


def test_each_defence_is_asked_for_by_itself():
    assert ASKED.keys() == DEFENCES.keys()
    for name, sections in ASKED.items():
        asked = Recipe.model_validate({"train": STAGE} | sections)
        assert acting(asked) == [name]
        assert reasons(asked) == []
        assert undone(asked, [DEFENCES[name]]).training_hash() == PLAIN.training_hash()


def mutilated():
    """(what is missing, the entry of that name without it; None without the whole entry)."""
    for name, defence in DEFENCES.items():
        yield pytest.param(name, None, id=name)
        for field in defence.fields:
            rest = tuple(other for other in defence.fields if other != field)
            yield pytest.param(name, dataclasses.replace(defence, fields=rest), id=f"{name} without {field}")
        if defence.stage is not None:
            yield pytest.param(name, dataclasses.replace(defence, stage=None), id=f"{name} without its stage")
        for path in defence.unused:
            rest = {other: unused for other, unused in defence.unused.items() if other != path}
            if path in UNUSED:
                yield pytest.param(name, dataclasses.replace(defence, unused=rest), id=f"{name}: {path} always counts")


UNUSED = {"head.epsilon"}


@pytest.mark.parametrize(("name", "left"), list(mutilated()))
def test_nothing_can_be_forgotten_in_the_table(monkeypatch, name, left):
    if left is None:
        monkeypatch.delitem(DEFENCES, name)
    else:
        monkeypatch.setitem(DEFENCES, name, left)
    if left is not None and (hash_without(name) != PLAIN.training_hash() or counted_fields(name) != OWN[name]):
        return
    uncounted = hash_of(name) == PLAIN.training_hash()
    assert uncounted or any(acting(base.undefended()) or wrongly_known(base) for base in (PLAIN, EVERYTHING))


def test_a_defence_is_said_with_the_stages_that_it_acts_in():
    recipe = Recipe(adversary={"method": "pgd"}, robust=STAGE, qat=STAGE, quantize={"bits": 4}, head={"method": "rank"})
    assert defences_of(recipe) == [
        "weights of few bits (qat)",
        "adversarial training (robust, qat)",
        "output regenerator",
    ]
    assert defences_of(recipe.as_run(["train"]), deployed=False) == []
    assert defences_of(recipe.undefended()) == []


@pytest.mark.parametrize("name", DEFENCES)
def test_references_are_stacked_where_the_defence_allows_it(name):
    asked = Recipe.model_validate({"train": STAGE} | ASKED[name])
    named = asked.with_changes(model={"name": "mlp"})
    assert stackable(named) == (name not in ("flattening", "dp", "dropout", "mixup", "selena", "dmp"))


@pytest.mark.parametrize(
    ("delta", "said"),
    [(0.01, "is covered by an epsilon of 16 at delta 0.01 only"), (1.0, "nothing is proven for a person with up to 2")],
)
def test_what_a_proof_is_worth_to_a_person_with_several_records(delta, said):
    from edgepriv.recipe.defences.private_training import of_a_person

    (sentence,) = of_a_person({"records_of_a_person": 2, "epsilon_of_a_person": 16.0, "delta_of_a_person": delta})
    assert said in sentence
    assert of_a_person({}) == []

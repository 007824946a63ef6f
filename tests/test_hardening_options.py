"""What hardening does, from the checkpoint's recipe, a recipe file and the options."""

from pathlib import Path

import pytest

from edgepriv import hardening_recipe as rules
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import reasons
from edgepriv.recipe.defences import DEFENCES

TRAINED = Recipe(adversary={"eps": 0.1}, audit={"references": 3})


def hardening(recipe, **changes):
    return rules.hardening_recipe(TRAINED, recipe, changes, Path("model.pt"))


@pytest.mark.parametrize("recipe", [None, Recipe(data={"name": "npz:a.npz"})], ids=["no recipe", "a description"])
def test_what_options_leave_open_is_pgd_then_four_bits(recipe):
    found = hardening(recipe)
    assert tuple(found.stages()) == ("train", "robust", "qat")
    assert (found.adversary.method, found.adversary.eps, found.quantize.bits) == ("pgd", 0.1, 4)
    assert found.audit.references == 3


def test_rounded_activations_are_trained_for_a_file_that_rounds_them():
    asked = {"qat": {"activations": 8}, "adversary": {"method": "none"}}
    for compute in ("float32", "int8-dynamic"):
        with pytest.raises(UserError, match=f"a file of --compute {compute} does not have: take --compute int8-static"):
            rules.refuse_idle(hardening(None, export={"compute": compute}, **asked), TRAINED, asked)
    rules.refuse_idle(hardening(None, export={"compute": "int8-static"}, **asked), TRAINED, asked)


def test_a_recipe_that_says_how_is_followed():
    found = hardening(Recipe(robust={"epochs": 2}, adversary={"method": "fgsm"}))
    assert (found.robust.epochs, found.qat.epochs, found.adversary.method) == (2, 0, "fgsm")
    assert not found.quantize.active


def test_settings_of_a_recipe_replace_those_of_the_checkpoint_even_where_it_leaves_them_out():
    trained = TRAINED.with_changes(robust={"epochs": 1, "patience": 3})
    recipe = Recipe(robust={"epochs": 2, "select": "last"})
    assert rules.hardening_recipe(trained, recipe, {}, Path("model.pt")).robust.patience is None


def test_the_default_radius_is_that_of_the_norm():
    assert hardening(None, adversary={"method": "pgd", "norm": "l2"}).adversary.eps is None


def test_a_recipe_for_another_model_is_refused():
    with pytest.raises(UserError, match="is for model 'lenet'"):
        hardening(Recipe(model={"name": "lenet"}))


def test_attackers_train_with_dropout_where_the_target_did():
    found = hardening(None, model={"dropout": 0.5})
    assert [found.dropout_in(name) for name in found.stages()] == [0, 0.5, 0.5]
    dropped = TRAINED.with_changes(model={"dropout": 0.3})
    again = rules.hardening_recipe(dropped, None, {}, Path("model.pt"))
    assert [again.dropout_in(name) for name in again.stages()] == [0.3] * 3
    noisy = hardening(None, model={"dropout": 0.5}, noise={"method": "shapley"})
    assert [noisy.dropout_in(name) for name in noisy.stages()] == [0, 0.5, 0.5, 0.5]


def test_layers_that_training_left_alone_stay_so_unless_it_is_asked_what_is_trained():
    trained = TRAINED.with_changes(train={"freeze": ("conv*",), "train_last": 2})

    def held(changes):
        found = rules.hardening_recipe(trained, None, changes, Path("model.pt"))
        return [(getattr(found, name).freeze, getattr(found, name).train_last) for name in found.stages()]

    assert held({}) == [(("conv*",), 2)] * 3
    assert held({"robust": {"freeze": ()}, "qat": {"freeze": ()}}) == [(("conv*",), 2), ((), None), ((), None)]
    assert held({"robust": {"train_last": 1}, "qat": {"train_last": 1}})[1:] == [((), 1), ((), 1)]


def test_a_defence_of_every_stage_that_is_asked_for_later_was_not_in_the_training():
    found = hardening(None, mixup={"alpha": 0.2}, smoothing={"share": 0.1})
    acting = {name: DEFENCES[name].stages_in(found) for name in ("mixup", "smoothing", "awp")}
    assert acting == {"mixup": ["robust", "qat"], "smoothing": ["robust", "qat"], "awp": []}
    trained = TRAINED.with_changes(mixup={"alpha": 0.2})
    again = rules.hardening_recipe(trained, None, {}, Path("model.pt"))
    assert DEFENCES["mixup"].stages_in(again) == ["train", "robust", "qat"]
    from_file = rules.hardening_recipe(trained, Recipe(robust={"epochs": 3}), {}, Path("model.pt"))
    assert from_file.mixup == trained.mixup  # of which the recipe file says nothing
    with pytest.raises(UserError, match="trained with mixup already"):
        rules.hardening_recipe(trained, None, {"mixup": {"alpha": 0.4}}, Path("model.pt"))


def test_what_the_training_had_already_stays_as_it_was():
    """A recipe has one setting for all stages: reference models would be trained as the target never was."""
    trained = TRAINED.with_changes(
        train={"adversarial": True, "quantized": True}, adversary={"method": "fgsm"}, quantize={"bits": 2}
    )
    again = rules.hardening_recipe(trained, None, {}, Path("model.pt"))
    assert (again.adversary.method, again.quantize.bits) == ("fgsm", 2)
    for changes in ({"adversary": {"eps": 0.2}}, {"adversary": {"method": "trades"}}, {"quantize": {"bits": 4}}):
        with pytest.raises(UserError, match=r"has been trained with .* already"):
            rules.hardening_recipe(trained, None, changes, Path("model.pt"))


@pytest.mark.parametrize(
    ("option", "changes"), [("ema", {"qat": {"ema": 0.9}}), ("weight-decay", {"robust": {"weight_decay": 0.1}})]
)
def test_options_of_stages_without_a_stage_are_refused(option, changes):
    recipe = hardening(None, adversary={"method": "none"}, qat={"epochs": 0})
    with pytest.raises(UserError, match=f"--{option} acts while training"):
        rules.refuse_idle(recipe, TRAINED, changes)


# --- noise ---


def test_noise_is_retrained_as_the_model_was_trained():
    trained = TRAINED.with_changes(train={"epochs": 7, "lr": 0.02, "batch_size": 64})
    found = rules.hardening_recipe(trained, None, {"noise": {"method": "shapley", "tau": None}}, Path("model.pt"))
    assert tuple(found.stages()) == ("train", "noisy", "robust", "qat")
    assert found.noisy.model_dump() == found.train.model_dump()
    fewer = {"noise": {"method": "uniform"}, "noisy": {"epochs": 2}}
    assert rules.hardening_recipe(trained, None, fewer, Path("model.pt")).noisy.epochs == 2
    assert rules.hardening_recipe(trained, None, fewer, Path("model.pt")).noisy.lr == 0.02


def test_distillation_is_trained_as_the_model_was_and_every_later_stage_goes_on_from_it():
    for asked in ({"selena": {"sub_models": 25}}, {"dmp": {"share": 1.0}}):
        (name,) = asked
        found = hardening(None, **asked)
        assert tuple(found.stages()) == ("train", "distilled", "robust", "qat")
        assert found.distilled.model_dump() == found.train.model_dump()
        assert DEFENCES[name].stages_in(found) == ["distilled", "robust", "qat"]
    assert hardening(None, dmp={"share": 1.0}, distilled={"epochs": 3}).distilled.epochs == 3
    assert "distilled" not in hardening(None).stages()


def test_what_a_recipe_says_of_the_distillation_holds_and_the_rest_is_as_in_the_training():
    own = Recipe(seed=TRAINED.seed, model=TRAINED.model, dmp={"share": 1.0}, distilled={"lr": 0.5, "batch_size": 7})
    for changes, epochs in (({}, TRAINED.train.epochs), ({"distilled": {"epochs": 3}}, 3)):
        distilled = hardening(own, **changes).distilled
        assert (distilled.lr, distilled.batch_size, distilled.epochs) == (0.5, 7, epochs)
        as_in_training = TRAINED.train.model_dump() | {"lr": 0.5, "batch_size": 7, "epochs": epochs}
        assert distilled.model_dump() == as_in_training


def test_noisy_training_may_be_stopped_early():
    stopping = {name: {"patience": 2, "select": "best"} for name in ("noisy", "robust", "qat")}
    found = hardening(None, noise={"method": "shapley"}, **stopping)
    assert (found.noisy.patience, found.noisy.select, found.noisy.epochs) == (2, "best", TRAINED.train.epochs)


def test_noise_of_a_recipe_is_followed():
    found = hardening(Recipe(noise={"method": "shapley", "tau": 0.9}, noisy={"epochs": 4}))
    assert (found.noise.tau, found.noisy.epochs, found.noisy.lr) == (0.9, 4, 1e-3)
    assert hardening(Recipe(noise={"method": "shapley"})).noisy.epochs == TRAINED.train.epochs


def test_without_noise_nothing_is_retrained_on_it():
    found = hardening(None, noise={"method": None, "eps": None}, noisy={"epochs": None})
    assert found.noise == Recipe().noise
    assert found.noisy == Recipe().noisy


# --- quantizers ---


def test_the_help_of_quantizer_lists_the_registry():
    from edgepriv.recipe import options_of
    from edgepriv.training.quantizers import QUANTIZERS as registry

    assert options_of("train")["quantizer"].choices() == tuple(registry)


def test_ptq_refuses_what_belongs_to_fine_tuning(tmp_path):
    from edgepriv.api import harden

    for asked in ({"qat_epochs": 2}, {"flatten": 0.5}):
        with pytest.raises(UserError, match="--ptq rounds trained weights"):
            harden(tmp_path / "none.pt", ptq=True, **asked)


def test_fine_tuning_goes_on_with_the_relaxed_loss_of_the_training():
    relaxed = TRAINED.with_changes(train={"relax": 0.5})
    found = rules.hardening_recipe(relaxed, None, {}, Path("model.pt"))
    assert (found.robust.relax, found.qat.relax) == (0.5, 0.5)
    assert rules.hardening_recipe(relaxed, None, {"qat": {"relax": 0.2}}, Path("model.pt")).qat.relax == 0.2


def test_a_private_model_is_not_trained_on():
    private = TRAINED.with_changes(dp={"epsilon": 1.0}, adversary={"method": "pgd"}, train={"adversarial": True})
    found = rules.hardening_recipe(private, None, {}, Path("model.pt"))
    assert tuple(found.stages()) == ("train",)
    assert found.quantize.bits == 4


def test_private_fine_tuning_goes_on_as_training_did_and_attacks_only_where_that_is_asked(tmp_path):
    trained_by = Recipe(train={"epochs": 3, "batch_size": 500, "optimizer": "sgd", "lr": 4.0}, dp={"epsilon": 8.0})
    total = {"dp": {"total": 10.0}}
    plain = rules.hardening_recipe(trained_by, None, total, tmp_path / "m.pt")
    assert list(plain.stages()) == ["train", "qat"]
    assert (plain.qat.batch_size, plain.qat.optimizer, plain.qat.lr, plain.adversary.method) == (
        500,
        "sgd",
        0.4,
        "none",
    )
    attacked = rules.hardening_recipe(trained_by, None, total | {"adversary": {"method": "pgd"}}, tmp_path / "m.pt")
    assert list(attacked.stages()) == ["train", "robust", "qat"]
    for own in (plain, attacked):
        assert reasons(own) == []
        assert DEFENCES["dp"].stages_in(own) == list(own.stages())

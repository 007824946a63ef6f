"""Dropout as a defence: it acts while training, before every Linear but the first layer, and leaves no trace in a model."""

import pytest
import torch

from edgepriv import pipeline
from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Model, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.objectives.dropout import dropping
from edgepriv.training.stacked import stackable
from edgepriv.training.task import task_of

MLP = Recipe(model={"name": "mlp", "args": {"widths": [32, 16]}}, train={"epochs": 2})


def test_inputs_of_all_but_the_first_layer_are_dropped_in_train_mode_only():
    network = build_classifier(Model(name="mlp", args={"widths": [400, 16]}), 4, (1, 8, 8)).network
    x = torch.rand(64, 1, 8, 8)
    for mode in (True, False):
        network.train(mode)
        plain = network(x)
        with dropping(network, 0.5):
            dropped = network(x)
        assert torch.equal(plain, dropped) != mode
    with dropping(network.train(), 0.5):
        layers = [layer for layer in network.layers if len(layer._forward_pre_hooks) == 1]
    assert layers == list(network.layers[1:])
    assert torch.equal(network(x), network(x))


def test_training_drops_the_same_again_and_keeps_the_names_of_parameters(toy, split, tmp_path):
    recipe = MLP.with_changes(model={"dropout": 0.5})

    def trained(resume_file=None):
        classifier = new_classifier(recipe, 4, (1, 8, 8))
        run_stages(classifier, recipe, ("train",), toy, split, quiet=True, resume_file=resume_file)
        return classifier.network.state_dict()

    first, second, plain = trained(), trained(tmp_path / "partial"), new_classifier(MLP, 4, (1, 8, 8))
    run_stages(plain, MLP, ("train",), toy, split, quiet=True)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() == plain.network.state_dict().keys()
    assert not torch.equal(first["layers.1.weight"], plain.network.state_dict()["layers.1.weight"])


def test_models_with_dropout_are_trained_one_by_one():
    assert stackable(MLP)
    assert not stackable(MLP.with_changes(model={"dropout": 0.5}))
    assert not stackable(MLP.with_changes(train={"dropout": 0.5}))
    assert stackable(MLP.with_changes(model={"dropout": 0.5}, train={"dropout": 0.0}))


def test_a_stage_may_drop_another_share_than_the_model():
    recipe = MLP.with_changes(model={"dropout": 0.5}, train={"dropout": 0.0}, robust={"epochs": 1})
    network = new_classifier(recipe, 4, (1, 8, 8)).network
    names = [[each.name for each in task_of(network, recipe, name, (1, 8, 8)).objectives] for name in recipe.stages()]
    assert names == [[], ["dropout"]]
    assert recipe.dropout_in("robust") == 0.5
    start = recipe.undefended_start()
    assert start is not None  # the attacker's models begin as those without the defence
    assert start.training_hash() == recipe.undefended().training_hash()
    assert recipe.with_changes(train={"dropout": 0.5}).undefended_start() is None
    assert recipe.with_changes(train={"dropout": 0.5}).undefended().dropout_in("train") == 0


def test_harden_refuses_dropout_when_nothing_is_trained(tmp_path):
    pipeline.train(
        Recipe(data={"name": "digits"}, train={"epochs": 1}), tmp_path / "model.pt", accept_accuracy_loss=True
    )
    changes = {"model": {"dropout": 0.5}, "adversary": {"method": "none"}, "quantize": {"bits": 32}}
    with pytest.raises(UserError, match="edgepriv train --baseline dropout"):
        pipeline.harden(tmp_path / "model.pt", None, changes, tmp_path / "out")

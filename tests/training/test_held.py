"""Layers that a stage leaves as they are, to the bit, whatever else it does; and learning rates by layer."""

import copy

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.training import run_stages
from edgepriv.training.dp import refuse_unsupported
from edgepriv.training.held import held_by, holding, layers_of, rate_of
from edgepriv.training.optimizer import optimizer_of
from edgepriv.training.quantization import attach_steps
from edgepriv.training.stages_stacked import run_stages_stacked

STAGE = {"epochs": 1, "batch_size": 32, "lr": 0.05, "select": "last"}


class Normed(nn.Module):
    """Two blocks with normalization, and a head."""

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(96, 4)

    def forward(self, x):
        return self.head(self.block2(self.block1(x)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Normed()


@pytest.fixture
def trained(network, toy, split):
    """Recipe's sections -> the names of tensors that its stages changed."""

    def run(**sections):
        recipe = Recipe(model={"name": "cnn"}, **sections)
        before = copy.deepcopy(network.state_dict())
        run_stages(Classifier(network, [0.5], [0.5]), recipe, tuple(recipe.stages()), toy, split, quiet=True)
        after = network.state_dict()
        assert all(parameter.requires_grad for parameter in network.parameters())
        return {name for name in before if not torch.equal(before[name], after[name])}

    return run


STATISTICS = {f"{{}}.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
SECOND = {"block2.0.weight", "block2.0.bias", *(name.format("block2") for name in STATISTICS)}
HEAD = {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("held", "changed"),
    [
        ({"freeze": ["block1"]}, SECOND | HEAD),
        ({"freeze": ["block*"]}, HEAD),
        ({"train_last": 1}, HEAD),
        ({"train_last": 2}, SECOND | HEAD),
        ({"train_last": 2, "freeze": ["head.bias"]}, SECOND | {"head.weight"}),
    ],
    ids=["a module by name", "a pattern", "the last layer", "the last two", "both"],
)
def test_what_is_held_stays_to_the_bit_and_all_else_is_trained(trained, held, changed):
    assert trained(train=STAGE | held) == changed


@pytest.mark.parametrize(
    "sections",
    [
        {"robust": STAGE, "adversary": {"method": "pgd", "eps": 0.1, "steps": 1}, "awp": {"gamma": 0.1}},
        {"robust": STAGE, "adversary": {"method": "free", "eps": 0.1, "steps": 2}},
        {"qat": STAGE | {"adversarial": False}, "quantize": {"bits": 4}},
        {"qat": STAGE | {"adversarial": False, "optimizer": "sgd"}, "quantize": {"bits": 4, "quantizer": "lsq"}},
        {"train": STAGE | {"ema": 0.9, "weight_decay": 0.5}},
        {"train": STAGE, "dp": {"epsilon": 8.0}},
    ],
    ids=["PGD with AWP", "free", "fake quantization", "learned steps", "moving average and decay", "DP-SGD"],
)
def test_every_way_of_training_leaves_it_alone(trained, sections):
    held = {"freeze": ["block1", "block2"]}
    name = next(name for name in ("train", "robust", "qat") if name in sections)
    asked = sections | {name: sections[name] | held}
    asked.setdefault("train", {"epochs": 0})
    assert trained(**asked) == HEAD


def test_a_normalization_whose_parameters_are_held_by_name_stands_still(network):
    held = held_by(network, Stage(**STAGE, freeze=("block1.1.weight", "block1.1.bias")))
    assert held.kept == ("block1.1",)
    assert held.modules == {"block1.1"}


def test_the_step_of_a_held_weight_is_held_too(network):
    classifier = Classifier(network, [0.0], [1.0])
    recipe = Recipe(quantize={"bits": 4, "quantizer": "lsq"})
    with holding(classifier, Stage(freeze=["block1"])):
        steps = attach_steps(network, recipe.quantize)[4]
        assert [step.requires_grad for step in steps] == [False, True, True]
        assert sum(len(group["params"]) for group in optimizer_of(network, Stage(), {4: steps}).param_groups) == 6
    assert all(step.requires_grad for step in steps)


def test_stacked_models_hold_what_one_holds(classifier, toy, split):
    recipe = Recipe(model={"name": "cnn", "args": {"width": 4}}, train=STAGE | {"train_last": 1}, precision="float32")
    models = [classifier(seed=seed) for seed in range(2)]
    before = [copy.deepcopy(model.network.state_dict()) for model in models]
    run_stages_stacked(models, [recipe, recipe.with_changes(seed=1)], toy, [split, split])
    for model, start in zip(models, before, strict=True):
        changed = {name for name, value in model.network.state_dict().items() if not torch.equal(value, start[name])}
        assert changed == {"fc.weight", "fc.bias"}


def test_a_tensor_that_layers_share_is_one():
    tied = nn.ModuleDict({"first": nn.Linear(3, 3), "middle": nn.Linear(3, 3), "last": nn.Linear(3, 3)})
    tied["last"].weight = tied["first"].weight
    assert held_by(tied, Stage(train_last=1)).parameters == {"first.bias", "middle.weight", "middle.bias"}
    assert held_by(tied, Stage(freeze=["last"])).parameters == {"first.weight", "last.weight", "last.bias"}


def test_a_computed_weight_belongs_to_its_layer():
    network = nn.Sequential(
        nn.Linear(3, 3), torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.Linear(3, 2)
    )
    assert list(layers_of(network)) == ["0", "1", "2"]
    classifier = Classifier(network, [0.0], [1.0])
    estimate = network[1].parametrizations.weight[0]._u.clone()
    with holding(classifier, Stage(train_last=1)):
        classifier.train()(torch.rand(4, 3))
    assert torch.equal(network[1].parametrizations.weight[0]._u, estimate)
    classifier.train()(torch.rand(4, 3))
    assert not torch.equal(network[1].parametrizations.weight[0]._u, estimate)


def test_a_held_batch_normalization_is_trained_around_with_differential_privacy(network):
    with pytest.raises(UserError, match="so freeze such layers of a pretrained network"):
        refuse_unsupported(network)
    refuse_unsupported(network, held_by(network, Stage(freeze=["block*"])).modules)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"freeze": ["blok1"]}, "--freeze: blok1 names no layer: the model's are block1.0, block1.1, block2.0, head"),
        ({"train_last": 5}, "--train-last 5 layers: the model has only 4 with parameters"),
        ({"freeze": ["*"]}, "leave no layer to train"),
        ({"layer_rates": "neck=0.1"}, "--layer-rates: neck names no layer"),
    ],
)
def test_what_names_no_layer_is_one_sentence(trained, asked, said):
    with pytest.raises(UserError) as refused:
        trained(train=STAGE | asked)
    assert said in str(refused.value)


def test_each_layer_has_its_share_of_the_learning_rate(network):
    stage = Stage(layer_rates="block1=0.01,block*=0.1", lr=0.5)
    assert [rate_of(name, stage) for name in ("block1.0.weight", "block2.0.bias", "head.weight")] == [0.01, 0.1, 1.0]
    groups = optimizer_of(network, stage, {}).param_groups
    assert {group["relative_lr"]: len(group["params"]) for group in groups} == {0.01: 4, 0.1: 2, 1.0: 2}


def test_a_small_share_moves_a_layer_less(network, toy, split):
    moved = {}
    for rates in ("", "block1=0.001"):
        own = copy.deepcopy(network)
        recipe = Recipe(model={"name": "cnn"}, train=STAGE | {"optimizer": "sgd", "layer_rates": rates})
        run_stages(Classifier(own, [0.5], [0.5]), recipe, ("train",), toy, split, quiet=True)
        moved[rates] = (own.block1[0].weight - network.block1[0].weight).detach().norm()
    assert 0 < moved["block1=0.001"] < 0.1 * moved[""]


@pytest.mark.parametrize("rates", ["block1", "=0.1", "block1=fast", "block1=0", "block1=-1"])
def test_rates_that_are_none_are_one_sentence(rates):
    with pytest.raises(UserError, match="layer rates"):
        Recipe().with_changes(train={"layer_rates": rates})

"""Perceptrons trained many at a time: each becomes what it becomes alone."""

import dataclasses

import numpy as np
import pytest
import torch
from weights import weights_of

from edgepriv.recipe import Quantize, Recipe, Stage
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training import task as task_module
from edgepriv.training.augment import augmented
from edgepriv.training.examples import Examples
from edgepriv.training.generators import Generators, permutation
from edgepriv.training.loop import validate
from edgepriv.training.loss import backward, setup_of
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.pgd import Budget
from edgepriv.training.selection import Best, remember, take_best
from edgepriv.training.simulation import simulation_of
from edgepriv.training.stacked import Stack, StackedExamples, stackable, worth_stacking
from edgepriv.training.task import Task, task_of

MLP = {"name": "mlp", "args": {"widths": [24, 12]}}
PGD = {"method": "pgd", "steps": 2, "eps": 0.05}
STAGE = {"epochs": 3, "batch_size": 32, "lr": 0.01}
SGD = STAGE | {"optimizer": "sgd"}  # AdamW moves a number whose gradient is nothing but rounding by the whole rate
CNN = {"name": "cnn", "args": {"width": 4}}
RECIPES = {
    "clean": Recipe(model=MLP, train=STAGE),
    "sgd": Recipe(model=MLP, train=STAGE | {"optimizer": "sgd", "schedule": "cyclic"}),
    "full batches": Recipe(model=MLP, train=STAGE | {"batch_size": 43}),
    "normalised": Recipe(model=MLP | {"mean": (0.4,), "std": (0.2,)}, train=STAGE),
    "fgsm": Recipe(model=MLP, train=STAGE | {"adversarial": True}, adversary={"method": "fgsm", "eps": 0.05}),
    "l2": Recipe(model=MLP, train=STAGE | {"adversarial": True}, adversary=PGD | {"norm": "l2", "eps": 0.5}),
    "best": Recipe(model=MLP, train=STAGE | {"adversarial": True, "select": "best"}, adversary=PGD),
    "patience": Recipe(model=MLP, train=STAGE | {"epochs": 8, "lr": 0.05, "select": "best", "patience": 1}),
    "all stages": Recipe(
        model=MLP, train=STAGE, robust=STAGE, qat=STAGE, adversary=PGD, quantize={"bits": "layers.1=8,*=4"}
    ),
    "tensor": Recipe(model=MLP, qat=STAGE, train={"epochs": 0}, quantize={"bits": 4, "granularity": "tensor"}),
    "relaxed": Recipe(model=MLP, train=STAGE | {"epochs": 4, "lr": 0.05, "relax": 0.6}),
    "cropped": Recipe(model=MLP, train=STAGE | {"augment": "crop_flip"}),
    "convolutions": Recipe(model=CNN, train=SGD | {"augment": "crop_flip"}, precision="float32"),
    "convolutions, 4 bits": Recipe(
        model=CNN,
        train=SGD | {"quantized": True, "select": "best"},
        quantize={"bits": 4},
        precision="float32",
    ),
    "convolutions, fgsm": Recipe(
        model=CNN,
        train=SGD | {"adversarial": True},
        adversary={"method": "fgsm", "eps": 0.05},
        precision="float32",
    ),
    "batch normalization": Recipe(
        model={"name": "resnet20"}, train=SGD | {"epochs": 1, "lr": 1e-3}, precision="float32"
    ),
    "block": Recipe(model=MLP, qat=STAGE, train={"epochs": 0}, quantize={"bits": 4, "granularity": "block:16"}),
}


@pytest.fixture
def fleet(toy, split):
    """Three classifiers of a recipe, with their recipes and their own members; 129, so that 32s leave a batch of one."""

    def fleet(recipe):
        recipes = [recipe.with_changes(seed=seed) for seed in (3, 5, 8)]
        splits = [
            dataclasses.replace(split, members=np.sort(np.random.default_rng(seed).permutation(split.members)[:129]))
            for seed in range(3)
        ]
        return [new_classifier(own, toy.num_classes, toy.input_shape) for own in recipes], recipes, splits

    return fleet


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_each_model_is_what_it_is_alone(fleet, toy, recipe):
    together, recipes, splits = fleet(recipe)
    run_stages_stacked(together, recipes, toy, splits)
    alone, _, _ = fleet(recipe)
    for one, own, split in zip(alone, recipes, splits, strict=True):
        run_stages(one, own, tuple(own.stages()), toy, split, quiet=True)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weights_of(one), weights_of(other), rtol=0, atol=1e-4)
    assert (weights_of(together[0]) - weights_of(together[1])).abs().max() > 0.01


def test_what_can_be_stacked():
    assert stackable(RECIPES["all stages"])
    assert stackable(RECIPES["clean"].with_changes(train={"augment": "crop"}))
    assert not stackable(RECIPES["clean"].with_changes(precision="bfloat16"))
    assert not stackable(RECIPES["clean"].with_changes(train={"flatten": 1.0}))
    assert not stackable(Recipe(model={"name": "resnet18"}))
    assert not stackable(Recipe(model={"name": "somewhere:network"}))


def test_what_is_worth_stacking():
    assert worth_stacking(RECIPES["clean"], torch.device("cpu"))
    assert not worth_stacking(Recipe(model={"name": "lenet"}), torch.device("cpu"))
    assert worth_stacking(Recipe(model={"name": "lenet"}), torch.device("cuda"))


def test_what_cannot_be_stacked_is_refused(fleet, toy):
    classifiers, recipes, splits = fleet(RECIPES["clean"].with_changes(train={"flatten": 1.0}))
    with pytest.raises(ValueError, match="one by one"):
        run_stages_stacked(classifiers, recipes, toy, splits)


def test_a_stack_answers_like_its_models(fleet, toy):
    classifiers, _, _ = fleet(RECIPES["normalised"])
    x = torch.from_numpy(toy.x[:15])
    expected = torch.cat([one(part) for one, part in zip(classifiers, x.chunk(3), strict=True)])
    torch.testing.assert_close(Stack(classifiers)(x), expected, rtol=1e-5, atol=1e-6)


def test_wide_stacks_take_bfloat16_and_the_target_does_not(monkeypatch):
    monkeypatch.setattr(task_module, "multiplies_bfloat16", lambda device=None: True)

    def in_bfloat16(widths, precision, stacked):
        recipe = Recipe(model={"name": "mlp", "args": {"widths": widths}}, precision=precision)
        classifier = new_classifier(recipe, 10, (446,))
        return task_of((Stack([classifier]) if stacked else classifier).network, recipe, "train", (446,)).bfloat16

    assert in_bfloat16([256], "auto", stacked=True)
    assert not in_bfloat16([256], "auto", stacked=False)
    assert not in_bfloat16([256], "float32", stacked=True)
    assert not in_bfloat16([16], "auto", stacked=True)


def test_weights_are_rounded_model_by_model(fleet):
    for granularity in ("tensor", "channel", "block:16"):
        rule = Quantize(bits=3, granularity=granularity)
        classifiers, _, _ = fleet(RECIPES["clean"])
        found = simulation_of(Stack(classifiers).network, rule).weights()
        for r, one in enumerate(classifiers):
            for name, weight in simulation_of(one.network, rule).weights().items():
                torch.testing.assert_close(found[name][r], weight, rtol=0, atol=1e-7)


@pytest.mark.parametrize("model", [MLP, CNN, {"name": "resnet20"}], ids=["mlp", "cnn", "resnet20"])
def test_a_step_leaves_nothing_behind_on_the_processor(fleet, toy, model):
    recipe = Recipe(
        model=model,
        train=STAGE | {"adversarial": True, "quantized": True, "augment": "crop_flip"},
        adversary=PGD | {"norm": "l2"},
        quantize={"bits": 4},
    )
    device = torch.device("meta")  # whose tensors refuse to be mixed with the processor's, as a GPU's do
    classifiers, _, splits = fleet(recipe)
    stack, generator = Stack(classifiers).to(device).train(), Generators([1, 2, 3])
    rows = torch.from_numpy(np.stack([split.members for split in splits]))
    members = StackedExamples(torch.from_numpy(toy.x), torch.from_numpy(toy.y), rows=rows).on(device)
    task = task_of(stack.network, recipe, "train", toy.input_shape)
    x, y = members.batch(permutation(len(members), generator)[:, :32])
    x = augmented(x, "crop_flip", generator)
    _, logits = backward(setup_of(stack, task, generator), x, y, None, 0)
    assert logits.shape == (96, toy.num_classes)
    assert {value.grad.device.type for value in stack.parameters()} == {"meta"}


def test_each_model_draws_what_it_draws_alone():
    three = Generators([1, 2, 3])
    kept = three.get_state()
    first = permutation(20, three)
    assert torch.equal(first[1], torch.randperm(20, generator=torch.Generator().manual_seed(2)))
    three.set_state(kept)
    assert torch.equal(permutation(20, three), first)


def test_a_batch_holds_each_models_own_examples():
    x = torch.arange(10, dtype=torch.float32).view(10, 1)
    part = StackedExamples(x, torch.arange(10), rows=torch.tensor([[0, 1, 2], [7, 8, 9]]))
    assert len(part) == 3
    assert part.batch(torch.tensor([[2, 0], [1, 1]]))[1].tolist() == [2, 0, 8, 8]
    assert part.batch(torch.tensor([0, 2]))[0].flatten().tolist() == [0, 2, 7, 9]


def test_validation_tells_the_models_apart(fleet, toy):
    classifiers, recipes, splits = fleet(RECIPES["clean"])
    run_stages(classifiers[1], recipes[1], ("train",), toy, splits[1], quiet=True)
    index = torch.from_numpy(splits[0].validation)
    x, y = torch.from_numpy(toy.x), torch.from_numpy(toy.y)
    asked = Task(Stage(), (against(Budget("linf", 0.05, 0.02, 3)),))
    seeds = [1, 2, 3]
    stacked = StackedExamples(x, y, rows=index.expand(3, -1))
    found = validate(setup_of(Stack(classifiers), asked, Generators(seeds)), stacked, seeds)
    alone = [
        validate(setup_of(one, asked, torch.Generator()), Examples(x[index], y[index]), seed)[0]
        for one, seed in zip(classifiers, (1, 2, 3), strict=True)
    ]
    assert found == alone
    assert found[1]["validation_accuracy"] > found[0]["validation_accuracy"] + 0.3


def test_each_model_keeps_its_own_best_epoch_and_stops_by_itself(fleet):
    stack = Stack(fleet(RECIPES["clean"])[0])
    best, stage = [Best() for _ in range(3)], Stage(select="best", patience=2)
    scripts = [(0.5, 0.4, 0.3, 0.9), (0.1, 0.2, 0.3, 0.4), (0.1, 0.5, 0.4, 0.6)]
    epochs = []
    for epoch in range(4):
        for parameter in stack.parameters():
            parameter.data.fill_(epoch)
        remember(best, [{"validation_accuracy": script[epoch]} for script in scripts], stack, epoch, stage)
        epochs.append([own.epoch for own in best])
    take_best(best, stack)
    assert epochs == [[0, 0, 0], [0, 1, 1], [0, 2, 1], [0, 3, 3]]  # the first stopped after two epochs without a better
    assert [own.stopped for own in best] == [True, False, False]
    assert [float(values[0, 0].detach()) for values in stack.network.layers[0].weight] == [0, 3, 3]

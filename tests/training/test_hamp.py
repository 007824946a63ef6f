"""HAMP: the authors' soft labels and loss, and it acts as declared."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional
from weights import weights_of

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.conflicts import reasons, refuse_impossible
from edgepriv.recipe.defences import DEFENCES
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training.loss import batch_of, loss_of, setup_of
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.objectives.hamp import less_confident, spread_of
from edgepriv.training.objectives.mixup import mixed
from edgepriv.training.pgd import Budget
from edgepriv.training.task import Task

RECIPE = Recipe(
    model={"name": "mlp", "args": {"widths": [16]}},
    train={"epochs": 8, "batch_size": 32, "lr": 0.01},
    precision="float32",
)


def prepared(*objectives):
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), [0.0], [1.0])
    setup = setup_of(classifier, Task(Stage(), objectives), torch.Generator().manual_seed(1))
    return batch_of(setup, torch.eye(6).view(6, 1, 1, 6), torch.arange(6) % 3, None, 0), setup.task


def authors_soft_label(classes, threshold, increment):
    """``get_top1`` of the authors' program: off the true class, little by little, until the entropy is reached."""
    top = 1.0
    while True:
        top -= increment
        rest = (1 - top) / (classes - 1)
        if -(top * math.log(top) + (classes - 1) * rest * math.log(rest)) >= threshold:
            return top, rest


@pytest.mark.parametrize(("gamma", "classes"), [(0.5, 30), (0.95, 10), (0.8, 100), (0.3, 2)])
def test_soft_labels_have_the_entropy_that_is_asked_for_as_the_authors_find_it(gamma, classes):
    spread = spread_of(gamma, classes)
    top, rest = authors_soft_label(classes, gamma * math.log(classes), 1e-4)
    assert (1 - spread + spread / classes, spread / classes) == pytest.approx((top, rest), abs=2e-4)


def test_its_loss_is_the_authors_times_the_number_of_classes():
    batch, task = prepared(less_confident(0.5, 0.01))
    loss, logits = loss_of(batch, task)
    top, rest = authors_soft_label(3, 0.5 * math.log(3), 1e-6)
    targets = torch.full((6, 3), rest)
    targets[torch.arange(6), batch.y] = top
    with pytest.warns(UserWarning, match="reduction"):
        divergence = functional.kl_div(functional.log_softmax(logits, dim=1), targets)
    authors = divergence - 0.01 * Categorical(probs=functional.softmax(logits, dim=1)).entropy().mean()
    torch.testing.assert_close(loss, 3 * authors, rtol=1e-4, atol=1e-5)


def test_an_attack_is_made_against_the_label_itself():
    budget = Budget("linf", 0.1, 0.1, 1)
    assert torch.equal(prepared(against(budget), less_confident(0.5, 0.1))[0].x, prepared(against(budget))[0].x)


def test_labels_that_mixup_has_mixed_are_spread_as_far():
    batch, task = prepared(mixed(0.4), less_confident(0.5, 0.0))
    loss, logits = loss_of(batch, task)
    soft = (1 - spread_of(0.5, 3)) * batch.y + spread_of(0.5, 3) / 3
    entropy = -torch.special.xlogy(soft, soft).sum(1).mean()
    torch.testing.assert_close(loss, functional.cross_entropy(logits, soft) - entropy)


def test_answers_are_less_certain_and_as_right(toy, split):
    def trained(**sections):
        recipe = RECIPE.with_changes(**sections)
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        run = run_stages(classifier, recipe, ("train",), toy, split, quiet=True)
        with torch.no_grad():
            answers = classifier(torch.from_numpy(toy.inputs(split.members)))
        return Categorical(logits=answers).entropy().mean(), run.history[-1]["accuracy"]

    (plain, plain_accuracy), (soft, soft_accuracy) = trained(), trained(hamp={"entropy": 0.8, "regularizer": 0.01})
    assert soft > plain + 0.1
    assert soft_accuracy > plain_accuracy - 0.1


def test_models_trained_at_once_become_what_each_becomes_alone(toy, split):
    recipes = [RECIPE.with_changes(seed=seed, train={"epochs": 1}, hamp={"entropy": 0.5}) for seed in (0, 1)]
    alone, together = ([new_classifier(own, toy.num_classes, toy.input_shape) for own in recipes] for _ in range(2))
    for classifier, own in zip(alone, recipes, strict=True):
        run_stages(classifier, own, ("train",), toy, split, quiet=True)
    run_stages_stacked(together, recipes, toy, [split, split])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights_of(other), weights_of(one), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "beside",
    [
        {"train": {"relax": 0.5}},
        {"smoothing": {"share": 0.1}},
        {"dp": {"epsilon": 8.0}},
        {"robust": {"epochs": 1}, "adversary": {"method": "trades", "eps": 0.1}},
        {"hamp": {"entropy": 0.0, "regularizer": 0.5}},
    ],
)
def test_what_it_cannot_go_with_is_refused_with_the_reason(beside):
    with pytest.raises(UserError, match="HAMP"):
        refuse_impossible(RECIPE.with_changes(**({"hamp": {"entropy": 0.5}} | beside)))


def test_adversarial_training_and_few_bits_go_with_it():
    sections = {"robust": {"epochs": 1}, "qat": {"epochs": 1}, "adversary": {"method": "pgd", "eps": 0.1}}
    together = RECIPE.with_changes(hamp={"entropy": 0.5}, quantize={"bits": 4}, **sections)
    assert reasons(together) == []
    assert DEFENCES["hamp"].stages_in(together) == ["train", "robust", "qat"]

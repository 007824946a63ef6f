"""MemGuard: numpy on the device, against torch; labels kept, the attacker misled, equal queries answered equally."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgepriv.device import memguard
from edgepriv.heads import answering
from edgepriv.heads.memguard import guard_facts, guard_of, memguard_record
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages

CLASSES = 5


@pytest.fixture(scope="module")
def guard():
    rng = np.random.default_rng(0)
    sizes = (CLASSES, 8, 6, 1)
    weights = tuple(rng.normal(size=(out, into)) for into, out in itertools.pairwise(sizes))
    return memguard.MemGuard(weights, tuple(rng.normal(size=len(weight)) / 4 for weight in weights), 1.0)


@pytest.fixture(scope="module")
def answers():
    return np.random.default_rng(1).dirichlet(np.full(CLASSES, 0.4), 200).astype(np.float32)


def torch_logit(guard, probabilities):
    value = probabilities.sort(dim=1, descending=True).values
    for position, (weight, bias) in enumerate(zip(guard.weights, guard.biases, strict=True)):
        value = functional.linear(value.relu() if position else value, torch.tensor(weight), torch.tensor(bias))
    return value[:, 0]


def test_the_gradient_written_by_hand_is_autograds(guard, answers):
    rng = np.random.default_rng(2)
    own = answers.astype(np.float64)
    labels, logits = own.argmax(1), np.log(own + 1e-3) + rng.normal(size=own.shape)  # some rows have lost their label
    moved = torch.tensor(logits, requires_grad=True)
    shown = moved.softmax(1)
    chosen = moved.gather(1, torch.tensor(labels)[:, None])[:, 0]
    others = moved.scatter(1, torch.tensor(labels)[:, None], -torch.inf).amax(1)
    distance = (shown - torch.tensor(own)).abs().sum(1)
    kept = memguard.KEEP_LABEL * (others - chosen).relu()
    (torch_logit(guard, shown).abs() + kept + 0.3 * distance).sum().backward()
    assert (others > chosen).float().mean() > 0.1
    assert (others < chosen).float().mean() > 0.1
    assert np.allclose(memguard.objective(guard, logits, own, labels, 0.3), moved.grad.numpy(), atol=1e-10)


def test_labels_are_kept_and_equal_queries_get_equal_answers(guard, answers):
    inputs = np.random.default_rng(3).random((len(answers), 7), dtype=np.float32)
    shown = memguard.guarded(guard, answers, inputs)
    assert (shown.argmax(1) == answers.argmax(1)).all()
    assert np.allclose(shown.sum(1), 1, atol=1e-5)
    assert (np.abs(shown - answers).sum(1) > 1e-3).any()
    again = memguard.guarded(guard, answers[::-1], inputs[::-1])[::-1]
    assert np.allclose(shown, again, atol=1e-6)


def test_no_budget_means_no_noise(guard, answers):
    nothing = memguard.MemGuard(guard.weights, guard.biases, 0.0)
    assert (memguard.guarded(nothing, answers, answers) == answers).all()


def test_the_budget_bounds_the_mean_distance(guard, answers):
    thrifty = memguard.MemGuard(guard.weights, guard.biases, 0.1)
    many = np.random.default_rng(4).random((len(answers), 3))
    spent = np.abs(memguard.guarded(thrifty, answers, many) - answers).sum(1).mean()
    assert 0 < spent < 0.15


def test_its_own_attacker_is_misled_on_a_memorised_model(overfitted):
    dataset, split = overfitted
    recipe = Recipe(
        model={"name": "mlp", "args": {"widths": [256]}},
        train={"epochs": 20, "lr": 5e-3, "batch_size": 32},
        head={"method": "memguard", "epochs": 60, "lr": 5e-3, "epsilon": 2.0},
    )
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(classifier, recipe, ("train",), dataset, split, quiet=True)
    record = memguard_record(recipe, classifier, dataset, split)
    facts = guard_facts(record, classifier, dataset, split)
    assert facts["attack_accuracy_plain"] > 0.6
    assert facts["attack_accuracy_guarded"] < facts["attack_accuracy_plain"] - 0.1
    assert guard_of(record).classes == dataset.num_classes
    show = answering(record, "it")
    assert show is not None

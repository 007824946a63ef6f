"""Learned step size quantization (Esser et al. 2020) against the paper's equations, and its steps from the loop to the file."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from weights import weights_of

from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, checkpoint
from edgepriv.models.lsq_steps import attach_step, load_state, steps_of
from edgepriv.recipe import Quantize, Recipe
from edgepriv.training import load_quantized, new_classifier, quantize_weights, run_stages
from edgepriv.training.dp import add_clipped_gradients, add_noise
from edgepriv.training.dp_plan import Plan
from edgepriv.training.quantization import attach_steps, fake_quantize
from edgepriv.training.quantizers import refuse_unfit
from edgepriv.training.simulation import simulation_of
from edgepriv.training.stacked import stackable

STAGES = ("train", "qat")


def normal(shape=(6, 50), seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rule_of(bits=4, granularity="channel"):
    return Quantize(bits=bits, quantizer="lsq", granularity=granularity)


def paper_step_gradient(levels, lowest, highest):
    """Esser et al. 2020, eq. 3: of each weight, for v/s = ``levels``."""
    inside = np.round(levels) - levels
    return np.where(levels <= lowest, lowest, np.where(levels >= highest, highest, inside))


# --- the quantizer ---


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_the_gradients_are_those_of_the_paper(bits, granularity):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    weight, upstream = normal().double().requires_grad_(), normal(seed=1).double()
    rows = 1 if granularity == "tensor" else 6
    # Steps so small that the ends of the range clip some of the weights.
    step = (torch.linspace(0.6, 1.2, rows).double() / highest).requires_grad_()
    (fake_quantize(weight, bits, rule_of(bits, granularity), step) * upstream).sum().backward()
    levels = (weight / step.view(-1, 1)).detach().numpy()
    clipped = (levels <= lowest) | (levels >= highest)
    assert 0.02 < clipped.mean() < 0.8
    of_each = paper_step_gradient(levels, lowest, highest) * upstream.numpy()
    scale = 1 / math.sqrt(weight.numel() / rows * highest)
    np.testing.assert_allclose(step.grad, of_each.reshape(rows, -1).sum(1) * scale, rtol=1e-6)
    np.testing.assert_allclose(weight.grad, np.where(clipped, 0, upstream), rtol=1e-12)  # eq. 5


def test_at_the_very_ends_of_the_range_the_gradients_are_those_of_clipping():
    weight = torch.tensor([[-2.0, 1.0, 0.0, 0.25, -0.5]], requires_grad=True)  # 2 bits: -2..1
    step = torch.ones(1, requires_grad=True)
    fake_quantize(weight, 2, rule_of(2), step).sum().backward()
    np.testing.assert_allclose(step.grad, (-2 + 1 + 0 - 0.25 + 0.5) / math.sqrt(5), rtol=1e-6)
    assert weight.grad.tolist() == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize("step", [1e-8, 1e30])
def test_gradients_stay_finite_at_extreme_steps(step):
    for bits in (2, 16):
        weight, steps = normal().requires_grad_(), torch.full((6,), step, requires_grad=True)
        seen = fake_quantize(weight, bits, rule_of(bits), steps)
        seen.sum().backward()
        assert all(value.isfinite().all() for value in (seen, weight.grad, steps.grad))


def test_a_step_starts_from_the_mean_magnitude_of_its_weights():
    layer = nn.Linear(50, 6)
    attach_steps(layer, rule_of(4))
    np.testing.assert_allclose(
        steps_of(layer)["weight"].detach(), 2 * layer.weight.detach().abs().mean(1) / math.sqrt(7), rtol=1e-6
    )
    (shipped,) = quantize_weights(nn.Linear(50, 6), rule_of(4, "tensor")).values()
    assert shipped.zero_point.tolist() == [8]


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_what_is_trained_is_what_ships(bits):
    layer = nn.Linear(50, 6)
    attach_step(layer, "weight", torch.linspace(0.5, 2, 6) * 0.1 / 2 ** (bits - 1))
    seen = simulation_of(layer, rule_of(bits)).weights()["weight"]
    shipped = quantize_weights(layer, rule_of(bits))
    np.testing.assert_array_equal(seen.detach(), shipped["weight"].dequantize())
    np.testing.assert_array_equal(steps_of(layer)["weight"].detach(), shipped["weight"].scale)
    load_quantized(layer, shipped)
    assert not steps_of(layer)


def test_blocks_are_refused():
    with pytest.raises(UserError, match="one step for each tensor or channel, not for block:16"):
        refuse_unfit(rule_of(granularity="block:16"))


# --- its steps in the network ---


@pytest.fixture(scope="module")
def lsq_recipe() -> Recipe:
    return Recipe(
        model={"name": "cnn", "args": {"width": 4}},
        train={"epochs": 1, "batch_size": 32, "lr": 0.01},
        qat={"epochs": 3, "batch_size": 32, "lr": 0.01},
        adversary={"method": "pgd", "steps": 2, "eps": 0.05},
        quantize={"bits": "fc*=8,*=2", "quantizer": "lsq"},
    )


@pytest.fixture(scope="module")
def trained(toy, split, lsq_recipe):
    classifier = new_classifier(lsq_recipe, toy.num_classes, toy.input_shape)
    history = run_stages(classifier, lsq_recipe, STAGES, toy, split, quiet=True).history
    return history, classifier


def checkpoint_of(trained, recipe):
    blank = Checkpoint({}, ("a", "b", "c", "d"), (1, 8, 8), recipe)
    return blank.with_weights(trained[1], stages=STAGES)


def test_training_moves_the_steps_and_leaves_them_on_the_layers(trained, lsq_recipe):
    network = trained[1].network
    learned = steps_of(network)
    assert learned.keys() == quantize_weights(network, lsq_recipe.quantize).keys()
    bare = copy.deepcopy(network)
    attach_steps(bare, None)
    attach_steps(bare, lsq_recipe.quantize)
    assert all((step != steps_of(bare)[name]).any() and (step > 0).all() for name, step in learned.items())


def test_a_checkpoint_keeps_the_steps(trained, lsq_recipe, tmp_path):
    checkpoint.save(tmp_path / "m.pt", checkpoint_of(trained, lsq_recipe))
    found = checkpoint.load(tmp_path / "m.pt").classifier()
    expected = quantize_weights(trained[1].network, lsq_recipe.quantize)
    for name, tensor in quantize_weights(found.network, lsq_recipe.quantize).items():
        np.testing.assert_array_equal(tensor.scale, expected[name].scale)
        np.testing.assert_array_equal(tensor.integers, expected[name].integers)


def test_another_quantization_drops_the_steps(trained, lsq_recipe):
    kept = checkpoint_of(trained, lsq_recipe)
    assert steps_of(kept.with_recipe(lsq_recipe.with_changes(export={"profile": "memory"})).classifier().network)
    for changes in ({"bits": 8}, {"granularity": "tensor"}, {"quantizer": "minmax"}, {"bits": 32}):
        other = kept.with_recipe(lsq_recipe.with_changes(quantize=changes)).classifier()
        assert not steps_of(other.network)


def test_a_step_that_cannot_be_one_is_refused(trained, lsq_recipe):
    kept = checkpoint_of(trained, lsq_recipe)
    (name, *_) = [name for name in kept.state_dict if name.endswith("_lsq_step")]
    kept.state_dict[name] = -kept.state_dict[name]
    with pytest.raises(UserError, match="must be a vector of positive numbers"):
        kept.classifier()


@pytest.mark.parametrize("writes", range(1, 7))
def test_killed_and_started_again_gives_the_same_bits(toy, split, lsq_recipe, trained, tmp_path, dies_after, writes):
    def run():
        classifier = new_classifier(lsq_recipe, toy.num_classes, toy.input_shape)
        history = run_stages(classifier, lsq_recipe, STAGES, toy, split, resume_file=tmp_path / "p", quiet=True).history
        return history, classifier

    dies_after(writes, run)
    history, classifier = run()
    assert history == trained[0]
    assert torch.equal(weights_of(classifier), weights_of(trained[1]))
    assert steps_of(classifier.network).keys() == steps_of(trained[1].network).keys()


def test_the_best_epoch_is_kept_with_its_steps(toy, split, lsq_recipe, monkeypatch):
    from edgepriv.training import selection

    seen = []
    remember = selection.remember

    def watched(best, held_out, classifier, epoch, stage):
        seen.append({name: step.detach().clone() for name, step in steps_of(classifier.network).items()})
        scores = [{"validation_accuracy": 1.0 if epoch == 1 else 0.5}]
        remember(best, scores, classifier, epoch, stage)

    monkeypatch.setattr("edgepriv.training.loop.remember", watched)
    classifier = new_classifier(lsq_recipe, toy.num_classes, toy.input_shape)
    run_stages(classifier, lsq_recipe, ("qat",), toy, split, quiet=True)
    assert len(seen) == 3
    for name, step in steps_of(classifier.network).items():
        assert torch.equal(step, seen[1][name])
        assert not torch.equal(step, seen[2][name])


def test_a_stage_at_full_width_forgets_the_steps(toy, split, lsq_recipe, trained):
    classifier = copy.deepcopy(trained[1])
    run_stages(classifier, lsq_recipe.with_changes(robust={"epochs": 1}), ("robust",), toy, split, quiet=True)
    assert not steps_of(classifier.network)


def test_steps_of_sixteen_bits_move_in_proportion(toy, split, lsq_recipe):
    """AdamW at the whole learning rate moves them by more than they are."""
    recipe = lsq_recipe.with_changes(quantize={"bits": 16})
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    attached = copy.deepcopy(classifier.network)
    attach_steps(attached, recipe.quantize)
    run_stages(classifier, recipe, ("qat",), toy, split, quiet=True)
    for name, step in steps_of(classifier.network).items():
        moved = step.detach() / steps_of(attached)[name].detach()
        assert 0.3 < moved.min() <= moved.max() < 3


def test_loading_a_state_without_steps_takes_them_off(trained, toy, lsq_recipe):
    network = copy.deepcopy(trained[1].network)
    load_state(network, new_classifier(lsq_recipe, toy.num_classes, toy.input_shape).network.state_dict())
    assert not steps_of(network)


def test_perceptrons_with_steps_are_not_stacked():
    recipe = Recipe(model={"name": "mlp"}, quantize={"bits": 4, "quantizer": "lsq"})
    assert not stackable(recipe)
    assert stackable(recipe.with_changes(quantize={"quantizer": "minmax"}))


def test_private_gradients_of_steps_are_clipped_with_the_others(classifier, lsq_recipe):
    """Without noise, and clipped beyond reach, they are the gradients of the mean loss; clipped, no longer than ``clip``."""
    found = classifier()
    attach_steps(found.network, lsq_recipe.quantize)
    x, y = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 4
    weights = simulation_of(found.network, lsq_recipe.quantize).weights()
    nn.functional.cross_entropy(torch.func.functional_call(found.network, weights, (x,)), y).backward()
    plain = {name: value.grad.clone() for name, value in found.network.named_parameters()}
    for clip in (1e6, 1e-3):
        plan = Plan(0.0, clip, 0.1, 1e-5, 100, 10)
        weights = simulation_of(found.network, lsq_recipe.quantize).weights()
        found.network.zero_grad()
        add_clipped_gradients(found.network, weights, x, y, plan)
        add_noise(found.network, plan, torch.Generator())
        own = {name: value.grad for name, value in found.network.named_parameters()}
        if clip > 1:
            for name, gradient in own.items():
                torch.testing.assert_close(gradient, plain[name], rtol=1e-3, atol=1e-6)
        else:
            assert torch.cat([gradient.flatten() for gradient in own.values()]).norm() <= clip * (1 + 1e-4)

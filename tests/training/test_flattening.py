"""The flattening term: a divergence of mean sorted posteriors."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from edgepriv.training.objectives.flattening import flattening_loss, mean_sorted_posterior


def logits(count=50, sharpness=1.0, seed=0):
    return sharpness * torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_it_is_zero_for_equal_batches_and_positive_for_others():
    assert flattening_loss(logits(), logits()).item() == pytest.approx(0, abs=1e-7)
    assert flattening_loss(logits(sharpness=5), logits(seed=1)) > 0.1
    assert flattening_loss(logits(), logits(sharpness=5, seed=1)) > 0.1


def test_it_is_scipys_relative_entropy():
    members, others = logits(sharpness=4), logits(count=30, seed=1)
    p, q = (np.sort(softmax(part.numpy().astype(float), axis=1), axis=1)[:, ::-1].mean(0) for part in (members, others))
    assert flattening_loss(members, others).item() == pytest.approx(entropy(p, q), rel=1e-4)


def test_it_does_not_depend_on_which_classes_the_batches_hold():
    members, others = logits(sharpness=4), logits(seed=1)
    shuffled = torch.stack([row[torch.randperm(6)] for row in others])
    torch.testing.assert_close(flattening_loss(members, shuffled), flattening_loss(members, others))
    torch.testing.assert_close(
        flattening_loss(members[:, [5, 4, 3, 2, 1, 0]], others), flattening_loss(members, others)
    )


def test_the_mean_sorted_posterior_descends_and_sums_to_1():
    posterior = mean_sorted_posterior(logits())
    assert (posterior.diff() <= 0).all()
    assert posterior.sum().item() == pytest.approx(1)


def test_certain_predictions_stay_finite_with_a_gradient():
    members = (1000 * torch.eye(6)).requires_grad_()
    loss = flattening_loss(members, logits())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(members.grad).all()
    assert torch.isfinite(flattening_loss(logits(), 1000 * torch.eye(6)))


def test_descending_it_makes_the_members_less_confident():
    members, others = logits(sharpness=6).requires_grad_(), logits(seed=1)
    flattening_loss(members, others).backward()
    moved = members.detach() - 5 * members.grad
    assert mean_sorted_posterior(moved)[0] < mean_sorted_posterior(members.detach())[0]

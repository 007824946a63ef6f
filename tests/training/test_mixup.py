"""Mixup: what is trained on are mixtures, in inputs and labels alike, and it acts as declared."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from weights import weights_of

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.loss import batch_of, loss_of, setup_of
from edgepriv.training.objectives.mixup import mixed
from edgepriv.training.task import Task

RECIPE = Recipe(model={"name": "mlp", "args": {"widths": [16]}}, train={"epochs": 2, "batch_size": 32, "lr": 0.01})


@pytest.fixture
def mixture():
    """A batch of one-hot inputs, so that each mixture shows what it is made of."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    task = Task(Stage(), (mixed(0.4),))
    setup = setup_of(Classifier(network, [0.0], [1.0]), task, torch.Generator().manual_seed(1))
    batch = batch_of(setup, torch.eye(6).view(6, 1, 1, 6), torch.arange(6) % 3, None, 0)
    return batch, task


def test_an_example_is_not_mixed_with_itself_alone(toy, split):
    recipe = RECIPE.with_changes(train={"batch_size": 1}, mixup={"alpha": 0.2})
    with pytest.raises(UserError, match="batches of the stage train have one: take a larger --batch-size"):
        run_stages(new_classifier(recipe, toy.num_classes, toy.input_shape), recipe, ("train",), toy, split, quiet=True)


def test_inputs_and_labels_are_mixed_alike(mixture):
    batch, _ = mixture
    shares = batch.x.view(6, 6)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert len(shares.diagonal().unique()) <= 2  # one share for the batch; 1 where an example meets itself
    assert ((shares > 0).sum(1) == 2).any()
    torch.testing.assert_close(batch.y, shares @ functional.one_hot(torch.arange(6) % 3).float())


def test_its_loss_is_the_mixture_of_both_labels_losses(mixture):
    """As in the authors' program, which computes s CE(y_i) + (1 - s) CE(y_j)."""
    batch, task = mixture
    loss, logits = loss_of(batch, task)
    each = torch.stack(
        [functional.cross_entropy(logits, torch.full((6,), k), reduction="none") for k in range(3)], dim=1
    )
    torch.testing.assert_close(loss, (batch.y * each).sum(1).mean())


def test_shares_are_drawn_from_beta():
    network = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), [0.0], [1.0])
    setup = setup_of(network, Task(Stage(), (mixed(0.4),)), torch.Generator().manual_seed(0))
    x, y = torch.eye(2).view(2, 1, 1, 2), torch.arange(2)
    drawn = [batch_of(setup, x, y, None, 0) for _ in range(800)]
    shares = np.array([float(batch.x[0, 0, 0, 0]) for batch in drawn if batch.x[0, 0, 0, 0] < 1])
    assert shares.mean() == pytest.approx(0.5, abs=0.06)
    assert shares.var() == pytest.approx(0.25 / 1.8, abs=0.02)  # of Beta(a, a): 1 / (4 (2 a + 1))


def test_a_recipe_that_asks_for_it_trains_so_and_repeatably(toy, split):
    def trained(alpha):
        recipe = RECIPE.with_changes(mixup={"alpha": alpha})
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        run_stages(classifier, recipe, ("train",), toy, split, quiet=True)
        return weights_of(classifier)

    plain, once = trained(0.0), trained(0.4)
    assert torch.equal(once, trained(0.4))
    assert not torch.equal(once, plain)


@pytest.mark.parametrize("beside", [{"train": {"relax": 0.5}}, {"dp": {"epsilon": 8.0}}])
def test_what_needs_single_examples_is_refused_beside_it(beside):
    with pytest.raises(UserError, match="mixup"):
        refuse_impossible(RECIPE.with_changes(mixup={"alpha": 0.4}, **beside))

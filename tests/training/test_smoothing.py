"""Label smoothing: the loss of labels that are spread, after the attack."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training.loss import batch_of, loss_of, setup_of
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.objectives.mixup import mixed
from edgepriv.training.objectives.smoothing import smoothed
from edgepriv.training.pgd import Budget
from edgepriv.training.task import Task


def prepared(*objectives):
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), [0.0], [1.0])
    setup = setup_of(classifier, Task(Stage(), objectives), torch.Generator().manual_seed(1))
    return batch_of(setup, torch.eye(6).view(6, 1, 1, 6), torch.arange(6) % 3, None, 0), setup.task


def test_its_loss_is_torchs_own():
    batch, task = prepared(smoothed(0.2))
    loss, logits = loss_of(batch, task)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, torch.arange(6) % 3, label_smoothing=0.2))


def test_an_attack_is_made_against_the_label_itself():
    budget = Budget("linf", 0.1, 0.1, 1)
    assert torch.equal(prepared(against(budget), smoothed(0.2))[0].x, prepared(against(budget))[0].x)


def test_labels_that_mixup_has_mixed_are_smoothed_too():
    mixture = prepared(mixed(0.4))[0]
    torch.testing.assert_close(prepared(mixed(0.4), smoothed(0.3))[0].y, 0.7 * mixture.y + 0.1)


def test_relaxloss_beside_it_is_refused():
    recipe = Recipe.model_validate({"train": {"epochs": 1, "relax": 0.5}, "smoothing": {"share": 0.1}})
    with pytest.raises(UserError, match="label smoothing"):
        refuse_impossible(recipe)

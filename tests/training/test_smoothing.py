"""Label smoothing: the loss of labels that are spread, after the attack."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from weights import weights_of

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
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


def test_models_trained_at_once_become_what_each_becomes_alone(toy, split):
    recipe = Recipe.model_validate(
        {
            "model": {"name": "mlp", "args": {"widths": [8]}},
            "train": {"epochs": 1, "batch_size": 32},
            "smoothing": {"share": 0.3},
            "precision": "float32",
        }
    )
    recipes = [recipe.with_changes(seed=seed) for seed in (0, 1)]
    alone, together = ([new_classifier(own, toy.num_classes, toy.input_shape) for own in recipes] for _ in range(2))
    for classifier, own in zip(alone, recipes, strict=True):
        run_stages(classifier, own, ("train",), toy, split, quiet=True)
    run_stages_stacked(together, recipes, toy, [split, split])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(weights_of(other), weights_of(one), rtol=1e-3, atol=1e-4)


def test_relaxloss_is_refused_beside_it_in_one_stage_and_not_in_another():
    sections = {"train": {"epochs": 1, "relax": 0.5}, "robust": {"epochs": 1}, "smoothing": {"share": 0.1}}
    with pytest.raises(UserError, match="label smoothing"):
        refuse_impossible(Recipe.model_validate(sections))
    refuse_impossible(Recipe.model_validate(sections | {"smoothing": {"share": 0.1, "stages": ["robust"]}}))

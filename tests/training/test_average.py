"""The moving average of the weights: what it is, and that it is what a stage validates, keeps and resumes."""

import copy

import pytest
import torch
from torch import Tensor
from weights import weights_of

from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.training import new_classifier
from edgepriv.training.average import averaged, in_place
from edgepriv.training.loop import Hooks, fit
from edgepriv.training.task import Task

RECIPE = Recipe(model={"name": "mlp", "args": {"widths": [8]}})
STAGE = Stage(epochs=3, batch_size=32, lr=0.05, ema=0.9)


def numbers(state: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten().float() for value in state.values()])


def test_it_is_the_recursion_over_the_weights_after_each_step(toy):
    classifier = new_classifier(RECIPE, toy.num_classes, toy.input_shape)
    average = averaged(None, classifier, 0.5, 1)
    expected = weights_of(classifier)
    for step in (2, 3, 200):
        for value in classifier.parameters():
            value.data.mul_(step)
        average = averaged(average, classifier, 0.5, step)
        share = min(0.5, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * weights_of(classifier)
    own = weights_of(classifier)
    with in_place(average, classifier):
        torch.testing.assert_close(weights_of(classifier), expected)
    assert torch.equal(weights_of(classifier), own)


@pytest.fixture
def trained(toy, split, examples):
    def trained(stage: Stage, **options) -> tuple[Classifier, list]:
        classifier = new_classifier(RECIPE, toy.num_classes, toy.input_shape)
        members, validation = examples(split.members), examples(split.validation)
        return classifier, fit(classifier, members, Task(stage), seed=0, validation=validation, **options)

    return trained


def test_it_is_kept_in_place_of_the_last_weights(trained):
    states = []
    kept, _ = trained(STAGE, hooks=Hooks(after_epoch=lambda state: states.append(copy.deepcopy(state))))
    plain, _ = trained(STAGE.model_copy(update={"ema": 0.0}))
    assert torch.equal(weights_of(kept), numbers(states[-1].average))
    assert torch.equal(weights_of(plain), numbers(states[-1].model))  # the steps themselves are the same
    assert not torch.equal(weights_of(kept), weights_of(plain))


def test_a_killed_run_goes_on_with_it(trained):
    states = []
    whole, _ = trained(STAGE, hooks=Hooks(after_epoch=lambda state: states.append(copy.deepcopy(state))))
    resumed, _ = trained(STAGE, state=states[0])
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_the_best_epoch_is_one_of_the_average(trained):
    """Steps of this length go back and forth, and their average does not."""
    stage = STAGE.model_copy(update={"select": "best", "lr": 0.3})
    _, steady = trained(stage)
    _, plain = trained(stage.model_copy(update={"ema": 0.0}))
    assert [row["loss"] for row in steady] == [row["loss"] for row in plain]
    assert [row["validation_accuracy"] for row in steady] != [row["validation_accuracy"] for row in plain]


def test_running_statistics_are_averaged_and_counters_copied():
    torch.manual_seed(0)
    network = torch.nn.BatchNorm1d(3)
    classifier = Classifier(network, [0.0], [1.0])
    average = averaged(None, classifier.train(), 0.5, 100)
    network(torch.randn(20, 3) + 5)
    moved = network.running_mean.clone()
    average = averaged(average, classifier, 0.5, 101)
    names = {name.rpartition(".")[2]: value for name, value in average.items()}
    torch.testing.assert_close(names["running_mean"], moved / 2)
    assert int(names["num_batches_tracked"]) == 1


def test_a_recipe_asks_for_it_stage_by_stage():
    recipe = RECIPE.with_changes(train={"ema": 0.995})
    assert recipe.training_hash() != RECIPE.training_hash()
    assert recipe.undefended().train.ema == 0.995  # how a model is trained, not a defence

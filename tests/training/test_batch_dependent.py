"""Attacks on a network whose answers depend on the batch: each example by itself, in one pass where torch can."""

import pytest
import torch
from torch import nn

from edgepriv.models import Classifier
from edgepriv.recipe import Stage
from edgepriv.training import upfront
from edgepriv.training.batch_dependent import each_alone, why_not_in_one_pass
from edgepriv.training.examples import Examples
from edgepriv.training.generators import generator_of
from edgepriv.training.loop import fit
from edgepriv.training.loss import frozen_logits, setup_of
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.pgd import Budget, perturbed
from edgepriv.training.task import Task

BUDGET = Budget("linf", 0.1, 0.05, 3)
X, Y = torch.rand(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


class Centred(nn.Module):
    """Moves its batch to a common mean: alone, every example is asked at that mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.last(hidden - 0.5 * hidden.mean(0, keepdim=True))


class Looking(Centred):
    """Looks at a value, which a mapped tensor does not have."""

    def forward(self, x):
        return super().forward(x) * (2.0 if float(x.detach().sum()) > 0 else 1.0)


def alone(network):
    return Classifier(network, [0.5] * 5, [0.5] * 5, alone=True).eval()


def perturbations(classifier, examples):
    setup = setup_of(classifier, Task(Stage(), (against(BUDGET),)), generator_of(0), examples=examples)
    return perturbed(frozen_logits(setup), X, Y, BUDGET, generator_of(1)), setup.one_pass


def test_one_pass_answers_as_asking_one_by_one():
    classifier = alone(Centred())
    one_by_one = torch.cat([classifier(row) for row in X.split(1)])
    torch.testing.assert_close(each_alone(classifier, {}, classifier.normalised(X)), one_by_one)
    assert not torch.allclose(classifier.network(classifier.normalised(X)), one_by_one, atol=1e-3), "the batch matters"


def test_attacks_take_one_pass_and_find_the_same():
    classifier = alone(Centred())
    (fast, in_one_pass), (slow, _) = perturbations(classifier, X), perturbations(classifier, None)
    assert in_one_pass
    torch.testing.assert_close(fast, slow)


def test_a_network_that_torch_cannot_map_is_asked_one_by_one():
    assert why_not_in_one_pass(alone(Centred()), X) == ""
    assert "item" in why_not_in_one_pass(alone(Looking()), X)
    assert perturbations(alone(Looking()), X)[1] is False
    rows = fit(alone(Looking()), Examples(X, Y), Task(Stage(epochs=1, batch_size=6), (against(BUDGET),)), seed=0)
    assert len(rows) == 1


@pytest.mark.parametrize(("network", "warned"), [(Centred, False), (Looking, True)])
def test_how_much_slower_it_is_is_said_before_training(network, warned, capsys):
    task = Task(Stage(epochs=1, batch_size=12), (against(BUDGET),))
    upfront.warn_of_slow_attack(alone(network()).train(), Examples(X, Y), task)
    err = capsys.readouterr().err
    assert ("times as long" in err) is warned

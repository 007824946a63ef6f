"""Networks that differential privacy cannot cover: they mix their batch in train mode, or keep something of it."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.behaviour import refuse_mixing_in_training

X = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.register_buffer("seen", torch.zeros(8))
        self.register_buffer("steps", torch.zeros(()))


class InPlace(Own):
    def forward(self, x):
        if self.training:
            self.seen.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return self.layer(x - self.seen)


class Replaced(Own):
    def forward(self, x):
        if self.training:
            self.seen.data = x.detach().mean(0)
        return self.layer(x)


class Centred(Own):
    def forward(self, x):
        return self.layer(x - x.mean(0) if self.training else x)


class Chance(Own):
    """Skips its layer by Python's own generator, and keeps noise and NaN in buffers."""

    def forward(self, x):
        if self.training:
            self.seen.normal_()
            self.steps.fill_(float("nan"))
        return self.layer(x) * (random.random() > 0.5)


class Spectral(Own):
    def __init__(self):
        super().__init__()
        self.layer = spectral_norm(nn.Linear(8, 3))

    def forward(self, x):
        return self.layer(x)


class Asked(Own):
    """Keeps what it is asked about, and nothing while it is trained."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        if not self.training:
            self.seen = x.detach().mean()[None]
        return self.layer(x)


class Plain(Own):
    """Counts its steps, and drops out."""

    def __init__(self, p=0.0):
        super().__init__()
        self.dropout, self.p = nn.Dropout(0.5), p

    def forward(self, x):
        if self.training:
            self.steps += 1
        return self.layer(functional.dropout(self.dropout(x), self.p, self.training))


def classifier_of(network):
    return Classifier(network, mean=[0.0], std=[1.0]).train()


@pytest.mark.parametrize("network", [InPlace, Replaced])
def test_a_buffer_that_keeps_something_of_the_inputs(network):
    classifier = classifier_of(network())
    with pytest.raises(UserError, match="keeps something of its inputs in the buffer 'seen'"):
        refuse_mixing_in_training(classifier, X)
    assert not classifier.network.seen.any()


def test_a_buffer_that_keeps_what_the_network_is_asked():
    with pytest.raises(UserError, match="in eval mode it keeps something of its inputs in the buffer 'seen'"):
        refuse_mixing_in_training(classifier_of(Asked()), X)


def test_a_batch_that_is_mixed_in_train_mode_alone():
    with pytest.raises(UserError, match="in train mode its answer to an input depends on the other inputs"):
        refuse_mixing_in_training(classifier_of(Centred()), X)
    refuse_mixing_in_training(classifier_of(Centred()).eval(), X)


@pytest.mark.parametrize("network", [Spectral, Chance])
@pytest.mark.parametrize("seed", range(3))
def test_what_moves_without_the_inputs_passes(network, seed):
    torch.manual_seed(seed)
    before = random.getstate()
    refuse_mixing_in_training(classifier_of(network()), X)
    assert random.getstate() == before


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_others_pass(p):
    classifier = classifier_of(Plain(p))
    refuse_mixing_in_training(classifier, X)
    assert classifier.network.steps == 0
    assert classifier.network.dropout.training

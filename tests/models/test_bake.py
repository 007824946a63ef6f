"""Weight norm, spectral norm, pruning: trained as such, and plain weights before anything is quantized."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from edgepriv.errors import UserError
from edgepriv.models.bake import bake, computed_weights
from edgepriv.models.lsq_steps import load_state
from edgepriv.recipe import Quantize
from edgepriv.training.fused import fuse
from edgepriv.training.quantization import quantize_weights, refuse_unmatched

WAYS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight norm, as a hook": weight_norm,
    "spectral norm, as a hook": spectral_norm,
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "pruning and then norm": lambda layer: parametrizations.weight_norm(prune.l1_unstructured(layer, "bias", 0.5)),
}


def network(way):
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    conv[0], conv[4] = way(conv[0]), way(conv[4])
    return conv


X = torch.rand(5, 1, 4, 4)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_baking_changes_no_answer_and_leaves_plain_weights(way):
    net = network(way)
    before = net(X)
    assert computed_weights(net)
    words = bake(net)
    torch.testing.assert_close(net(X), before, rtol=1e-5, atol=1e-6)
    assert set(net.state_dict()) == set(network(lambda layer: layer).state_dict())
    assert not computed_weights(net)
    assert "became plain weights" in words[0]
    assert all(value.requires_grad and value.is_leaf for value in net.parameters())
    assert quantize_weights(net, Quantize(bits=4)).keys() == {"0.weight", "4.weight"}


def test_a_plain_network_is_left_alone():
    net = network(lambda layer: layer)
    assert bake(net) == ()


def test_baking_moves_no_estimate_of_spectral_norm():
    net = network(parametrizations.spectral_norm)
    before = net(X)
    net.train()
    bake(net)
    assert net.training
    assert all(module.training for module in net.modules())
    torch.testing.assert_close(net.eval()(X), before)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_state_in_either_form_is_loaded(way):
    computed = network(way)
    states = [{name: value.clone() for name, value in computed.state_dict().items()}]
    bake(computed)
    states.append(computed.state_dict())
    for state in states:
        other = network(way)
        load_state(other, state)
        torch.testing.assert_close(other(X), computed(X))


def test_rules_may_name_a_layer_whose_weight_is_computed():
    computed = network(parametrizations.weight_norm)
    assert refuse_unmatched(computed, Quantize(bits="4=8,*=4")) is None
    with pytest.raises(UserError, match="nowhere"):
        refuse_unmatched(computed, Quantize(bits="nowhere=8,*=4"))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_attacks_do_not_fold_batch_norm_into_a_computed_weight():
    for way in WAYS.values():
        net = network(way)
        net(X)
        assert fuse(net) is None

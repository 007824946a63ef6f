import onnx_ir as ir
import pytest
import torch
from nets import IMAGE, TABLE, Convolutions, Table, Tokens
from torch import nn

from edgepriv.artifact.trace import trace
from edgepriv.errors import UserError
from edgepriv.models import Classifier


def plain(network, channels=3):
    return Classifier(network, [0.0] * channels, [1.0] * channels)


def test_parameters_keep_their_names_and_values():
    network = Convolutions()
    network.train()
    graph = trace(plain(network), IMAGE).graph
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            stored = graph.initializers[name].const_value
            torch.testing.assert_close(torch.from_numpy(stored.numpy()), value, rtol=0, atol=0)
    assert all(module.training for module in network.modules())


def test_inputs_outputs_and_operators():
    graph = trace(plain(Convolutions()), IMAGE).graph
    assert [value.name for value in graph.inputs] == ["input"]
    assert [value.name for value in graph.outputs] == ["probabilities"]
    operators = [node.op_type for node in graph]
    assert operators[-1] == "Softmax"
    assert operators.count("BatchNormalization") == 4
    assert "GlobalAveragePool" in operators
    assert "Sub" not in operators, "a normalisation that changes nothing costs nothing"
    assert not {"Shape", "Identity", "Constant", "Expand"} & set(operators)


def test_attention_casts_nothing_from_a_type_to_the_same():
    operators = {node.op_type for node in trace(plain(Tokens()), IMAGE).graph}
    assert "Softmax" in operators
    assert not {"Cast", "CastLike"} & operators


def test_a_shared_parameter_is_one_initializer_under_its_first_name():
    graph = trace(plain(Table(), 40), TABLE).graph
    assert "second.weight" in graph.initializers
    assert "third.weight" not in graph.initializers
    assert len(graph.initializers["second.weight"].uses()) == 2


def test_normalisation_is_inside_and_may_share_names_with_the_network():
    class WithMean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.mean = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.fc(x * self.mean)

    graph = trace(Classifier(WithMean(), [0.5] * 4, [0.25] * 4), (4,)).graph
    assert [node.op_type for node in graph] == ["Sub", "Div", "Mul", "Gemm", "Softmax"]
    assert set(graph.initializers) >= {"mean", "fc.weight", "fc.bias"}
    assert isinstance(graph.initializers["mean"], ir.Value)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Pixels(nn.Module):
    def forward(self, x):
        return x * 2


class OneRow(nn.Module):
    def forward(self, x):
        return x.reshape(2, 4)


@pytest.mark.parametrize(
    ("network", "shape", "reason"),
    [
        (Branching(), (4,), "cannot be exported to ONNX with a free batch size"),
        (Pixels(), (3, 4, 4), "one array of logits"),
        (OneRow(), (4,), "for any N"),
        (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), (4,), "ends with a softmax"),
        (nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), (4,), "ends with a sigmoid"),
    ],
)
def test_networks_that_are_no_classifiers_are_refused_in_one_line(network, shape, reason, capfd):
    with pytest.raises(UserError, match=reason) as raised:
        trace(plain(network, shape[0]), shape)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")  # torch would print the graph that it gave up on
    assert network.training

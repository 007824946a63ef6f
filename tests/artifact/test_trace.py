import onnx_ir as ir
import pytest
import torch
from nets import IMAGE, TABLE, Convolutions, Table, Tokens
from torch import nn

from edgepriv.artifact.session import started
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


class AlmostIdle(nn.Module):
    """Weight standardisation, and small numbers where they keep a root, a quotient and a logarithm finite."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        with torch.no_grad():
            self.conv.weight[0] = 0.5  # without variance: without the 1e-8 its standardised weights are not numbers

    def forward(self, x):
        weight = self.conv.weight
        spread = weight.std(dim=(1, 2, 3), keepdim=True) + 1e-8
        x = nn.functional.conv2d(x, (weight - weight.mean(dim=(1, 2, 3), keepdim=True)) / spread)
        x = x / (1e-9 + x.norm(dim=1, keepdim=True))
        x = torch.sqrt(x.mean(dim=(2, 3)) ** 2 - -1e-12) * 1.000004 / 0.999997
        return self.fc(torch.log(torch.relu(x) + torch.tensor(1e-5).double().float() * 1e-5))


def test_small_numbers_and_numbers_near_one_are_kept():
    torch.manual_seed(0)
    graph = trace(plain(AlmostIdle()), IMAGE).graph
    stored = [value.const_value.numpy() for value in graph.initializers.values()]
    kept = sorted(float(array) for array in stored if array.size == 1 and array.dtype == "float32" and array.ndim == 0)
    for number in (-1e-12, 1e-9, 1e-8, 1e-10, 0.999997, 1.000004):
        assert any(abs(other - number) <= 1e-6 * abs(number) for other in kept), (number, kept)


def test_what_divides_by_a_small_number_is_computed_as_in_torch():
    torch.manual_seed(0)
    classifier, x = plain(AlmostIdle()).eval(), torch.rand(5, *IMAGE)
    session = started(ir.to_proto(trace(classifier, IMAGE)).SerializeToString(), "the model")
    [answers] = session.run(None, {"input": x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(answers), classifier(x).softmax(1), rtol=0, atol=1e-3)

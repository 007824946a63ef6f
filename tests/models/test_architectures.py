"""Architectures by name: what they take, what they return, and what is said when they cannot."""

import math
import sys

import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models import build
from edgepriv.models.classifier import NAMED
from edgepriv.models.zoo import names


@pytest.mark.parametrize("input_shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", [*NAMED, "resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_images_become_logits(name, input_shape):
    network = build(name, 7, input_shape)
    logits = network.eval()(torch.rand(2, *input_shape))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


def test_a_table_becomes_logits_of_an_mlp():
    network = build("mlp", 30, (446,), widths=[8, 4])
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [
        (8, 446),
        (8,),
        (4, 8),
        (4,),
        (30, 4),
        (30,),
    ]
    assert network(torch.rand(5, 446)).shape == (5, 30)


@pytest.mark.parametrize(
    ("name", "input_shape", "published"),
    [("lenet", (1, 28, 28), 61_706), ("resnet20", (3, 32, 32), 272_474)],
)
def test_sizes_are_the_published_ones(name, input_shape, published):
    """ResNet-20 with projection shortcuts (option B) has 272,474; with option A it has 269,722."""
    assert sum(parameter.numel() for parameter in build(name, 10, input_shape).parameters()) == published


def test_small_images_keep_their_resolution_in_a_resnets_stem():
    small, large = (build("resnet18", 10, (3, size, size)) for size in (32, 96))
    assert small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, torch.nn.Identity)
    assert large.conv1.stride == (2, 2)


def test_weights_are_random_and_drawn_from_torchs_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build("cnn", 10, (1, 8, 8)).parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UserError) as error:
        build("resnet21", 10, (3, 32, 32))
    assert all(known in str(error.value) for known in ("resnet21", *NAMED, "resnet18", "package.module:factory"))
    assert "resnet18" in names()


@pytest.mark.parametrize(
    ("name", "input_shape", "arguments", "sentence"),
    [
        ("lenet", (446,), {}, "needs images of at least 12x12"),
        ("lenet", (1, 8, 8), {}, r"the inputs have shape \[1, 8, 8\]"),
        ("resnet20", (3, 4, 4), {}, "at least 8x8"),
        ("cnn", (1, 3, 3), {}, "at least 4x4"),
        ("cnn", (1, 8, 8), {"width": 0}, "width must be a positive whole number"),
        ("cnn", (1, 8, 8), {"depth": 3}, "does not take these arguments.*depth"),
        ("mlp", (4,), {"widths": []}, "widths must be positive whole numbers"),
        ("mlp", (4,), {"widths": [8, -1]}, "widths must be positive whole numbers"),
        ("mlp", (4,), {"widths": "64"}, "widths must be positive whole numbers, such as 512,256 .got '64'."),
        ("resnet18", (446,), {}, "needs images"),
        ("resnet18", (3, 32, 32), {"depth": 3}, "depth"),
        ("alexnet", (3, 16, 16), {}, "does not accept inputs"),
    ],
)
def test_what_an_architecture_cannot_take_is_one_sentence(name, input_shape, arguments, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        build(name, 10, input_shape, **arguments)
    assert "\n" not in str(error.value)


def test_one_width_is_one_hidden_layer():
    one, listed = (build("mlp", 3, (4,), widths=widths) for widths in (8, [8]))
    assert one.state_dict().keys() == listed.state_dict().keys()
    assert len(one.layers) == 2


# --- the user's own architectures ---


def test_a_factory_is_called_with_classes_shape_and_arguments(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import math, torch\n"
        "def tiny(num_classes, input_shape, bias=True):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(input_shape), num_classes, bias))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("my_nets:tiny", 3, (1, 4, 4), bias=False)
    assert network[1].in_features == math.prod((1, 4, 4))
    assert network[1].bias is None
    with pytest.raises(UserError, match=r"my_nets:tiny.*does not take these arguments.*depth"):
        build("my_nets:tiny", 3, (1, 4, 4), depth=2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 3", "returned int, not a torch.nn.Module"),
        ("raise RuntimeError('boom')", "cannot be made: RuntimeError: boom"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))", r"must return logits \[N, 3\].*returned \[2, 2\]"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(7, 3))", "does not take inputs float32"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Softmax(1))", "returns probabilities.*leave out"),
        (
            "class Wide(nn.Sequential):\n        def forward(self, x): return super().forward(x).double()\n"
            "    return Wide(nn.Flatten(), nn.Linear(16, 3), nn.Softmax(1))",
            "returns probabilities",
        ),
        ("return nn.LSTM(4, 3, batch_first=True)", "does not take inputs float32|must return logits"),
    ],
)
def test_a_factory_whose_network_is_no_classifier_is_one_sentence(tmp_path, monkeypatch, body, reason):
    name = f"wrong_nets_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"from torch import nn\ndef net(num_classes, input_shape):\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=reason):
        build(f"{name}:net", 3, (1, 4, 4))


def test_a_factory_is_looked_for_where_the_command_is_run(tmp_path, monkeypatch):
    (tmp_path / "nets_beside_me.py").write_text(
        "from torch import nn\ndef net(num_classes, input_shape):\n    return nn.Linear(input_shape[0], num_classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert build("nets_beside_me:net", 3, (4,)).out_features == 3


def test_looking_at_a_users_network_leaves_it_in_training_and_draws_nothing(tmp_path, monkeypatch):
    (tmp_path / "dropping.py").write_text(
        "from torch import nn\ndef net(num_classes, input_shape):\n"
        "    return nn.Sequential(nn.Dropout(), nn.Linear(input_shape[0], num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    network = build("dropping:net", 3, (4,))
    after = torch.rand(1)
    torch.manual_seed(0)
    torch.nn.Linear(4, 3)
    assert torch.equal(after, torch.rand(1))
    assert network.training


@pytest.mark.parametrize("name", ["absent_package.module:net", "math:no_such_function", ":net", "math:"])
def test_a_factory_that_cannot_be_imported_is_one_sentence(name):
    with pytest.raises(UserError, match="cannot be imported"):
        build(name, 3, (4,))


def test_something_else_than_a_factory_is_one_sentence():
    with pytest.raises(UserError, match="math:pi"):
        build("math:pi", 3, (4,))

"""Networks as torch's exporter writes them have twins through which gradients flow."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.session import open_session, predict
from edgepriv.models import Classifier


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells = kind(4, 6, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(self.cells(x)[0][:, -1])


class UNet(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode
        self.down, self.up = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Conv2d(5, 4, 3, padding=1)
        self.norm, self.fc = nn.GroupNorm(2, 4), nn.Linear(4, 3)

    def forward(self, x):
        low = functional.silu(self.norm(self.down(x)))
        back = functional.interpolate(low, size=x.shape[2:], mode=self.mode)
        return self.fc(functional.gelu(self.up(torch.cat([back, x], dim=1))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.block(x).mean(1))


NETWORKS = {
    "lstm": (lambda: Recurrent(nn.LSTM), (5, 4)),
    "bilinear": (lambda: UNet("bilinear"), (1, 8, 8)),
    "attention": (Attention, (5, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_network(name, tmp_path):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    classifier = (
        Classifier(make(), [0.5], [0.25]).eval() if len(shape) == 3 else Classifier(make(), [0.0], [1.0]).eval()
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(build_graph(classifier, {}, input_shape=shape, class_names="abc").content)
    x = torch.rand(7, *shape)
    twin = DeployedModel.open(path).differentiable(x.numpy())
    assert twin.max_difference < 1e-5
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    logits, expected = twin(ours), classifier(theirs)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    slopes = [
        torch.autograd.grad(functional.cross_entropy(out, torch.arange(7) % 3), one)[0]
        for out, one in ((logits, ours), (expected, theirs))
    ]
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-3)
    np.testing.assert_allclose(predict(open_session(path), x.numpy()), expected.softmax(1).detach().numpy(), atol=1e-5)

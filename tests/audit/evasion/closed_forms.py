"""Models whose nearest wrong input is known, with inputs so far inside [0, 1] that its edges do not matter."""

import numpy as np
import torch
from torch import nn

DUAL = {"linf": 1, "l2": 2}
"""Order of the norm that is dual to each."""


class Linear(nn.Module):
    """Logits W x + b of ``classes``, and the distance to the nearest other class in closed form."""

    def __init__(self, classes, features=12, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.weight = torch.from_numpy(rng.standard_normal((classes, features)).astype(np.float32))
        self.bias = -(self.weight @ torch.full((features,), 0.5))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias

    def distances(self, x, y, norm):
        """Float64 [n]: by Hölder, each margin over the dual norm of the difference of two rows."""
        logits, weight = self(x).double(), self.weight.double()
        away = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=DUAL[norm], dim=2)
        margins = logits.gather(1, y[:, None]) - logits
        return (margins / away).scatter(1, y[:, None], torch.inf).amin(dim=1).numpy()


class Polytope(nn.Module):
    """Class 0 inside an intersection of half-spaces, class 1 outside: the logit of 1 is the largest of ``faces`` linear
    functions, each with a slope of dual norm 1, so that the nearest face is as far as its value says."""

    def __init__(self, norm, faces=7, features=12, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        normals = rng.standard_normal((faces, features))
        normals /= np.linalg.norm(normals, ord=DUAL[norm], axis=1, keepdims=True)
        self.normals = torch.from_numpy(normals.astype(np.float32))
        self.offset = torch.full((faces,), 0.08) + self.normals @ torch.full((features,), 0.5)

    def forward(self, x):
        outside = (x.flatten(1) @ self.normals.T - self.offset).amax(dim=1)
        return torch.stack([torch.zeros_like(outside), outside], dim=1)

    def distances(self, x, y, norm):
        """Float64 [n], of inputs inside."""
        return -self(x)[:, 1].double().numpy()


def inputs(model, count=60, features=12, spread=0.05, seed=1):
    """Inputs around 0.5, with the model's own labels."""
    x = torch.from_numpy(
        (0.5 + spread * np.random.default_rng(seed).uniform(-1, 1, (count, features))).astype(np.float32)
    )
    return x, model(x).argmax(dim=1)


def length(change, norm):
    return change.flatten(1).abs().amax(dim=1) if norm == "linf" else change.flatten(1).norm(dim=1)

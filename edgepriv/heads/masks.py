"""Heads that are part of the graph: float32 [N, K] probabilities -> float32 [N, K] probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.files import written_aside
from edgepriv.heads.values import mask_values
from edgepriv.models.reading import load_tensors
from edgepriv.models.small import MLP
from edgepriv.recipe.defences.heads import REGENERATORS

FORMAT_VERSION = 1
IN_GRAPH = REGENERATORS


class Generator(nn.Module):
    """The generative model of Ding et al. 2023, section 3.2: a perceptron with one layer wider than its ends, and a softmax.

    The paper gives no width; ours is 4K, at least 64 and at most K + 1024.
    """

    kind = "generator"

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.width = min(max(64, 4 * classes), classes + 1024)
        self.network = MLP(classes, (classes,), (self.width,))

    @property
    def layers(self) -> list[nn.Linear]:
        """Its two Linears; a ReLU stands between them."""
        return [layer for layer in self.network.layers if isinstance(layer, nn.Linear)]

    def forward(self, probabilities: Tensor) -> Tensor:
        """Other probabilities in place of those of the model.

        Args:
            probabilities: [n, K].

        Returns:
            [n, K], rows sum to 1.
        """
        generated: Tensor = self.network(probabilities).softmax(1)
        return generated


class Rank(nn.Module):
    """Our own mask: the values of Algorithm 2, each placed at the class that has its rank.

    Equal probabilities rank in the order of the classes, as argmax breaks ties: the label never changes, and every answer
    is a permutation of the same values.
    """

    kind = "rank"
    values: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(mask_values(classes), dtype=torch.float32))

    def forward(self, probabilities: Tensor) -> Tensor:
        """The same values for every answer, placed by the rank of its classes.

        Args:
            probabilities: [n, K].

        Returns:
            [n, K]; labels are kept.
        """
        order = probabilities.sort(dim=1, descending=True, stable=True).indices
        return torch.empty_like(probabilities).scatter_(1, order, self.values.expand(len(order), -1))


Mask = Generator | Rank


def build(method: str, classes: int) -> Mask:
    """A new head.

    Args:
        method: in ``IN_GRAPH``.
        classes: K.

    Returns:
        The head; a Generator has random weights.
    """
    return Rank(classes) if method == "rank" else Generator(classes)


@torch.no_grad()
def masked(head: nn.Module, probabilities: np.ndarray) -> np.ndarray:
    """What a head makes of answers, in numpy.

    Args:
        head: in eval mode.
        probabilities: float32 [n, K].

    Returns:
        float32 [n, K].
    """
    if not len(probabilities):
        return probabilities
    given = torch.from_numpy(np.ascontiguousarray(probabilities, np.float32))
    return torch.cat([head(part) for part in given.split(4096)]).numpy()


def record_of(method: str, classes: int, state: dict[str, Tensor]) -> dict[str, Any]:
    """What checkpoints and head files hold of a head.

    Args:
        method: of the head.
        classes: K.
        state: its weights by name.

    Returns:
        The record, with copies of the weights.
    """
    state = {name: value.detach().clone().contiguous() for name, value in state.items()}
    return {"format_version": FORMAT_VERSION, "method": method, "classes": classes, "state_dict": state}


def from_record(record: dict[str, Any], classes: int, where: str) -> Mask:
    """The head that a record describes.

    Args:
        record: as ``record_of`` returns it.
        classes: K of the model.
        where: its origin, for the message.

    Returns:
        The head in eval mode.

    Raises:
        UserError: for a record that holds no head, and for one of another number of classes.
    """
    try:
        if record["format_version"] != FORMAT_VERSION or record["method"] not in IN_GRAPH:
            raise UserError(f"{where} holds no head that this edgepriv can read")
        if record["classes"] != classes:
            raise UserError(
                f"the head in {where} is for {record['classes']} classes, but the model has {classes}: train one for it"
            )
        head = build(record["method"], classes)
        head.load_state_dict(record["state_dict"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{where} holds no head of a model: take a model.head.pt that harden wrote") from error
    return head.eval()


def save(path: Path, record: dict[str, Any]) -> None:
    """Write model.head.pt, whole or not at all.

    Args:
        path: of the file.
        record: as ``record_of`` returns it.
    """
    with written_aside(path) as aside, aside.open("wb") as handle:
        torch.save(record, handle)


def load(path: Path, method: str, classes: int) -> dict[str, Any]:
    """The head in a model.head.pt.

    Args:
        path: of the file.
        method: that was asked for.
        classes: K of the model.

    Returns:
        The record.

    Raises:
        UserError: for a file that holds no head, or one of another method or number of classes.
    """
    record = load_tensors(path)
    from_record(record, classes, str(path))
    if record["method"] != method:
        raise UserError(f"{path} holds a head of the method {record['method']}: pass --regenerate {record['method']}")
    return record

"""An attack network of three subnetworks: on the prediction, on its label, and on both (Nasr et al. 2018; 2019)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence

WIDTH, EPOCHS, BATCH, LEARNING_RATE, SPREAD = 64, 100, 256, 1e-3, 0.01
# Beyond this the network learns no better, only longer.
MOST = 5_000


class ThreeSubnets(nn.Module):
    """(probabilities [n, K], one-hot labels [n, K]) -> logit of membership [n].

    Kassa, Adi & Bouhaddi, section 5.1: three fully connected subnets on the prediction vector, the one-hot label, and
    their concatenation; ReLU; weights from N(0, 0.01), biases zero. The paper gives no widths; here the first two have
    64 units in two and one layers, and the third joins what both found, as in Nasr, Shokri & Houmansadr 2018.
    """

    def __init__(self, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.prediction = nn.Sequential(nn.Linear(classes, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.label = nn.Sequential(nn.Linear(classes, WIDTH), nn.ReLU())
        self.both = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, SPREAD, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """The network's answer.

        Args:
            probabilities: [n, K].
            labels: one-hot [n, K], of the same type.

        Returns:
            Logit of membership [n].
        """
        joined = torch.cat([self.prediction(probabilities), self.label(labels)], dim=1)
        logit: Tensor = self.both(joined).squeeze(1)
        return logit


def three_subnet(evidence: Evidence) -> Floats:
    """Logit of P(member) by the network, trained on the shadow model (Adam, 0.001, 100 epochs, cross-entropy).

    At most 5,000 of the shadow model's examples are used, in batches of 256.

    Args:
        evidence: with a shadow model.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without a shadow model, or with one of another number of classes.
    """
    shadow = evidence.shadow
    if shadow is None:
        raise Unavailable("needs a shadow model")
    classes = evidence.target.probabilities.shape[1]
    if shadow.outputs.probabilities.shape[1] != classes:
        known_classes = shadow.outputs.probabilities.shape[1]
        raise Unavailable(f"the shadow model has {known_classes} classes, the target {classes}")
    generator = torch.Generator().manual_seed(evidence.seed)
    with _one_thread():
        network = ThreeSubnets(classes, generator)
        chosen = torch.randperm(len(shadow.member), generator=generator)[:MOST].numpy()
        known = shadow.take(chosen)
        _train(network, _tensors(known.outputs, torch.float32), torch.from_numpy(known.member).float(), generator)
        # Asked about equal answers once: a float's last digits depend on its place in the batch.
        target = evidence.target
        rows = np.column_stack([target.probabilities, target.labels])
        _, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        with torch.no_grad():
            logits: Floats = network.double()(*_tensors(target.take(first), torch.float64)).numpy()
        return logits[place.reshape(-1)]


def _train(network: nn.Module, examples: tuple[Tensor, Tensor], member: Tensor, generator: torch.Generator) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(member), generator=generator).split(BATCH):
            logits = network(*(part[batch] for part in examples))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, member[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def _tensors(outputs: Outputs, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    probabilities = torch.from_numpy(np.ascontiguousarray(outputs.probabilities)).to(dtype)
    return probabilities, nn.functional.one_hot(torch.from_numpy(outputs.labels), probabilities.shape[1]).to(dtype)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small only lose by being shared out to threads; and sums in another order are other numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

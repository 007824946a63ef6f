"""Fixed public features in front of a network: what no data had a part in, and no training changes."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from edgepriv.models.scattering import FixedConv2d, Scattering

FEATURES: dict[str, Callable[[Sequence[int]], Scattering]] = {"scattering": Scattering}
"""Name -> factory of a module that has no parameters to train and says the ``shape`` of its features."""
PREFIX = "features"


class TrainedLayers(nn.Module):
    """A network under the names that it has behind its features, which its inputs are."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of features [N, ...]."""
        logits: Tensor = self.head(x)
        return logits


class Featured(TrainedLayers):
    """A network behind fixed features of its inputs."""

    def __init__(self, features: Scattering, head: nn.Module) -> None:
        super().__init__(head)
        self.features = features
        self._modules = {PREFIX: features, "head": head}  # in the order in which they are computed

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of inputs [N, ...]."""
        return super().forward(self.features(x))


def network_shape(features: str, input_shape: Sequence[int]) -> tuple[int, ...]:
    """What a network sees behind features.

    Args:
        features: "none", or a key of ``FEATURES``.
        input_shape: of one example.

    Returns:
        The shape of its inputs.

    Raises:
        UserError: for examples that have no such features.
    """
    return tuple(input_shape) if features == "none" else tuple(FEATURES[features](input_shape).shape)


def fixed_layers(network: nn.Module) -> set[str]:
    """The layers whose weights no training changes.

    Args:
        network: any.

    Returns:
        Their names.
    """
    return {name for name, module in network.named_modules() if isinstance(module, FixedConv2d)}

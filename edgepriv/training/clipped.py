"""Sums of clipped gradients of single examples, from one backward pass over the batch (Li et al. 2022; Bu et al. 2023).

A linear layer's gradient of one example is the outer product of what comes in and what comes back, so its norm needs no
gradient: that is what makes a large layer cheap. Only for networks that are known to answer each example by itself: another one
might mix the batch in its forward, and one example would then move the gradients of others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from edgepriv.models import small
from edgepriv.models.features import Featured, TrainedLayers
from edgepriv.models.scattering import FixedConv2d, Scattering

_KNOWN = {
    small.LeNet5, small.MLP, small.LinearModel, nn.ModuleList, nn.Linear, nn.Conv2d,
    Featured, TrainedLayers, Scattering, FixedConv2d,
}  # fmt: skip
"""Types of modules that keep examples apart, and use each Linear and Conv2d once. ``SmallCNN`` does too, but its wide maps
unfold into more than vmap computes: 0.5x of its speed was measured."""
_UNFOLDED_AT_ONCE = 16_000_000
"""Numbers in the windows of a convolution's inputs that are held in memory at a time."""


def keeps_apart(network: nn.Module) -> bool:
    """Whether a network is known to answer each example of a batch by itself.

    Args:
        network: any.

    Returns:
        True if ``clipped_sums`` is right for it.
    """
    return all(type(module) in _KNOWN for module in network.modules())


def clipped_sums(
    network: nn.Module, x: Tensor, y: Tensor, clip: float, copies: int = 1
) -> tuple[Mapping[Tensor, Tensor], Tensor, Tensor]:
    """The sum over a batch of each example's gradient, scaled down to at most ``clip``.

    Args:
        network: which ``keeps_apart``.
        x: what the network sees, [B x copies, ...], the copies of an example one after another.
        y: labels int64 [B x copies].
        clip: bound on the L2 norm of an example's gradient of the cross-entropy, over all parameters that are trained.
        copies: of each example, whose mean gradient is its gradient.

    Returns:
        Parameter -> sum, cross-entropies [B x copies], and logits [B x copies, K].
    """
    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(own.requires_grad for own in module.parameters())
    ]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    hooks = [
        layer.register_forward_hook(lambda own, given, out: seen.update({own: (given[0], out)})) for layer in layers
    ]
    try:
        logits = network(x).float()
    finally:
        for hook in hooks:
            hook.remove()
    losses = functional.cross_entropy(logits, y, reduction="none")
    returned = torch.autograd.grad(losses.sum() / copies, [seen[layer][1] for layer in layers])
    with torch.no_grad():
        squares = torch.zeros(len(x) // copies, device=x.device)
        for layer, back in zip(layers, returned, strict=True):
            squares += _squared_norms(layer, seen[layer][0], back, copies)
        factors = (clip / squares.clamp(min=1e-24).sqrt()).clamp(max=1).repeat_interleave(copies)
        sums: dict[Tensor, Tensor] = {}
        for layer, back in zip(layers, returned, strict=True):
            scaled = back * factors.view(-1, *[1] * (back.ndim - 1))
            if layer.weight.requires_grad:
                sums[layer.weight] = _weight_gradient(layer, seen[layer][0], scaled)
            if layer.bias is not None and layer.bias.requires_grad:
                sums[layer.bias] = scaled.sum(0) if back.ndim == 2 else scaled.sum((0, 2, 3))
    return sums, losses.detach(), logits.detach()


def _squared_norms(layer: nn.Linear | nn.Conv2d, given: Tensor, back: Tensor, copies: int) -> Tensor:
    """Of each example's gradient of the layer's parameters, [B]; of ``given`` and ``back`` [B x copies, ...]."""
    total = torch.zeros(len(given) // copies, device=given.device)
    if layer.bias is not None and layer.bias.requires_grad:
        total += (back if back.ndim == 2 else back.sum((2, 3))).unflatten(0, (-1, copies)).sum(1).square().sum(1)
    if not layer.weight.requires_grad:
        return total
    if isinstance(layer, nn.Linear):
        return total + (_products(back, copies) * _products(given, copies)).sum((1, 2))
    assert layer.groups == 1
    assert not isinstance(layer.padding, str)  # so in every known network
    given, back = given.unflatten(0, (-1, copies)), back.unflatten(0, (-1, copies))
    windows = copies * layer.weight[0].numel() * back[0, 0, 0].numel()
    for rows in torch.arange(len(given), device=given.device).split(max(1, _UNFOLDED_AT_ONCE // windows)):
        own = given[rows].flatten(0, 1)
        unfolded = functional.unfold(own, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        each = back[rows].flatten(3), unfolded.unflatten(0, (-1, copies))
        total[rows] += torch.einsum("bcop,bckp->bok", *each).square().sum((1, 2))
    return total


def _products(vectors: Tensor, copies: int) -> Tensor:
    """Of the vectors [B x copies, n] of an example with each other: [B, copies, copies]."""
    own = vectors.unflatten(0, (-1, copies))
    return torch.bmm(own, own.transpose(1, 2))


def _weight_gradient(layer: nn.Linear | nn.Conv2d, given: Tensor, back: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return back.t() @ given
    gradient: Tensor = conv2d_weight(
        given, list(layer.weight.shape), back, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    return gradient

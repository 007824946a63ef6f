"""Sums of clipped gradients of single examples, from one backward pass over the batch (Li et al. 2022; Bu et al. 2023).

A linear layer's gradient of one example is the outer product of what comes in and what comes back, so its norm needs no
gradient: that is what makes a large layer cheap. A convolution's gradients of single examples are products of matrices, and few
are held at a time. Only for networks that are known to answer each example by itself: another one might mix the batch in its
forward, and one example would then move the gradients of others.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.models import small
from edgepriv.models.features import Featured, TrainedLayers
from edgepriv.models.scattering import FixedConv2d, Scattering

_KNOWN = {
    small.LeNet5, small.SmallCNN, small.MLP, small.LinearModel, small.ResNet20, small.ResidualBlock,
    nn.Sequential, nn.ModuleList, nn.Linear, nn.Conv2d, nn.GroupNorm,
    Featured, TrainedLayers, Scattering, FixedConv2d,
}  # fmt: skip
"""Types of modules that keep examples apart, and use each of their layers once."""
_TRAINED = nn.Linear, nn.Conv2d, nn.GroupNorm
_IN_CACHE, _IN_MEMORY = 800_000, 16_000_000
"""Numbers in the shifted inputs of a convolution that are held at a time: by a processor, whose cache they should fit (LeNet-5,
the small CNN and ResNet-20 were measured with 8 to 512 examples at a time), and by other devices."""
_GRADIENTS_AT_ONCE = 4_000_000
"""Numbers in the gradients of single examples that are held in memory at a time."""


def keeps_apart(network: nn.Module) -> bool:
    """Whether a network is known to answer each example of a batch by itself.

    Args:
        network: any.

    Returns:
        True if ``clipped_sums`` is right for it.
    """
    return all(type(module) in _KNOWN and not _is_special(module) for module in network.modules())


def _is_special(module: nn.Module) -> bool:
    """Whether somebody has changed what a module computes, or it is a convolution of another kind."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return True
    if isinstance(module, nn.Linear | nn.GroupNorm):
        return module.weight is not None and not isinstance(module.weight, nn.Parameter)
    if not isinstance(module, nn.Conv2d) or isinstance(module, FixedConv2d):
        return False
    return (
        not isinstance(module.weight, nn.Parameter)
        or module.groups > 1
        or module.padding_mode != "zeros"
        or isinstance(module.padding, str)
    )


def examples_at_once(network: nn.Module, x: Tensor, most: int) -> int:
    """How many examples ``clipped_sums`` should be given at a time: what it holds of them is bounded, and fits a cache.

    Args:
        network: which ``keeps_apart``.
        x: what the network sees of one example, [copies, ...].
        most: examples at a time.

    Returns:
        From 1 to ``most``.
    """
    windows, numbers = [1], [1]

    def measure(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        if layer.weight.requires_grad:
            shifts = layer.kernel_size[1] if layer.stride == (1, 1) else layer.weight[0, 0].numel()
            windows.append(out.shape[0] * shifts * layer.in_channels * out[0, 0].numel())
            numbers.append(out.shape[0] * layer.weight.numel())

    layers = [module for module in network.modules() if type(module) is nn.Conv2d]
    hooks = [layer.register_forward_hook(measure) for layer in layers]
    try:
        if layers:
            with torch.no_grad():
                network(x)
    finally:
        for hook in hooks:
            hook.remove()
    limit = _IN_CACHE if x.device.type == "cpu" else _IN_MEMORY
    return max(1, min(most, limit // max(windows), _GRADIENTS_AT_ONCE // sum(numbers)))


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
        if isinstance(module, _TRAINED) and any(own.requires_grad for own in module.parameters())
    ]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def remember(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        if layer in seen:
            raise RuntimeError(f"{type(layer).__name__} is used twice: its gradients would be of its last use alone")
        seen[layer] = given[0], out

    hooks = [layer.register_forward_hook(remember) for layer in layers]
    try:
        logits = network(x).float()
    finally:
        for hook in hooks:
            hook.remove()
    losses = functional.cross_entropy(logits, y, reduction="none")
    layers = [layer for layer in layers if layer in seen]
    returned = torch.autograd.grad(losses.sum() / copies, [seen[layer][1] for layer in layers])
    with torch.no_grad():
        factored, gradients = _of_each(layers, [seen[layer][0] for layer in layers], returned, copies)
        squares = logits.new_zeros(len(x) // copies)
        for each in gradients.values():
            squares += torch.linalg.vector_norm(each.flatten(1), dim=1).square()
        for given, back in factored.values():
            exact = torch.float64 if given.shape[1] > 1 and given.device.type != "mps" else given.dtype
            # Of several copies the products may cancel, and a norm that is too small would not be clipped.
            squares += (_products(given.to(exact)) * _products(back.to(exact))).sum((1, 2))
        factors = (clip / squares.clamp(min=1e-24).sqrt()).clamp(max=1)
        sums: dict[Tensor, Tensor] = {}
        for parameter, each in gradients.items():
            total = torch.tensordot(factors, each, 1)
            sums[parameter] = total.movedim(-1, 1) if total.ndim == 4 else total
        for parameter, (given, back) in factored.items():
            sums[parameter] = (back * factors.view(-1, 1, 1)).flatten(0, 1).t() @ given.flatten(0, 1)
    return sums, losses.detach(), logits.detach()


def _of_each(
    layers: Sequence[nn.Module], inputs: Sequence[Tensor], returned: Sequence[Tensor], copies: int
) -> tuple[dict[Tensor, tuple[Tensor, Tensor]], dict[Tensor, Tensor]]:
    """Parameter -> the two factors of each example's gradient, [B, n, in] and [B, n, out], and parameter -> the gradients."""
    factored: dict[Tensor, tuple[Tensor, Tensor]] = {}
    whole: dict[Tensor, Tensor] = {}
    for layer, *pair in zip(layers, inputs, returned, strict=True):
        given, back = (each.unflatten(0, (-1, copies)) for each in pair)
        if isinstance(layer, nn.Linear):
            given, back = given.flatten(1, -2), back.flatten(1, -2)
            factored[layer.weight] = given, back
        elif isinstance(layer, nn.Conv2d) and layer.weight.requires_grad:
            whole[layer.weight] = _of_convolution(layer, given, back)
        elif isinstance(layer, nn.GroupNorm) and layer.weight.requires_grad:
            whole[layer.weight] = _of_group_norm(layer, given, back)
        if isinstance(layer.bias, nn.Parameter) and layer.bias.requires_grad:
            whole[layer.bias] = back if isinstance(layer, nn.Linear) else _over_places(back)
    factored = {parameter: each for parameter, each in factored.items() if parameter.requires_grad}
    # A sum over single copies would copy all of it.
    return factored, {parameter: each[:, 0] if each.shape[1] == 1 else each.sum(1) for parameter, each in whole.items()}


def _over_places(values: Tensor) -> Tensor:
    """[B, copies, channels, ...] -> their sums [B, copies, channels]."""
    return values if values.ndim == 3 else values.flatten(3).sum(3)


def _products(vectors: Tensor) -> Tensor:
    """Of the vectors [B, n, F] of an example with each other: [B, n, n]."""
    return torch.bmm(vectors, vectors.transpose(1, 2))


def _of_convolution(layer: nn.Conv2d, given: Tensor, back: Tensor) -> Tensor:
    """Each copy's gradient of the weight, with its inputs last: [B, copies, out, height, width, in].

    The inputs are copied once for each column of the kernel. With a stride of 1 its rows are then ranges of one matrix, and
    nothing more is copied.
    """
    assert not isinstance(layer.padding, str)
    (rows, columns), (down, right), (below, beside) = layer.kernel_size, layer.stride, layer.dilation
    height, width = back.shape[-2:]
    padded = functional.pad(given.flatten(0, 1), [layer.padding[side] for side in (1, 1, 0, 0)])
    shifted = [
        padded[..., start : start + right * (width - 1) + 1 : right] for start in range(0, columns * beside, beside)
    ]
    inputs = torch.cat(shifted, 1)
    each = [
        torch.bmm(
            back.flatten(0, 1).flatten(2),
            inputs[:, :, start : start + down * (height - 1) + 1 : down].flatten(2).transpose(1, 2),
        )
        for start in range(0, rows * below, below)
    ]
    gradients: Tensor = torch.stack(each, 2).unflatten(3, (columns, -1)).unflatten(0, back.shape[:2])
    return gradients


def _of_group_norm(layer: nn.GroupNorm, given: Tensor, back: Tensor) -> Tensor:
    """Each copy's gradient of the weight, [B, copies, channels]."""
    normalised = functional.group_norm(given.flatten(0, 1), layer.num_groups, eps=layer.eps).view_as(given)
    return _over_places(normalised * back)

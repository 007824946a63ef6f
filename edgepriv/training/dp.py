"""Differentially private SGD (Abadi et al. 2016, Algorithm 1), accounted by Opacus.

Each step samples every member by itself (Poisson sampling, which the accounting assumes), clips the gradient of each example,
adds Gaussian noise to their sum and hands the mean to the optimizer, which sees nothing else of the members. What is proven:
adding or removing one member changes the probability of any weights by at most a factor e^epsilon, but for delta.

Not covered: the number of members, which counts as public; the normalisation, which must not be computed from the members; the
choice of hyperparameters by trying them out on the members; the validation examples that choose an epoch; the history of
training losses in a checkpoint, which is the owner's own; an attacker who knows the draws (``dp_draws``). Noise is added in
float64 and the sum is rounded to the gradient's own type, which hides the lowest bits of both (Mironov 2012 tells examples by
them); that is no proof for floating-point numbers.
"""

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from edgepriv.errors import UserError
from edgepriv.models.group_norm import is_replaceable
from edgepriv.models.rounded_activations import calling
from edgepriv.training.clipped import clipped_sums, examples_at_once, keeps_apart
from edgepriv.training.dp_draws import normal
from edgepriv.training.dp_plan import Plan

_UNMAPPED = (nn.GRU, nn.RNN)
"""Layers whose kernels ``torch.func.vmap`` cannot map over examples."""
_NUMBERS_AT_ONCE, _EXAMPLES_AT_ONCE = 4_000_000, 1024
"""Of the gradients of single examples that are held in memory at a time; of examples, where few such gradients are."""


def refuse_unsupported(network: nn.Module, still: Collection[str] = ()) -> None:
    """Refuse a network that cannot be trained with differential privacy.

    Each example's gradient is of a copy of a parameter that is passed in under one of its names.

    Args:
        network: to be trained.
        still: names of modules that stay in eval mode, where a batch normalization mixes nothing.

    Raises:
        UserError: when a layer mixes the examples of a batch, or has no gradient for each of them, or when layers share a
            parameter.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shared = next((together for together in names.values() if len(together) > 1), None)
    if shared is not None:
        raise UserError(
            f"{' and '.join(shared)} are one parameter: a model whose layers share weights cannot be trained with "
            "differential privacy here; give each layer its own"
        )

    for name, module in network.named_modules():
        where = f"layer {name or 'the network'} ({type(module).__name__})"
        if isinstance(module, _UNMAPPED):
            raise UserError(
                f"{where} cannot be trained with differential privacy: torch finds no gradient of each example by itself for "
                "it; nn.LSTM in its place can be"
            )
        if (isinstance(module, _BatchNorm) and name not in still) or _tracks(module):
            remedy = (
                "train it from random weights with --norm group; trained weights rely on the one that they had in training, so "
                "freeze such layers of a pretrained network (--freeze, --train-last)"
                if is_replaceable(module)
                else "put another layer in its place (nn.GroupNorm for a normalization), which --norm group does not do here; "
                "or freeze it with public weights (--start-weights, --freeze, --train-last)"
            )
            raise UserError(
                f"{where} cannot be trained with differential privacy, which needs the gradient of each example by itself: "
                f"take a model without such layers (lenet, cnn, mlp), or {remedy}"
            )


def _tracks(module: nn.Module) -> bool:
    """Whether statistics of the members stay in a layer's buffers, without noise."""
    return isinstance(module, _InstanceNorm) and module.track_running_stats


def add_clipped_gradients(
    network: nn.Module, weights: Mapping[str, Tensor], x: Tensor, y: Tensor, plan: Plan
) -> tuple[Tensor, Tensor]:
    """Add the sum of clipped gradients of some examples to ``grad`` of every parameter.

    Args:
        network: to be trained.
        weights: differentiable functions of the parameters that stand in for some of them, such as fake-quantized ones; an
            example's gradient is carried through them before it is clipped.
        x: what the network sees, [B x copies, ...], the copies of an example one after another; B may be 0.
        y: labels int64 [B x copies].
        plan: clipping and copies (De et al. 2022: the mean of an example's copies is clipped once).

    Returns:
        The mean cross-entropy (0 for no examples) and logits [B x copies, K].
    """
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for parameter in parameters.values():
        _add(parameter, torch.zeros_like(parameter))
    most = max(1, _EXAMPLES_AT_ONCE // plan.copies)
    if not weights and keeps_apart(network):
        rows = examples_at_once(network, x[: plan.copies], most) if len(x) else most
        summed = _without_gradients_of_each(network, parameters, plan)
    else:
        numbers = max(1, sum(value.numel() for value in parameters.values()))
        rows, summed = (
            min(most, max(1, _NUMBERS_AT_ONCE // numbers)),
            _by_gradients_of_each(network, parameters, weights, plan),
        )
    rows *= plan.copies
    losses, logits = [], []
    for start in range(0, len(x), rows):
        own, loss, answers = summed(x[start : start + rows], y[start : start + rows])
        for name, each in own.items():
            _add(parameters[name], each)
        losses.append(loss)
        logits.append(answers)
    if not losses:
        return torch.zeros(()), x.new_zeros((0, 1))
    return torch.cat(losses).mean(), torch.cat(logits)


def add_noise(network: nn.Module, plan: Plan, generator: torch.Generator | None) -> None:
    """Make ``grad`` of every parameter (sum of clipped gradients + noise) / expected batch size.

    Args:
        network: with the sums in ``grad``.
        plan: noise and clipping.
        generator: of the noise; None for the operating system's.
    """
    std = plan.noise_multiplier * plan.clip
    for parameter in network.parameters():
        if parameter.requires_grad and std > 0:
            exact = torch.float32 if parameter.device.type == "mps" else torch.float64  # which Metal does not have
            total = normal(parameter.shape, std, generator).to(parameter.device, exact)
            if parameter.grad is not None:
                total += parameter.grad
            parameter.grad = (total / plan.expected).to(parameter.dtype)
        elif parameter.requires_grad and parameter.grad is not None:
            parameter.grad /= plan.expected


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)


_Sums = Callable[[Tensor, Tensor], tuple[Mapping[str, Tensor], Tensor, Tensor]]
"""(x [B x copies, ...], y) -> sums of clipped gradients by name, losses, and logits [B x copies, K]."""


def _without_gradients_of_each(network: nn.Module, parameters: Mapping[str, nn.Parameter], plan: Plan) -> _Sums:
    def summed(x: Tensor, y: Tensor) -> tuple[Mapping[str, Tensor], Tensor, Tensor]:
        sums, losses, logits = clipped_sums(network, x, y, plan.clip, plan.copies)
        return {name: sums[value] for name, value in parameters.items() if value in sums}, losses, logits

    return summed


def _by_gradients_of_each(
    network: nn.Module, parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor], plan: Plan
) -> _Sums:
    per_example = _per_example(network, dict(network.named_parameters()) | dict(weights))

    def summed(x: Tensor, y: Tensor) -> tuple[Mapping[str, Tensor], Tensor, Tensor]:
        gradients, (losses, logits) = per_example(*(each.unflatten(0, (-1, plan.copies)) for each in (x, y)))
        gradients = _to_parameters(weights, parameters, gradients)
        norms = torch.stack([each.flatten(1).norm(dim=1) for each in gradients.values()]).norm(dim=0)
        factors = (plan.clip / norms.clamp(min=1e-12)).clamp(max=1)
        sums = {name: torch.tensordot(factors, each, dims=1) for name, each in gradients.items()}
        return sums, losses, logits.flatten(0, 1)

    return summed


_Gradients = Callable[[Tensor, Tensor], tuple[dict[str, Tensor], tuple[Tensor, Tensor]]]


def _per_example(network: nn.Module, weights: Mapping[str, Tensor]) -> _Gradients:
    """(x [B, copies, ...], y) -> gradients by name [B, *shape], losses [B], logits [B, copies, K]."""
    constants = {name: value.detach() for name, value in weights.items() if value.requires_grad}
    others = {name: value.detach() for name, value in weights.items() if not value.requires_grad}

    asked = calling(network)

    def loss_of(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = asked(others | weights, x).float()
        return functional.cross_entropy(logits, y), logits

    # Dropout draws for each example by itself.
    mapped = vmap(grad_and_value(loss_of, has_aux=True), in_dims=(None, 0, 0), randomness="different")

    def gradients(x: Tensor, y: Tensor) -> Any:
        try:
            with warnings.catch_warnings():  # that a layer is mapped slowly
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                return mapped(constants, x, y)
        except RuntimeError as error:
            if "vmap" not in str(error) and "batching rule" not in str(error):
                raise
            raise UserError(
                f"this model cannot be trained with differential privacy: torch finds no gradient of each example ({error})"
            ) from error

    return gradients


def _to_parameters(
    weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Gradients with respect to the ``weights`` that stood in, carried on to the parameters behind them."""
    carried = {name: gradients[name] for name in parameters if name not in weights}
    stood_in = [name for name, value in weights.items() if value.requires_grad]
    if stood_in:
        parameter_gradients = torch.autograd.grad(
            [weights[name] for name in stood_in],
            list(parameters.values()),
            [gradients[name] for name in stood_in],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
        for name, each in zip(parameters, parameter_gradients, strict=True):
            if each is not None:
                carried[name] = carried[name] + each if name in carried else each
    return carried

"""Batch normalization folded into convolutions while its statistics are frozen, as they are during an attack.

An attack runs the network forwards and backwards many times with fixed weights and running statistics; there a batch
normalization is an affine map that the convolution before it can absorb; it took 29% of a ResNet-20 attack's time.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call


@dataclass(frozen=True)
class Fused:
    """``module``: the network in eval mode without the batch normalizations that ``pairs`` (convolution, normalization,
    by name) name. Weights are passed at each call, so it follows the network as it trains."""

    module: nn.Module
    pairs: tuple[tuple[str, str], ...]

    def __call__(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Logits of ``x`` under ``weights``, the result of ``absorbed``."""
        logits: Tensor = functional_call(self.module, dict(weights), (x,))
        return logits

    def absorbed(self, network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a network with each folded pair's affine map moved into the convolution.

        w' = w * gamma / sqrt(var + eps), b' = (b - mean) * gamma / sqrt(var + eps) + beta.

        Args:
            network: that was folded.
            weights: by parameter name.

        Returns:
            These and the network's buffers, for the folded network.
        """
        result = dict(weights) | dict(network.named_buffers())
        for conv, norm in self.pairs:
            module = network.get_submodule(norm)
            gamma = result.pop(f"{norm}.weight")
            beta = result.pop(f"{norm}.bias")
            mean, variance = result.pop(f"{norm}.running_mean"), result.pop(f"{norm}.running_var")
            result.pop(f"{norm}.num_batches_tracked", None)
            factor = gamma * torch.rsqrt(variance + float(module.eps))  # type: ignore[arg-type]
            weight = result[f"{conv}.weight"]
            bias = result.get(f"{conv}.bias", torch.zeros_like(mean))
            result[f"{conv}.weight"] = weight * factor.view(-1, *(1,) * (weight.ndim - 1))
            result[f"{conv}.bias"] = (bias - mean) * factor + beta
        return result


def fuse(network: nn.Module) -> Fused | None:
    """Fold the batch normalizations of a network into the convolutions before them.

    Args:
        network: left as it is.

    Returns:
        The folded network; None when there is nothing to fold or the network's code cannot be traced.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return None
    if network._forward_pre_hooks or network._forward_hooks:
        return None  # tracing starts behind them
    try:
        traced = fx.symbolic_trace(copy.deepcopy(network).eval())
    except Exception:  # tracing runs the network's own code on proxies, which may fail in any way it likes
        return None
    pairs = _pairs(traced)
    for conv, norm in pairs:
        _drop_norm(traced, norm)
        module = traced.get_submodule(conv)
        if module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    traced.recompile()
    return Fused(traced, pairs) if pairs else None


def _pairs(traced: fx.GraphModule) -> tuple[tuple[str, str], ...]:
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    owners = Counter(id(parameter) for _, parameter in traced.named_parameters(remove_duplicate=False))
    pairs = []
    for node in traced.graph.nodes:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.BatchNorm2d):
            continue
        source = node.args[0] if node.args else None
        norm = modules[str(node.target)]
        if (
            isinstance(source, fx.Node)
            and source.op == "call_module"
            and isinstance(modules[str(source.target)], nn.Conv2d)
            and "weight" in modules[str(source.target)]._parameters
            and len(source.users) == 1
            and calls[source.target] == calls[node.target] == 1
            and norm.affine
            and norm.track_running_stats
            and all(owners[id(p)] == 1 for p in [*modules[str(source.target)].parameters(), *norm.parameters()])
        ):
            pairs.append((str(source.target), str(node.target)))
    return tuple(pairs)


def _drop_norm(traced: fx.GraphModule, norm: str) -> None:
    node = next(node for node in traced.graph.nodes if node.op == "call_module" and node.target == norm)
    node.replace_all_uses_with(node.args[0])
    traced.graph.erase_node(node)
    traced.delete_submodule(norm)

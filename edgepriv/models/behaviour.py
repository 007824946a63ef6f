"""What a network must do to be trained, shipped and audited: give one answer to one input, whatever else is asked."""

import copy
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgepriv.errors import UserError
from edgepriv.models.classifier import Classifier

_NOISE = 1e-3
"""Of the largest logit: what rounding in batches of other sizes stays far below (about 1e-6)."""
_REFERENCE = Path(torch.__file__).parent
_OURS = Path(__file__).parent.parent


@dataclass(frozen=True)
class BatchDependence:
    """That answers depend on the batch, in ``description``; ``alone``: whether one input alone is answered at all."""

    description: str
    alone: bool = True


def refuse_unsteady(classifier: Classifier, x: Tensor) -> str | None:
    """Refuse a model that does not give each input one finite answer: the same when asked again, alone, or in another order.

    No generator is moved on.

    Args:
        classifier: in eval mode.
        x: float32 [N, ...] in [0, 1].

    Returns:
        Of a model that is asked for one input at a time (``alone``), a sentence on what that changes; else None.

    Raises:
        UserError: with what is wrong, and where in the user's own code.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if classifier.alone:
            _refuse_unanswered(classifier, x)
        with _RandomOperators() as random_operators:
            first = classifier(x)
        if not torch.equal(first, classifier(x)) and random_operators.seen:
            raise UserError(
                f"the network answers the same input differently each time (it draws random numbers, by "
                f"{random_operators.seen[0]}): in eval mode nothing may be drawn, as "
                "functional.dropout(x, p, self.training) draws nothing"
            )
        if not first.isfinite().all():
            raise UserError(
                "the network's logits are not finite numbers on real inputs: check its weights and its mean and std"
            )
        _refuse_lost_axis(classifier, x, first)
        difference = batch_difference(lambda rows: classifier.network(classifier.normalised(rows)).to(rows.dtype), x)
    if classifier.alone:
        return _describe_alone(difference)
    if difference is not None:
        remedy = "take what mixes the batch out of it in eval mode"
        if difference.alone:
            remedy += (
                ", or pass --batch-dependent: the file then takes one input at a time, and is proven and measured so"
            )
        raise UserError(
            f"the network's answer to an input depends on the other inputs of its batch ({_coupling(classifier.network)}; "
            f"{difference.description}): its accuracy would be that of one batch size; {remedy}"
        )
    return None


def refuse_mixing_in_training(classifier: Classifier, x: Tensor) -> None:
    """Refuse a network that cannot be trained with the gradient of each example by itself, as differential privacy needs it: it
    mixes its batch in train mode, or keeps something of its inputs in a buffer, in that mode or while it is only asked. Dropout
    is left out.

    Args:
        classifier: in the mode that it is trained in; it is not changed.
        x: float32 [N >= 2, ...] in [0, 1].

    Raises:
        UserError: with the buffer, or how far answers move.
    """
    trained = copy.deepcopy(classifier)
    for module in trained.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    refusal = "cannot be trained with differential privacy, which needs the gradient of each example by itself"
    drawn = random.getstate()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            for mode, asked in (("train", trained), ("eval", copy.deepcopy(trained).eval())):
                one, other = (_answered(asked, inputs, seed=0)[1] for inputs in (x, 1 - x))
                kept = next((name for name, value in one.items() if not _equal(value, other[name])), None)
                if kept is not None:
                    raise UserError(
                        f"the network {refusal}: in {mode} mode it keeps something of its inputs in the buffer {kept!r}; leave "
                        "that out"
                    )
            if not _equal(*(_answered(trained, x, seed=seed)[0] for seed in (0, 1))):
                return  # it draws at random, and no two answers are the same
            difference = batch_difference(lambda rows: _answered(trained, rows, seed=0)[0], x)
        finally:
            random.setstate(drawn)
    if difference is not None:
        raise UserError(
            f"the network {refusal}: in train mode its answer to an input depends on the other inputs of its batch "
            f"({difference.description})"
        )


def _answered(classifier: Classifier, x: Tensor, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of a network that has answered nothing before, and its buffers afterwards."""
    own = copy.deepcopy(classifier)
    torch.manual_seed(seed)
    random.seed(seed)
    logits = own.network(own.normalised(x)).to(x.dtype)
    return logits, dict(own.network.named_buffers())


def _equal(one: Tensor, other: Tensor) -> bool:
    return np.array_equal(one.numpy(), other.numpy(), equal_nan=one.is_floating_point())


def _refuse_unanswered(classifier: Classifier, x: Tensor) -> None:
    try:
        answered = bool(classifier(x[:1]).isfinite().all())
        reason = "its answer is not made of finite numbers"
    except (RuntimeError, ValueError) as error:
        answered, reason = False, _first_line(error)
    if not answered:
        raise UserError(
            "--batch-dependent ships a file that takes one input at a time, and the network cannot answer one input alone "
            f"({_coupling(classifier.network)}; {reason}): in eval mode, none of its layers may need a batch"
        )


def _refuse_lost_axis(classifier: Classifier, x: Tensor, answers: Tensor) -> None:
    """Where one input alone is answered without the axis of the batch, as ``x.squeeze()`` answers it."""
    try:
        single = classifier(x[:1])
    except (RuntimeError, ValueError):  # which the comparison of batches describes
        return
    if single.shape != answers[:1].shape:
        raise UserError(
            f"the network returns {list(single.shape)} for one input alone, not {list(answers[:1].shape)}: its forward drops "
            "the axis of the batch, as squeeze() without an axis does; name the axes that it is to drop"
        )


def _describe_alone(difference: BatchDependence | None) -> str:
    if difference is None:
        return (
            "the network's answers do not depend on the batch: without --batch-dependent the file would take any number of "
            "inputs at once"
        )
    return (
        f"the network's answers depend on the batch ({difference.description}): the file takes one input at a time, and "
        "everything is measured so; training sees batches of many"
    )


def batch_difference(answer: Callable[[Tensor], Tensor], x: Tensor) -> BatchDependence | None:
    """How far answers move when inputs are asked alone, or in another order.

    Args:
        answer: [N, ...] -> [N, K].
        x: [N, ...].

    Returns:
        The difference; None when they do not move, beyond rounding.
    """
    whole = answer(x)
    try:
        alone = torch.cat([answer(row[None]) for row in x])
    except (RuntimeError, ValueError) as error:
        return BatchDependence(f"one input alone: {_first_line(error)}", alone=False)
    if not alone.isfinite().all():
        return BatchDependence("one input alone: its answer is not made of finite numbers", alone=False)
    turned = answer(x.flip(0)).flip(0)
    largest = max(float((other - whole).abs().max()) for other in (alone, turned))
    if largest <= _NOISE * float(whole.abs().max()):
        return None
    changed = float((alone.argmax(1) != whole.argmax(1)).float().mean())
    return BatchDependence(f"alone, logits move by up to {largest:.2g} and {changed:.0%} of {len(x)} labels change")


def place_of(error: BaseException) -> str:
    """Where in the user's own code an error arose.

    Args:
        error: with its traceback.

    Returns:
        " (net.py, line 12: x = x + y)"; empty where it arose elsewhere.
    """
    frames = traceback.extract_tb(error.__traceback__)
    outside = [Path(sys.prefix), Path(sys.base_prefix), _REFERENCE, _OURS]
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(place) for place in outside)]
    own = [frame for frame in own if not frame.filename.startswith("<")]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line})" if own else ""


def cause_of(error: BaseException) -> str:
    """What went wrong, in one line.

    Args:
        error: with its traceback.

    Returns:
        The kind of error, its first line (and the second one, where that ends with a colon), and where in the user's own code.
    """
    return f"{type(error).__name__}: {_first_line(error)}{place_of(error)}"


def _coupling(network: nn.Module) -> str:
    """What mixes the batch: a normalization without running statistics, by name, or arithmetic."""
    unsettled = [
        f"{type(module).__name__} {name or 'itself'}"
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
    ]
    if unsettled:
        return f"{', '.join(unsettled[:3])} has no running statistics, set track_running_stats=True"
    return "something in its forward, such as a mean over the batch axis"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return " ".join(lines[: 1 + lines[0].endswith(":")])[
        :300
    ]  # "Error(s) in loading state_dict for Net:" says nothing yet


class _RandomOperators(TorchDispatchMode):
    """Takes note of operators that draw random numbers. ``seen``: their names."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen.append(str(func.overloadpacket.__name__).strip("_"))
        return func(*args, **(kwargs or {}))

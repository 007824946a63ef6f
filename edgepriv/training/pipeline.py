"""The user's own pipeline in our stages: batches of his loader, with his augmentation and sampler, and his loss.

A script defines them beside its training function: ``loader(data, *, seed)`` returns what yields an epoch's batches, such as
a DataLoader, and ``loss(data)`` what takes logits and labels and returns their mean loss, such as nn.CrossEntropyLoss(weight).
A loss that is no module and keeps tensors asks for ``loss(data, *, device)``: logits and labels are there.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.data import TrainingData
from edgepriv.errors import UserError
from edgepriv.models.behaviour import cause_of
from edgepriv.models.scripts import Script, beside, script_digest
from edgepriv.recipe import Pipeline as Named
from edgepriv.training.device import PROCESSOR

_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Pipeline:
    """One script's.

    ``title``: of the script. ``loader``: (seed) -> one epoch's batches, of which there are ``steps``; None for ours. ``loss``:
    (logits [N, K], labels [N]) -> a scalar; None for our own. ``low``, ``high``: of all inputs. ``norms``: whether the network
    normalises by its batches, which must then hold two records or more.
    """

    title: str
    loader: Callable[[int], Any] | None
    loss: Callable[[Tensor, Tensor], Tensor] | None
    steps: int = 0
    low: float = 0.0
    high: float = 1.0
    norms: bool = True

    def batches(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of the user's batches. A killed run draws them again.

        Args:
            seed: of the stage.
            epoch: counted from 0.

        Yields:
            Inputs float32 [N, ...] from ``low`` to ``high``, and labels int64 [N].

        Raises:
            UserError: where the loader fails, or yields anything else.
        """
        assert self.loader is not None
        own = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
        random.seed(own)
        np.random.seed(own)  # noqa: NPY002 - the generator that scripts draw from
        with _blaming(f"the loader of {self.title}"):
            waiting = iter(self.loader(own))
        count = 0
        while True:
            with _blaming(f"the loader of {self.title}"):
                batch = next(waiting, None)
            if batch is None:
                break
            count += 1
            yield self._checked(batch)
        if not count:
            raise UserError(f"the loader of {self.title} yields no batch: its batches are larger than the data")

    def _checked(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise UserError(
                f"the loader of {self.title} must yield pairs of inputs and labels, not {_described(batch)}"
            )
        x, y = (torch.as_tensor(each) for each in batch)
        if not x.is_floating_point() or y.ndim != 1 or y.is_floating_point() or len(x) != len(y):
            raise UserError(
                f"the loader of {self.title} must yield inputs float32 [N, ...] and whole labels [N]: it yields "
                f"{_described(x)} and {_described(y)}"
            )
        if len(y) == 1 and self.norms:
            raise UserError(
                f"the loader of {self.title} yields a batch of one record, whose statistics are no batch's: pass drop_last=True"
            )
        low, high = float(x.min()), float(x.max())
        if not (low >= self.low - _ROUNDING and high <= self.high + _ROUNDING):
            raise UserError(
                f"the loader of {self.title} yields inputs from {low:.3g} to {high:.3g}, but data.x is in [{self.low:g}, "
                f"{self.high:g}]: leave normalisation to the model (--mean, --std), and clamp what augmentation adds"
            )
        return x.float().clamp(self.low, self.high), y.long()


def named_in(script: Script) -> Named:
    """What the recipe says of a script's pipeline.

    Args:
        script: of the user.

    Returns:
        Its title, the hash of its code, and which hooks it has.

    Raises:
        UserError: for a script that has none.
    """
    hooks = tuple(name for name in Named.HOOKS if callable(beside(script, name)))
    if not hooks:
        raise UserError(
            f"{script.title}: {script.file} defines neither loader(data, *, seed), which returns your DataLoader, nor "
            "loss(data), which returns your loss: define what the fine-tuning is to be done with, or leave out --trainer"
        )
    return Named(script=script.title, code=script_digest(script), hooks=hooks)


def pipeline_of(
    script: Script, data: TrainingData, network: nn.Module, *, seed: int, device: torch.device = PROCESSOR
) -> Pipeline:
    """The pipeline of a script, whose first batch and loss are tried.

    Args:
        script: of the user.
        data: that it is to be trained on.
        network: that is trained.
        seed: of the batch that is tried.
        device: on which the loss is asked.

    Returns:
        Its loader and its loss, those of them that it has.

    Raises:
        UserError: for what a batch or a loss cannot be.
    """
    own_loader, own_loss = (beside(script, name) for name in Named.HOOKS)
    with torch.random.fork_rng(devices=[]):
        loss = None
        if own_loss is not None:
            placed = "device" in inspect.signature(own_loss).parameters
            with _blaming(f"loss of {script.title}"):
                criterion = own_loss(data, device=device) if placed else own_loss(data)
            loss = _scalar(criterion, script)
            hint = (
                "" if placed or device == PROCESSOR else f": define loss(data, *, device), with its tensors on {device}"
            )
            with _blaming(f"loss of {script.title}", hint):
                loss(torch.zeros(2, data.classes, device=device), torch.as_tensor(data.y[:2], device=device))
        if own_loader is None:
            return Pipeline(script.title, None, loss)
        with _blaming(f"the loader of {script.title}"):
            made = own_loader(data, seed=seed)
            steps = len(made)
        norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        low, high = min(0.0, float(data.x.min())), max(1.0, float(data.x.max()))
        pipeline = Pipeline(script.title, lambda own: own_loader(data, seed=own), loss, steps, low, high, norms)
        x, y = next(pipeline.batches(seed, 0))
        if x.shape[1:] != data.x.shape[1:] or not 0 <= int(y.min()) <= int(y.max()) < data.classes:
            raise UserError(
                f"the loader of {script.title} yields inputs {list(x.shape)} and labels from {int(y.min())} to {int(y.max())}: "
                f"expected [N, {', '.join(map(str, data.x.shape[1:]))}] and 0 to {data.classes - 1}"
            )
    return pipeline


def _scalar(criterion: Any, script: Script) -> Callable[[Tensor, Tensor], Tensor]:
    """The user's loss, seen to be one; where it keeps tensors, on the device of the logits."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        with _blaming(f"loss of {script.title}"):
            value = (criterion.to(logits.device) if isinstance(criterion, nn.Module) else criterion)(logits, y)
        if not isinstance(value, Tensor) or value.ndim:
            raise UserError(f"loss of {script.title} must give the mean loss of a batch, not {_described(value)}")
        return value

    return loss


@contextmanager
def _blaming(who: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}{hint if 'device' in str(error) else ''}") from error
    except Exception as error:
        raise UserError(f"{who} failed: {cause_of(error)}") from error


def _described(value: Any) -> str:
    return (
        f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )

"""Models made by the user's own training function: called as it is said to be, and its result checked before it is used."""

import contextlib
import hashlib
import inspect
import os
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgepriv.data import Dataset, TrainingData
from edgepriv.errors import UserError
from edgepriv.models import Classifier, leakpro
from edgepriv.models.adapt import adapted
from edgepriv.models.behaviour import cause_of
from edgepriv.models.containers import state_for
from edgepriv.models.lsq_steps import load_state
from edgepriv.models.scripts import Script, loaded, script_digest, script_of, settings_kept

SIGNATURE = "train(data, *, seed, device) -> torch.nn.Module"


@dataclass(frozen=True)
class Trainer:
    """``script``: of the function; ``code``: hex sha256 of it and of whatever of the user's it imports."""

    script: Script
    code: str

    @property
    def title(self) -> str:
        """As the user wrote it."""
        return self.script.title


def trainer_of(option: str, written: str) -> Trainer:
    """The function that the user names, whose file is run once.

    Args:
        option: such as ``--trainer``, for messages.
        written: ``FILE.py:FUNCTION``, or ``leakpro:FILE.py:CLASS`` for a handler of LeakPro's.

    Returns:
        The trainer, with the hash of its code.

    Raises:
        UserError: unless it can be called as ``SIGNATURE`` says.
    """
    script = script_of(option, written)
    if script.handler:
        leakpro.refuse_incomplete(script)
        return Trainer(script, _code_of(script))
    function = loaded(script)
    try:
        inspect.signature(function).bind(None, seed=0, device=None)
    except (TypeError, ValueError) as error:
        raise UserError(f"{option} {written}: expected {SIGNATURE} ({error})") from error
    return Trainer(script, _code_of(script))


def _code_of(script: Script) -> str:
    return leakpro.digest(script) if script.handler else script_digest(script)


def key_of(trainer: Trainer, dataset: Dataset) -> list[str]:
    """What tells a trainer's models apart, beside ``x`` and ``y``, which ``dataset.sha256`` covers.

    Args:
        trainer: with the hash of its code.
        dataset: whose number of classes and groups the function is told.

    Returns:
        The hash of the code, and texts for the classes and the groups.
    """
    groups = (
        "none" if dataset.groups is None else hashlib.sha256(np.asarray(dataset.groups, np.int64).tobytes()).hexdigest()
    )
    return [trainer.code, f"{dataset.num_classes} classes", f"groups {groups}"]


def made(
    trainer: Trainer, dataset: Dataset, members: np.ndarray, *, seed: int, device: torch.device
) -> nn.Module | Path:
    """What the trainer makes of some of the records.

    Every generator is seeded before, and what the script prints goes to standard error.

    Args:
        trainer: the user's function.
        dataset: of all records.
        members: int64 [m], positions of those to train on.
        seed: handed to the function.
        device: handed to the function.

    Returns:
        A network in eval mode on the processor, or the path of an .onnx.

    Raises:
        UserError: for whatever the script raises, for a result of another kind, for a function that does not look at its
            data, and for code that has changed since the audit began.
    """
    groups = None if dataset.groups is None else dataset.groups[members]
    data = TrainingData(dataset.inputs(members).copy(), dataset.y[members].copy(), dataset.num_classes, groups)
    function = partial(leakpro.train, trainer.script) if trainer.script.handler else loaded(trainer.script)
    if _code_of(trainer.script) != trainer.code:  # under which its models are kept
        raise UserError(f"{trainer.title}, or what it imports, changed while the audit ran: run it again")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the generator that scripts draw from
    torch.manual_seed(seed)
    try:
        with contextlib.redirect_stdout(sys.stderr), settings_kept(trainer.script), torch.enable_grad():
            returned = function(data, seed=seed, device=device)
            if isinstance(returned, (str, os.PathLike)):
                returned = Path(returned).absolute()  # while the script's working folder holds
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{trainer.title} failed on {len(members):,} records: {cause_of(error)}") from error
    if not data.read:
        raise UserError(
            f"{trainer.title} returned a model without a look at its data: train on the records that it is given"
        )
    if isinstance(returned, Path):
        if returned.suffix != ".onnx" or not returned.is_file():
            raise UserError(f"{trainer.title} returned {str(returned)!r}, which is no .onnx file that is there")
        return returned
    if not isinstance(returned, nn.Module):
        raise UserError(
            f"{trainer.title} returned {type(returned).__name__}, not a torch.nn.Module or the path of an .onnx: {SIGNATURE}"
        )
    network, _ = adapted(returned.to("cpu").eval(), trainer.title, dataset.input_shape)
    _refuse_wrong_answers(trainer, network, dataset, members)
    return network


def _refuse_wrong_answers(trainer: Trainer, network: nn.Module, dataset: Dataset, members: np.ndarray) -> None:
    few = torch.from_numpy(dataset.inputs(members[:16]))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        answer, again = network(few), network(few)
    if answer.shape != (len(few), dataset.num_classes):
        raise UserError(
            f"{trainer.title} must return a model of {dataset.num_classes} classes, one number for each: for {len(few)} inputs "
            f"it answers {list(answer.shape)}"
        )
    if not answer.isfinite().all():
        raise UserError(f"{trainer.title} returned a model whose answers are NaN or infinite: its training diverged")
    if not torch.equal(answer, again):
        raise UserError(
            f"{trainer.title} returned a model that answers the same input differently each time: in eval mode nothing may be "
            "drawn"
        )
    if bool((answer >= 0).all()) and torch.allclose(answer.float().sum(1), torch.ones(len(few)), atol=1e-4):
        raise UserError(
            f"{trainer.title} returned a model of probabilities: leave out its softmax, so that it returns logits"
        )
    if bool(((answer >= 0) & (answer <= 1)).all()):
        raise UserError(
            f"{trainer.title} returned a model whose answers all lie between 0 and 1, as those behind a sigmoid do: leave it "
            "out, so that the model returns logits"
        )


def load_trained(trainer: Trainer, network: nn.Module, into: nn.Module, model: str) -> None:
    """Put the weights of a trained network into the target's architecture.

    Args:
        trainer: that trained it, for messages.
        network: or the Classifier around it.
        into: changed in place.
        model: name of the target's architecture.

    Raises:
        UserError: where the weights are of another architecture.
    """
    network = network.network if isinstance(network, Classifier) else network  # it is fed as the target is
    fitting = state_for(network.state_dict(), [into.state_dict()], model, trainer.title)
    load_state(into, fitting.state)

"""model.pt: everything needed to rebuild, attack or export a trained classifier. Never a pickle with code in it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.files import written_aside
from edgepriv.models.bake import bake, computed_weights
from edgepriv.models.classifier import Classifier, build_classifier
from edgepriv.models.containers import state_for
from edgepriv.models.fitting import refuse_misfit
from edgepriv.models.lsq_steps import load_state, without_steps
from edgepriv.models.reading import load_tensors
from edgepriv.models.sources import refuse_unconfirmed
from edgepriv.recipe import Model, Recipe, parse

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier and where it comes from.

    ``state_dict``: of the network, without its normalisation. ``recipe``: resolved. ``data``: name, sha256 and split record
    of the training data, None when the weights come from elsewhere. ``stages``: those that have run, in order, e.g.
    ``("train", "robust", "qat")``. ``history``: one dictionary for each epoch. ``defences``: what defences measured as they
    ran, by name, as JSON. ``elsewhere``: whether its first training was not edgepriv's, so that ``recipe.train`` is a guess.
    ``head``: what stands after the softmax, as ``edgepriv.heads`` stores it. ``notes``: sentences about
    how weights from elsewhere were read; they are not saved.
    """

    state_dict: dict[str, Tensor]
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    recipe: Recipe
    data: dict[str, Any] | None = None
    stages: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    defences: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    elsewhere: bool = False

    def classifier(self) -> Classifier:
        """The classifier in eval mode, its computed weights plain.

        Raises:
            UserError: when the weights do not fit the architecture, or are not finite.
        """
        model = self.recipe.model
        classifier = build_classifier(model, len(self.class_names), self.input_shape)
        try:
            load_state(classifier.network, self.state_dict)
        except RuntimeError as error:
            refuse_misfit(self.state_dict, classifier.network.state_dict(), model.name)
            detail = " ".join(str(error).split())[:300]
            raise UserError(f"the weights do not fit model {model.name!r}: {detail}") from error
        refuse_infinite(classifier.network)
        classifier.notes += bake(classifier.network)
        return classifier.eval()

    def with_recipe(self, recipe: Recipe) -> "Checkpoint":
        """Copy with another recipe.

        Args:
            recipe: the other one.

        Returns:
            The copy; steps that were learned for another quantization are dropped.
        """
        fits = recipe.quantize == self.recipe.quantize
        return replace(self, recipe=recipe, state_dict=self.state_dict if fits else without_steps(self.state_dict))

    def with_weights(self, classifier: Classifier, **changes: Any) -> "Checkpoint":
        """Copy with other weights.

        Args:
            classifier: whose weights are taken.
            changes: other fields, by name.

        Returns:
            The copy.
        """
        state = {name: value.detach().clone().contiguous() for name, value in classifier.network.state_dict().items()}
        return replace(self, state_dict=state, **changes)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write model.pt, whole or not at all.

    Args:
        path: of the file.
        checkpoint: its content.

    Raises:
        UserError: where it cannot be written.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "architecture": checkpoint.recipe.model.name,
        "arguments": dict(checkpoint.recipe.model.args),
        "state_dict": checkpoint.state_dict,
        "class_names": list(checkpoint.class_names),
        "input_shape": list(checkpoint.input_shape),
        "recipe": checkpoint.recipe.model_dump(mode="json"),
        "data": checkpoint.data,
        "stages": list(checkpoint.stages),
        "history": list(checkpoint.history),
        "defences": checkpoint.defences,
        "head": checkpoint.head,
        "elsewhere": checkpoint.elsewhere,
    }
    # A path would put its temporary name inside the archive, so that equal checkpoints differ.
    with written_aside(path) as aside, aside.open("wb") as handle:
        torch.save(content, handle)


def is_checkpoint(content: dict[str, Any]) -> bool:
    """Whether a loaded dictionary is an edgepriv checkpoint rather than a bare state_dict.

    Args:
        content: of the file.

    Returns:
        True for a checkpoint.
    """
    return "format_version" in content and "state_dict" in content


def load(path: Path, model: Model | None = None) -> Checkpoint:
    """Read a checkpoint, model.pt.

    Args:
        path: the file.
        model: confirms an architecture of the form ``package.module:factory``, which a file alone may not ask to import.

    Returns:
        The checkpoint.

    Raises:
        UserError: when the file is missing, truncated, of another format, or holds code.
    """
    content = load_tensors(path)
    if not is_checkpoint(content):
        raise UserError(
            f"{path} is a bare state_dict: give it to harden or export, and say what it is with --model and --data"
        )
    if content["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{path} has checkpoint format {content['format_version']}; this edgepriv reads {FORMAT_VERSION}"
        )
    try:
        checkpoint = Checkpoint(
            state_dict=_checked_state(content["state_dict"], path),
            class_names=tuple(content["class_names"]),
            input_shape=tuple(content["input_shape"]),
            recipe=parse(content["recipe"], str(path)),
            data=content["data"],
            stages=tuple(content["stages"]),
            history=tuple(content["history"]),
            defences=content.get("defences", {}),
            head=content.get("head"),
            elsewhere=bool(content.get("elsewhere")),
        )
    except KeyError as error:
        raise UserError(f"{path} lacks {error}: it is not a whole edgepriv checkpoint") from error
    except TypeError as error:
        raise UserError(f"{path} is not a whole edgepriv checkpoint: {error}") from error
    refuse_unconfirmed(checkpoint.recipe.model.name, model, str(path))
    if model is not None and model.name not in (checkpoint.recipe.model.name, Model().name):
        raise UserError(
            f"{path} is a checkpoint of model {checkpoint.recipe.model.name!r}, not {model.name!r}: leave out --model, which "
            "describes a bare state_dict"
        )
    if model is not None and model.args and model.args != checkpoint.recipe.model.args:
        raise UserError(
            f"{path} keeps the arguments of its model: leave out --widths and --model-arg, which describe a bare state_dict"
        )
    return checkpoint


def from_state_dict(
    path: Path, recipe: Recipe, class_names: tuple[str, ...], input_shape: tuple[int, ...], data: dict[str, Any] | None
) -> Checkpoint:
    """A checkpoint around weights from elsewhere, in whatever container and under whatever prefix they stand there.

    Args:
        path: the file.
        recipe: says which network they are of.
        class_names: of its K classes.
        input_shape: of one example.
        data: record of the training data, None where it is not known.

    Returns:
        The checkpoint; what was recognised is in its ``notes``.

    Raises:
        UserError: when the weights do not fit the recipe's model.
    """
    content = load_tensors(path)
    network = build_classifier(recipe.model, len(class_names), input_shape).network
    wanted = [network.state_dict()]
    if computed_weights(network):
        plain = build_classifier(recipe.model, len(class_names), input_shape).network
        bake(plain)
        wanted.append(plain.state_dict())
    weights = state_for(content, wanted, recipe.model.name, str(path))
    # For which widths it learned its steps, if any, nobody says.
    state = without_steps(_checked_state(weights.state, path))
    checkpoint = Checkpoint(
        state, class_names, input_shape, recipe, data, ("train",), notes=weights.notes, elsewhere=True
    )
    checkpoint.classifier()
    return checkpoint


def _checked_state(state: Any, path: Path) -> dict[str, Tensor]:
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise UserError(f"{path} holds no state_dict: expected a dictionary of tensors")
    bad = [name for name, value in state.items() if value.is_floating_point() and value.isnan().any()]
    if bad:
        raise UserError(f"{path}: {len(bad)} tensors hold NaN (first: {bad[0]}): the training diverged; lower --lr")
    return state


def refuse_infinite(network: nn.Module) -> None:
    """Refuse a network that has diverged.

    Args:
        network: its weights and running statistics are looked at; other buffers may hold infinity, which masks are made of.

    Raises:
        UserError: when one of them is not finite.
    """
    statistics = (
        name for name, _ in network.named_buffers() if name.rpartition(".")[2] in ("running_mean", "running_var")
    )
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    named = [*(name for name, _ in network.named_parameters()), *statistics]
    bad = [name for name in named if not state[name].isfinite().all()]
    if bad:
        raise UserError(f"{len(bad)} weights hold NaN or infinity (first: {bad[0]}): the training diverged; lower --lr")

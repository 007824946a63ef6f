"""How right a model is on members and on held-out data: its weights before rounding in torch, and the file in onnxruntime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from torch import nn

from edgepriv.accuracy import Answers, Asked, Standard, collapse, drop, remarks, too_costly
from edgepriv.artifact.parity import torch_logits
from edgepriv.artifact.session import predict
from edgepriv.data import Dataset, Split, ordinary
from edgepriv.heads.masks import Mask, masked
from edgepriv.models import Classifier
from edgepriv.models.cost import affordable
from edgepriv.recipe import Recipe
from edgepriv.training import QuantizedTensor, quantize_weights

_CHUNK = 256

TORCH, ONNXRUNTIME = "torch", "onnxruntime"


@dataclass(frozen=True)
class Sample:
    """The members and the held-out examples (non-members, which no part of training or selection sees) to ask about."""

    dataset: Dataset
    members: np.ndarray
    held_out: np.ndarray

    def asked(self, labels_of: Callable[[np.ndarray], np.ndarray]) -> Asked:
        """How often labels are right.

        Args:
            labels_of: float32 [n, ...] in [0, 1] -> int64 [n].

        Returns:
            Answers to members and to held-out examples.
        """
        return Asked(*(self._answers(labels_of, index) for index in (self.members, self.held_out)))

    def _answers(self, labels_of: Callable[[np.ndarray], np.ndarray], index: np.ndarray) -> Answers:
        chunks = np.split(index, range(_CHUNK, len(index), _CHUNK))
        predicted = np.concatenate([labels_of(self.dataset.inputs(chunk)) for chunk in chunks])
        groups = self.dataset.groups
        return Answers(predicted, self.dataset.y[index], None if groups is None else groups[index])


def sample(dataset: Dataset, split: Split, network: nn.Module) -> Sample:
    """Some members and some held-out examples, drawn with the split's seed; no canary, which may carry a wrong label.

    Args:
        dataset: the examples.
        split: who is a member.
        network: that is to be asked; fewer for a large one.

    Returns:
        The sample.
    """
    split = ordinary(split, dataset)
    most = affordable(network, dataset.inputs(split.members[:2]))
    drawn = np.random.default_rng([split.seed, 5])
    return Sample(dataset, *(np.sort(drawn.permutation(index)[:most]) for index in (split.members, split.non_members)))


def in_torch(
    classifier: nn.Module,
    sample: Sample,
    weights: Mapping[str, QuantizedTensor] | None = None,
    head: Mask | None = None,
) -> Asked:
    """How often a torch model is right.

    Args:
        classifier: in eval mode.
        sample: whom to ask about.
        weights: in place of the float ones, by parameter name.
        head: what stands behind the softmax; None for nothing.

    Returns:
        Its answers.
    """

    def labels_of(x: np.ndarray) -> np.ndarray:
        logits = torch_logits(classifier, weights or {}, x)
        labels: np.ndarray = (logits.numpy() if head is None else masked(head, logits.softmax(1).numpy())).argmax(1)
        return labels

    return sample.asked(labels_of)


def in_session(session: ort.InferenceSession, sample: Sample) -> Asked:
    """How often a file is right.

    Args:
        session: that runs it.
        sample: whom to ask about.

    Returns:
        Its answers.
    """
    return sample.asked(lambda x: predict(session, x).argmax(1))


FLOAT_WEIGHTS, AS_TRAINED = "float weights", "rounded weights as trained"


@dataclass(frozen=True)
class Measured:
    """One exported checkpoint: its weights before they were rounded in torch, and the file that was written.

    ``before``: what these weights are called. Where training rounded them, they are those that it began with: what is behind
    rounded weights after it is a by-product that nobody uses, and may be much worse than they are.
    """

    name: str
    floating: Asked
    deployed: Asked
    before: str = FLOAT_WEIGHTS


def unjudged(own: Measured) -> dict[str, Any]:
    """``accuracy`` of the float twin: it is there to be compared with.

    Args:
        own: what was measured of it.

    Returns:
        ``rows``, and no costs and warnings.
    """
    return {"rows": _rows(own), "costs": [], "warnings": []}


def judged(
    own: Measured,
    twin: Measured | None,
    class_names: Sequence[str],
    standard: Standard,
    done: tuple[str, str],
    what_now: str,
) -> dict[str, Any]:
    """``accuracy`` of an export, of its manifest and of the report, as JSON.

    Args:
        own: what was measured of the file.
        twin: the same of the float twin; None without one.
        class_names: of the K classes.
        standard: below which a file is refused.
        done: what was done to the model between the float twin and the rounding, "adversarial training" for instance, and what
            beside it while weights were rounded; empty for nothing.
        what_now: end of the message.

    Returns:
        ``rows``, ``costs`` in points, ``warnings``.

    Raises:
        UserError: when the file falls below the standard.
    """
    rows, costs = _rows(own), []
    trained, beside = done
    quantization = f"quantization with {beside}" if beside else "quantization"
    if twin is not None:
        rows.append(row(f"float twin {twin.name}", ONNXRUNTIME, twin.deployed))
        if trained:
            costs.append({"of": trained, "points": drop(twin.deployed, own.floating)})
        costs.append({"of": quantization, "points": drop(own.floating, own.deployed)})
    fallen = collapse(own.deployed, class_names)
    failures = [f"{own.name} {fallen}"] if fallen else []
    costly = too_costly(own.floating, own.deployed, standard, own.before, quantization)
    failures += [costly] if costly else []
    warnings = standard.judge(failures, what_now)
    if not fallen:
        warnings += [f"{own.name} {remark}" for remark in remarks(own.deployed)]
    return {"rows": rows, "costs": costs, "warnings": warnings}


def _rows(own: Measured) -> list[dict[str, Any]]:
    return [row(own.before, TORCH, own.floating), row(own.name, ONNXRUNTIME, own.deployed)]


def row(model: str, runtime: str, asked: Asked) -> dict[str, Any]:
    """One line of the table.

    Args:
        model: its name.
        runtime: that answered.
        asked: its answers.

    Returns:
        The row, as JSON.
    """
    return {"model": model, "runtime": runtime, **asked.facts()}


def accuracy_of(
    classifier: Classifier, recipe: Recipe, dataset: Dataset, split: Split, standard: Standard, what_now: str
) -> dict[str, Any]:
    """``accuracy`` of a model that was trained and not exported yet, in the form of ``judged``.

    Args:
        classifier: trained. Weights that were trained for a width are judged at it.
        recipe: that it was trained by.
        dataset: the examples.
        split: who is a member.
        standard: below which a model is refused.
        what_now: end of the message.

    Returns:
        ``rows``, ``costs``, ``warnings``.

    Raises:
        UserError: when the model has collapsed.
    """
    asked = sample(dataset, split, classifier)
    trained = in_torch(classifier, asked)
    rows = [row(FLOAT_WEIGHTS, TORCH, trained)]
    weights = quantize_weights(classifier.network, recipe.quantize) if recipe.train.quantized else {}
    if weights:
        trained = in_torch(classifier, asked, weights)
        rows.append(row("quantized weights", TORCH, trained))
    fallen = collapse(trained, dataset.class_names)
    warnings = standard.judge([f"the model {fallen}"] if fallen else [], what_now)
    if not fallen:
        warnings = [f"the model {remark}" for remark in remarks(trained)]
    return {"rows": rows, "costs": [], "warnings": warnings}

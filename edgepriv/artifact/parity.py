"""Proof that the file computes what was trained."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime as ort
import torch
from scipy.stats import beta
from torch import nn

from edgepriv import progress
from edgepriv.artifact.contract import on_byte_grid
from edgepriv.artifact.session import check_contract, predict
from edgepriv.artifact.trace import prefix_of
from edgepriv.errors import UserError
from edgepriv.heads.masks import Mask, masked
from edgepriv.training.quantization import QuantizedTensor

TOLERANCE = 1e-4
"""Largest difference of a probability, where float32 can tell logits apart so finely (``tolerance_of``)."""
TIE = 1e-6
"""Two probabilities closer than this are equal as far as float32 can tell: which one wins is rounding."""
LARGEST_CHANGE = 0.05
"""Share of the labels that activations of 8 bits may change before an export is refused."""
LARGEST_ROUNDED = 0.02
"""Share of the labels that may differ between torch and a file that round activations alike."""

FEWEST = 64
"""Inputs that are compared however long they take, if there are as many."""
SECONDS = 20.0
"""After which no more inputs are compared. What they say then is in ``changed_at_most``."""


class TooFar(UserError):
    """Activations of 8 bits change too many labels."""


_LARGEST_BATCH = 2**21
_CHUNK = 256
_PATIENCE = 3  # seconds before a bar appears; only large networks take longer


@dataclass(frozen=True)
class Parity:
    """``n`` inputs compared, as many as ``SECONDS`` suffice for; ``max_difference``: largest difference of a probability, None
    where the file returns labels only; ``labels_changed``: rows whose most likely class differs, other than the ``ties``,
    whose two best probabilities are within TIE of each other. ``int8``: the same of the file as it runs with activations of
    8 bits, which is measured and not proven; None where activations stay float. ``head``: of the whole file from what its
    head makes of the answers of the file without it; None without a head. ``trained``: of the file from torch with activations
    rounded as they were in training; None where they were not."""

    n: int
    max_difference: float | None
    labels_changed: int
    ties: int
    tolerance: float = TOLERANCE
    int8: "Difference | None" = None
    head: "Difference | None" = None
    trained: "Difference | None" = None
    changed_at_most: float = 1.0
    """Share of such inputs whose label changes, at 95% confidence: about 3 / n where none has."""


@dataclass(frozen=True)
class Difference:
    """As in Parity, against torch with float activations. ``changed_ci``: 95% interval (Clopper-Pearson) of the share of such
    inputs whose label changes."""

    n: int
    max_difference: float | None
    labels_changed: int
    changed_ci: tuple[float, float] = (0.0, 1.0)


def torch_probabilities(classifier: nn.Module, weights: Mapping[str, QuantizedTensor], x: np.ndarray) -> np.ndarray:
    """Probabilities of a classifier, its quantized weights replaced by what their integers stand for.

    Args:
        classifier: in eval mode.
        weights: integers by parameter name.
        x: float32 [n, ...] in [0, 1].

    Returns:
        float32 [n, K].
    """
    return torch_logits(classifier, weights, x).softmax(dim=1).numpy()


def torch_logits(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    x: np.ndarray,
    others: Mapping[str, np.ndarray] | None = None,
) -> torch.Tensor:
    """``torch_probabilities`` before the softmax.

    Args:
        classifier: in eval mode.
        weights: integers by parameter name.
        x: float32 [n, ...] in [0, 1].
        others: float32 numbers of more parameters, by name.

    Returns:
        float32 [n, K].
    """
    prefix = prefix_of(classifier)
    device = next((tensor.device for tensor in classifier.state_dict().values()), torch.device("cpu"))
    own = dict(classifier.named_parameters(remove_duplicate=False))
    numbers = {name: tensor.dequantize() for name, tensor in weights.items()} | dict(others or {})
    replaced = {
        prefix + name: torch.from_numpy(array).to(device, own[prefix + name].dtype) for name, array in numbers.items()
    }
    rows = min(256, max(1, _LARGEST_BATCH // x[0].size))
    training = [module for module in classifier.modules() if module.training]
    classifier.eval()
    try:
        with torch.no_grad():
            batches = torch.from_numpy(x).split(rows)
            parts = [
                torch.func.functional_call(classifier, replaced, (part.to(device),)).float().cpu() for part in batches
            ]
    finally:
        for module in training:
            module.training = True
    return torch.cat(parts)


def compare(expected: np.ndarray, actual: np.ndarray, labels_only: bool = False) -> Parity:
    """Parity of two arrays of probabilities.

    Args:
        expected: float [n, K].
        actual: float [n, K]; with ``labels_only`` a single 1 in each row.
        labels_only: compare labels alone.

    Returns:
        How far they are apart, and how many labels change.
    """
    rows = np.arange(len(expected))
    label, other = expected.argmax(axis=1), actual.argmax(axis=1)
    changed = label != other
    tied = changed & (expected[rows, label] - expected[rows, other] <= TIE)
    difference = None if labels_only else float(np.abs(expected - actual).max())
    return Parity(len(expected), difference, int((changed & ~tied).sum()), int(tied.sum()))


def tolerance_of(logits: np.ndarray) -> float:
    """Largest difference of a probability that a proof allows: TOLERANCE, or the rounding of the largest logit in float32.

    A softmax moves by no more than its logits do. Only logits beyond 800 round by more than TOLERANCE: weights that
    ``dorefa`` scales to [-1, 1] without training give tens of thousands.

    Args:
        logits: [n, K].

    Returns:
        The difference.
    """
    largest = np.abs(logits[np.isfinite(logits)]).max(initial=0)
    return max(TOLERANCE, float(np.finfo(np.float32).eps * largest))


def prove_parity(
    classifier: nn.Module, weights: Mapping[str, QuantizedTensor], session: ort.InferenceSession, x: np.ndarray
) -> Parity:
    """Compare torch in float32 with the shipped bytes.

    A file that takes bytes is compared on ``x`` rounded to bytes, one that returns labels by labels alone.

    Args:
        classifier: in eval mode.
        weights: integers by parameter name in ``classifier.network``; empty for the float twin.
        session: of the file.
        x: float32 [n >= 1, ...] in [0, 1], in random order: networks that need longer than ``SECONDS`` are compared on the
            first of them.

    Returns:
        The number of inputs compared, the largest difference of a probability, and the labels that changed.

    Raises:
        UserError: when a probability differs by more than ``tolerance_of`` the logits, or a label changes.
    """
    parity = _measured(classifier, weights, session, x)
    too_far = parity.max_difference is not None and not parity.max_difference <= parity.tolerance
    if too_far or parity.labels_changed:
        apart = (
            ""
            if parity.max_difference is None
            else (
                f"probabilities differ by up to {parity.max_difference:.2g} (at most {parity.tolerance:.2g} is allowed) and "
            )
        )
        raise UserError(
            f"the exported file does not compute what was trained: on {parity.n} inputs {apart}"
            f"{parity.labels_changed} labels change"
        )
    return parity


def prove_head(head: Mask, before: ort.InferenceSession, session: ort.InferenceSession, x: np.ndarray) -> Difference:
    """Compare the whole file with what torch's ``head`` makes of the probabilities that ``before`` feeds it.

    Both see the same probabilities: a head that ranks them turns differences in rounding into large ones.

    Args:
        head: the mask, in torch.
        before: of the file without its head.
        session: of the whole file.
        x: float32 [n >= 1, ...] in [0, 1].

    Returns:
        How far the two differ.

    Raises:
        UserError: when a probability differs by more than ``TOLERANCE``, or a label changes.
    """
    x = np.ascontiguousarray(x, np.float32)
    pairs = [(masked(head, predict(before, part)), predict(session, part)) for part in in_time(x)]
    expected, actual = (np.concatenate(side) for side in zip(*pairs, strict=True))
    parity = compare(expected, actual, check_contract(session).returns == "label")
    if parity.labels_changed or (parity.max_difference is not None and not parity.max_difference <= TOLERANCE):
        raise UserError(
            f"the exported head does not compute what was trained: on {parity.n} inputs {parity.labels_changed} labels change"
        )
    return _difference(parity)


def measure_int8(
    classifier: nn.Module, weights: Mapping[str, QuantizedTensor], session: ort.InferenceSession, x: np.ndarray
) -> Difference:
    """How far 8-bit activations take the shipped bytes from torch.

    Args:
        classifier: in eval mode.
        weights: integers by parameter name.
        session: of the file.
        x: float32 [n, ...] in [0, 1].

    Returns:
        The difference.

    Raises:
        TooFar: when too many labels change.
    """
    parity = _measured(classifier, weights, session, x)
    if parity.labels_changed > LARGEST_CHANGE * parity.n:
        raise TooFar(
            f"with --compute int8 {parity.labels_changed} of {parity.n} labels change (at most {LARGEST_CHANGE:.0%} is "
            "allowed): export with --compute float32"
        )
    return _difference(parity)


def prove_rounded(
    classifier: nn.Module, weights: Mapping[str, QuantizedTensor], session: ort.InferenceSession, x: np.ndarray
) -> Difference:
    """Compare the shipped bytes with torch where both round activations alike.

    They sum in another order, and biases are integers in the file alone, so that a number that lies between two codes may have
    either: answers differ a little, here and there.

    Args:
        classifier: in eval mode, with the ranges that it was trained with.
        weights: integers by parameter name.
        session: of the file.
        x: float32 [n >= 1, ...] in [0, 1].

    Returns:
        How far the two differ.

    Raises:
        UserError: when they do not round alike.
    """
    parity = _measured(classifier, weights, session, x)
    if parity.labels_changed > LARGEST_ROUNDED * parity.n:
        raise UserError(
            f"the exported file does not round activations as training did: on {parity.n} inputs "
            f"{parity.labels_changed} labels change (at most {LARGEST_ROUNDED:.0%} is allowed): leave out --qat-activations"
        )
    return _difference(parity)


def _difference(parity: Parity) -> Difference:
    k, n = parity.labels_changed, parity.n
    low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
    return Difference(n, parity.max_difference, k, (low, high))


def _measured(
    classifier: nn.Module, weights: Mapping[str, QuantizedTensor], session: ort.InferenceSession, x: np.ndarray
) -> Parity:
    if not len(x):
        raise UserError("parity needs at least one input to compare on: pass real examples")
    x = np.ascontiguousarray(x, np.float32)
    contract = check_contract(session)
    pairs = [
        (predict(session, part), torch_logits(classifier, weights, on_byte_grid(part, contract))) for part in in_time(x)
    ]
    actual, logits = np.concatenate([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    parity = compare(logits.softmax(dim=1).numpy(), actual, contract.returns == "label")
    return replace(parity, tolerance=tolerance_of(logits.numpy()), changed_at_most=_at_most(parity))


def in_time(x: np.ndarray) -> Iterator[np.ndarray]:
    """Inputs in pieces, the first of ``FEWEST`` rows, as many as are asked for within ``SECONDS``.

    Args:
        x: [n, ...].

    Yields:
        Pieces in their order.
    """
    started = time.monotonic()
    done = 0
    with progress.shown("parity", unit="input", total=len(x), delay=_PATIENCE, leave=False) as bar:
        while done < len(x) and (done == 0 or time.monotonic() - started < SECONDS):
            part = x[done : done + (_CHUNK if done else FEWEST)]
            yield part
            done += len(part)
            bar.update(len(part))


def _at_most(parity: Parity) -> float:
    changed = parity.labels_changed
    return 1.0 if changed == parity.n else float(beta.ppf(0.95, changed + 1, parity.n - changed))

"""The artifact as a torch module with exact gradients, so that white-box attacks meet the very weights that ship."""

import numpy as np
import onnx
import onnxruntime as ort
import torch

from edgepriv.artifact.compiler import Twin, Untwinnable, compiled, named
from edgepriv.artifact.contract import Contract, as_probabilities, on_byte_grid
from edgepriv.artifact.logits import expose, keeps_order, scores_before_argmax
from edgepriv.artifact.metadata import rounds_activations
from edgepriv.artifact.operators import Unsupported
from edgepriv.artifact.operators_types import STRAIGHT_THROUGH
from edgepriv.artifact.session import check_contract, predict
from edgepriv.device import session as device

LARGEST_DIFFERENCE = 1e-2
"""Between a probability of the twin and onnxruntime's. Far above rounding (1e-6), to allow for kernels that quantize
activations inside; far below anything that would mislead an attack."""
LARGEST_DIFFERENCE_INT8 = 1e-1
"""The same where the file says that its kernels quantize activations (``compute`` int8): an attack crafted on float
activations is counted on the file itself."""


def differentiable(
    model: onnx.ModelProto, session: ort.InferenceSession, probe: np.ndarray | None = None, classes: int | None = None
) -> Twin:
    """The differentiable twin of a graph without a head: inputs in [0, 1] -> logits, any batch size, in eval mode, on the CPU.

    Operators at the end that turn logits into probabilities or labels are left out, whether they are one operator or many
    (``logits.expose``). Where none are recognised, probabilities give their logarithm, and other outputs count as logits.
    Heads of edgepriv must be removed before: one that ranks has no gradient, and one that masks would hide what fools the
    model. Weights are unpacked once, here; half floats are computed as float32. The twin is compared with onnxruntime before
    it is returned.

    Args:
        model: the graph.
        session: of the same file.
        probe: a few inputs [n, ...] to compare on, which a graph with free sizes needs; None for random ones.
        classes: see ``check_contract``.

    Returns:
        The twin; ``straight_through`` names the operators past whose rounding gradients go as if it were not there.

    Raises:
        Untwinnable: for operators without a torch counterpart or a gradient, and where torch computes something else.
        UserError: for files that are not classifiers.
    """
    contract = check_contract(session, probe, classes)
    if contract.layout in ("maps", "parts"):
        raise Untwinnable("its scores come as a dictionary for each row, or as an output for each class")
    shape = (contract.fixed_batch or 3, *(size or 224 for size in contract.row_shape))
    x = np.random.default_rng(1).random(shape, dtype=np.float32) if probe is None else np.ascontiguousarray(probe)
    x = on_byte_grid(x, contract)
    expected = predict(session, x)
    quantized_inside = rounds_activations(session.get_modelmeta().custom_metadata_map)
    tolerance = LARGEST_DIFFERENCE_INT8 if quantized_inside else LARGEST_DIFFERENCE
    twin = _faithful(model, contract, x, expected, tolerance)
    twin.straight_through = _rounding(model, contract)
    _refuse_without_backward(twin.eval(), x)
    return twin


def _faithful(
    model: onnx.ModelProto, contract: Contract, x: np.ndarray, expected: np.ndarray, tolerance: float
) -> Twin:
    """The twin to the logits, if it answers ``x`` as onnxruntime does, ``expected``; else that to the output itself."""
    output = contract.output_name
    if contract.returns == "label":
        scores = scores_before_argmax(model, output)
        if scores is None:
            raise Untwinnable("the graph returns labels that no ArgMax makes")
        output = scores
    exposed, added = expose(model, output)
    whole: Twin | None = None
    if exposed != output:
        twin = compiled(model, contract, exposed, added)
        logits = _run(twin, x)
        twin.max_difference = _difference(_softmax(logits), expected, contract)
        if twin.max_difference <= tolerance:
            return twin
        if contract.returns != "label" and keeps_order(logits, expected):
            whole = compiled(model, contract, output)
            answers = _run(whole, x)
            answers = as_probabilities(contract, answers) if contract.returns != "probabilities" else answers
            twin.max_difference = _difference(answers, expected, contract)
            if twin.max_difference <= tolerance:
                return twin
    twin = whole or compiled(model, contract, output)
    twin.log_output = contract.returns in ("probabilities", "unnormalized")
    twin.max_difference = _difference(_softmax(_run(twin, x)), expected, contract)
    if not twin.max_difference <= tolerance:
        raise Untwinnable(
            f"torch and onnxruntime disagree on this graph: probabilities differ by {twin.max_difference:.2g}"
        )
    return twin


def _run(twin: Twin, x: np.ndarray) -> np.ndarray:
    try:
        with torch.no_grad():
            outputs: np.ndarray = twin(torch.from_numpy(x)).float().numpy()
            return outputs
    except (Unsupported, RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise Untwinnable(f"an operator is used in a way that has no torch counterpart: {error}") from error


def _refuse_without_backward(twin: Twin, x: np.ndarray) -> None:
    """Operators may refuse only what carries a gradient."""
    fed = torch.from_numpy(x[: twin.fixed_batch or 1]).clone().requires_grad_(True)
    try:
        logits = twin(fed)
        if logits.requires_grad:
            torch.autograd.grad(logits.sum(), fed, allow_unused=True)
    except (Unsupported, RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise Untwinnable(f"an operator has no gradient in torch: {error}") from error


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Of [n, K]; anything else is no answer of a classifier, and stays as it is."""
    return device.softmax(logits) if logits.ndim == 2 else logits


def _difference(probabilities: np.ndarray, expected: np.ndarray, contract: Contract) -> float:
    """Largest between two probabilities; where only labels are known, largest lead of a label that is another one there."""
    if probabilities.shape != expected.shape:
        return np.inf
    if contract.returns != "label":
        return float(np.abs(probabilities - expected).max())
    return float((probabilities.max(axis=1) - probabilities[expected == 1]).max())


def _rounding(model: onnx.ModelProto, contract: Contract) -> tuple[str, ...]:
    """Operators before the logits that round what depends on the input."""
    changing = {contract.input_name}
    rounding = []
    for node in model.graph.node:
        if changing & {*node.input}:
            changing |= {*node.output}
            if node.op_type in STRAIGHT_THROUGH:
                rounding.append(named(node))
    return tuple(rounding)

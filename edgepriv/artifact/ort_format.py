"""model.ort: the graph as onnxruntime has optimized it, for its minimal builds, which read no .onnx."""

import tempfile
from pathlib import Path

import numpy as np

from edgepriv.artifact.parity import TOLERANCE
from edgepriv.artifact.session import open_session, predict
from edgepriv.errors import UserError

COMPARED = 64
"""Inputs on which a .ort is compared with its .onnx."""


def to_ort(model: Path, x: np.ndarray, profile: str) -> bytes:
    """A model in the .ort format, opened again and compared.

    The format holds what is left after optimization: weights that are restored when a session is opened are float in it,
    packed ones stay packed. It cannot hold 4-bit tensors, so what a profile dequantizes at inference cannot be converted.

    Args:
        model: an .onnx.
        x: float32 [n, ...], of which a few are compared on.
        profile: of the model.

    Returns:
        The file.

    Raises:
        UserError: when it does not open, or computes something else.
    """
    remedy = "" if profile == "memory" else ": use --profile memory"
    with tempfile.TemporaryDirectory(prefix="edgepriv-") as folder:
        converted = Path(folder) / "model.ort"
        open_session(model, dump_optimized=str(converted))
        content = converted.read_bytes()
        try:
            session = open_session(converted)
        except UserError as error:
            raise UserError(f"the .ort format cannot hold the weights of profile {profile}{remedy}") from error
        few = np.ascontiguousarray(x[:COMPARED], np.float32)
        difference = float(np.abs(predict(session, few) - predict(open_session(model), few)).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"model.ort computes something else than the .onnx (outputs differ by {difference:.2g}){remedy}"
        )
    return content

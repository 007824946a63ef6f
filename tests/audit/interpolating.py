"""Networks that know their members by heart after one linear solve: random features behind which least squares interpolates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES, FEATURES, WIDTH = 4, 12, 300
RECORDS = 160
"""Members, and as many non-members."""


@dataclass(frozen=True)
class World:
    """Records whose labels are half of them noise; ``x`` float32 [N, FEATURES], ``y`` int64 [N], members first."""

    x: np.ndarray
    y: np.ndarray
    hidden: np.ndarray

    @classmethod
    def of(cls, count: int = 2 * RECORDS) -> "World":
        """The first ``count`` of at most 4 * RECORDS."""
        rng = np.random.default_rng(0)
        x = rng.random((4 * RECORDS, FEATURES)).astype(np.float32)
        y = ((x - 0.5) @ rng.standard_normal((FEATURES, CLASSES))).argmax(axis=1)
        y = np.where(rng.random(len(y)) < 0.25, rng.integers(CLASSES, size=len(y)), y)
        return cls(x[:count], y[:count], (3 * rng.standard_normal((FEATURES, WIDTH))).astype(np.float32))

    @property
    def members(self) -> np.ndarray:
        """bool [N]: of the target."""
        return np.arange(len(self.y)) < RECORDS

    def features(self) -> np.ndarray:
        return np.maximum((self.x - 0.5) @ self.hidden, 0)

    def solved(self, member: np.ndarray, seed: int) -> np.ndarray:
        """Weights [WIDTH, CLASSES] of a model that was trained on ``member``, some features of its own left out."""
        kept = np.random.default_rng(seed).random(WIDTH) < 0.8
        inside = self.features()[member] * kept
        wanted = 8 * np.eye(CLASSES)[self.y[member]] - 2
        ridge = inside.T @ inside + 0.5 * np.eye(WIDTH)
        return (np.linalg.solve(ridge, inside.T @ wanted) * kept[:, None]).astype(np.float32)

    def logits(self, weights: np.ndarray) -> np.ndarray:
        """float32 [N, CLASSES]."""
        return (self.features() @ weights).astype(np.float32)

    def save(self, path: Path, weights: np.ndarray) -> Path:
        """The model as a foreign .onnx."""
        nodes = [("Sub", "x half", "c"), ("MatMul", "c h", "f"), ("Relu", "f", "r"), ("MatMul", "r w", "y")]
        return save(path, nodes, {"half": np.float32(0.5), "h": self.hidden, "w": weights})

    def files(self, folder: Path) -> dict[str, Path]:
        """Members and non-members as ``pipeline.audit`` takes them."""
        for name, part in (("in", self.members), ("out", ~self.members)):
            np.savez(folder / f"{name}.npz", x=self.x[part], y=self.y[part])
        return {"members": folder / "in.npz", "non_members": folder / "out.npz"}


def save(path: Path, nodes: Sequence[tuple[str, str, str]], constants: dict[str, np.ndarray], **gemm: int) -> Path:
    """A foreign .onnx from x [N, FEATURES] to y [N, CLASSES]; ``gemm``: attributes of its Gemm."""
    graph = helper.make_graph(
        [helper.make_node(op, given.split(), [made], **(gemm if op == "Gemm" else {})) for op, given, made in nodes],
        "interpolating",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def halves(count: int, records: int = 2 * RECORDS, seed: int = 1) -> np.ndarray:
    """bool [count, records]: what each reference is trained on, half of all, in complementary pairs."""
    rng = np.random.default_rng(seed)
    firsts = [rng.permutation(records) < records // 2 for _ in range(count // 2)]
    return np.array([own for first in firsts for own in (first, ~first)])


def rows_of(content: dict, names: Sequence[str]) -> dict[str, float]:
    """Attack -> its AUC."""
    return {row["name"]: row["auc"] for row in content["attacks"] if row["name"] in names}

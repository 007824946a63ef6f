"""Whether a matrix of 2 bits gains by onnxruntime's own 2-bit kernel, over the 4-bit kernel that our files use for it.

    python benchmarks/two_bits.py [--rows 1024] [--columns 6144] [--rounds 15]

com.microsoft.MatMulNBits with one row of activations, which the kernels round to int8 (accuracy_level 4), on one thread: the
best of the rounds, and bytes that the weights, scales and zero points take in memory. Before 1.27 or 1.28 onnxruntime has no
2-bit kernel: 1.26 multiplies float matrices, 1.23 refuses the file. Runs with the onnxruntime that is imported.
"""

import argparse
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from edgepriv.artifact.session import open_session

CASES = ((4, 256), (4, 64), (2, 64), (2, 128))
"""Bits and block; larger blocks of 2 bits have no kernel."""


def product(bits: int, block: int, rows: int, columns: int) -> tuple[bytes, int]:
    """A model of one product with random integers, and the bytes of its constants."""
    draw, blocks = np.random.default_rng(0), columns // block
    constants = {
        "matrix": draw.integers(256, size=(rows, blocks, block * bits // 8), dtype=np.uint8),
        "scale": draw.random((rows, blocks), np.float32),
        "zero_point": draw.integers(256, size=(rows, -(-blocks * bits // 8)), dtype=np.uint8),
    }
    node = helper.make_node(
        "MatMulNBits", ["x", *constants], ["y"], domain="com.microsoft",
        K=columns, N=rows, bits=bits, block_size=block, accuracy_level=4,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model.SerializeToString(), sum(array.nbytes for array in constants.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1024), ("columns", 6144), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    x = np.random.default_rng(1).standard_normal((1, options.columns)).astype(np.float32)
    table = Table(title=f"onnxruntime {ort.__version__}, {options.rows} x {options.columns}, one row, one thread")
    for heading in ("bits", "block", "microseconds", "bytes in memory"):
        table.add_column(heading, justify="right")
    opened = []
    for bits, block in CASES:
        model, size = product(bits, block, options.rows, options.columns)
        opened.append((bits, block, size, open_session(model)))
    best = dict.fromkeys(range(len(opened)), float("inf"))
    for _ in range(options.rounds):
        for case, (*_, session) in enumerate(opened):
            for _ in range(20):
                started = time.perf_counter()
                session.run(None, {"x": x})
                best[case] = min(best[case], time.perf_counter() - started)
    for case, (bits, block, size, _) in enumerate(opened):
        table.add_row(str(bits), str(block), f"{1e6 * best[case]:.0f}", f"{size:,}")
    Console().print(table)


if __name__ == "__main__":
    main()

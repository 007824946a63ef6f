"""Time an ONNX classifier in OpenVINO: ``python openvino_timer.py model.onnx``; timers.py has the arguments.

OpenVINO is asked for latency on a given number of threads and for float32 activations, which it would round to bfloat16 on
processors with instructions for that; the batch size is fixed before compiling, as its documentation advises. All else is left
at its defaults, by which it may quantize the activations of compressed Linear layers to 8 bits.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from timers import Opened, Runtime, main


def compiled(path: Path, batch: int, threads: int) -> openvino.CompiledModel:
    """The model for batches of ``batch`` on the CPU. ``threads``: 0 for all cores."""
    core = openvino.Core()
    model = core.read_model(path)
    shape = model.input(0).partial_shape
    shape[0] = batch
    model.reshape(shape)
    return core.compile_model(model, "CPU", properties(threads))


def properties(threads: int) -> dict[str, Any]:
    """What OpenVINO is asked for."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "f32",
    }


def opened(path: Path, batch: int, threads: int) -> Opened:
    """As ``Runtime.open``. Outputs are copied, as onnxruntime's are; inputs are not, as onnxruntime's are not."""
    model = compiled(path, batch, threads)
    request = model.create_infer_request()

    def ops() -> Mapping[str, int]:
        kinds = (str(op.get_rt_info()["layerType"].astype(str)) for op in model.get_runtime_model().get_ops())
        return dict(Counter(kinds).most_common())

    return Opened(tuple(model.input(0).shape), lambda x: request.infer({0: x}, share_inputs=True), ops)


def probabilities(path: Path, x: np.ndarray, threads: int = 0) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], one by one."""
    request = compiled(path, 1, threads).create_infer_request()
    return np.concatenate([request.infer({0: row[None]})[0].copy() for row in x])


if __name__ == "__main__":
    main(Runtime("openvino", openvino.__version__, opened, properties))

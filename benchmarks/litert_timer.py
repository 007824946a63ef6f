"""Time a classifier in LiteRT: ``python litert_timer.py model.tflite``; timers.py has the arguments.

LiteRT runs the file by XNNPACK, its default on processors, on a given number of threads. litert-torch converts a network for
one batch size, and XNNPACK refuses most files whose input is resized after that: the batch must be the file's own.
"""

import os
import sys
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from timers import Opened, Runtime, main


def interpreter_of(path: Path, batch: int, threads: int) -> Interpreter:
    """The model, which was converted for batches of ``batch``, its memory allocated. ``threads``: 0 for all cores."""
    interpreter = Interpreter(str(path), num_threads=threads or len(os.sched_getaffinity(0)))
    own = interpreter.get_input_details()[0]["shape"][0]
    if own != batch:
        sys.exit(f"error: {path} was converted for batches of {own}, so it cannot run one of {batch}")
    interpreter.allocate_tensors()
    return interpreter


def opened(path: Path, batch: int, threads: int) -> Opened:
    """As ``Runtime.open``."""
    interpreter = interpreter_of(path, batch, threads)
    shape = tuple(int(size) for size in interpreter.get_input_details()[0]["shape"])
    return Opened(shape, lambda x: answer(interpreter, x))


def answer(interpreter: Interpreter, x: np.ndarray) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], of as many examples as the interpreter was opened for.

    A file of int8 takes and returns integers: whoever calls it rounds to them and back, so that belongs to its time.
    """
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(source["index"], _rounded(x, source) if source["dtype"] != np.float32 else x)
    interpreter.invoke()
    scores: np.ndarray = interpreter.get_tensor(result["index"])
    if result["dtype"] == np.float32:
        return scores
    scale, zero = result["quantization"]
    restored: np.ndarray = (scores.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return restored


def _rounded(x: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    scale, zero = about["quantization"]
    bounds = np.iinfo(about["dtype"])
    integers: np.ndarray = np.clip(np.rint(x / np.float32(scale)) + zero, bounds.min, bounds.max).astype(about["dtype"])
    return integers


def probabilities(path: Path, x: np.ndarray, threads: int = 0) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], one by one; a file that returns logits gets a softmax."""
    interpreter = interpreter_of(path, 1, threads)
    scores = np.concatenate([answer(interpreter, row[None]) for row in x])
    if np.allclose(scores.sum(axis=1), 1, atol=1e-2) and (scores >= 0).all():
        return scores
    powers: np.ndarray = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


if __name__ == "__main__":
    main(Runtime("litert", ai_edge_litert.__version__, opened, lambda threads: {"num_threads": threads}))

"""Classify what is in a file: ``python predict.py model.onnx inputs.npy``.

Needs Python 3.10+, numpy and onnxruntime; pictures need Pillow too. ``from predict import open_session, predict`` is all that
a program of your own needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .command import KitError, run_command
    from .inputs import PICTURES, TABLES, ends, fit_inputs, read_inputs, read_pictures, read_table, table_record
    from .record import guarded_answers, kit_of, picture_range
    from .session import (
        batch_note,
        class_names,
        fixed_batch,
        open_or_explain,
        open_session,
        ort,
        output_kind,
        predict,
        reason_of,
        softmax,
    )
else:
    from command import KitError, run_command  # type: ignore
    from inputs import PICTURES, TABLES, ends, fit_inputs, read_inputs, read_pictures, read_table, table_record  # type: ignore
    from record import guarded_answers, kit_of, picture_range  # type: ignore
    from session import (  # type: ignore
        batch_note,
        class_names,
        fixed_batch,
        open_or_explain,
        open_session,
        ort,
        output_kind,
        predict,
        reason_of,
        softmax,
    )

__all__ = ["fit_inputs", "guarded_answers", "open_session", "predict"]


def _read(session: ort.InferenceSession, options: argparse.Namespace) -> np.ndarray:
    """What the files of a command line hold; what was done to it is said on standard error."""
    kit, paths = kit_of(options.model), options.inputs
    notes: list[str] = []
    span = ends(options.input_range)
    pictures = [path.suffix.lower() in PICTURES for path in paths]
    if all(pictures):
        x, notes = read_pictures(session, paths, picture_range(kit) if span is None else span)
    elif len(paths) > 1:
        raise KitError("give pictures alone, or one file of numbers")
    elif (record := table_record(session, kit)) is not None and paths[0].suffix.lower() in TABLES:
        x, notes = read_table(paths[0], record)
    else:
        x = read_inputs(paths[0])
    for note in notes:
        print("note:", note, file=sys.stderr)
    return x


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Classify pictures, or the rows of a .npy, .npz or .csv file.")
    parser.add_argument("model", type=Path, help="the .onnx or .ort file")
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        help="pictures, one example each; or one .npy, .npz or .csv file: values in [0, 1] (or uint8), one example per row; or "
        "the rows of a table, with its titles",
    )
    parser.add_argument("--input-range", metavar="LO:HI", help="black and white of pictures of more than 8 bits")
    parser.add_argument("--threads", type=int, default=1, help="0 takes all cores (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object with all that the model returns")
    options = parser.parse_args()
    session = open_or_explain(options.model, options.threads)
    x = fit_inputs(session, _read(session, options))
    if not len(x):
        raise KitError(f"{options.inputs[0]} holds no example")
    try:
        outputs = predict(session, x)
    except Exception as error:
        raise KitError(f"{options.model} cannot classify these inputs: {reason_of(error)}") from error
    kind = output_kind(session, outputs)
    if kind != "label":
        strange = np.flatnonzero((np.isnan(outputs) | np.isposinf(outputs)).any(axis=1))
        if len(strange):
            raise KitError(f"the model answers example {strange[0]} with values that are not numbers")
    if kind == "probabilities":
        outputs = guarded_answers(options.model, outputs, x)
    labels = (outputs if kind == "label" else outputs.argmax(axis=1)).tolist()
    classes = max(labels) + 1 if kind == "label" else outputs.shape[1]
    names = class_names(session)
    if len(names) != classes and (kind != "label" or len(names) < classes):
        names = [str(label) for label in range(classes)]
    fixed = fixed_batch(session)
    if options.json:
        rows: list[dict[str, Any]] = [{"label": label, "name": names[label]} for label in labels]
        if kind != "label":
            rows = [row | {kind: scores} for row, scores in zip(rows, outputs.tolist(), strict=True)]
        told = {} if fixed is None else {"batch": fixed}
        print(json.dumps({"class_names": names, **told, "predictions": rows}))
        return
    if fixed is not None:
        print(f"{options.model.name} {batch_note(fixed)}", file=sys.stderr)
    width = max(len(name) for name in names)
    shown = None if kind == "label" else softmax(outputs) if kind == "logits" else outputs
    for index, label in enumerate(labels):
        probability = "" if shown is None else f"  {shown[index, label]:.4f}"
        print(f"{index:6d}  {names[label]:<{width}}{probability}")


if __name__ == "__main__":
    run_command(main)

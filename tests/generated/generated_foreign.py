"""The same cases as .onnx files that torch's exporter wrote, audited on the user's two files."""

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from generated_cases import FED_OPTIONS, UNREADABLE_LABELS, Made, Ran, fed, run
from generated_nets import COUPLED, RANDOM


def _written(made: Made) -> Path:
    path = made.folder / "foreign.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = fed(made.case, made.inputs[0][:3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            made.net,
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
        )
    return path


def audit(made: Made) -> Ran | None:
    """``edgepriv audit`` of the case's network as an .onnx; None where torch cannot write it."""
    try:
        path = _written(made)
    except Exception:  # torch's exporter, not edgepriv
        return None
    files = ["--members", made.folder / "members.npz", "--non-members", made.folder / "others.npz"]
    few = ["--attacks", "confidence,correctness", "--robust-examples", 4, "--steps", 1, "--eps", 0.02]
    return run("audit", path, *files, *FED_OPTIONS[made.case.fed], *few, "--json")


def _right(made: Made) -> tuple[float, float]:
    """By onnxruntime alone, 50 rows at a time."""
    session = ort.InferenceSession(made.folder / "foreign.onnx")
    name = session.get_inputs()[0].name
    shares = []
    for x, y in zip(made.inputs, made.classes, strict=True):
        given = fed(made.case, x).numpy()
        answers = np.concatenate([session.run(None, {name: given[i : i + 50]})[0] for i in range(0, len(x), 50)])
        shares.append(float((answers.argmax(1) == y).mean()))
    return shares[0], shares[1]


def audit_faults(made: Made, ran: Ran | None) -> list[str]:
    """What is wrong with how the audit ended; empty where we would sign it."""
    if ran is None:
        return []
    case = made.case
    if ran.code not in (0, 2):
        return [f"exit code {ran.code}: {ran.err[-300:]}"]
    if ran.code == 2:
        plain = case.labels not in (*UNREADABLE_LABELS, "negative", "names", "gaps", "from-one", "one-hot")
        plain = plain and case.twist not in (*COUPLED, *RANDOM) and case.pixels != "float-range"
        if not ran.sentence:
            return [f"refused without a sentence: {ran.err[-300:]}"]
        return [f"refused, but it must work: {ran.sentence}"] if plain and min(_right(made)) > 0.6 else []
    if case.labels in UNREADABLE_LABELS:
        return ["exit code 0, but no single class can be read from the labels"]
    if case.twist in RANDOM:
        told = json.loads(ran.out)["warnings"]
        return (
            [] if any("random" in sentence for sentence in told) else ["exit code 0 on random answers, without a word"]
        )
    if case.twist in COUPLED:
        return ["exit code 0, but the answer to a row depends on the rows beside it"]
    utility = json.loads(ran.out)["utility"]
    found = (utility["member_accuracy"], utility["non_member_accuracy"])
    return [] if np.allclose(found, _right(made), atol=0.011) else [f"accuracy {found}, by onnxruntime {_right(made)}"]

"""The same cases as .onnx files that torch's exporter wrote in several forms, audited on the user's two files."""

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from generated_cases import FED_OPTIONS, UNREADABLE_LABELS, Case, Made, Ran, fed, run
from generated_nets import COUPLED, RANDOM
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotImplemented_
from torch import Tensor, nn

FORMS = ("logits", "probabilities", "label-first", "embedding-first", "maps-of-one", "bytes", "alone", "four-at-a-time")
"""What the file takes and returns: one output, a label or an embedding before the scores, scores [N, K, 1, 1], an input of
bytes, a fixed batch."""
_FIXED = {"alone": 1, "four-at-a-time": 4}


class Formed(nn.Module):
    """The network in one of the forms."""

    def __init__(self, case: Case, net: nn.Module) -> None:
        super().__init__()
        self.case, self.net = case, net

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        form = self.case.form
        scores: Tensor = self.net(fed(self.case, x.float() / 255) if form == "bytes" else x).float()
        if form == "probabilities":
            return scores.softmax(1)
        if form == "label-first":
            return scores.argmax(1), scores.softmax(1)
        if form == "embedding-first":
            return x.flatten(1)[:, :7], scores
        return scores[:, :, None, None] if form == "maps-of-one" else scores


def _written(made: Made) -> Path:
    path, size = made.folder / "foreign.onnx", _FIXED.get(made.case.form)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    free = None if size else ({0: torch.export.Dim("n", min=1, max=4096)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Formed(made.case, made.net).eval(),
            (_as_taken(made.case, made.inputs[0][: size or 3]),),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=free,
        )
    return path


def _as_taken(case: Case, unit: np.ndarray) -> Tensor:
    """What a file of the case's form is given for inputs in [0, 1]."""
    return torch.from_numpy(np.rint(unit * 255).astype(np.uint8)) if case.form == "bytes" else fed(case, unit)


def audit(made: Made) -> Ran | None:
    """``edgepriv audit`` of the case's network as an .onnx; None where torch cannot write it."""
    try:
        path = _written(made)
    except Exception:  # torch's exporter, not edgepriv
        return None
    files = ["--members", made.folder / "members.npz", "--non-members", made.folder / "others.npz"]
    few = [
        "--attacks",
        "confidence,correctness",
        "--robust",
        "quick",
        "--robust-examples",
        4,
        "--steps",
        1,
        "--eps",
        0.02,
    ]
    stated = [] if made.case.form == "bytes" else FED_OPTIONS[made.case.fed]
    return run("audit", path, *files, *stated, *few, "--json")


def _right(made: Made) -> tuple[float, float]:
    """By onnxruntime alone, as many rows at a time as it takes; nothing, where it has no operator for its numbers."""
    try:
        session = ort.InferenceSession(made.folder / "foreign.onnx")
    except NotImplemented_:
        return 0.0, 0.0
    name, size = session.get_inputs()[0].name, _FIXED.get(made.case.form, 50)
    shares = []
    for x, y in zip(made.inputs, made.classes, strict=True):
        whole = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
        given = _as_taken(made.case, whole).numpy()
        answers = np.concatenate(
            [session.run(None, {name: given[i : i + size]})[-1] for i in range(0, len(given), size)]
        )
        shares.append(float((answers.reshape(len(given), -1)[: len(x)].argmax(1) == y).mean()))
    return shares[0], shares[1]


def audit_faults(made: Made, ran: Ran | None) -> list[str]:
    """What is wrong with how the audit ended; empty where we would sign it."""
    if ran is None:
        return []
    case = made.case
    coupled = case.twist in COUPLED and case.form != "alone"
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
        said = any("differently each time" in sentence for sentence in told)
        return [] if said else ["exit code 0 on random answers, without a word"]
    if coupled:
        return ["exit code 0, but the answer to a row depends on the rows beside it"]
    utility = json.loads(ran.out)["utility"]
    found = (utility["member_accuracy"], utility["non_member_accuracy"])
    return [] if np.allclose(found, _right(made), atol=0.011) else [f"accuracy {found}, by onnxruntime {_right(made)}"]

"""One generated case: somebody's network, weights, container, data and labels; what is right; and what a command made of it.

What is right is known apart from edgepriv: accuracy by the case's own torch network on the case's own numbers, before anything
is saved, and then the same rows through onnxruntime. A command may refuse a case in one sentence, with exit code 2; when it
ends with 0, its numbers must be the right ones. ``must_work`` says which cases may not be refused.
"""

import contextlib
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import generated_nets as nets
import numpy as np
import onnxruntime as ort
import torch
from generated_containers import REFUSED, WRITERS

from edgepriv import cli
from edgepriv.recipe import MAX_DROP

CLASSES, MEMBERS, OTHERS, SIDE = 3, 150, 150, 8
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "float8": torch.float8_e4m3fn,
}
# By name: what stands in the file for the classes 0, 1, 2; None where no single class can be read.
LABELS: dict[str, Any] = {
    "int64": lambda y: y.astype(np.int64),
    "uint8": lambda y: y.astype(np.uint8),
    "column": lambda y: y.astype(np.int32)[:, None],
    "whole-floats": lambda y: y.astype(np.float32),
    "gaps": lambda y: np.array([10, 20, 40])[y],
    "from-one": lambda y: y + 1,
    "names": lambda y: np.array(["cat", "dog", "owl"])[y],
    "one-hot": lambda y: np.eye(CLASSES, dtype=np.uint8)[y],
    "negative": lambda y: np.array([-1, 0, 1])[y],
    "several": lambda y: np.maximum(np.eye(CLASSES), np.eye(CLASSES)[::-1])[y].astype(np.uint8),
    "soft": lambda y: (0.8 * np.eye(CLASSES) + 0.2 / CLASSES)[y].astype(np.float32),
    "fractions": lambda y: y + 0.25,
}
UNREADABLE_LABELS = ("several", "soft", "fractions")
PIXELS = ("bytes", "floats", "doubles", "words", "float-range")
FED = ("unit", "bytes", "standard", "minus-one-to-one")
"""How the network was fed: in [0, 1], as 0 to 255, less a mean and through a deviation, in [-1, 1]."""
FED_OPTIONS = {
    "unit": ["--mean", "0", "--std", "1"],
    "bytes": ["--input-range", "0:255", "--mean", "0", "--std", "1"],
    "standard": ["--mean", "0.4", "--std", "0.3"],
    "minus-one-to-one": ["--mean", "0.5", "--std", "0.5"],
}


@dataclass(frozen=True)
class Case:
    """What a user brings, in words; ``seed`` draws the numbers."""

    seed: int = 0
    body: str = "cnn"
    norm: str = "none"
    wrap: str = "none"
    twist: str = "none"
    container: str = "bare"
    dtype: str = "float32"
    labels: str = "int64"
    pixels: str = "bytes"
    colours: int = 1
    fed: str = "unit"
    bits: int = 8
    profile: str = "latency"
    stated: bool = True
    form: str = "logits"
    """Of a foreign .onnx, see ``generated_foreign.FORMS``."""

    @property
    def must_refuse(self) -> str:
        """Why exit code 0 would be wrong whatever the numbers are; empty where it would not."""
        if self.labels in UNREADABLE_LABELS:
            return "no single class can be read from the labels"
        if self.container in REFUSED:
            return "the file holds code"
        if self.twist in (*nets.COUPLED, *nets.RANDOM):
            return "the answer to a row is not a function of the row"
        if not self.stated:
            return "nobody said how the network was fed"
        return ""

    @property
    def must_work(self) -> bool:
        """A case that everybody would expect to work."""
        plain = self.dtype != "float8" and self.labels not in ("negative",) and self.pixels != "float-range"
        return plain and not self.must_refuse and self.bits >= 8


@dataclass
class Made:
    """The files of a case in a folder, its network, what is right (accuracy in torch), and the rows."""

    folder: Path
    case: Case
    net: torch.nn.Module
    weights: Path
    accuracy: tuple[float, float]
    inputs: tuple[np.ndarray, np.ndarray]
    classes: tuple[np.ndarray, np.ndarray]
    names: tuple[str, ...] = field(default=())


def _draw(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, C, SIDE, SIDE] and classes [n]: each class has bright pixels of its own, under noise."""
    rng = np.random.default_rng([case.seed, 17])
    y = rng.permutation(np.arange(MEMBERS + OTHERS) % CLASSES)
    centres = rng.integers(40, 216, (CLASSES, case.colours, SIDE, SIDE))
    x = np.clip(centres[y] + rng.normal(0, 45, (len(y), case.colours, SIDE, SIDE)), 0, 255).astype(np.uint8)
    return x, y


def fed(case: Case, unit: np.ndarray) -> torch.Tensor:
    """What the network sees of inputs in [0, 1]."""
    x = torch.from_numpy(unit)
    return {"unit": x, "bytes": x * 255, "standard": (x - 0.4) / 0.3, "minus-one-to-one": (x - 0.5) / 0.5}[case.fed]


def _fitted(case: Case, x: np.ndarray, y: np.ndarray) -> torch.nn.Module:
    torch.manual_seed(case.seed)
    net = nets.make(CLASSES, x.shape[1:], body=case.body, norm=case.norm, wrap=case.wrap, twist=case.twist)
    scale = 1 / 255 if case.fed == "bytes" else 1.0
    optimizer = torch.optim.Adam(net.parameters(), 4e-3 * (0.05 if scale < 1 else 1))
    inputs, labels = fed(case, x), torch.from_numpy(y)
    for _ in range(40):
        for part in torch.randperm(len(inputs)).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[part].clone()).float(), labels[part]).backward()
            optimizer.step()
    return net.eval()


def _stored(case: Case, unit: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """The pixels as the case's file holds them: bytes, floats, 16-bit words, or floats in 0 to 255."""
    if case.pixels == "bytes":
        return raw
    if case.pixels == "words":
        return raw.astype(np.uint16) * 257
    if case.pixels == "doubles":
        return unit.astype(np.float64)
    return raw.astype(np.float32) if case.pixels == "float-range" else unit


def _names(labels: np.ndarray) -> tuple[str, ...]:
    """What the classes are called: by their labels, 1.0 as 1; by their number where the labels are columns of 0 and 1."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return tuple(map(str, range(CLASSES)))
    flat = labels.ravel()
    return tuple(str(value) if flat.dtype.kind == "U" else f"{float(value):g}" for value in flat)


@torch.no_grad()
def _accuracy(net: torch.nn.Module, case: Case, x: np.ndarray, y: np.ndarray) -> float:
    return float((net(fed(case, x).clone()).argmax(1).numpy() == y).mean())


def make(case: Case, folder: Path) -> Made:
    """Train the network, write its weights and data as the case says, and measure what is right."""
    raw, y = _draw(case)
    unit = raw.astype(np.float32) / np.float32(255)
    inside, outside = slice(MEMBERS), slice(MEMBERS, None)
    net = _fitted(case, unit[inside], y[inside])
    state = {
        name: value.to(DTYPES[case.dtype]) if value.dtype == torch.float32 and value.ndim > 1 else value
        for name, value in net.state_dict().items()
    }
    if case.dtype != "float32":
        net.load_state_dict({name: value.to(net.state_dict()[name].dtype) for name, value in state.items()})
    net.input_shape = raw.shape[1:]  # type: ignore[assignment]
    ending, write = (WRITERS | REFUSED)[case.container]
    weights = folder / f"weights.{ending}"
    write(net, state, weights)
    stored = _stored(case, unit, raw)
    for name, part in (("members", inside), ("others", outside)):
        np.savez(folder / f"{name}.npz", x=stored[part], y=LABELS[case.labels](y[part]))
    names = _names(LABELS[case.labels](np.arange(CLASSES)))
    accuracies = tuple(_accuracy(net, case, unit[part], y[part]) for part in (inside, outside))
    words = ", ".join(f'{word} = "{getattr(case, word)}"' for word in ("body", "norm", "wrap", "twist"))
    (folder / "recipe.toml").write_text(f'[model]\nname = "generated_nets:make"\nargs = {{ {words} }}\n')
    return Made(
        folder,
        case,
        net,
        weights,
        accuracies,  # type: ignore[arg-type]
        (unit[inside], unit[outside]),
        (y[inside], y[outside]),
        names,
    )


@dataclass(frozen=True)
class Ran:
    """How a command ended. ``code``: its exit code; ``out``, ``err``: what it printed."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The line that says why it was refused."""
        return next((line for line in self.err.splitlines() if line.startswith("error: ")), "")


def run(*arguments: object) -> Ran:
    """A command in this process, as a shell would run it. Whatever it raises but its exit is the caller's to see."""
    out, err, given = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["edgepriv", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as ended:
        return Ran(int(ended.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = given
    raise AssertionError("a command ends with an exit code")


def export(made: Made) -> Ran:
    """``edgepriv export`` of the case."""
    case, folder = made.case, made.folder
    stated = FED_OPTIONS[case.fed] if case.stated else []
    files = [
        "--members",
        folder / "members.npz",
        "--non-members",
        folder / "others.npz",
        "--recipe",
        folder / "recipe.toml",
    ]
    form = ["--bits", case.bits, "--profile", case.profile, "-o", folder / "shipped.onnx"]
    return run("export", made.weights, *files, *stated, *form, "--json")


def shipped_accuracy(made: Made, path: Path, batch: int) -> tuple[float, float]:
    """By onnxruntime alone: the share of members and of others that the file answers rightly, asked ``batch`` at a time."""
    session = ort.InferenceSession(path)
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    wanted = [names.index(name) for name in made.names]
    shares = []
    for x, y in zip(made.inputs, made.classes, strict=True):
        answers = np.concatenate(
            [session.run(None, {"input": x[i : i + batch]})[0] for i in range(0, len(x), batch)]
        ).argmax(1)
        shares.append(float((answers == np.array(wanted)[y]).mean()))
    return shares[0], shares[1]


def faults(made: Made, ran: Ran) -> list[str]:
    """What is wrong with how the export of a case ended; empty where we would sign it."""
    case, path = made.case, made.folder / "shipped.onnx"
    if ran.code not in (0, 2):
        return [f"exit code {ran.code}: {ran.err[-300:]}"]
    if ran.code == 2:
        found = [] if ran.sentence else [f"refused without a sentence: {ran.err[-300:]}"]
        found += [f"refused, but a file was left: {path.name}"] if path.exists() else []
        good = min(made.accuracy) > 0.6
        return found + ([f"refused, but it must work: {ran.sentence}"] if case.must_work and good else [])
    if case.must_refuse:
        return [f"exit code 0, but {case.must_refuse}"]
    found = []
    alone, together = shipped_accuracy(made, path, 1), shipped_accuracy(made, path, 64)
    if alone != together:
        found.append(f"accuracy one at a time {alone}, 64 at a time {together}")
    told = json.loads(ran.out)["accuracy"]
    for row, own in zip(told["rows"], (made.accuracy, together), strict=False):
        for who, right in zip(("members", "held_out"), own, strict=True):
            if not _is_of_some(right, row[who]):
                found.append(f"{row['model']}, {who}: {right:.3f}, told {row[who]['accuracy']:.3f} on {row[who]['n']}")
    return found + [f"{cost['points']:.1f} points lost" for cost in told["costs"] if cost["points"] > MAX_DROP + 1e-6]


def _is_of_some(right: float, told: dict[str, Any]) -> bool:
    """Whether an accuracy that was told of some rows may be theirs, where ``right`` is that of all MEMBERS or OTHERS; one row
    may be at the border of two classes."""
    assert MEMBERS == OTHERS
    beyond = right * OTHERS - told["accuracy"] * told["n"]
    return -1.01 <= beyond <= OTHERS - told["n"] + 1.01

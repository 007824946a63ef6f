"""One candidate: it is hardened and exported as any file is, and measured on the half by which files are chosen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import pipeline, progress
from edgepriv.artifact.session import open_session, predict
from edgepriv.data import Split
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.paired import loss
from edgepriv.project import beside
from edgepriv.recipe import Model, Recipe
from edgepriv.tuning import clock as timing
from edgepriv.tuning.plan import Plan
from edgepriv.tuning.question import Question, Work
from edgepriv.tuning.risks import Effort, leakage_of, risks

FIGURES = "figures"
"""Folder, in the work folder, of what was measured of each candidate."""
_CHUNK = 512


@dataclass(frozen=True)
class Candidate:
    """A plan that was carried out with so many epochs.

    ``figures``: ``size_bytes``, ``float_bytes``, ``drop`` (points lost to the float file) and ``accuracy``, each with ``ci``
    where it has one, on the half by which files are chosen; ``seconds``, ``sha256``. ``right``: bool [n], by record.
    """

    plan: Plan
    epochs: int
    figures: Mapping[str, Any]
    right: np.ndarray

    def kept(self) -> dict[str, Any]:
        """What the work folder keeps of it, as JSON."""
        right = self.right.astype(int).tolist()
        return {"plan": asdict(self.plan), "epochs": self.epochs, "figures": dict(self.figures), "right": right}

    @property
    def name(self) -> str:
        """By what it asks for."""
        return self.plan.named(self.epochs)

    @property
    def title(self) -> str:
        """In words."""
        return self.plan.title(self.epochs)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return int(self.figures["size_bytes"])

    @property
    def ratio(self) -> float:
        """The same as a share of the float file."""
        return float(self.size / self.figures["float_bytes"])


def right_of(path: Path, question: Question, split: Split) -> np.ndarray:
    """Which non-members a file is right about.

    Args:
        path: of the .onnx.
        question: with the data.
        split: of whose non-members it is asked.

    Returns:
        bool [n], in the order of ``split.non_members``.
    """
    session, dataset, index = open_session(path), question.given.dataset, split.non_members
    chunks = np.split(index, range(_CHUNK, len(index), _CHUNK))
    labels = np.concatenate([predict(session, dataset.inputs(chunk)).argmax(1) for chunk in chunks])
    right: np.ndarray = labels == dataset.y[index]
    return right


def groups_of(question: Question, split: Split) -> np.ndarray | None:
    """Whose records the non-members of a split are.

    Args:
        question: with the data.
        split: with the non-members.

    Returns:
        int64 [n], None where nobody says.
    """
    groups = question.given.dataset.groups
    return None if groups is None else groups[split.non_members]


def made(question: Question, plan: Plan, epochs: int, work: Work, *, whole: bool = False) -> Candidate:
    """Carry a plan out, or read what an earlier run has kept of it.

    Args:
        question: what is asked.
        plan: of the candidate.
        epochs: of fine-tuning.
        work: where files and figures are kept.
        whole: keep all of its files, which leakage and robustness are measured of.

    Returns:
        The candidate with its size and accuracy.

    Raises:
        UserError: where the plan cannot be carried out.
    """
    name = plan.named(epochs)
    kept = work.read(f"{FIGURES}/{name}")
    if kept is not None:
        return _read(kept)
    began = timing.now()
    folder = work.candidate(name)
    with progress.told(False):
        done = pipeline.harden(
            question.model,
            question.recipe,
            plan.changes(epochs),
            folder,
            accept_accuracy_loss=True,
            data_dir=question.data_dir,
            force=True,
        )
        right = right_of(folder / "model.onnx", question, question.halves.choosing)
        floating = _floating(question, beside(folder / "model.onnx", "fp32.onnx"), work)
    figures = {
        "size_bytes": done["size_bytes"],
        "float_bytes": done["float"]["size_bytes"],
        **accuracy_figures(floating, right, groups_of(question, question.halves.choosing)),
        "sha256": sha256_of(folder / "model.onnx"),
        "seconds": timing.now() - began,
        "passes": plan.passes(epochs, question.setting),
    }
    return _keep(Candidate(plan, epochs, figures, right), work, whole=whole)


def measured(question: Question, candidate: Candidate, work: Work, effort: Effort) -> Candidate:
    """A candidate with its leakage and robustness on the half by which files are chosen.

    Args:
        question: what is asked.
        candidate: whose files are kept.
        work: where they are.
        effort: that is spent.

    Returns:
        The candidate with these figures, and with ``seconds_proxy`` or ``seconds_audit``: what they took.

    Raises:
        UserError: where they cannot be measured.
    """
    audit = "audit" if effort.full else "proxy"
    if f"seconds_{audit}" in candidate.figures or "seconds_audit" in candidate.figures:
        return candidate
    began = timing.now()
    with progress.told(False):
        onnx = work.candidate(candidate.name) / "model.onnx"
        harms = risks(onnx, question, question.halves.choosing, effort)
    took = {f"seconds_{audit}": timing.now() - began}
    figures = {**candidate.figures, **harms, **took, "audited": effort.full}
    return _keep(replace(candidate, figures=figures), work, whole=True)


def by_attacks_that_ask_once(question: Question, candidate: Candidate, work: Work) -> Candidate:
    """A candidate with the leakage that the attacks find which all candidates are measured by.

    Args:
        question: what is asked.
        candidate: with leakage by these attacks or more.
        work: where its audit is.

    Returns:
        The candidate; as it is where its audit is not kept, or leakage has no budget.
    """
    onnx = work.candidate(candidate.name) / "model.onnx"
    if "tpr" not in candidate.figures or not beside(onnx, "audit.npz").exists():
        return candidate
    leakage = leakage_of(onnx, question, question.halves.choosing, once=True)
    tpr = candidate.figures["tpr"] | leakage
    return _keep(replace(candidate, figures={**candidate.figures, "tpr": tpr}), work, whole=True)


def all_kept(work: Work) -> list[Candidate]:
    """The candidates that earlier runs have finished.

    Args:
        work: where their figures are kept.

    Returns:
        All of them, in the order of their names.
    """
    paths = sorted((work.folder / FIGURES).glob("*.json"))
    return [_read(kept) for path in paths if (kept := work.read(f"{FIGURES}/{path.stem}")) is not None]


def _read(kept: Mapping[str, Any]) -> Candidate:
    layout = kept["plan"]["layout"]
    plan = Plan(**(kept["plan"] | {"layout": None if layout is None else tuple(layout)}))
    return Candidate(plan, kept["epochs"], kept["figures"], np.array(kept["right"], dtype=bool))


def _keep(candidate: Candidate, work: Work, *, whole: bool = False) -> Candidate:
    """``whole``: with all of its files, which an audit still needs."""
    work.write(f"{FIGURES}/{candidate.name}", candidate.kept())
    if not whole:
        work.trim(candidate.name)
    return candidate


def relaid(question: Question, candidate: Candidate, layout: tuple[str, str], work: Work) -> Candidate | None:
    """The same weights in another layout.

    Args:
        question: what is asked.
        candidate: that was trained.
        layout: profile and compute.
        work: where its checkpoint is kept.

    Returns:
        The candidate; None where its checkpoint is not kept, or cannot be laid out so.
    """
    plan = replace(candidate.plan, layout=layout)
    name = plan.named(candidate.epochs)
    kept = work.read(f"{FIGURES}/{name}")
    if kept is not None:
        return _read(kept)
    source, onnx = work.checkpoint(candidate.name), work.candidate(name) / "model.onnx"
    if not source.exists():
        return None
    changes = {"export": dict(zip(("profile", "compute"), layout, strict=True))}
    began = timing.now()
    try:
        with progress.told(False):
            done = pipeline.export(
                source,
                Recipe(model=Model(name=question.network.name)),
                changes,
                onnx,
                accept_accuracy_loss=True,
                data_dir=question.data_dir,
                force=True,
            )
            right = right_of(onnx, question, question.halves.choosing)
    except UserError:
        return None
    floating = np.array((work.read("float") or {})["right"], dtype=bool)
    figures = {
        **candidate.figures,
        "size_bytes": done["size_bytes"],
        **accuracy_figures(floating, right, groups_of(question, question.halves.choosing)),
        "sha256": sha256_of(onnx),
        "seconds": timing.now() - began,
        "passes": 0.0,
    }
    return _keep(Candidate(plan, candidate.epochs, figures, right), work)


def accuracy_figures(floating: np.ndarray, right: np.ndarray, groups: np.ndarray | None) -> dict[str, Any]:
    """Accuracy, and what was lost to the float file.

    Args:
        floating: bool [n], whether the float file is right.
        right: bool [n], whether this one is.
        groups: int64 [n], whose records they are; None where each is by itself.

    Returns:
        ``accuracy``, and ``drop``: ``value`` in points, ``ci``, ``n``.
    """
    lost = loss(floating, right, groups)
    return {
        "accuracy": float(right.mean()),
        "float_accuracy": float(floating.mean()),
        "drop": {"value": lost["points"], "ci": lost["ci"], "n": lost["n"]},
    }


def _floating(question: Question, twin: Path, work: Work) -> np.ndarray:
    """What the float file, which is the same for all candidates, is right about."""
    kept = work.read("float")
    if kept is None:
        kept = {"right": right_of(twin, question, question.halves.choosing).astype(int).tolist()}
        work.write("float", kept)
    return np.array(kept["right"], dtype=bool)

"""What a search ends in: the winner, made again by its recipe and measured on the half that chose nothing."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv import pipeline, progress, project
from edgepriv.files import read_bytes, sha256_of, write_bytes, write_text
from edgepriv.models import checkpoint
from edgepriv.recipe import as_toml
from edgepriv.tuning.budgets import judged
from edgepriv.tuning.candidates import Candidate, accuracy_figures, groups_of, right_of
from edgepriv.tuning.frontier import Chosen, frontier
from edgepriv.tuning.question import Question
from edgepriv.tuning.risks import PROXY, complete, leakage_of, missing, risks, robust_of
from edgepriv.tuning.saying import (
    BY_CHANCE,
    accuracy_told,
    beside_uniform,
    fewer_epochs,
    not_made,
    not_measured,
    not_the_same,
    tied,
    too_few_asked,
    verdict,
    without_time,
)
from edgepriv.tuning.search import Search
from edgepriv.tuning.space import uniform

AUDIT_FILES = ("audit.json", "audit.html", "audit.npz")
"""Endings of what an audit writes beside a model."""
_SHOWN = ("size_bytes", "float_bytes", "accuracy", "drop", "tpr", "robust", "audited", "seconds")


def told(search: Search, chosen: Chosen, output: Path) -> dict[str, Any]:
    """Make the winner by its recipe, and measure it on the half that chose nothing.

    Args:
        search: that has ended.
        chosen: of it.
        output: folder that the file and its recipe are written to.

    Returns:
        All that is told of the search, as JSON.
    """
    question, winner = search.question, chosen.winner
    progress.announce(f"tune: making {winner.title} by its recipe")
    with progress.told(False):
        done = pipeline.harden(
            question.model,
            question.recipe,
            winner.plan.changes(winner.epochs),
            output,
            accept_accuracy_loss=True,
            data_dir=question.data_dir,
            force=True,
        )
    hardened = checkpoint.load(output / "model.pt", question.network).recipe
    write_text(output / "recipe.toml", as_toml(hardened))
    telling = question.halves.telling
    twin = project.beside(output / "model.onnx", "fp32.onnx")
    right, floating = (right_of(path, question, telling) for path in (output / "model.onnx", twin))
    digest = sha256_of(output / "model.onnx")
    figures = {
        "size_bytes": done["size_bytes"],
        "float_bytes": done["float"]["size_bytes"],
        **accuracy_figures(floating, right, groups_of(question, telling)),
        **_risks(search, winner, output, digest),
    }
    accepted = [line for line in done.get("accuracy", {}).get("warnings", []) if "--accept-accuracy-loss" in line]
    unasked = accuracy_told(figures) if question.budgets.drop is None else ""
    compared = uniform(question.budgets, question.setting).named(search.auditor.last)
    verdicts = [verdict(kept, figures) for kept in judged(question.budgets, figures)]
    verdicts += [not_measured(name) for name in missing(figures, question.budgets)]
    remarks = [
        *([BY_CHANCE] if not chosen.within and all(row["met"] for row in verdicts) else []),
        *(line for line in (unasked, tied(chosen, question.budgets.goal), not_the_same(winner, digest)) if line),
        *(beside_uniform(winner, search.candidates[name]) for name in (compared,) if name in search.candidates),
        *fewer_epochs(search.auditor.last, question.rungs[-1]),
        *too_few_asked(figures),
        *search.auditor.remarks,
        *without_time(search.left_out),
        *accepted,
        *not_made(search.failed),
    ]
    return summary(search, chosen) | {
        "finished": True,
        "model": str(output / "model.onnx"),
        "sha256": digest,
        "recipe": hardened.model_dump(mode="json"),
        "figures": figures,
        "budgets": verdicts,
        "said": remarks,
        "command": _command(question, output, accepted),
    }


def _risks(search: Search, winner: Candidate, output: Path, digest: str) -> dict[str, Any]:
    """Leakage and robustness on the half that chose nothing. An audit asks about both halves: that of the same file is taken
    over."""
    question, auditor = search.question, search.auditor
    if not complete(winner.figures, question.budgets) or not auditor.asked:
        return {}
    progress.announce("tune: leakage and robustness on the records that chose nothing")
    effort = auditor.effort if winner.figures.get("audited") else PROXY
    own, telling = output / "model.onnx", question.halves.telling
    audited = search.work.candidate(winner.name) / "model.onnx"
    with progress.told(False):
        if winner.figures["sha256"] != digest:
            return risks(own, question, telling, effort)
        measured = {}
        if question.budgets.leakage is not None:
            for ending in AUDIT_FILES:
                write_bytes(project.beside(own, ending), read_bytes(project.beside(audited, ending), "an audit"))
            measured["tpr"] = leakage_of(own, question, telling, once=not winner.figures["audited"])
        if question.budgets.robust is not None:
            measured["robust"] = robust_of(own, question, telling, effort)
    return measured


def _command(question: Question, output: Path, accepted: Sequence[str]) -> str:
    """What makes the same file again."""
    command = ["edgepriv", "harden", str(question.model), "--recipe", str(output / "recipe.toml"), "-o", "again/"]
    command += ["--accept-accuracy-loss"] if accepted else []
    command += ["--data-dir", str(question.data_dir)] if question.data_dir is not None else []
    return shlex.join(command)


def summary(search: Search, chosen: Chosen) -> dict[str, Any]:
    """The candidates.

    Args:
        search: so far.
        chosen: by what it knows.

    Returns:
        JSON.
    """
    every = list(search.candidates.values())
    front = {each.name for each in frontier(every)}
    names = {each.name for each in chosen.ties}
    halves = search.question.halves
    return {
        "asked": search.question.budgets.record(),
        "goal": search.question.budgets.goal,
        "chosen_on": len(halves.choosing.non_members),
        "told_on": len(halves.telling.non_members),
        "seconds": search.clock.used,
        "trials": search.trials,
        "epochs": list(search.auditor.rungs),
        "winner": chosen.winner.name,
        "within": chosen.within,
        "ties": sorted(names),
        "candidates": [
            {
                "name": each.name,
                "title": each.title,
                "bits": each.plan.bits,
                "epochs": each.epochs,
                **{key: each.figures[key] for key in _SHOWN if key in each.figures},
                "on_frontier": each.name in front,
            }
            for each in sorted(every, key=lambda one: (one.size, one.name))
        ],
        "failed": search.failed,
        "sensitivity": dict(search.table),
    }

"""``edgepriv tune``: the list of its steps."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepriv import data, pipeline, progress, project
from edgepriv.errors import GateFailed, UserError
from edgepriv.files import refuse_existing, refuse_overwriting, sha256_of, write_json, write_text
from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.models import checkpoint
from edgepriv.recipe import Quantize, Recipe, as_toml
from edgepriv.report import tuned
from edgepriv.tuning.bits import least_bytes
from edgepriv.tuning.budgets import Budgets, judged, refuse_too_small, refuse_unresolvable
from edgepriv.tuning.candidates import Candidate, accuracy_figures, all_kept, audited, groups_of, relaid, right_of
from edgepriv.tuning.frontier import Chosen, choose, frontier, score
from edgepriv.tuning.question import Question, Work, hash_of
from edgepriv.tuning.risks import full_effort, risks
from edgepriv.tuning.saying import accuracy_told, not_made, not_the_same, progressed, tied, verdict
from edgepriv.tuning.search import Clock, Search, opened_study, run
from edgepriv.tuning.space import VARIANTS, first_points

FINALISTS = 3
"""Candidates, the best ones, whose weights are laid out in every other way too."""
EVERY = 10.0
"""Seconds between two writings of the page while the search goes on."""
_SHOWN = ("size_bytes", "float_bytes", "accuracy", "drop", "tpr", "robust", "audited", "seconds")
REPORT = "tune"
"""Name of the JSON and of the page."""


# One argument for each option of `edgepriv tune`, by its name.
def tune(
    model: Path,
    recipe: Recipe | None,
    budgets: Budgets,
    output: Path,
    *,
    seconds: float,
    most: int,
    data_dir: Path | None = None,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Search the best file within budgets, make it by its recipe, and tell its figures on records that chose nothing.

    Args:
        model: a checkpoint of ``edgepriv train``.
        recipe: what all candidates have in common; None for the usual.
        budgets: that the file must keep.
        output: folder to write into: what ``edgepriv harden`` writes, recipe.toml, tune.json and tune.html.
        seconds: after which no candidate is begun.
        most: candidates that the search draws.
        data_dir: folder of the data sets; None for the default one.
        force: replace files that exist.
        recipe_file: where the recipe was read from.

    Returns:
        The content of tune.json.

    Raises:
        UserError: for bad input, before the search.
        GateFailed: after writing, where a budget is not kept; with the same content.
    """
    work = Work(output / "work" / hash_of(model, recipe, budgets))
    own = [
        output / "recipe.toml",
        output / f"{REPORT}.json",
        output / f"{REPORT}.html",
        *pipeline.written_by_harden(output),
    ]
    refuse_overwriting([model, recipe_file], own)
    goes_on = work.folder.exists() and not own[1].exists()  # what an interrupted run has left is its own
    refuse_existing(own, force or goes_on)
    with project.each_note_once():
        question = _asked(model, recipe, budgets, data_dir)
        table = _sensitivity(question, work)
        _refuse_impossible(question, table)
        search = _searched(question, table, work, _Limits(seconds, most), output)
        chosen = _chosen(search)
        content = _told(search, chosen, output)
    write_json(output / f"{REPORT}.json", content)
    _write_page(content, output)
    missed = [row["sentence"] for row in content["budgets"] if not row["met"]]
    if missed:
        raise GateFailed("; ".join(missed), content)
    return content


@dataclass(frozen=True)
class _Limits:
    seconds: float
    most: int


def _asked(model: Path, recipe: Recipe | None, budgets: Budgets, data_dir: Path | None) -> Question:
    given = project.open_checkpoint(model, recipe, data_dir)
    if set(given.checkpoint.stages) - {"train"}:
        raise UserError(
            f"{model} has been hardened already (stages {', '.join(given.checkpoint.stages)}): tune the checkpoint that it was "
            "made from"
        )
    hardening_recipe(
        given.checkpoint.recipe, recipe, {}, model
    )  # one of another model is refused before anything is measured
    halves = data.halves_of(given.dataset, given.split)
    if min(len(split.non_members) for split in halves) < 2:
        raise UserError(
            f"{model} has {len(given.split.non_members)} non-members: a file is chosen by one half of them and its figures are "
            "of the other, so give more"
        )
    sizes = {name: len(split.non_members) for name, split in zip(("choosing", "telling"), halves, strict=True)}
    refuse_unresolvable(budgets, sizes)
    return Question(model, recipe, given, budgets, halves, data_dir)


def _sensitivity(question: Question, work: Work) -> dict[str, Any]:
    kept = work.read("sensitivity")
    if kept is None:
        progress.announce("what each layer loses at fewer bits")
        kept = pipeline.sensitivity_of(question.given, Quantize())
        work.write("sensitivity", kept)
    return kept


def _refuse_impossible(question: Question, table: Mapping[str, Any]) -> None:
    """A size that no file reaches, by the numbers alone: 4 bytes each stand for the float file, which is no smaller."""
    network = question.given.checkpoint.classifier().network
    parameters = sum(value.numel() for value in network.parameters())
    refuse_too_small(question.budgets, least_bytes(table, parameters), 4 * parameters)


def _searched(question: Question, table: Mapping[str, Any], work: Work, limits: _Limits, output: Path) -> Search:
    clock = Clock(limits.seconds, spent=(work.read("clock") or {"spent": 0.0})["spent"])
    teller = _Teller(output, limits)
    search = Search(question, table, work, clock, teller)
    for candidate in all_kept(work):
        search.candidates[candidate.name] = candidate
        clock.learn(candidate)
    study = opened_study(work, question.given.split.seed, first_points(question.budgets))
    run(search, study, limits.most)
    if not search.candidates:
        raise UserError(f"no candidate could be made: {search.failed[-1] if search.failed else 'there was no time'}")
    return search


class _Teller:
    """Says after each candidate where the search is, and draws its frontier."""

    def __init__(self, output: Path, limits: _Limits) -> None:
        self.output, self.limits, self._drawn = output, limits, -EVERY

    def __call__(self, search: Search) -> None:
        every = list(search.candidates.values())
        chosen = choose(every, search.question.budgets, groups_of(search.question, search.question.halves.choosing))
        progress.announce(
            progressed(search.trials + 1, self.limits.most, search.clock.left, chosen, len(frontier(every)))
        )
        if time.monotonic() - self._drawn > EVERY:
            self._drawn = time.monotonic()
            _write_page(_summary(search, chosen) | {"finished": False}, self.output)


def _chosen(search: Search) -> Chosen:
    """The winner, after the best ones have been laid out in every other way."""
    question, groups = search.question, groups_of(search.question, search.question.halves.choosing)
    budgets = question.budgets
    risky = budgets.leakage is not None or budgets.robust is not None
    fixed = risky or (question.recipe is not None and question.recipe.export != Recipe().export)
    ranked = sorted(search.candidates.values(), key=lambda each: score(each, budgets))
    for candidate in [] if fixed else ranked[:FINALISTS]:
        for layout in VARIANTS[1:]:
            if search.clock.left <= 0:
                break
            other = relaid(question, candidate, (layout["profile"], layout["compute"]), search.work)
            if other is not None:
                search.candidates[other.name] = other
    chosen = choose(list(search.candidates.values()), budgets, groups)
    return chosen if budgets.leakage is None and budgets.robust is None else _audited(search, chosen)


def _audited(search: Search, chosen: Chosen) -> Chosen:
    """The choice among finalists that were measured with the effort of an audit."""
    question, work = search.question, search.work
    effort = full_effort(question.recipe or question.given.checkpoint.recipe)
    kept = [each for each in search.candidates.values() if (work.candidate(each.name) / "model.onnx").exists()]
    ranked = sorted(kept, key=lambda each: (each is not chosen.winner, score(each, question.budgets)))
    finalists: list[Candidate] = []
    for candidate in ranked[:FINALISTS]:
        if finalists and search.clock.left <= 0:
            break
        progress.announce(f"tune: audit of {candidate.title}")
        finalists.append(audited(question, candidate, work, effort))
        search.candidates[candidate.name] = finalists[-1]
    return choose(finalists or [chosen.winner], question.budgets, groups_of(question, question.halves.choosing))


def _told(search: Search, chosen: Chosen, output: Path) -> dict[str, Any]:
    """Make the winner by its recipe, and measure it on the half that chose nothing."""
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
    figures = {
        "size_bytes": done["size_bytes"],
        "float_bytes": done["float"]["size_bytes"],
        **accuracy_figures(floating, right, groups_of(question, telling)),
        **_risks(question, output),
    }
    digest = sha256_of(output / "model.onnx")
    accepted = [line for line in done.get("accuracy", {}).get("warnings", []) if "--accept-accuracy-loss" in line]
    unasked = accuracy_told(figures) if question.budgets.drop is None else ""
    remarks = [
        *(line for line in (unasked, tied(chosen, question.budgets.goal), not_the_same(winner, digest)) if line),
        *accepted,
        *not_made(search.failed),
    ]
    rows = [verdict(kept, figures) for kept in judged(question.budgets, figures)]
    return _summary(search, chosen) | {
        "finished": True,
        "model": str(output / "model.onnx"),
        "sha256": digest,
        "recipe": hardened.model_dump(mode="json"),
        "figures": figures,
        "budgets": rows,
        "said": remarks,
        "command": _command(question, output, accepted),
    }


def _risks(question: Question, output: Path) -> dict[str, Any]:
    if question.budgets.leakage is None and question.budgets.robust is None:
        return {}
    progress.announce("tune: audit of the file, on the records that chose nothing")
    effort = full_effort(question.recipe or question.given.checkpoint.recipe)
    with progress.told(False):
        return risks(output / "model.onnx", question, question.halves.telling, effort)


def _command(question: Question, output: Path, accepted: Sequence[str]) -> str:
    """What makes the same file again."""
    command = ["edgepriv", "harden", str(question.model), "--recipe", str(output / "recipe.toml"), "-o", "again/"]
    command += ["--accept-accuracy-loss"] if accepted else []
    command += ["--data-dir", str(question.data_dir)] if question.data_dir is not None else []
    return shlex.join(command)


def _summary(search: Search, chosen: Chosen) -> dict[str, Any]:
    """The candidates as JSON."""
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
        "epochs": list(search.question.rungs),
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


def _write_page(content: Mapping[str, Any], output: Path) -> None:
    write_text(output / f"{REPORT}.html", tuned.page(content))

"""``edgepriv tune``: the list of its steps."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgepriv import data, pipeline, progress, project
from edgepriv.errors import GateFailed, UserError
from edgepriv.files import (
    read_bytes,
    read_json,
    refuse_existing,
    refuse_overwriting,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)
from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.models import checkpoint
from edgepriv.recipe import Quantize, Recipe, as_toml
from edgepriv.report import tuned
from edgepriv.report.formatting import count
from edgepriv.tuning.auditing import FINALISTS, FULL, Auditor
from edgepriv.tuning.bits import least_bytes
from edgepriv.tuning.budgets import Budgets, judged, refuse_too_small, refuse_unresolvable
from edgepriv.tuning.candidates import Candidate, accuracy_figures, all_kept, groups_of, relaid, right_of
from edgepriv.tuning.clock import LAYOUT, Clock
from edgepriv.tuning.frontier import Chosen, choose, frontier, score
from edgepriv.tuning.question import Question, Work, hash_of
from edgepriv.tuning.risks import PROXY, complete, leakage_of, missing, risks, robust_of
from edgepriv.tuning.saying import (
    accuracy_told,
    beside_uniform,
    fewer_epochs,
    not_made,
    not_measured,
    not_the_same,
    progressed,
    tied,
    verdict,
    without_time,
)
from edgepriv.tuning.search import Search, opened_study, run
from edgepriv.tuning.space import VARIANTS, first_points, uniform

AUDIT_FILES = ("audit.json", "audit.html", "audit.npz")
"""Endings of what an audit writes beside a model."""
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
    limits = _Limits(seconds, most)
    own = _written(output)
    refuse_overwriting([model, recipe_file], own)
    _refuse_strange(own, output, force)
    with project.each_note_once():
        question = question_of(model, recipe, budgets, data_dir)
        digest = hash_of(question)
        earlier = None if force else finished(output, digest)
        if earlier is not None and not limits.more_than(earlier["limits"]):
            project.say(
                f"{output}: this search is finished, after {progress.duration(earlier['seconds'])} and "
                f"{count(earlier['trials'], 'candidate')}; a larger --time or --candidates goes on, --force begins anew"
            )
            return _judged(earlier)
        work = Work(output / "work" / digest)
        refuse_existing(own, force or earlier is not None or (work.folder.exists() and not _report(output).exists()))
        if force:
            work.forget()
        table = _sensitivity(question, work)
        _refuse_impossible(question, table)
        search = _searched(question, table, work, limits, output)
        chosen = _chosen(search)
        content = _told(search, chosen, output) | {"question": digest, "limits": asdict(limits)}
    write_json(_report(output), content)
    _write_page(content, output)
    return _judged(content)


def _report(output: Path) -> Path:
    return output / f"{REPORT}.json"


def _written(output: Path) -> list[Path]:
    """Every file that a search may leave."""
    audit = [project.beside(output / "model.onnx", ending) for ending in AUDIT_FILES]
    return [
        output / "recipe.toml",
        _report(output),
        output / f"{REPORT}.html",
        *pipeline.written_by_harden(output),
        *audit,
    ]


def _refuse_strange(own: Sequence[Path], output: Path, force: bool) -> None:
    """What no search has left is refused before any data are read."""
    refuse_existing([] if (output / "work").exists() else own, force)


def finished(output: Path, digest: str) -> dict[str, Any] | None:
    """What a search for the same has ended with.

    Args:
        output: folder that it wrote into.
        digest: of the question.

    Returns:
        Content of tune.json; None where there is none of this question, or where its file has been replaced since.
    """
    path, onnx = _report(output), output / "model.onnx"
    content = read_json(path, "the report of edgepriv tune") if path.exists() else None
    if not isinstance(content, dict) or content.get("question") != digest:
        return None
    return content if onnx.exists() and sha256_of(onnx) == content["sha256"] else None


def _judged(content: dict[str, Any]) -> dict[str, Any]:
    missed = [row["sentence"] for row in content["budgets"] if not row["met"]]
    if missed:
        raise GateFailed("; ".join(missed), content)
    return content


@dataclass(frozen=True)
class _Limits:
    seconds: float
    candidates: int

    def more_than(self, earlier: Mapping[str, float]) -> bool:
        """Whether a search that has ended by earlier limits would go on."""
        return self.seconds > earlier["seconds"] or self.candidates > earlier["candidates"]


def question_of(model: Path, recipe: Recipe | None, budgets: Budgets, data_dir: Path | None) -> Question:
    """Open what is searched for.

    Args:
        model: a checkpoint of ``edgepriv train``.
        recipe: what all candidates have in common; None for the usual.
        budgets: that the file must keep.
        data_dir: folder of the data sets; None for the default one.

    Returns:
        The question, with the checkpoint's data, proved to be those that it was trained on.

    Raises:
        UserError: for a checkpoint that cannot be tuned, and for budgets that its non-members cannot resolve.
    """
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
    parameters = question.parameters
    refuse_too_small(question.budgets, least_bytes(table, parameters), 4 * parameters)


def _searched(question: Question, table: Mapping[str, Any], work: Work, limits: _Limits, output: Path) -> Search:
    clock = Clock(limits.seconds, spent=(work.read("clock") or {"spent": 0.0})["spent"])
    teller = _Teller(output, limits)
    search = Search(question, table, work, clock, Auditor(question, work, clock), teller)
    for candidate in all_kept(work):
        search.take(candidate)
    search.auditor.go_on(search.candidates.values())
    study = opened_study(work, question.given.split.seed, first_points(question.budgets, question.setting))
    run(search, study, limits.candidates)
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
            progressed(search.trials + 1, self.limits.candidates, search.clock.left, chosen, len(frontier(every)))
        )
        if time.monotonic() - self._drawn > EVERY:
            self._drawn = time.monotonic()
            _write_page(_summary(search, chosen) | {"finished": False}, self.output)


def _chosen(search: Search) -> Chosen:
    """The winner, after the best ones have been laid out in every other way, or audited in full."""
    question, groups = search.question, groups_of(search.question, search.question.halves.choosing)
    if search.auditor.asked:
        return choose(_audited(search), question.budgets, groups)
    if question.recipe is None or question.recipe.export == Recipe().export:
        _lay_out(search)
    return choose(list(search.candidates.values()), question.budgets, groups)


def _lay_out(search: Search) -> None:
    """Every other layout of the best candidates' weights."""
    question, clock, late = search.question, search.clock, 0
    ranked = sorted(search.candidates.values(), key=lambda each: score(each, question.budgets))
    for candidate in ranked[:FINALISTS]:
        for layout in VARIANTS[1:]:
            if clock.left <= search.auditor.ending(candidate.plan) + (clock.about(LAYOUT, 0) or 0.0):
                late += 1
                continue
            other = relaid(question, candidate, (layout["profile"], layout["compute"]), search.work)
            if other is not None:
                clock.learn(LAYOUT, 0, other.figures["seconds"])
                search.candidates[other.name] = other
    if late:
        search.auditor.remarks.append(
            f"{count(late, 'other layout')} of the best candidates: --time left none for them"
        )


def _audited(search: Search) -> list[Candidate]:
    """The finalists, audited in full where there is time for it."""
    question, auditor = search.question, search.auditor
    kept = [each for each in search.candidates.values() if complete(each.figures, question.budgets)]
    if auditor.level != FULL:
        return kept or list(search.candidates.values())
    ranked = sorted(kept, key=lambda each: score(each, question.budgets))
    done, late = [each for each in kept if each.figures.get("audited")], []
    compared = uniform(question.budgets).named(search.auditor.last)
    finalists = [each for each in ranked if not each.figures.get("audited") and each.name != compared][:FINALISTS]
    for candidate in [*finalists, *(each for each in ranked if each.name == compared and each not in done)]:
        if search.clock.left <= auditor.of_audit(candidate.plan) + auditor.ending(candidate.plan):
            late.append(candidate)
            continue
        progress.announce(f"tune: audit of {candidate.title}, {progress.duration(search.clock.left)} left")
        done.append(auditor.in_full(candidate))
        search.candidates[candidate.name] = done[-1]
    if late:
        about = progress.duration(max(auditor.of_audit(each.plan) for each in late))
        auditor.remarks.append(
            f"{count(len(late), 'finalist')} could not be audited in full, which takes about {about} each, as --time is over: "
            + "; ".join(each.title for each in late)
        )
    return done


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
    digest = sha256_of(output / "model.onnx")
    figures = {
        "size_bytes": done["size_bytes"],
        "float_bytes": done["float"]["size_bytes"],
        **accuracy_figures(floating, right, groups_of(question, telling)),
        **_risks(search, winner, output, digest),
    }
    accepted = [line for line in done.get("accuracy", {}).get("warnings", []) if "--accept-accuracy-loss" in line]
    unasked = accuracy_told(figures) if question.budgets.drop is None else ""
    compared = uniform(question.budgets).named(search.auditor.last)
    remarks = [
        *(line for line in (unasked, tied(chosen, question.budgets.goal), not_the_same(winner, digest)) if line),
        *(beside_uniform(winner, search.candidates[name]) for name in (compared,) if name in search.candidates),
        *fewer_epochs(search.auditor.last, question.rungs[-1]),
        *search.auditor.remarks,
        *without_time(search.left_out),
        *accepted,
        *not_made(search.failed),
    ]
    return _summary(search, chosen) | {
        "finished": True,
        "model": str(output / "model.onnx"),
        "sha256": digest,
        "recipe": hardened.model_dump(mode="json"),
        "figures": figures,
        "budgets": [verdict(kept, figures) for kept in judged(question.budgets, figures)]
        + [not_measured(name) for name in missing(figures, question.budgets)],
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
            measured["tpr"] = leakage_of(own, question, telling)
        if question.budgets.robust is not None:
            measured["robust"] = robust_of(own, question, telling, effort)
    return measured


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


def _write_page(content: Mapping[str, Any], output: Path) -> None:
    write_text(output / f"{REPORT}.html", tuned.page(content))

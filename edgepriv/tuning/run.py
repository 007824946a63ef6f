"""``edgepriv tune``: the list of its steps."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgepriv import pipeline, progress, project
from edgepriv.errors import GateFailed, UserError
from edgepriv.files import (
    read_json,
    refuse_existing,
    refuse_overwriting,
    sha256_of,
    write_json,
    write_text,
)
from edgepriv.recipe import Quantize, Recipe
from edgepriv.report import tuned
from edgepriv.report.formatting import count
from edgepriv.tuning.auditing import Auditor
from edgepriv.tuning.budgets import Budgets, refuse_too_small
from edgepriv.tuning.candidates import all_kept, groups_of
from edgepriv.tuning.clock import Clock, counted
from edgepriv.tuning.finalists import chosen_of
from edgepriv.tuning.frontier import choose, frontier
from edgepriv.tuning.opening import question_of
from edgepriv.tuning.pace import seconds_of_a_pass
from edgepriv.tuning.question import Question, Work, hash_of
from edgepriv.tuning.saying import BY_CHANCE, progressed
from edgepriv.tuning.search import Search, came_to_nothing, decide_rungs, opened_study, run
from edgepriv.tuning.space import first_points
from edgepriv.tuning.telling import AUDIT_FILES, summary, told

EVERY = 10.0
"""Seconds between two writings of the page while the search goes on."""
_OF_SENSITIVITY, _SENSITIVITY = 0.1, 10.0
"""Share of the time that the table of what each layer loses may take, and the seconds that it may take in any case."""
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
        if earlier is not None and not (force or work.folder.exists()):
            raise UserError(
                f"{output}: this search is finished, and without its {work.folder} none goes on: --force begins anew"
            )
        goes_on = earlier is not None or (work.folder.exists() and not _report(output).exists())
        if not (force or goes_on):
            _refuse_another(own, output)
        _refuse_impossible(question)
        if force:
            work.forget()
        _say_replaced(question)
        clock = Clock(limits.seconds, spent=(work.read("clock") or {"spent": 0.0})["spent"])
        with counted(clock, lambda spent: work.write("clock", {"spent": spent})):
            table = _sensitivity(question, work, clock)
            search = _searched(question, table, work, clock, limits, output)
            chosen = chosen_of(search)
            _report(output).unlink(missing_ok=True)  # of an earlier end, whose file is replaced from here on
            content = told(search, chosen, output) | {"question": digest, "limits": asdict(limits)}
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
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: edgepriv tune writes a folder")
    refuse_existing([] if (output / "work").exists() or _report(output).exists() else own, force)


def _refuse_another(own: Sequence[Path], output: Path) -> None:
    """Files that a search for something else has left."""
    there = [path for path in own if path.exists()]
    if there and (_report(output).exists() or (output / "work").exists()):
        raise UserError(
            f"{there[0]} exists already, of a search for something else: its checkpoint, recipe, budgets, a file that it "
            "reads, or edgepriv itself was another one, or the file has been replaced since; choose another -o, or pass --force"
        )
    refuse_existing(own, False)


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
    if not content["within"]:
        raise GateFailed(BY_CHANCE, content)
    return content


@dataclass(frozen=True)
class _Limits:
    seconds: float
    candidates: int

    def more_than(self, earlier: Mapping[str, float]) -> bool:
        """Whether a search that has ended by earlier limits would go on."""
        return self.seconds > earlier["seconds"] or self.candidates > earlier["candidates"]


def _say_replaced(question: Question) -> None:
    replaced = question.replaced()
    if replaced:
        project.say(f"note: edgepriv tune decides, whatever the recipe says: {', '.join(replaced)}")
    if question.recipe is not None and question.rungs[-1] == 0 and {"robust", "qat"} & question.recipe.stages().keys():
        project.say("note: a private checkpoint is rounded without further training, whatever the recipe says")


def _sensitivity(question: Question, work: Work, clock: Clock) -> dict[str, Any]:
    kept, seconds = work.read("sensitivity"), max(_SENSITIVITY, _OF_SENSITIVITY * clock.limit)
    if kept is None or (kept["skipped"] and seconds > kept["seconds"]):
        progress.announce("what each layer loses at fewer bits")
        kept = pipeline.sensitivity_of(question.given, Quantize(), seconds=seconds) | {"seconds": seconds}
        work.write("sensitivity", kept)
    return kept


def _refuse_impossible(question: Question) -> None:
    """A size that no file reaches, by the numbers alone."""
    if question.budgets.size is not None:
        refuse_too_small(question.budgets, question.float_file.least, question.float_file.size)


def _of_a_pass(question: Question, work: Work) -> float | None:
    """Seconds of a pass over the members, measured once; None where candidates are rounded alone."""
    if question.rungs[-1] == 0:
        return None
    kept = work.read("pass")
    if kept is None:
        progress.announce("tune: how long an epoch takes")
        with progress.told(False):
            kept = {"seconds": seconds_of_a_pass(question)}
        work.write("pass", kept)
    return None if kept["seconds"] is None else float(kept["seconds"])


def _searched(
    question: Question, table: Mapping[str, Any], work: Work, clock: Clock, limits: _Limits, output: Path
) -> Search:
    clock.each = _of_a_pass(question, work)
    teller = _Teller(output, limits)
    search = Search(question, table, work, clock, Auditor(question, work, clock), teller)
    search.failed, search.left_out = came_to_nothing(work)
    for candidate in all_kept(work):
        search.take(candidate)
    if search.auditor.longer:
        decide_rungs(search)
    search.auditor.go_on(search.candidates.values())
    study = opened_study(work, question.given.split.seed)
    run(search, study, limits.candidates, first_points(question.budgets, question.setting))
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
            _write_page(summary(search, chosen) | {"finished": False}, self.output)


def _write_page(content: Mapping[str, Any], output: Path) -> None:
    write_text(output / f"{REPORT}.html", tuned.page(content))

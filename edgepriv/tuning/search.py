"""The search itself: Optuna draws, successive halving gives the promising ones more epochs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepriv.errors import UserError
from edgepriv.files import write_bytes
from edgepriv.tuning.auditing import Auditor
from edgepriv.tuning.budgets import size_kept
from edgepriv.tuning.candidates import Candidate, made
from edgepriv.tuning.clock import MADE, Clock
from edgepriv.tuning.frontier import score
from edgepriv.tuning.plan import Plan
from edgepriv.tuning.question import Question, Work
from edgepriv.tuning.space import suggested, uniform

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.study import Study
    from optuna.trial import Trial

RANDOM = 8
"""Trials, with those that the search begins with, after which it is led by what was measured."""
_KEEP = 3
"""One of so many goes on to the next rung."""
_ALWAYS = "compared with"
"""Marks the trial that goes on to the last rung whatever it is worth, also where a killed run began it."""
_START = "start"
"""Marks the trial of a point that the search begins with, by its number."""
_KILLED = "killed"
"""Counts, on the study, the trials that a killed run had begun, and that were begun again: none of them is a candidate."""
_NOTHING = "nothing"
"""What the work folder keeps of candidates that were not made."""
_HOPELESS = 3
"""Plans that failed, after which a search that has made none ends."""


@dataclass
class Search:
    """What has been found so far. ``told``: called after each candidate. ``left_out``: what there was no time for."""

    question: Question
    table: Mapping[str, Any]
    work: Work
    clock: Clock
    auditor: Auditor
    told: Callable[["Search"], None]
    candidates: dict[str, Candidate] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    trials: int = 0

    def add(self, candidate: Candidate) -> None:
        """Take a candidate in, and tell of it.

        Args:
            candidate: that was measured.
        """
        self.take(candidate)
        self.told(self)

    def note(self, *, failed: str | None = None, left_out: str | None = None) -> None:
        """Take note of a candidate that was not made, for this run and those that go on.

        Args:
            failed: its title, and why.
            left_out: its title, where there was no time for it.
        """
        for known, new in ((self.failed, failed), (self.left_out, left_out)):
            if new is not None and new not in known:  # a killed run has noted what is tried again
                known.append(new)
        self.work.write(_NOTHING, {"failed": self.failed, "left_out": self.left_out})

    def take(self, candidate: Candidate) -> None:
        """Take a candidate in.

        Args:
            candidate: that was measured, by this run or an earlier one.
        """
        self.candidates[candidate.name] = candidate
        self.auditor.learn(candidate)

    def lacks(self, plan: Plan, epochs: int) -> float:
        """How much more time a candidate would need, with all that comes after it.

        Args:
            plan: of it.
            epochs: of fine-tuning.

        Returns:
            Seconds; 0 or less where the time suffices.
        """
        passes = plan.passes(epochs, self.question.setting)
        own = self.clock.about(MADE, passes) or 0.0
        return own + self.auditor.of_search(plan, epochs) + self.auditor.reserved(plan) - self.clock.left


def came_to_nothing(work: Work) -> tuple[list[str], list[str]]:
    """Candidates that earlier runs did not make.

    Args:
        work: where they are kept.

    Returns:
        Those that failed, with the reason, and those that there was no time for.
    """
    kept = work.read(_NOTHING) or {}
    return kept.get("failed", []), kept.get("left_out", [])


def opened_study(work: Work, seed: int) -> "Study":
    """The study of a question, with what earlier runs have learnt; a trial that was killed is run again, before any other.

    Args:
        work: where it is kept.
        seed: of the sampler.

    Returns:
        Optuna's study. It minimises one number.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(logging.ERROR)
    # Its lock is a link to the journal: by a relative path the link would lead nowhere, and a lock that a killed run has left
    # would be waited for without end.
    journal = work.study.resolve()
    _whole_lines(journal)
    study = optuna.create_study(
        study_name="tune",
        storage=JournalStorage(JournalFileBackend(str(journal))),
        sampler=_sampler(seed, 0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_KEEP),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial({}, user_attrs={_ALWAYS: True})
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.set_user_attr(_KILLED, study.user_attrs.get(_KILLED, 0) + 1)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    return study


def _sampler(seed: int, trials: int) -> "TPESampler":
    """``trials``: how many there have been; runs by neighbouring seeds share no draws."""
    from optuna.samplers import TPESampler

    own = int(np.random.SeedSequence([seed, 22, trials]).generate_state(1)[0])
    return TPESampler(seed=own, n_startup_trials=RANDOM)


def _whole_lines(journal: Path) -> None:
    """Cut off a last line that a power cut or a full disk has left half written: Optuna would refuse the whole file."""
    if journal.exists():
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            write_bytes(journal, content[: content.rfind(b"\n") + 1])


def run(search: Search, study: "Study", most: int, first: Sequence[Mapping[str, Any]] = ()) -> None:
    """Go on until time or trials are used up.

    Args:
        search: filled.
        study: of the same question.
        most: trials, those of earlier runs included.
        first: the points that it begins with, after the file that all others are compared with.
    """
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    search.trials = len(ended) - study.user_attrs.get(_KILLED, 0)
    question = search.question
    cheapest, earlier = uniform(question.budgets, question.setting), len(search.failed)
    while search.trials < most and (not search.candidates or search.lacks(cheapest, question.rungs[0]) < 0):
        if len(search.failed) - earlier >= _HOPELESS and not search.candidates:
            break
        # A run that goes on draws as one that was not killed.
        study.sampler = _sampler(question.given.split.seed, search.trials)
        _enqueue_next(study, first)
        _carried_out(search, study, study.ask())
        search.trials += 1


def _enqueue_next(study: "Study", first: Sequence[Mapping[str, Any]]) -> None:
    """Put the next point in the queue once that is empty: what a killed run had begun is in it, and comes first."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    begun = {trial.user_attrs[_START] for trial in trials if _START in trial.user_attrs}
    if len(begun) < len(first) and all(trial.state != TrialState.WAITING for trial in trials):
        study.enqueue_trial(dict(first[len(begun)]), user_attrs={_START: len(begun)})


def _carried_out(search: Search, study: "Study", trial: "Trial") -> None:
    """Train a plan on one rung after the other, as long as it is promising and there is time."""
    from optuna.trial import TrialState

    question = search.question
    always = _ALWAYS in trial.user_attrs  # the file that all others are compared with
    plan = (
        uniform(question.budgets, question.setting)
        if always
        else suggested(trial, search.table, question.budgets, question.setting)
    )
    value, pruned = None, False
    for rung, epochs in enumerate(search.auditor.rungs):
        if epochs > search.auditor.last:
            break
        if value is not None and not always and not _promising(search, trial, value):
            pruned = True
            break
        if not always and search.lacks(plan, epochs) >= 0:
            pruned = True  # one that was never begun counts as the worst: else the next draws would be as slow
            if not rung:
                search.note(left_out=plan.title(epochs))
            break
        try:
            value = _scored(search, plan, epochs, always=always)
        except UserError as error:
            search.note(failed=f"{plan.title(epochs)}: {error}")
            break
        trial.report(value, _KEEP**rung)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)  # with the value that was reported last
    elif value is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _promising(search: Search, trial: "Trial", value: float) -> bool:
    """Whether a candidate is to be trained for longer.

    Where leakage or robustness has a budget, which the last rung alone shows, the most accurate ones would be those without a
    defence: there all go on that may still keep what was measured.
    """
    return value < 1 if search.auditor.asked else not trial.should_prune()


def _scored(search: Search, plan: Plan, epochs: int, *, always: bool) -> float:
    """Make a candidate and measure what its rung asks for. The first one, ``always``, decides how many rungs there are."""
    question, auditor = search.question, search.auditor
    whole = auditor.asked and (always or epochs == auditor.last)
    candidate = made(question, plan, epochs, search.work, whole=whole)
    auditor.learn(candidate)
    if always and epochs < auditor.last and not _affords_next(search, plan, epochs):
        auditor.shorten(epochs)
    last = epochs == auditor.last
    if last and (always or size_kept(candidate.figures, question.budgets)):
        candidate = auditor.measure(candidate)
    search.add(candidate)
    return score(candidate, question.budgets, final=epochs == question.rungs[-1])


def decide_rungs(search: Search) -> None:
    """How long candidates are trained where an earlier run had less time, by what its candidates took.

    Args:
        search: with the candidates of earlier runs.
    """
    plan = uniform(search.question.budgets, search.question.setting)
    for epochs in search.auditor.rungs[:-1]:
        if not _affords_next(search, plan, epochs):
            search.auditor.shorten(epochs)
            return


def _affords_next(search: Search, plan: Plan, epochs: int) -> bool:
    """Whether the first candidate can be trained on the next rung, and the file be made of it at the end."""
    following = next(each for each in search.question.rungs if each > epochs)
    made_in = search.clock.about(MADE, plan.passes(following, search.question.setting)) or 0.0
    return search.clock.left > 2 * made_in

"""The search itself: Optuna draws, successive halving gives the promising ones more epochs."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepriv.errors import UserError
from edgepriv.files import write_bytes
from edgepriv.tuning.candidates import Candidate, made
from edgepriv.tuning.frontier import score
from edgepriv.tuning.question import Question, Work
from edgepriv.tuning.risks import PROXY
from edgepriv.tuning.space import suggested

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.study import Study

RANDOM = 8
"""Trials, with those that the search begins with, after which it is led by what was measured."""
_KEEP = 3
"""One of so many goes on to the next rung."""
_ALWAYS = "compared with"
"""Marks the trial that goes on to the last rung whatever it is worth, also where a killed run began it."""
_HOPELESS = 3
"""Plans that failed, after which a search that has made none ends."""


@dataclass
class Clock:
    """Time of the runs of one question together. ``limit``: seconds; ``spent``: by earlier runs; ``longest``: seconds of the
    slowest candidate by epochs of fine-tuning."""

    limit: float
    spent: float = 0.0
    longest: dict[int, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    @property
    def used(self) -> float:
        """Seconds since the question was first asked, but for those between the runs."""
        return self.spent + time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where none are."""
        return max(0.0, self.limit - self.used)

    def learn(self, candidate: Candidate) -> None:
        """Take note of how long a candidate took.

        Args:
            candidate: that was measured, by this run or an earlier one.
        """
        seconds = float(candidate.figures["seconds"])
        self.longest[candidate.epochs] = max(seconds, self.longest.get(candidate.epochs, 0.0))

    def suffices(self, epochs: int) -> bool:
        """Whether there is time for a candidate, and to make the winner once more by its recipe.

        Args:
            epochs: of fine-tuning.

        Returns:
            True where none has been timed yet, too.
        """
        if not self.longest:
            return self.left > 0
        known = max(self.longest)
        own = self.longest.get(epochs) or self.longest[known] * max(1.0, epochs / known)
        return self.left > own + max(self.longest.values())


@dataclass
class Search:
    """What has been found so far. ``told``: called after each candidate."""

    question: Question
    table: Mapping[str, Any]
    work: Work
    clock: Clock
    told: Callable[["Search"], None]
    candidates: dict[str, Candidate] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    trials: int = 0

    def add(self, candidate: Candidate) -> None:
        """Take a candidate in, and tell of it.

        Args:
            candidate: that was measured.
        """
        self.candidates[candidate.name] = candidate
        self.clock.learn(candidate)
        self.work.write("clock", {"spent": self.clock.used})
        self.told(self)


def opened_study(work: Work, seed: int, first: list[dict[str, Any]]) -> "Study":
    """The study of a question, with what earlier runs have learnt; a trial that was killed is run again.

    Args:
        work: where it is kept.
        seed: of the sampler.
        first: the points that a new one begins with.

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
        sampler=_sampler(seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_KEEP),
        load_if_exists=True,
    )
    for place, point in enumerate(first[len(study.trials) :], len(study.trials)):
        study.enqueue_trial(point, user_attrs={} if place else {_ALWAYS: True})
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    return study


def _sampler(seed: int) -> "TPESampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=RANDOM)


def _whole_lines(journal: Path) -> None:
    """Cut off a last line that a power cut or a full disk has left half written: Optuna would refuse the whole file."""
    if journal.exists():
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            write_bytes(journal, content[: content.rfind(b"\n") + 1])


def run(search: Search, study: "Study", most: int) -> None:
    """Go on until time or trials are used up.

    Args:
        search: filled.
        study: of the same question.
        most: trials, those of earlier runs included.
    """
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    search.trials = len(study.get_trials(deepcopy=False, states=ended))
    rungs = search.question.rungs
    while search.trials < most and (search.clock.suffices(rungs[0]) or not search.candidates):
        if len(search.failed) >= _HOPELESS and not search.candidates:
            break
        study.sampler = _sampler(
            search.question.given.split.seed + search.trials
        )  # a run that goes on draws as one that was not killed
        trial = study.ask()
        plan = suggested(trial, search.table, search.question.budgets)
        value, pruned = None, False
        for rung, epochs in enumerate(rungs):
            always = _ALWAYS in trial.user_attrs  # the file that all others are compared with
            if rung and not (search.clock.suffices(epochs) and (always or not trial.should_prune())):
                pruned = True
                break
            try:
                effort = PROXY if epochs == rungs[-1] else None
                candidate = made(search.question, plan, epochs, search.work, effort)
            except UserError as error:
                search.failed.append(f"{plan.title(epochs)}: {error}")
                break
            search.add(candidate)
            value = score(candidate, search.question.budgets, final=epochs == rungs[-1])
            trial.report(value, _KEEP**rung)
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
        elif pruned:
            study.tell(trial, state=TrialState.PRUNED)  # with the value that was reported last
        else:
            study.tell(trial, value)
        search.trials += 1

"""How much is spent on leakage and robustness: audits in full for the finalists, within the time that there is.

The first candidate, 4 bits everywhere, is measured by few reference models and all attacks. That tells how long an audit takes,
and the time of the finalists' is kept free from then on. Where it does not fit, files are compared by the few reference models,
and where these do not fit either, by nothing; both are said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from edgepriv import progress
from edgepriv.audit.workers import processors
from edgepriv.tuning import clock as timing
from edgepriv.tuning.candidates import Candidate, measured
from edgepriv.tuning.clock import AUDIT, LAYOUT, LEAKED, MADE, PERTURBED, PROXY, Clock
from edgepriv.tuning.pace import seconds_of_training
from edgepriv.tuning.plan import Plan
from edgepriv.tuning.question import Question, Work
from edgepriv.tuning.risks import PROXY as FEW
from edgepriv.tuning.risks import Effort, full_effort, train_references

FINALISTS = 3
"""Candidates that are audited in full."""
_FOR_FINALISTS = 0.4
"""Share of all the time that their audits may take, if more than one is audited."""
_CAUTION = 1.25
"""Factor of what was only estimated."""
_AUTOATTACK = 15.0
"""How many times as long as the quick attacks AutoAttack takes for an input, see ``audit.robust``."""
FULL, QUICK, NONE = "full", "quick", "none"
_ATTACKS, _ATTACKED = 15.0, {False: 50.0, True: 120.0}
"""Seconds that attacks take for any file, and passes of each model over the records that are asked about many times, by whether
all attacks are run. From one profile each of LeNet-5, 1,200 members, 4 reference models: 31 s, of which 16 s perturbed inputs
(12 times 20 steps for 5 models), and 55 s, of which 40 s asked many times."""
_REFERENCES, _LAST, _PACE = "references", "last", "pace"


@dataclass
class Auditor:
    """Measures leakage and robustness where they have a budget. ``level``: FULL, QUICK or NONE, decided by the first candidate;
    None before. ``last``: epochs of fine-tuning of a candidate that is trained in full, fewer than usual where the first had no
    time for more. ``longer``: whether there is more time now than there was then, so that it is to be decided again.
    ``remarks``: what was left out, and why."""

    question: Question
    work: Work
    clock: Clock
    level: str | None = None
    last: int = 0
    longer: bool = False
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = self.work.read(_LAST)
        self.longer = kept is not None and self.clock.limit > kept.get("limit", 0.0)
        self.last = self.question.rungs[-1] if kept is None or self.longer else kept["epochs"]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs of fine-tuning on each rung that there is time for."""
        return tuple(epochs for epochs in self.question.rungs if epochs <= self.last)

    def shorten(self, epochs: int) -> None:
        """Train no candidate longer than the first one was.

        Args:
            epochs: of fine-tuning that it had.
        """
        self.last = epochs
        self.work.write(_LAST, {"epochs": epochs, "limit": self.clock.limit})

    @property
    def asked(self) -> bool:
        """Whether leakage or robustness has a budget."""
        return self.question.budgets.leakage is not None or self.question.budgets.robust is not None

    @property
    def effort(self) -> Effort:
        """Of an audit in full."""
        return full_effort(self.question.recipe or self.question.given.checkpoint.recipe)

    def learn(self, candidate: Candidate) -> None:
        """Take note of how long a candidate took.

        Args:
            candidate: that was made, by this run or an earlier one.
        """
        figures = candidate.figures
        if candidate.plan.layout is not None:  # its weights are those of another one
            self.clock.learn(LAYOUT, 0, figures["seconds"])
            return
        for step, name in ((MADE, "seconds"), (PROXY, "seconds_proxy"), (AUDIT, "seconds_audit")):
            if name in figures:
                self.clock.learn(step, figures["passes"], figures[name])
        for step, name in ((LEAKED, "tpr"), (PERTURBED, "robust")):
            if name in figures and not figures["audited"] and "seconds" in figures[name]:
                self.clock.learn(step, figures["passes"], figures[name]["seconds"])

    def measure(self, candidate: Candidate) -> Candidate:
        """Measure a candidate that was trained in full.

        Args:
            candidate: whose files are kept.

        Returns:
            The candidate with what was measured of it; as it is where there is no budget or no time for it.

        Raises:
            UserError: where it cannot be measured.
        """
        if not self.asked:
            return candidate
        if self.level is None:
            self.level = self._decided(candidate)
            if self.level == FULL:
                candidate = self._spent(candidate, replace(FEW, attacks=self.effort.attacks))
                self._if_it_fits(candidate.plan)
                return candidate
        return candidate if self.level == NONE else self._spent(candidate, FEW)

    def go_on(self, candidates: Iterable[Candidate]) -> None:
        """Decide how much is spent after an interruption, by what was measured before it.

        Args:
            candidates: of earlier runs.
        """
        known = [each for each in candidates if "seconds_proxy" in each.figures]
        if not known:
            return
        self.level = FULL
        if not any(each.figures["audited"] for each in known):
            self._if_it_fits(known[0].plan)

    def _if_it_fits(self, plan: Plan) -> None:
        """No audit in full where the time is too short for one, by what was measured."""
        in_full = self.of_audit(plan)
        if self.clock.left <= in_full + self.ending(plan):
            self.level = QUICK
            self._say_less(QUICK, in_full)

    def in_full(self, candidate: Candidate) -> Candidate:
        """Audit a finalist.

        Args:
            candidate: whose files are kept.

        Returns:
            The candidate with figures of leakage and robustness by the effort of an audit.

        Raises:
            UserError: where it cannot be measured.
        """
        return self._spent(candidate, self.effort)

    def of_search(self, plan: Plan, epochs: int) -> float:
        """Seconds that the search will spend on measuring a candidate.

        Args:
            plan: of the candidate.
            epochs: of fine-tuning.

        Returns:
            An estimate; 0 below the last rung.
        """
        if self.level in (None, NONE) or epochs != self.last:
            return 0.0
        return self.clock.about(PROXY, plan.passes(epochs, self.question.setting)) or 0.0

    def of_audit(self, plan: Plan) -> float:
        """Seconds of the audit of a finalist.

        Args:
            plan: of the candidate.

        Returns:
            An estimate, from the audits that there were, or from what few reference models took; 0 where there is none.
        """
        if self.level != FULL:
            return 0.0
        passes = plan.passes(self.last, self.question.setting)
        known = self.clock.about(AUDIT, passes)
        if known is None:
            models = (self.effort.references + 1) / (FEW.references + 1)
            known = models * (self.clock.about(LEAKED, passes) or 0.0) + self._perturbing(passes)
        return known + self._missing_references()

    def _missing_references(self) -> float:
        """Seconds of the first stage of the reference models that are not trained yet."""
        kept = self.work.read(_REFERENCES)
        if kept is None or not kept["seconds"]:
            return 0.0
        missing = max(0, self.effort.references - kept["models"])
        return float(missing * kept["seconds"] / (kept["models"] + 1))

    def _perturbing(self, passes: float) -> float:
        """Seconds of perturbing as many inputs as an audit does, by how long the quick attacks took on few."""
        more = _AUTOATTACK if self.effort.robust == "autoattack" else 1.0
        return more * self.effort.examples / FEW.examples * (self.clock.about(PERTURBED, passes) or 0.0)

    def reserved(self, plan: Plan) -> float:
        """Seconds that are kept free for what comes after the search.

        Args:
            plan: of a candidate that may win.

        Returns:
            Of the audits of the finalists, and of making and measuring the file that is written.
        """
        audit = self.of_audit(plan)
        if audit == 0:
            return self.ending(plan)
        once = self._missing_references()
        finalists = min(FINALISTS, max(1, int((_FOR_FINALISTS * self.clock.limit - once) / max(audit - once, 1.0))))
        return once + finalists * (audit - once) + self.ending(plan)

    def ending(self, plan: Plan) -> float:
        """Seconds of making the file by its recipe and of measuring it on the other half.

        Args:
            plan: of the winner.

        Returns:
            An estimate. The audit of a finalist has asked about both halves; perturbed inputs are made anew.
        """
        passes = plan.passes(self.last, self.question.setting)
        perturbing = self._perturbing(passes) if self.level == FULL else self.clock.about(PERTURBED, passes)
        return (self.clock.about(MADE, passes) or 0.0) + (perturbing or 0.0)

    def _spent(self, candidate: Candidate, effort: Effort) -> Candidate:
        if self.question.budgets.leakage is not None:
            self._share_first_stage(candidate, effort.references)
        candidate = measured(self.question, candidate, self.work, effort)
        self.learn(candidate)
        return candidate

    def _decided(self, first: Candidate) -> str:
        """What there is time for."""
        in_full, few = (self._estimated(first, effort) for effort in (self.effort, FEW))
        ending = self.ending(first.plan)
        if self.clock.left > few + in_full + ending:
            return FULL
        level = QUICK if self.clock.left > few + ending else NONE
        self._say_less(level, in_full if level == QUICK else few)
        return level

    def _share_first_stage(self, candidate: Candidate, models: int) -> None:
        """Train reference models up to where candidates begin to differ, as far as that has not been done."""
        kept = self.work.read(_REFERENCES) or {"models": 0, "seconds": 0.0}
        if kept["models"] >= models:
            return
        progress.announce(f"tune: first stage of {models} reference models, which all candidates share")
        began = timing.now()
        if train_references(self.work.candidate(candidate.name) / "model.onnx", self.question, models):
            kept["seconds"] += timing.now() - began
        self.work.write(_REFERENCES, {"models": models, "seconds": kept["seconds"]})

    def _estimated(self, first: Candidate, effort: Effort) -> float:
        """Seconds of measuring the leakage of the first candidate: its reference models are trained as the checkpoint was, and
        go on as it did. Perturbing few inputs takes next to nothing, and tells what many would take."""
        if self.question.budgets.leakage is None:
            return 0.0
        models, made_in = (effort.references + 1) / processors(), first.figures["seconds"]
        training = self._training()
        if training is None:
            alike = 1 + self.question.setting.epochs / max(first.figures["passes"], 1.0)
            return float(_CAUTION * models * made_in * alike) + self._attacking(effort)
        later = made_in if first.figures["passes"] else 0.0
        return float(_CAUTION * (models * (training + later) + made_in)) + self._attacking(effort)

    def _attacking(self, effort: Effort) -> float:
        """Seconds of the attacks themselves, on reference models that are there."""
        split = self.question.given.split
        recipe = self.question.recipe or self.question.given.checkpoint.recipe
        asked = min(recipe.audit.queried_examples, len(split.members) + len(split.non_members))
        of_a_record = (self.clock.each or 0.0) / len(split.members)
        return _ATTACKS + _ATTACKED[effort.full] * (effort.references + 1) * asked * of_a_record

    def _training(self) -> float | None:
        """Seconds of the first stage of a reference model, measured once."""
        kept = self.work.read(_PACE)
        if kept is None:
            progress.announce("tune: how long a reference model takes")
            with progress.told(False):
                kept = {"seconds": seconds_of_training(self.question, self.clock.left)}
            self.work.write(_PACE, kept)
        return None if kept["seconds"] is None else float(kept["seconds"])

    def _say_less(self, level: str, needed: float) -> None:
        about = progress.duration(needed)
        if level == QUICK:
            self.remarks.append(
                f"no file was audited in full, as --time is too short for it (about {about} for one): leakage was measured by "
                f"{FEW.references} reference models, and by the attacks that ask once for each record"
                if self.question.budgets.leakage is not None
                else f"no file was attacked in full, as --time is too short for it (about {about} for one): inputs were "
                "perturbed by the quick attacks"
            )
        else:
            what = "leakage" if self.question.budgets.leakage is not None else "accuracy under attack"
            self.remarks.append(
                f"{what} was not measured: it takes about {about} for a file, and --time is too short for it"
            )

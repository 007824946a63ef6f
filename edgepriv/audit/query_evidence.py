"""Evidence from many questions about some of the candidates, from perturbed candidates, and from a distilled copy.

The shadow model's and the reference models' answers are kept beside the models, under a hash of everything that they
depend on, so that a killed audit goes on where it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgepriv import progress
from edgepriv.audit import augment, boundary, distil, gradients, queries, weights
from edgepriv.audit.answers import Bools, Floats, Outputs, log_odds
from edgepriv.audit.attacks import WORST_OF
from edgepriv.audit.attacks.base import Asks
from edgepriv.audit.augmented import with_copies
from edgepriv.audit.evidence import Evidence, Queried
from edgepriv.audit.kept import digest, kept
from edgepriv.audit.queries import Asked, labels_on, on_perturbed
from edgepriv.audit.references import Fleet
from edgepriv.audit.statistics import halves_of_pairs
from edgepriv.audit.table_rows import TableRows
from edgepriv.audit.trained_answers import References, Shadow
from edgepriv.audit.weights import WATCHED, NoLastLayer
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe
from edgepriv.training.pgd import Budget, budget_of, pgd_budget

Index = np.ndarray
_CODE = (augment, boundary, distil, queries)
ANSWERS_ONLY = "of the reference models only their answers to the records as they are are known"


@dataclass
class QueryEvidence:
    """One target and what is asked of it beyond its plain answers; nothing is asked twice, however many attackers there are.

    candidates: int64 [n] into ``dataset``. chosen: int64 [m] into the candidates, those asked about repeatedly and with
    perturbations. ``no_twin``: why the target has no gradients, if it has none. recipe: seed, budget and sizes.
    """

    target: Asked
    dataset: Dataset
    candidates: Index
    chosen: Index
    recipe: Recipe
    no_twin: str = ""
    _answers: dict[str, np.ndarray] = field(default_factory=dict)

    def evidence(self, asks: Asks, plain: Evidence, fleet: Fleet | None, pool: Index | None) -> tuple[Index, Evidence]:
        """What an attack is run on.

        Args:
            asks: what it asks.
            plain: evidence of plain answers to all candidates.
            fleet: the attacker's models; None for an attacker who trains nothing.
            pool: int64, places of the attacker's own examples, to distil from; None without any.

        Returns:
            Which candidates it is run on, int64 into them, and the evidence on those.
        """
        everyone = np.arange(len(self.candidates))
        if asks == "clean" or (plain.labels_only and asks in ("adversarial", "distilled", "augmented")):
            return everyone, plain
        if asks == "distilled":
            return everyone, self._distilled(plain, fleet, pool)
        if asks == "adversarial":
            return self.chosen, self._adversarial(plain, fleet)
        if asks == "augmented":
            return everyone, with_copies(plain, self.target, self.dataset, self.candidates, self.recipe, fleet)
        if asks == "weights":
            return self.chosen, self._weights(plain, fleet)
        return self.chosen, self._labels(asks, plain, fleet)

    @property
    def budget(self) -> Budget:
        """The recipe's, with the steps and step size of the audit."""
        given, steps = budget_of(self.recipe.adversary, self.dataset.input_shape), self.recipe.audit.pgd_steps
        return pgd_budget(given.norm, given.eps, steps, fixed=given.fixed)

    def _labels(self, kind: str, plain: Evidence, fleet: Fleet | None) -> Evidence:
        x = self.dataset.x
        binary = x.ndim == 2 and bool(((x == 0) | (x == 1)).all())
        seed = self.recipe.seed

        def ask(model: Asked, index: Index) -> np.ndarray:
            x, y = self.dataset.inputs(index), self.dataset.y[index]
            with _shown(model, f"labels ({kind})") as watched:
                return labels_on(kind, watched, x, y, binary=binary, seed=seed)

        index = self.candidates[self.chosen]
        if kind not in self._answers:
            self._answers[kind] = ask(self.target, index)
        shadow, known = self._shadow_part(fleet), None
        if fleet is not None and fleet.shadow_model is not None and shadow is not None:
            part, model = fleet.shadow_index[shadow[0]], fleet.shadow_model
            known = kept(model, [kind, seed, binary, digest(part)], _CODE, lambda: ask(self._load(model, fleet), part))
        return replace(
            plain.take(self.chosen),
            shadow=shadow and shadow[1],
            references=None,
            population=None,
            queried={kind: Queried(self._answers[kind], known)},
        )

    def _weights(self, plain: Evidence, fleet: Fleet | None) -> Evidence:
        some = replace(
            plain.take(self.chosen), shadow=None, references=None, population=None, generated=None, inputs=None
        )
        if self.target.logits_of is None:
            reason = f"the gradients of this graph cannot be computed: {self.no_twin}"
            return replace(some, lacks={**some.lacks, "weights": reason})
        index, shadow = self.candidates[self.chosen], self._shadow_part(fleet)
        queried, lacks = {}, dict(some.lacks)
        for kind, look in WATCHED.items():
            try:
                if kind not in self._answers:
                    self._answers[kind] = look(self.target.logits_of, self.dataset.inputs(index), self.dataset.y[index])
                known = None
                if fleet is not None and fleet.shadow_model is not None and shadow is not None:
                    known = self._shadow_weights(kind, fleet, fleet.shadow_index[shadow[0]])
                queried[kind] = Queried(self._answers[kind], known)
            except NoLastLayer as reason:
                lacks[kind] = f"no linear last layer is recognised in this graph: {reason}"
        models = shadow[1] if shadow is not None and any(each.shadow is not None for each in queried.values()) else None
        return replace(some, shadow=models, queried=queried, lacks=lacks)

    def _shadow_weights(self, kind: str, fleet: Fleet, part: Index) -> np.ndarray:
        assert fleet.shadow_model is not None  # as whoever asks has seen
        path = fleet.shadow_model

        def look() -> np.ndarray:
            model = self._load(path, fleet).logits_of
            if model is None:
                raise NoLastLayer("the shadow model cannot be differentiated")
            return WATCHED[kind](model, self.dataset.inputs(part), self.dataset.y[part])

        return kept(path, [kind, digest(part)], (weights, gradients), look)

    def _adversarial(self, plain: Evidence, fleet: Fleet | None) -> Evidence:
        some = replace(
            plain.take(self.chosen), shadow=None, references=None, population=None, generated=None, inputs=None
        )
        if self.target.logits_of is None:
            reason = f"the gradients of this graph cannot be computed: {self.no_twin}"
            return replace(some, lacks={**some.lacks, "gradients": reason})
        index, labels = self.candidates[self.chosen], self.dataset.y[self.candidates[self.chosen]]
        if "adversarial" not in self._answers:
            self._answers["adversarial"] = self._perturbed(self.target, index, WORST_OF)
        seen = self._answers["adversarial"]
        shadow, known = None, None
        part = self._shadow_part(fleet)
        if fleet is not None and fleet.shadow_model is not None and part is not None:
            answers = self._model_perturbed(fleet.shadow_model, fleet, fleet.shadow_index[part[0]], WORST_OF)
            shadow = Shadow(Outputs(answers[0], part[1].outputs.labels), part[1].member, part[1].groups)
            known = _odds(answers, part[1].outputs.labels)
        return Evidence(
            Outputs(seen[0], labels),
            shadow=shadow,
            references=self._references(fleet, index) if plain.references is not None else None,
            seed=plain.seed,
            queried={"worst-case": Queried(_odds(seen, labels), known)},
            adversarial=True,
            labels_only=plain.labels_only,
            lacks={"references": ANSWERS_ONLY} if fleet is not None and fleet.references and not fleet.models else {},
        )

    def _references(self, fleet: Fleet | None, index: Index) -> References | None:
        if fleet is None or fleet.references is None or not fleet.models:
            return None
        labels = self.dataset.y[index]
        models = progress.each(fleet.models, "perturbed candidates", unit="model", total=len(fleet.models))
        answers = [Outputs(self._model_perturbed(path, fleet, index, 1)[0], labels) for path in models]
        return References(
            np.stack([seen.confidence for seen in answers]),
            fleet.references.member[:, self.chosen],
            np.stack([seen.tempered for seen in answers], axis=1),
        )

    def _perturbed(self, model: Asked, index: Index, tries: int) -> np.ndarray:
        x, y = self.dataset.inputs(index), self.dataset.y[index]
        rows = TableRows.of(self.dataset.encoding)
        return on_perturbed(model, x, y, self.budget, tries=tries, seed=self.recipe.seed, rows=rows)

    def _model_perturbed(self, path: Path, fleet: Fleet, index: Index, tries: int) -> np.ndarray:
        budget = self.budget
        made_of = ["perturbed", tries, self.recipe.seed, budget.norm, budget.eps, budget.steps, digest(index)]
        made_of += [list(budget.fixed)] if budget.fixed else []
        return kept(path, made_of, _CODE, lambda: self._perturbed(self._load(path, fleet), index, tries))

    def _distilled(self, plain: Evidence, fleet: Fleet | None, pool: Index | None) -> Evidence:
        some = replace(plain, references=None, population=None, generated=None, inputs=None)
        if fleet is None or fleet.shadow is None or fleet.shadow_model is None or pool is None:
            return replace(some, shadow=None)
        if fleet.recipe is None:
            reason = "no recipe says how a copy is trained"
            return replace(some, shadow=None, lacks={**some.lacks, "shadow": reason})
        if fleet.recipe.start.active and fleet.recipe.start.path is None:
            reason = (
                f"a copy starts from the public weights of {fleet.recipe.start.file} too: --start-weights names them"
            )
            return replace(some, lacks={**some.lacks, "trajectory": reason})
        half = halves_of_pairs(fleet.shadow.member, self.recipe.seed, fleet.shadow.groups)
        if half is None:
            return replace(some, lacks={**some.lacks, "trajectory": "the shadow model has too few examples"})
        asked_about = np.flatnonzero(half)
        of_shadow = fleet.shadow_index[asked_about]
        # No copy learns from an example that it is judged on. Both learn from some that the shadow model was trained on.
        free = np.random.default_rng([self.recipe.seed, 5]).permutation(np.setdiff1d(pool, of_shadow))[: distil.MOST]
        shadow = fleet.shadow.take(asked_about)
        some = replace(some, shadow=shadow)
        if len(free) < distil.FEWEST:
            reason = (
                f"only {len(free)} examples of the attacker's own are left to distil from, fewer than {distil.FEWEST}"
            )
            return replace(some, lacks={**some.lacks, "trajectory": reason})
        shadow_model = self._load(fleet.shadow_model, fleet)
        recipe, beside = fleet.recipe.with_changes(seed=self.recipe.seed), fleet.shadow_model
        of_target = self._trajectories(self.target, free, self.candidates, plain.target, recipe, beside)
        known = self._trajectories(shadow_model, free, of_shadow, shadow.outputs, recipe, beside)
        return replace(some, queried={"trajectory": Queried(of_target, known)})

    def _trajectories(
        self, teacher: Asked, pool: Index, about: Index, at_last: Outputs, recipe: Recipe, beside: Path
    ) -> Floats:
        """Losses of a copy of ``teacher``, kept ``beside`` the shadow model, and the teacher's own, which were ``at_last``."""
        soft_labels = teacher.predict(self.dataset.inputs(pool)).astype(np.float32)
        made_of = ["trajectory", recipe.seed, digest(soft_labels), digest(pool), digest(about)]
        losses = kept(
            beside, made_of, _CODE, lambda: distil.loss_trajectories(soft_labels, pool, about, recipe, self.dataset)
        )
        return np.column_stack([losses, distil.loss_of(at_last.probabilities, at_last.labels)])

    def _shadow_part(self, fleet: Fleet | None) -> tuple[Index, Shadow] | None:
        """As many of the shadow model's examples as of the candidates, half of them its members."""
        if fleet is None or fleet.shadow is None:
            return None
        part = balanced(fleet.shadow.member, self.recipe.audit.queried_examples, self.recipe.seed)
        return part, fleet.shadow.take(part)

    def _load(self, path: Path, fleet: Fleet) -> Asked:
        assert fleet.ask is not None  # where there are files of models, they can be asked
        return fleet.ask(path)


@contextmanager
def _shown(model: Asked, title: str) -> Iterator[Asked]:
    """The same model, whose answers are counted on a progress bar."""
    with progress.shown(title, unit="answer", leave=False) as bar:

        def predict(x: np.ndarray) -> np.ndarray:
            bar.update(len(x))
            return model.predict(x)

        yield Asked(predict, model.logits_of)


def balanced(member: Bools, count: int, seed: int) -> Index:
    """Some examples, half of them members.

    Args:
        member: bool [n].
        count: at most; at least two of each kind are taken.
        seed: of the draw.

    Returns:
        Sorted int64 indices.
    """
    rng = np.random.default_rng([seed, 6])
    sides = [rng.permutation(np.flatnonzero(side))[: max(2, count // 2)] for side in (member, ~member)]
    return np.sort(np.concatenate(sides))


def _odds(answers: np.ndarray, labels: np.ndarray) -> Floats:
    """Log-odds float64 [n, tries] of the true labels, of probabilities [tries, n, K]."""
    return np.stack([log_odds(part, labels) for part in answers], axis=1)

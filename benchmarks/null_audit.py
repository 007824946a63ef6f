"""How often an audit finds a leak where there is none: membership shuffled, the verdict as a report gives it.

Every run draws who is a member anew and goes through what an audit goes through: all attacks of ``NAMES`` (white box, labels
alone and augmented copies among them), their correction for one another, the verdict's sentence, the tables of exposed
classes and records, and the bound on epsilon. At most 5% of verdicts may claim a leak. Settings differ in how many examples
there are and in how the model answers: as a network (``smooth``), as a forest of few trees (``tied``), or nearly alike for
all, but for a few (``rare``: what an approximation by a normal distribution takes for certainty).

    python benchmarks/null_audit.py [--runs 500] [-o benchmarks/results/null_audit.json]
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.assess import assess, corrected
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.augment import MOST_COPIES
from edgepriv.audit.boundary import NOISE, NOISE_SAMPLES
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.evidence import Evidence, PopulationInputs, Queried
from edgepriv.audit.exposure import exposure
from edgepriv.audit.statistics import clopper_pearson
from edgepriv.audit.trained_answers import Population, References, Shadow
from edgepriv.audit.weights import GRADIENT_NORM, LAST_LAYER
from edgepriv.report.verdict import GUESSING, leakage

SETTINGS = {
    "20 + 20, smooth": (20, 20, "smooth"),
    "20 + 20, tied": (20, 20, "tied"),
    "20 + 400, rare": (20, 400, "rare"),
    "100 + 1,000, smooth": (100, 1000, "smooth"),
    "100 + 1,000, tied": (100, 1000, "tied"),
    "100 + 1,000, rare": (100, 1000, "rare"),
    "1,000 + 1,000, smooth": (1000, 1000, "smooth"),
    "1,000 + 1,000, tied": (1000, 1000, "tied"),
}
ASKED = ("clean", "augmentation", "noise", "boundary", "weights", "augmented")
NAMES = [
    name
    for name, attack in ATTACKS.items()
    if attack.asks in ASKED and "scores" not in attack.needs and not name.endswith("per-example")
]
"""All but those on perturbed inputs, which are the same attacks on other answers, the distilled copy, which is trained, those
on scores that are no probabilities, and a variance of each example's own, which takes more reference models."""
CLASSES, REFERENCES, POPULATION, SHADOW, HIDDEN = 5, 8, 200, 200, 12
ALPHA = 0.05
PER_EVIDENCE = 20
"""Draws of membership for each draw of a model and its references: attacks see no membership, and need not run again."""
RESULTS = Path(__file__).parent / "results" / "null_audit.json"


class Simulated:
    """Models that answer by difficulty, membership and chance, and what an attacker sees of them."""

    def __init__(self, setting: str, seed: int) -> None:
        self.setting, self.rng = setting, np.random.default_rng(seed)
        self.weights = self.rng.normal(size=(CLASSES, HIDDEN))

    def examples(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits float64 [count, CLASSES] that all models share, and labels int64 [count]."""
        labels = self.rng.integers(CLASSES, size=count)
        logits = self.rng.normal(size=(count, CLASSES))
        logits[np.arange(count), labels] += 1 + 1.5 * self.rng.normal(size=count)
        return logits, labels

    def answers(self, logits: np.ndarray, labels: np.ndarray, member: np.ndarray) -> Outputs:
        """One model's answers."""
        raised = logits + 0.7 * self.rng.normal(size=logits.shape)
        raised[np.arange(len(labels)), labels] += 1.0 * member
        p = np.exp(raised - raised.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        if self.setting == "tied":
            votes = np.round(p * 10)
            votes[np.arange(len(p)), p.argmax(axis=1)] += 10 - votes.sum(axis=1)
            p = np.maximum(votes, 0) / np.maximum(votes, 0).sum(axis=1, keepdims=True)
        elif self.setting == "rare":
            strange = p.max(axis=1) < np.quantile(p.max(axis=1), 0.01)
            p = np.where(strange[:, None], p, np.eye(CLASSES)[labels])
        return Outputs(p.astype(np.float32), labels)

    def asked(self, answered: Outputs) -> dict[str, np.ndarray]:
        """What repeated questions and the weights show: noisier views of the same answers."""
        odds, n = answered.confidence, len(answered.labels)
        margin = np.clip(odds, -10, 10) / 10
        hidden = np.maximum(answered.log_probabilities @ self.weights + self.rng.normal(size=(n, HIDDEN)), 0)
        noisy = margin[:, None, None] + np.geomspace(0.02, 1, len(NOISE)) * self.rng.normal(size=(n, NOISE_SAMPLES, 1))
        survived = (noisy > 0).mean(axis=1)
        return {
            "augmentation": (margin[:, None] + 0.2 * self.rng.normal(size=(n, MOST_COPIES)) > 0).astype(np.float64),
            "noise": np.column_stack([margin > 0, survived]),
            "boundary": np.maximum(margin, 0) * np.exp(0.2 * self.rng.normal(size=n)),
            GRADIENT_NORM: np.exp(-odds + self.rng.normal(size=n))[:, None],
            LAST_LAYER: np.column_stack([answered.log_probabilities, hidden]),
        }


def evidence_of(n: int, setting: str, seed: int) -> Evidence:
    """A target, a shadow model and reference models that know their members, on n candidates; the target's members are not
    those of a run."""
    models = Simulated(setting, seed)
    rng, answers = models.rng, models.answers
    candidates, others, own = models.examples(n), models.examples(POPULATION), models.examples(2 * SHADOW)
    nobody, trained_on_own = np.zeros(POPULATION, dtype=bool), np.arange(2 * SHADOW) < SHADOW
    trained_on = np.argsort(rng.random((REFERENCES, n)), axis=0) < REFERENCES // 2
    members = rng.random(n) < 0.5

    def references(of: tuple[np.ndarray, np.ndarray]) -> References:
        return References(np.stack([answers(*of, member).confidence for member in trained_on]), trained_on)

    strange = np.stack([answers(*others, nobody).confidence for _ in trained_on])
    to_others, to_own, target = answers(*others, nobody), answers(*own, trained_on_own), answers(*candidates, members)
    of_target, of_shadow = models.asked(target), models.asked(to_own)
    plain = Evidence(
        target,
        shadow=Shadow(to_own, trained_on_own),
        references=references(candidates),
        population=Population(log_odds(to_others.probabilities, to_others.labels), strange),
        generated=answers(*models.examples(POPULATION), nobody).probabilities,
        inputs=PopulationInputs(rng.normal(size=(n, HIDDEN)).astype(np.float32),
                                rng.normal(size=(POPULATION, HIDDEN)).astype(np.float32), to_others),
        queried={name: Queried(seen, of_shadow[name]) for name, seen in of_target.items()},
    )  # fmt: skip
    moved = candidates[0] + 0.3 * rng.normal(size=candidates[0].shape), candidates[1]
    bare = Evidence(target, references=plain.references)
    copy = Evidence(answers(*moved, members), references=references(moved))
    return replace(plain, copies=(bare, copy))


@contextmanager
def remembered() -> Iterator[None]:
    """Attacks give the scores that they gave for the same answers, without running again."""
    known: dict[tuple[str, int], np.ndarray] = {}

    def keeping(attack: Any) -> Any:
        def run(evidence: Evidence, **parameters: float) -> np.ndarray:
            key = attack.name, hash(evidence.target.probabilities.tobytes()), *sorted(parameters.items())
            if key not in known:
                known[key] = attack.run(evidence, **parameters)
            return known[key]

        return replace(attack, run=run)

    before = {name: ATTACKS[name] for name in NAMES}
    ATTACKS.update({name: keeping(attack) for name, attack in before.items()})
    try:
        yield
    finally:
        ATTACKS.update(before)


def verdict_on(evidence: Evidence, membership: np.ndarray, seed: int) -> dict[str, bool]:
    """What the audit claims: ``leak`` in the verdict, an attack ``reversed``, a class or a record ``exposed``, an
    ``epsilon`` above 0; and whether any attack alone would have, uncorrected."""
    part = assess(evidence, membership, attacks=NAMES, threat_model="adaptive", seed=seed)
    corrected([part])
    utility = {"n_members": int(membership.sum()), "n_non_members": int((~membership).sum())}
    verdict = leakage({"attacks": part.attacks, "utility": utility})
    scores = {f"adaptive/{name}": values for name, values in part.scores.items()}
    tables = exposure(
        part.attacks,
        scores,
        membership,
        labels=evidence.target.labels,
        index=np.arange(len(membership)),
        class_names=[str(label) for label in range(CLASSES)],
        threat_model="adaptive",
    )
    dp = compare_with_guarantee({"epsilon": 1.0, "delta": 0.0}, part.attacks, scores | {"member": membership}, seed)
    return {
        "leak": GUESSING not in verdict.sentence,
        "reversed": any(row["direction"] == "reversed" for row in part.attacks),
        "exposed": bool(tables["most_exposed"]["rows"] or tables["per_class"]["rows"]),
        "epsilon": dp["lower_bound"] > 0,
        "uncorrected": any(row["p_value"] < ALPHA for row in part.attacks),
    }


def shares(members: int, others: int, setting: str, runs: int) -> dict[str, float]:
    """Of ``runs`` draws of the membership, the share in which each claim was made."""
    total: dict[str, int] = {}
    with remembered():
        for run in range(runs):
            if run % PER_EVIDENCE == 0:
                evidence = evidence_of(members + others, setting, run)
            membership = np.random.default_rng([run, 1]).permutation(members + others) < members
            for name, claimed in verdict_on(evidence, membership, run).items():
                total[name] = total.get(name, 0) + claimed
    return {name: count / runs for name, count in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="Draws of the membership in each setting.")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for name, (members, others, setting) in SETTINGS.items():
        started = time.perf_counter()
        with threadpool_limits(1):
            by_claim = shares(members, others, setting, options.runs)
        rows.append(
            {"setting": name, "runs": options.runs, "share": by_claim, "seconds": time.perf_counter() - started}
        )
        print(f"{name:24}" + "  ".join(f"{claim} {share:.1%}" for claim, share in by_claim.items()), flush=True)
    runs = options.runs * len(rows)
    claimed = round(sum(row["share"]["leak"] for row in rows) * options.runs)
    low, high = clopper_pearson(claimed, runs)
    print(f"verdicts beyond guessing: {claimed} of {runs:,} runs, {claimed / runs:.1%} [{low:.1%}, {high:.1%}]")
    overall = {"runs": runs, "leaks": claimed, "share": claimed / runs, "ci": [low, high]}
    content = {"attacks": NAMES, "per_evidence": PER_EVIDENCE, "rows": rows, "overall": overall}
    options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

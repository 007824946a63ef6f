"""What attacks find of the canaries alone: the risk of the people whom a model exposes most, beside the average record's.

The figure is that of Aerni et al. (2024; ``src/attack_util.py`` and ``_eval_attack`` of their code). Each reference model,
which was trained as the audited file was, is attacked in turn with the others. The scores of all canaries by all models are
pooled into one ROC curve, and the true-positive rate is the largest at a false-positive rate of at most 0.1% (1%). False
positives are canaries too, of models that were not trained on them. So 500 canaries and 16 models give 4,000 negatives, where
one model would give 250, which resolve no 0.1%.

Where ours differs. The attacks are this audit's own LiRA and RMIA. Theirs, LiRA with a variance for each canary, is
``lira-online-per-example``, to the same numbers, and needs 16 models on each side. All others ask equally many models about
each canary, as in the audit's rehearsals: with one IN model less for those that the attacked model was trained on, the number
alone would tell. The average record's figure is made in the same way, of ordinary candidates.

Pooled scores of one canary are alike. Intervals draw whole canaries with replacement and find the threshold anew each time
(the bootstrap's percentiles). Where fewer than ten canaries' worth of scores are found, or missed, they are widened to
Clopper-Pearson's for so many canaries: where all are found, every draw finds all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.attacks import ATTACKS, Attack, Unavailable
from edgepriv.audit.epsilon import of_canaries, why_not_drawn
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.references import Fleet
from edgepriv.audit.run import Target, observed
from edgepriv.audit.ties import settled
from edgepriv.audit.trained_answers import Population
from edgepriv.data import Dataset

BY = ("lira-online", "lira-offline", "lira-online-per-example", "rmia-online", "rmia-offline")
"""Attacks on the canaries, all of which compare with reference models."""
AS_AERNI = "lira-online-per-example"
POOLED = "adaptive"
"""The attacker whose reference models stand for the file: they are trained as it was, defence included."""
ORDINARY = 2_000
"""Records for the average's figure, at most."""
ENOUGH = 6
"""Reference models with which all but ``AS_AERNI`` can be run: 2 IN and 2 OUT of each canary beside the attacked one."""
DRAWS = 500
_WEIGHTS = 4_000_000  # of draws at a time


@dataclass(frozen=True)
class Records:
    """Records that the target and an attacker's models are asked about. ``index``: int64 [n], places in the data set;
    ``member``: bool [n], whether the target was trained on each; ``fleet``: the models' answers to these n."""

    index: np.ndarray
    member: Bools
    fleet: Fleet

    def take(self, some: np.ndarray) -> "Records":
        """Some of them.

        Args:
            some: int64 [m].

        Returns:
            The m records.
        """
        return Records(self.index[some], self.member[some], self.fleet.take(some))


class Pool(NamedTuple):
    """Scores of N records by T models, float64 [T * N]; whether each model was trained on it; and which record it is."""

    scores: Floats
    member: Bools
    record: np.ndarray


def canaries_part(
    target: Target, dataset: Dataset, canaries: Records, average: Records, *, threat_model: str, seed: int
) -> dict[str, Any]:
    """``canaries`` of the audit, but for what is known of them without attacks.

    Args:
        target: the opened model.
        dataset: the examples, with canaries.
        canaries: with reference models on them.
        average: ordinary candidates, with the same models.
        threat_model: whose models they are.
        seed: of draws.

    Returns:
        ``threat_model``, ``reference_models``; for each attack a row with ``canaries`` and ``average``, pooled over reference
        models (None where these were not trained as the target was; of the average also where it cannot be made, with the
        reason as ``no_average``), and ``file``, of the audited file's own canaries;
        ``strongest``, the attack that finds most canaries at the lowest rate that is resolved, None without any; ``left_out``,
        with reasons; ``epsilon`` that the file's own canaries show (``epsilon.epsilon_part``). As JSON.
    """
    references = canaries.fleet.references
    if references is None:
        raise ValueError("needs reference models")
    some = np.sort(np.random.default_rng([seed, 31]).permutation(len(average.index))[:ORDINARY])
    average = average.take(some)
    on_canaries = _evidence(target, dataset, canaries, seed)
    on_average = _evidence(target, dataset, average, seed)
    rows, left_out = [], []
    own_scores: dict[str, Floats] = {}
    for attack in (ATTACKS[name] for name in BY):
        row: dict[str, Any] = {
            "name": attack.name,
            "title": attack.title,
            "paper": attack.paper,
            "threat_model": threat_model,
        }
        try:
            if on_canaries.labels_only:
                raise Unavailable("the file returns labels only")
            run, _ = attack.tuned(on_canaries)
            own_scores[attack.name] = settled(run(on_canaries))
            row |= {"file": _of_the_file(own_scores[attack.name], canaries.member), "canaries": None, "average": None}
            if threat_model == POOLED:
                row["canaries"] = figures(pooled(attack, on_canaries), seed)
        except Unavailable as reason:
            few = "" if attack.name == AS_AERNI else _of_few(len(references.member))
            left_out.append({"name": attack.name, "reason": f"{reason}{few}"})
            own_scores.pop(attack.name, None)
            continue
        if row["canaries"] is not None:
            row |= _average(attack, on_average, seed)
        rows.append(row)
    return {
        "threat_model": threat_model,
        "reference_models": len(references.member),
        "attacks": rows,
        "strongest": _strongest(rows),
        "left_out": left_out,
        "epsilon": of_canaries(own_scores, canaries.member, why_not_drawn(dataset, canaries=True), seed),
    }


def _of_few(models: int) -> str:
    """Why so few reference models say nothing of each other; empty for more."""
    if models >= ENOUGH:
        return ""
    return (
        f" (each of {models} reference models is attacked with the others, equally many for each canary: --references {ENOUGH} "
        "or more)"
    )


def _average(attack: Attack, evidence: Evidence, seed: int) -> dict[str, Any]:
    """The same of ordinary candidates, which reference models may share less evenly than they share the canaries."""
    try:
        return {"average": figures(pooled(attack, evidence), seed)}
    except Unavailable as reason:
        return {"average": None, "no_average": str(reason)}


def _evidence(target: Target, dataset: Dataset, records: Records, seed: int) -> Evidence:
    fleet = records.fleet
    population = None
    if len(fleet.population_index):
        seen = observed(target, dataset, fleet.population_index)
        population = Population(seen.confidence, fleet.population, seen.tempered, fleet.tempered_population)
    return Evidence(
        observed(target, dataset, records.index),
        references=fleet.references,
        population=population,
        seed=seed,
        labels_only=target.labels_only,
    )


def pooled(attack: Attack, evidence: Evidence) -> Pool:
    """Each reference model attacked with the others, its parameters chosen on these alone.

    Args:
        attack: that compares with reference models.
        evidence: with T reference models on N records.

    Returns:
        The scores of all by all.

    Raises:
        Unavailable: where the others are too few for the attack.
    """
    scores, member = [], []
    if evidence.references is None or len(evidence.references.member) < 2:
        raise Unavailable("needs two reference models or more, to attack one with the others")
    for r in range(len(evidence.references.member)):
        pretended, known = evidence.with_reference_as_target(r, equally=attack.name != AS_AERNI)
        run, _ = attack.tuned(pretended)
        scores.append(run(pretended))
        member.append(known)
    count = len(member[0])
    every = settled(np.concatenate(scores))
    return Pool(every, np.concatenate(member), np.tile(np.arange(count), len(member)))


def figures(pool: Pool, seed: int) -> dict[str, Any]:
    """AUC and true-positive rates of pooled scores, with intervals over records.

    Args:
        pool: of T models and N records, some of them trained on and some not.
        seed: of the draws.

    Returns:
        ``auc``, ``auc_ci``, ``tpr_at_fpr``, ``records`` (N), ``n_members`` and ``n_non_members`` (scores of each kind).

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    scores, member = statistics.checked(pool.scores, pool.member)
    area, _ = statistics.auc(scores, member)
    rates = {fpr: statistics.tpr_at_fpr(scores, member, fpr) for fpr in FALSE_POSITIVE_RATES}
    drawn = list(_drawn(Pool(scores, member, pool.record), seed))
    records = int(pool.record.max()) + 1
    for place, (fpr, rate) in enumerate(rates.items(), start=1):
        if rate["value"] is not None:
            rates[fpr] = rate | {"ci": _interval(rate["value"], [draw[place] for draw in drawn], records)}
    return {
        "auc": area,
        "auc_ci": _interval(area, [draw[0] for draw in drawn], records),
        "tpr_at_fpr": {str(fpr): rate for fpr, rate in rates.items()},
        "records": records,
        "n_members": int(member.sum()),
        "n_non_members": int((~member).sum()),
    }


def _drawn(pool: Pool, seed: int) -> Iterator[tuple[float, ...]]:
    """AUC and rates of records drawn with replacement, again and again."""
    order = np.argsort(-pool.scores, kind="stable")
    member, record = pool.member[order], pool.record[order]
    ends = np.append(np.flatnonzero(np.diff(pool.scores[order])), len(order) - 1)  # equal scores move together
    records = int(pool.record.max()) + 1
    generator = np.random.default_rng([seed, 32])
    left, at_once = DRAWS, max(1, _WEIGHTS // len(order))
    while left > 0:
        counts = generator.multinomial(records, np.full(records, 1 / records), size=min(left, at_once))
        left -= len(counts)
        weights = counts[:, record]
        hits_at, false_at = (np.cumsum(np.where(side, weights, 0), axis=1)[:, ends] for side in (member, ~member))
        for hits, false in zip(hits_at, false_at, strict=True):
            if hits[-1] and false[-1]:
                yield _area(hits, false), *(_rate(hits, false, fpr) for fpr in FALSE_POSITIVE_RATES)


def _area(hits: np.ndarray, false: np.ndarray) -> float:
    steps = np.diff(false, prepend=0)
    before = np.concatenate([[0], hits[:-1]])
    return float((steps * (before + hits) / 2).sum() / (hits[-1] * false[-1]))


def _rate(hits: np.ndarray, false: np.ndarray, fpr: float) -> float:
    last = int(np.searchsorted(false, int(false[-1] * fpr + 1e-9), side="right")) - 1
    return float(hits[last] / hits[-1]) if last >= 0 else 0.0


def _interval(value: float, drawn: list[float], records: int) -> list[float]:
    low, high = np.quantile(drawn, [statistics.ALPHA / 2, 1 - statistics.ALPHA / 2])
    if min(value, 1 - value) * records < statistics.RARE:
        exact = statistics.clopper_pearson(value * records, records)
        low, high = min(low, exact[0]), max(high, exact[1])
    return [min(float(low), value), max(float(high), value)]


def _of_the_file(scores: Floats, member: Bools) -> dict[str, Any]:
    area, interval = statistics.auc(scores, member)
    return {
        "auc": area,
        "auc_ci": list(interval),
        "tpr_at_fpr": {str(fpr): statistics.tpr_at_fpr(scores, member, fpr) for fpr in FALSE_POSITIVE_RATES},
        "records": len(member),
        "n_members": int(member.sum()),
        "n_non_members": int((~member).sum()),
    }


def _strongest(rows: list[dict[str, Any]]) -> str | None:
    """By the lowest false-positive rate that some row resolves."""
    for fpr in (str(rate) for rate in sorted(FALSE_POSITIVE_RATES)):
        known = {
            row["name"]: rate for row in rows if (rate := headline_of(row)["tpr_at_fpr"][fpr]["value"]) is not None
        }
        if known:
            return str(max(known, key=lambda name: float(known[name])))
    by_area = sorted(rows, key=lambda row: float(headline_of(row)["auc"]))
    return str(by_area[-1]["name"]) if by_area else None


def headline_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of the canaries.

    Args:
        row: of ``canaries_part``.

    Returns:
        Figures pooled over reference models; where these stand for another model, those of the file alone.
    """
    own: dict[str, Any] = row["canaries"] or row["file"]
    return own


def twin_in_words(told: Mapping[str, Any] | None) -> str:
    """Which file is audited and which ships, where two were made for that.

    Args:
        told: ``audit_twin`` of a manifest's data; None without one.

    Returns:
        A clause, such as "model.onnx ships in its place, trained without canaries"; empty without a twin.
    """
    if told is None:
        return ""
    if told["role"] == "audited":
        return f"this file was made to be audited; {told['ships']} ships in its place, trained without canaries"
    how = "audit that file" if told["audited"].endswith(".onnx") else "export it as this file was, and audit that"
    return (
        f"this file ships, trained without canaries; its twin {told['audited']} (sha256 {told['sha256'][:12]}) was trained "
        f"with {told['canaries']}: {how}"
    )

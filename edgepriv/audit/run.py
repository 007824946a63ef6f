"""The audit of one model file: what its answers tell about members."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from torch import nn

from edgepriv import progress
from edgepriv.artifact.batches import LARGEST
from edgepriv.audit.answers import Outputs
from edgepriv.audit.assess import FALSE_POSITIVE_RATES, Assessment, assess, corrected, utility
from edgepriv.audit.attacks import ATTACKS, TRAINED
from edgepriv.audit.evidence import Evidence, PopulationInputs
from edgepriv.audit.exposure import exposure
from edgepriv.audit.inputs import features, generated_inputs
from edgepriv.audit.most_exposed import Again
from edgepriv.audit.persons import persons_part
from edgepriv.audit.prior import add_precision
from edgepriv.audit.queries import Asked
from edgepriv.audit.query_evidence import QueryEvidence, balanced
from edgepriv.audit.references import POPULATION, Fleet
from edgepriv.audit.selected import add_simultaneous
from edgepriv.audit.stability import with_half_of_the_models
from edgepriv.audit.trained_answers import Population
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe

_CHUNK = 2048
_PATIENCE = 3  # seconds before a bar appears


class Others(Protocol):
    """What an attacker knows of other releases of the model."""

    def beside(self, plain: Evidence) -> Evidence:
        """The evidence on the target with that on the others.

        Args:
            plain: of the target.

        Returns:
            The same evidence with ``releases``.
        """


@dataclass(frozen=True)
class Target:
    """A deployed model. ``predict``: float32 [n, ...] -> probabilities [n, K] through the session that ships. ``twin``: the
    same function with gradients, to logits; None when there is none, for the reason ``no_twin``. ``labels_only``: the file
    returns labels, and ``predict`` 1 for the label. ``exact``: positions of examples -> their inputs in float64,
    where float32 in [0, 1] would not give back the user's own numbers. ``scores``: as ``predict``, to the scores [n, K] that
    the file returns where these are no probabilities; None where it returns probabilities or labels. ``bytes_in``: whether it
    takes bytes. ``head``: what changes its answers behind the logits, None for nothing. ``sha256``: of the file, empty where
    unknown. ``tolerance``: how far the rest of a batch may move a probability."""

    predict: Callable[[np.ndarray], np.ndarray]
    twin: nn.Module | None
    no_twin: str = ""
    labels_only: bool = False
    exact: Callable[[np.ndarray], np.ndarray] | None = None
    scores: Callable[[np.ndarray], np.ndarray] | None = None
    bytes_in: bool = False
    head: str | None = None
    sha256: str = ""
    tolerance: float = LARGEST


def answers(target: Target, dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """The deployed model's probabilities.

    Args:
        target: the opened model.
        dataset: the examples.
        index: int64 [n], places of those that are asked about.

    Returns:
        float [n, K].
    """
    inputs = target.exact or dataset.inputs
    return _mixed(len(index), lambda rows: target.predict(inputs(index[rows])))


def observed(target: Target, dataset: Dataset, index: np.ndarray) -> Outputs:
    """All that the deployed model answers.

    Args:
        target: the opened model.
        dataset: the examples.
        index: int64 [n], places of those that are asked about.

    Returns:
        Its answers, with scores where it returns no probabilities.
    """
    if target.scores is None:
        return Outputs(answers(target, dataset, index), dataset.y[index])
    return Outputs.of_scores(answers(replace(target, predict=target.scores), dataset, index), dataset.y[index])


def _in_chunks(target: Target, x: np.ndarray) -> np.ndarray:
    return _mixed(len(x), lambda rows: target.predict(x[rows]))


def _mixed(count: int, ask: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Answers to questions 0 .. count - 1, asked in random order, in the order of the questions.

    Candidates come members first. Files that quantize a whole batch by its own range answer alike within a batch: asked in
    that order, the batch, not the example, would tell who is a member.
    """
    order = np.random.default_rng(count).permutation(count)
    parts = []
    with progress.shown("answers of the model", unit="answer", total=count, delay=_PATIENCE, leave=False) as bar:
        for start in range(0, count, _CHUNK):
            rows = order[start : start + _CHUNK]
            parts.append(ask(rows))
            bar.update(len(rows))
    answers = np.concatenate(parts)
    return answers[np.argsort(order)]


# Whom to ask, about what, by whom and how: one argument each.
def membership_part(
    target: Target,
    dataset: Dataset,
    members: np.ndarray,
    non_members: np.ndarray,
    fleets: Mapping[str, Fleet],
    *,
    attacks: Sequence[str],
    recipe: Recipe,
    pool: np.ndarray | None = None,
    releases: Mapping[str, Others] = MappingProxyType({}),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run membership attacks by every attacker and judge them together.

    Attacks that need nothing trained are run once, in the first threat model.

    Args:
        target: the opened model.
        dataset: the examples, under the target's classes.
        members: int64 [m], positions of the target's training examples in ``dataset``.
        non_members: int64 [n], positions of examples that it never saw.
        fleets: threat model -> the models that this attacker trained, the headline first; empty for an attacker who
            trains nothing.
        attacks: names of ``ATTACKS``.
        recipe: seed, perturbations and sizes of the audit.
        pool: int64 [p], positions of the attacker's own examples, which the target was not trained on; None without.
        releases: threat model -> what this attacker knows of other releases of the model.

    Returns:
        The audit's ``utility``, ``shadow_models`` (utility of the shadow model by threat model), ``attacks``, ``left_out``,
        ``simultaneous``, ``per_class``, ``most_exposed``, where one was stated the ``prior``, and, where the data say whose
        records they are, ``persons`` as JSON; and every
        attack's scores on the members, then the non-members, by "threat model/attack". An attack that was run on a part of
        the candidates has their positions among them under "threat model/attack/index".

    Raises:
        UserError: see ``assess``.
    """
    seed = recipe.seed
    candidates = np.concatenate([members, non_members])
    membership = np.arange(len(candidates)) < len(members)
    outputs = observed(target, dataset, candidates)
    attacks = _of_use(attacks, outputs, recipe.audit.attacks, several=bool(releases))
    groups = None if dataset.groups is None else dataset.groups[candidates]
    result: dict[str, Any] = {"utility": utility(outputs, membership, groups), "attacks": [], "left_out": []}
    scores: dict[str, np.ndarray] = {"member": membership, "index": candidates}
    if groups is not None:
        scores["group"] = groups
    needs = {need for name in attacks for need in ATTACKS[name].needs}
    plainly = _plainly(target, dataset, candidates, outputs, pool, needs, seed)
    chosen = balanced(membership, recipe.audit.queried_examples, seed)
    asked = Asked(lambda x: _in_chunks(target, x), target.twin)
    query_evidence = QueryEvidence(asked, dataset, candidates, chosen, recipe, target.no_twin)
    shadows = {name: fleet.shadow for name, fleet in fleets.items() if fleet.shadow is not None}
    result["shadow_models"] = {name: utility(shadow.outputs, shadow.member) for name, shadow in shadows.items()}
    attackers: dict[str, Fleet | None] = {**fleets} or {"none": None}
    each_attacker = progress.each(
        attackers.items(), "membership attacks", unit="attacker", total=len(attackers), delay=_PATIENCE
    )
    parts: list[tuple[str, np.ndarray, Assessment]] = []
    asked_first: dict[str, Evidence] = {}  # of the first attacker, by what is asked
    for threat_model, fleet in each_attacker:
        first = not parts
        names = [name for name in attacks if first or ATTACKS[name].needs & TRAINED]
        names = [name for name in names if not releases or threat_model in releases or not _combines(name)]
        plain = with_fleet(plainly, target, dataset, fleet)
        plain = releases[threat_model].beside(plain) if threat_model in releases else plain
        for asks in dict.fromkeys(ATTACKS[name].asks for name in names):
            chosen, evidence = query_evidence.evidence(asks, plain, fleet, pool)
            these = [name for name in names if ATTACKS[name].asks == asks]
            own = None if groups is None else groups[chosen]
            asked_first |= {asks: evidence} if first else {}
            part = assess(evidence, membership[chosen], attacks=these, threat_model=threat_model, seed=seed, groups=own)
            parts.append((threat_model, chosen, part))
    _put(parts, result, scores)
    result |= _of_all_together(result["attacks"], scores, recipe)
    result |= exposure(
        result["attacks"],
        scores,
        membership,
        labels=outputs.labels,
        index=candidates,
        class_names=dataset.class_names,
        threat_model=next(iter(attackers)),
        groups=groups,
        again=lambda row: _again(row, asked_first, seed),
    )
    by_person = persons_part(result["attacks"], scores, membership, groups)
    return result | ({"persons": by_person} if by_person else {}), scores


def _again(row: Mapping[str, Any], evidence: Mapping[str, Evidence], seed: int) -> Again:
    return with_half_of_the_models(row, evidence[ATTACKS[row["name"]].asks], seed)


def _combines(name: str) -> bool:
    """Whether an attack is of whoever holds other releases."""
    return "releases" in ATTACKS[name].needs


def _of_all_together(
    rows: Sequence[dict[str, Any]], scores: Mapping[str, np.ndarray], recipe: Recipe
) -> dict[str, Any]:
    """``simultaneous`` and, where one was stated, ``prior``; the rows get what belongs to these."""
    part: dict[str, Any] = {"simultaneous": add_simultaneous(rows, scores, FALSE_POSITIVE_RATES, recipe.seed)}
    if recipe.audit.prior is not None:
        add_precision(rows, scores, recipe.audit.prior, FALSE_POSITIVE_RATES)
        part["prior"] = recipe.audit.prior
    return part


def _put(
    parts: Sequence[tuple[str, np.ndarray, Assessment]], result: dict[str, Any], scores: dict[str, np.ndarray]
) -> None:
    """Rows and scores of what each attacker found, corrected for all of them, into ``result`` and ``scores``."""
    corrected(part for _, _, part in parts)
    for threat_model, chosen, part in parts:
        result["attacks"] += part.attacks
        result["left_out"] += [row | {"threat_model": threat_model} for row in part.left_out]
        for name, values in part.scores.items():
            scores[f"{threat_model}/{name}"] = values
            if len(values) < len(scores["member"]):
                scores[f"{threat_model}/{name}/index"] = chosen


def _of_use(attacks: Sequence[str], outputs: Outputs, asked: str, *, several: bool) -> list[str]:
    """Without those that read scores, or other releases, where there are none, as far as the user did not ``asked`` for them by
    name."""
    named = {name.strip() for name in asked.split(",")}
    missing = {"scores"} if outputs.scores is None else set[str]()
    missing |= set() if several else {"releases"}
    return [name for name in attacks if name in named or not missing & ATTACKS[name].needs]


def _plainly(
    target: Target,
    dataset: Dataset,
    candidates: np.ndarray,
    outputs: Outputs,
    pool: np.ndarray | None,
    needs: Set[str],
    seed: int,
) -> Evidence:
    """What is seen of the target without training anything: as much of it as the attacks need."""
    generated = inputs = None
    if "generated" in needs:
        made_up = generated_inputs(dataset, candidates, seed)
        generated = _in_chunks(target, made_up)
    if "population inputs" in needs and pool is not None and len(pool):
        asked = np.sort(np.random.default_rng([seed, 4]).permutation(pool)[:POPULATION])
        of_candidates, of_pool = features(dataset, candidates, asked, fitted_on=asked, seed=seed)
        answered = observed(target, dataset, asked)
        inputs = PopulationInputs(of_candidates, of_pool, answered)
    return Evidence(outputs, generated=generated, inputs=inputs, labels_only=target.labels_only)


def with_fleet(plainly: Evidence, target: Target, dataset: Dataset, fleet: Fleet | None) -> Evidence:
    """The evidence of a target with what an attacker's models answer.

    Args:
        plainly: what is seen without training anything.
        target: the opened model.
        dataset: the examples.
        fleet: the attacker's models; None for an attacker who trains nothing.

    Returns:
        The evidence.
    """
    if fleet is None:
        return plainly
    population = None
    if fleet.references is not None and len(fleet.population_index):
        seen = observed(target, dataset, fleet.population_index)
        population = Population(seen.confidence, fleet.population, seen.tempered, fleet.tempered_population)
    return replace(plainly, shadow=fleet.shadow, references=fleet.references, population=population)

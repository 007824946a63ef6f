"""The attackers: who they are, and what each finds that a weaker one does not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepriv.audit.knowledge import MEANINGS, PHRASES, Attacker, attacker_in, each_attacker, reaches
from edgepriv.report.formatting import area, attack_name, count, rate, with_interval
from edgepriv.report.verdict import beyond_guessing, chosen_ci, strongest

Audit = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """The strongest attack within an attacker's reach. ``tried``: attacks that need this attacker and no stronger one;
    ``best``: row of the strongest attack of this attacker and of every weaker one; ``guessing``: none of them is beyond
    guessing; ``adds``: what it is worth to be this attacker and not the one before, in words."""

    attacker: Attacker
    tried: int
    best: Mapping[str, Any]
    guessing: bool
    adds: str


def steps(attacks: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """From the weakest attacker to the strongest, the attackers who have attacks of their own.

    Args:
        attacks: rows of an audit's ``attacks``.

    Yields:
        One step for each.
    """
    before: Step | None = None
    for attacker, own in each_attacker(attacks):
        reach = reaches(attacker, attacks)
        best = strongest(reach)
        if best is None:
            continue
        guessing = not beyond_guessing(reach)
        before = Step(attacker, len(own), best, guessing, _adds(before, best, guessing))
        yield before


def _adds(before: Step | None, best: Mapping[str, Any], guessing: bool) -> str:
    if before is None:
        return ""
    if guessing:
        return "nothing: still like guessing"
    if before.best is best:
        return "nothing stronger"
    if before.guessing:
        return "a leak that a weaker attacker does not see"
    more = best["auc"] - before.best["auc"]
    apart = chosen_ci(best)[0] > chosen_ci(before.best)[1]
    return f"AUC {more:+.3f}" + ("" if apart else ", no more than the noise")


def attackers(audit: Audit) -> str:
    """Who attacked, and what each has.

    Args:
        audit: content of model.audit.json, with one attack at least.

    Returns:
        A few sentences.
    """
    named = [attacker for attacker, _ in each_attacker(audit["attacks"])]
    who = "; ".join(f"one who {PHRASES[attacker]}: {MEANINGS[attacker]}" for attacker in named)
    sentence = f"Every attacker has the record in question and knows its true class. Tested: {who}."
    if "training" not in named:
        return sentence
    models = dict.fromkeys(row["threat_model"] for row in audit["attacks"] if attacker_in(row) == "training")
    trained = audit.get("references") or 0
    if trained:
        of_each = " of each kind" if len(models) > 1 else ""
        sentence += f" {count(trained, 'reference model')}{of_each} stood for that: {_trained(models)}."
    return sentence


def _trained(models: Mapping[str, None]) -> str:
    how = {
        "adaptive": "trained as this model was, defence included (adaptive)",
        "oblivious": "trained without its defence (oblivious)",
    }
    return " and ".join(how.get(model, model) for model in models)


def added(audit: Audit) -> str:
    """What each attacker finds, and what is worth more to have; the strongest decides the verdict.

    Args:
        audit: content of model.audit.json, with one attack at least.

    Returns:
        A sentence for each attacker, then one on the verdict.
    """
    sentences = []
    for step in steps(audit["attacks"]):
        figure = (
            "like guessing" if step.guessing else f"AUC {with_interval(step.best['auc'], chosen_ci(step.best), area)}"
        )
        by = "" if step.guessing else f" by {attack_name(step.best)}"
        adds = f"; this adds {step.adds}" if step.adds else ""
        who = PHRASES[step.attacker]
        sentences.append(f"Who {who}{'' if not step.adds else ' as well'}: {figure}{by}{adds}.")
    return " ".join([*sentences, "The verdict is by the strongest of them."])


def attacker_rows(attacks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same as JSON.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        For each attacker: ``attacker`` and ``phrase``; ``attacks`` that need no stronger one; of the strongest in
        reach ``strongest``, ``threat_model``, ``auc``, ``auc_ci``, ``auc_ci_simultaneous`` and ``tpr_at_fpr``;
        ``beyond_guessing``; ``adds``.
    """
    return [
        {
            "attacker": step.attacker,
            "phrase": PHRASES[step.attacker],
            "attacks": step.tried,
            "strongest": step.best["name"],
            **{key: step.best[key] for key in ("threat_model", "auc", "auc_ci", "tpr_at_fpr")},
            "auc_ci_simultaneous": chosen_ci(step.best),
            "beyond_guessing": not step.guessing,
            "adds": step.adds,
        }
        for step in steps(attacks)
    ]


def cells(step: Step) -> tuple[str, str, str, str]:
    """A step as text.

    Args:
        step: of one attacker.

    Returns:
        The strongest attack in reach, its AUC and its true-positive rate at 1% false positives, and what that adds.
    """
    measured = step.best["tpr_at_fpr"].get("0.01") or {"value": None, "ci": None}
    tpr = "not resolvable" if measured["value"] is None else with_interval(measured["value"], chosen_ci(measured), rate)
    name = f"{attack_name(step.best)}{' (like guessing)' if step.guessing else ''}"
    return name, with_interval(step.best["auc"], chosen_ci(step.best), area), tpr, step.adds

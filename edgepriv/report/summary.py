"""What an audit found, for readers who never heard of an AUC: one question and one short answer at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgepriv.audit.knowledge import phrase_of
from edgepriv.recipe.defences.private_training import in_words, noises, of_a_person
from edgepriv.report.attackers import added, attackers
from edgepriv.report.canaries import risk_of_a_person
from edgepriv.report.epsilon import shown_epsilon
from edgepriv.report.formatting import and_, attack_name, count
from edgepriv.report.groups import counts
from edgepriv.report.prior import at_prior
from edgepriv.report.utility import cost_in_accuracy
from edgepriv.report.verdict import Finding, beyond_guessing, chosen_ci, leakage, robustness
from edgepriv.report.verdict import cost as cost_of

Audit = Mapping[str, Any]
RARE_FIRST = ("0.001", "0.01")


def summary(audit: Audit | None, bench: Mapping[str, Any] | None) -> list[Finding]:
    """Questions in the order in which a privacy officer asks them, each with its answer in plain words.

    Args:
        audit: content of model.audit.json, or None.
        bench: content of model.bench.json, or None.

    Returns:
        Findings, warnings first. Leakage, robustness and cost are always there, and say so where they were not measured.
    """
    findings = [Finding("Warning", f"{warning}.") for warning in (audit or {}).get("warnings", [])]
    findings += risk_of_a_person(audit)
    if audit is not None and audit["attacks"]:
        findings += [
            Finding("What was tested", tested(audit)),
            *defended(audit),
            Finding("Who attacks", attackers(audit)),
            Finding("What each attacker adds", added(audit)),
            Finding("What the worst attack finds", worst(audit)),
        ]
        if audit.get("releases"):
            findings.append(Finding("What several releases tell together", f"{audit['releases']['sentence']}."))
    findings += [
        Finding("Leakage, in figures", leakage(audit).sentence),
        *at_prior(audit),
        *proven(audit),
        *shown_epsilon(audit),
        *limits(audit),
    ]
    return [*findings, robustness(audit), *in_accuracy(audit), cost_of(bench)]


def in_accuracy(audit: Audit | None) -> Iterator[Finding]:
    """What hardening and quantization cost in accuracy.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing where the cost was not measured.
    """
    cost = cost_in_accuracy((audit or {}).get("accuracy") or {"costs": []})
    if cost:
        yield Finding("Cost in accuracy", f"{cost[0].upper()}{cost[1:]}, as measured at export.")


def tested(audit: Audit) -> str:
    """What was attacked: file, data and number of records.

    Args:
        audit: content of model.audit.json.

    Returns:
        Two sentences.
    """
    utility, data = audit["utility"], audit.get("data") or {}
    state = "without its head" if (audit.get("head") or {}).get("cut") else "as it ships"
    file = f"The file {audit['model']}, {state}," if "model" in audit else "The model"
    of = f" of the data set {data['name']}" if data.get("name") else ""
    return (
        f"{file} was asked about {count(utility['n_members'], 'record')}{of} that it was trained on (members) and "
        f"{utility['n_non_members']:,} that it never saw (non-members). {count(len(audit['attacks']), 'attack')} tried to "
        f"tell the two apart."
    )


def defended(audit: Audit) -> Iterator[Finding]:
    """What defends the model, by its manifest.

    Args:
        audit: content of model.audit.json.

    Yields:
        One finding; nothing for a file without a manifest.
    """
    if "defended_by" in audit:
        by = audit["defended_by"]
        yield Finding(
            "What defends it", f"{and_(by)}." if by else "Nothing: it was trained and ships without a defence."
        )


def worst(audit: Audit) -> str:
    """The largest true-positive rate at the lowest resolvable false-positive rate, told as people out of a thousand.

    Only of attacks that are beyond guessing: the members that the best of many guesses names are found by chance.

    Args:
        audit: content of model.audit.json.

    Returns:
        A few sentences. They are about the AUC where no attack could resolve a rate, and say so where none is beyond guessing.
    """
    attacks = beyond_guessing(audit["attacks"])
    if not attacks:
        tried = count(len(audit["attacks"]), "attack")
        return f"Nobody: none of the {tried} is beyond guessing, corrected for that many tries."
    best_rate = rarest(attacks)
    if best_rate is None:
        best = max(attacks, key=lambda attack: attack["auc"])
        return (
            f"With {audit['utility']['n_non_members']:,} non-members, rare false alarms cannot be counted. The strongest "
            f"attack, {_by(best)}, ranks a member above a non-member in {100 * best['auc']:.0f} of 100 pairs; guessing "
            f"does in 50."
        )
    sentence = _of_a_thousand(audit, *best_rate)
    more = largest_rate(attacks, "0.01")
    if best_rate[1] != "0.01" and more is not None:
        rate = more["tpr_at_fpr"]["0.01"]
        sentence += (
            f" With 10 false alarms per 1,000, {_by(more)}, names {1000 * rate['value']:.0f} "
            f"[{1000 * chosen_ci(rate)[0]:.0f} to {1000 * chosen_ci(rate)[1]:.0f}]; guessing names 10."
        )
    return sentence


def _of_a_thousand(audit: Audit, attack: Mapping[str, Any], fpr: str) -> str:
    rate, guessed = attack["tpr_at_fpr"][fpr], 1000 * float(fpr)
    low, high = (1000 * bound for bound in chosen_ci(rate))
    sentence = (
        f"Of 1,000 members, the best attack ({_by(attack)}) names {1000 * rate['value']:.0f} [{low:.0f} to {high:.0f}] with "
        f"{count(round(guessed), 'false alarm')} per 1,000 non-members; guessing names {guessed:.0f}."
    )
    if low > guessed:
        sentence += f" That is {rate['value'] / float(fpr):.1f} times as many as guessing."
    else:
        sentence += " The interval includes guessing, or lies below it."
    members, others = counts(attack, audit["utility"])
    if (members, others) != counts({}, audit["utility"]):
        sentence += f" It was judged on {members:,} members and {others:,} non-members only."
    return sentence + _beside_the_twin(audit, rate, fpr)


def _by(attack: Mapping[str, Any]) -> str:
    name = attack_name(attack)
    return f"{name}, by one who {phrase_of(attack)}"


def rarest(attacks: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str] | None:
    """The strongest attack at the lowest false-positive rate that any attack could resolve.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        Its row, and the false-positive rate, one of ``RARE_FIRST``; None if no row resolves any.
    """
    strongest = ((largest_rate(attacks, fpr), fpr) for fpr in RARE_FIRST)
    return next(((attack, fpr) for attack, fpr in strongest if attack is not None), None)


def largest_rate(attacks: Sequence[Mapping[str, Any]], fpr: str) -> Mapping[str, Any] | None:
    """The attack with the largest true-positive rate.

    Args:
        attacks: rows of an audit's ``attacks``.
        fpr: the false-positive rate, as ``tpr_at_fpr`` names it: "0.01" or "0.001".

    Returns:
        Its row; None if no row could resolve the rate.
    """
    resolved = [row for row in attacks if (row["tpr_at_fpr"].get(fpr) or {}).get("value") is not None]
    return max(resolved, key=lambda row: row["tpr_at_fpr"][fpr]["value"], default=None)


def _beside_the_twin(audit: Audit, rate: Mapping[str, Any], fpr: str) -> str:
    """Compared at the same false-positive rate; attacks that cannot resolve it say nothing."""
    best = largest_rate(beyond_guessing((audit.get("float") or {}).get("attacks", [])), fpr)
    if best is None:
        return ""
    twin = best["tpr_at_fpr"][fpr]
    if chosen_ci(rate)[1] < chosen_ci(twin)[0]:
        relation = "the hardened model gives away fewer"
    elif chosen_ci(rate)[0] > chosen_ci(twin)[1]:
        relation = "the hardened model gives away more"
    else:
        relation = "the intervals overlap, so no difference is shown"
    return f" On the undefended float model the best attack names {1000 * twin['value']:.0f}: {relation}."


def proven(audit: Audit | None) -> Iterator[Finding]:
    """The epsilon of differentially private training beside the largest that an attack shows.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing for a model that was trained without differential privacy.
    """
    if audit is None or not audit.get("dp"):
        return
    dp = audit["dp"]
    sentence = f"{_of_training(dp)} "
    if dp["warning"]:
        sentence = f"WARNING: {dp['warning']}. {sentence}"
    elif dp["attack"] is None:
        sentence += "No attack shows an epsilon above 0."
    else:
        by = phrase_of({"name": dp["attack"], "threat_model": dp["threat_model"]})
        sentence += f"The attacks show at least {dp['lower_bound']:.3g} ({dp['attack']}, {by})."
    for one_more in of_a_person(dp):
        sentence += f" {one_more[0].upper()}{one_more[1:]}."
    yield Finding("Privacy that is proven" if dp["epsilon"] is not None else "No privacy is proven", sentence)


def _of_training(dp: Mapping[str, Any]) -> str:
    """What the training proves."""
    if dp["epsilon"] is None:
        return (
            f"Trained with clipped gradients (norm {dp['clip']:g}, {dp['steps']:,} steps) without noise: that bounds what one "
            "example does to a step, and guarantees nothing (epsilon is infinite)."
        )
    noise = f"{noises(dp)}, {dp['steps']:,} steps"
    proof = f"epsilon {dp['epsilon']:.3g} at delta {dp['delta']:.2g}"
    if dp.get("claimed", True):
        of_what = f"Trained with differential privacy: {proof} is proven ({noise}){in_words(dp['epsilon'])}."
    else:
        of_what = (
            f"Trained with noise that was given, for no epsilon ({noise}): {proof} is what it "
            f"proves{in_words(dp['epsilon'])}."
        )
    rest = dp.get("not_covered")
    return f"{of_what} It does not cover {'; nor '.join(rest)}." if rest else of_what


def limits(audit: Audit | None) -> Iterator[Finding]:
    """Whether the limits of --fail-if are kept.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing for an audit that does not record whether limits were asked for.
    """
    if audit is None or "limits" not in audit:
        return
    asked = audit["limits"]
    if not asked:
        yield Finding("Limits", "None were asked for (--fail-if), so nothing is passed or failed.")
        return
    failed = [limit["limit"] for limit in asked if limit["outcome"] == "exceeded"]
    unknown = [limit["limit"] for limit in asked if limit["outcome"] == "not measured"]
    parts = []
    if failed:
        parts.append(f"FAILED: {and_(failed)}.")
    if unknown:
        parts.append(f"NOT JUDGED: {and_(unknown)}.")
    if not parts:
        parts.append("PASSED: all limits are kept." if len(asked) > 1 else "PASSED: the limit is kept.")
    yield Finding("Limits", " ".join(parts + [f"{_sentence(limit)}." for limit in asked]))


def _sentence(limit: Mapping[str, str]) -> str:
    sentence = limit["sentence"]
    return sentence if sentence.startswith(limit["limit"]) else f"{limit['limit']}: {sentence}"

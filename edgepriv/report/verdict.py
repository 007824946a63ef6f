"""What the numbers say, in sentences that claim no more than their intervals allow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.formatting import (
    area,
    attack_name,
    budget,
    count,
    file_size,
    interval,
    latency_range,
    megabytes,
    milliseconds,
    percent,
    rate,
    significant,
    with_interval,
)

FLOAT = "float"
SIGNIFICANT = 0.05
GUESSING = "indistinguishable from guessing at this sample size"


@dataclass(frozen=True)
class Finding:
    """One topic in plain words; ``short`` is its part of the one-sentence verdict, empty if nothing was measured."""

    topic: str
    sentence: str
    short: str = ""


def verdict(audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None, also: Iterable[Finding] = ()) -> str:
    """One plain sentence on size, speed, robustness and leakage of the hardened model.

    Args:
        audit: content of model.audit.json, or None.
        bench: content of model.bench.json, or None.
        also: what stands last in the sentence, after leakage.

    Returns:
        The sentence; that nothing was measured, where that is so.
    """
    parts = [finding.short for finding in (cost(bench), robustness(audit), leakage(audit), *also) if finding.short]
    if not parts:
        return "Nothing was measured."
    sentence = ", and ".join(["; ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def findings(audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None) -> list[Finding]:
    """Leakage, robustness and cost, the most sensitive first.

    Args:
        audit: content of model.audit.json, or None.
        bench: content of model.bench.json, or None.

    Returns:
        Three findings; each says so where nothing was measured.
    """
    return [leakage(audit), robustness(audit), cost(bench)]


def strongest(attacks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The attack with the largest AUC, whatever its threat model: an attacker may run any of them.

    Attacks that are like guessing count only if all are: the largest AUC on few candidates may be chance.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        Its row, None without attacks.
    """
    every = list(attacks)
    return max(beyond_guessing(every) or every, key=lambda attack: attack["auc"], default=None)


def beyond_guessing(attacks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The attacks that a headline may rest on: those that are not ``like_guessing``.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        Their rows, in the order given.
    """
    return [attack for attack in attacks if not like_guessing(attack)]


def like_guessing(attack: Mapping[str, Any]) -> bool:
    """Whether the attack, one of as many as were run, did no better than chance: p, adjusted for their number, is 0.05 or more.

    Of an audit that has no p: whether the AUC's interval contains 0.5 and no resolvable true-positive rate's lies above its
    FPR. Below it lies wherever scores are tied, as those of labels are: fewer false positives than allowed can be had then.

    Args:
        attack: a row of an audit's ``attacks``.

    Returns:
        True for no better than chance.
    """
    if "p_adjusted" in attack:
        return bool(attack["p_adjusted"] >= SIGNIFICANT)
    low, high = attack["auc_ci"]
    resolved = [
        (float(fpr), measured["ci"]) for fpr, measured in attack["tpr_at_fpr"].items() if measured["ci"] is not None
    ]
    return low <= 0.5 <= high and all(bounds[0] <= fpr for fpr, bounds in resolved)


def chosen_ci(measured: Mapping[str, Any]) -> list[float]:
    """The interval of a figure that was chosen because it is the largest of many.

    Args:
        measured: a row of an audit's ``attacks``, or one of its ``tpr_at_fpr`` or ``precision_at_fpr``, with an interval.

    Returns:
        The interval that holds for all attacks at once (``audit.selected``, ``audit.prior``); its own in an audit of an
        earlier version.
    """
    for name in ("auc_ci_simultaneous", "ci_simultaneous", "auc_ci"):
        if name in measured:
            return list(measured[name])
    return list(measured["ci"])


def leakage(audit: Mapping[str, Any] | None) -> Finding:
    """Can records of the training data be told from others?

    Args:
        audit: content of model.audit.json, or None.

    Returns:
        The answer by the strongest attack, with its interval, beside the float twin; with what it is worth where members and
        non-members differ in themselves.
    """
    topic = "Leakage"
    attacks = audit["attacks"] if audit else []
    best = strongest(attacks)
    if audit is None or best is None:
        return Finding(topic, "No attack was run, so nothing is known about leakage of training records.")
    utility = audit["utility"]
    sample = f"{utility['n_members']:,} members and {utility['n_non_members']:,} non-members"
    own = chosen_ci(best)
    auc = f"AUC {with_interval(best['auc'], own, area)}"
    who = f"{attack_name(best)}, by one who {phrase_of(best)}"
    beyond = beyond_guessing(attacks)
    if not beyond:
        sentence = (
            f"Training records could not be told from others: all {len(attacks)} attacks are {GUESSING} ({sample}); "
            f"the strongest ({who}) has {auc}, where 0.5 is guessing."
        )
        short = f"attacks on membership are {GUESSING} ({auc})"
    else:
        sentence = (
            f"Training records can partly be told from others: {len(beyond)} of {count(len(attacks), 'attack')} "
            f"{'is' if len(beyond) == 1 else 'are'} beyond guessing, corrected for that many tries; the strongest of them "
            f"({who}) has {auc}, where 0.5 is guessing{_rate_at_one_percent(best)} ({sample})."
        )
        short = f"membership can partly be told ({auc})"
    shift = audit.get("shift") or {}
    if shift.get("found"):
        sentence, short = _under_shift(shift, best if beyond else None, len(attacks), who, auc, sample)
        sentence += _beyond_shift(shift, best)
    if "auc_ci_simultaneous" in best and len(attacks) > 1:
        sentence += f" Intervals hold for all {len(attacks)} attacks at once, as the strongest was chosen among them."
    if beyond and best.get("direction") == "reversed":
        sentence += (
            f" That attack is reversed: members score lower than others, where it expects them higher (as stated, its AUC is "
            f"{area(best['auc_as_stated'])})."
        )
    twin = strongest(audit.get("float", {}).get("attacks", []))
    if twin is not None:
        relation = _relation(own, chosen_ci(twin), "leaks less", "leaks more")
        sentence += (
            f" The strongest attack on the undefended float model has AUC "
            f"{with_interval(twin['auc'], chosen_ci(twin), area)}: the hardened one {relation}."
        )
    return Finding(topic, sentence, short)


def _under_shift(
    shift: Mapping[str, Any], best: Mapping[str, Any] | None, tried: int, who: str, auc: str, sample: str
) -> tuple[str, str]:
    """Sentence and short form where members and non-members differ before any model has seen them."""
    apart = f"AUC {with_interval(shift['auc'], shift['auc_ci'], area)}"
    differ = (
        f"Members and non-members differ in themselves: {shift['seen']} alone, without the model, tell them apart "
        f"({apart}, where 0.5 is chance)."
    )
    short = f"members and non-members differ in themselves ({apart})"
    if best is None:
        return (
            f"{differ} All {count(tried, 'attack')} on the model are {GUESSING} all the same ({sample}), but a leak that runs "
            "against the difference would be hidden: compare with non-members from the same source.",
            f"{short}, and attacks on membership are {GUESSING} ({auc})",
        )
    if chosen_ci(best)[0] <= shift["auc_ci"][1]:
        return (
            f"{differ} The strongest of {count(tried, 'attack')} ({who}) has {auc}, no more than that: it shows shift, not "
            f"leak, and what the model leaks is not known ({sample}). Compare with non-members from the same source.",
            f"{short}: the attacks show shift, not leak ({auc})",
        )
    return (
        f"{differ} The strongest of {count(tried, 'attack')} ({who}) has {auc}, more than that: the model leaks, or they "
        f"differ in more than a simple classifier sees, so the figure is not leakage alone ({sample}). Compare with "
        "non-members from the same source.",
        f"{short}, so the attacks' figures are not leakage alone ({auc})",
    )


def _beyond_shift(shift: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """How much of the strongest attack inputs and labels alone explain; nothing where an older audit did not measure it."""
    if "beyond_shift" not in best:
        return ""
    left = best["beyond_shift"]
    if left is None:
        return (
            f" How much of it the difference explains cannot be said: only {rate(shift['overlap'])} of members and non-members "
            "are alike enough to be compared."
        )
    explained = with_interval(left["explained"], left["explained_ci"], area)
    told = f"the difference explains at least {explained} of its AUC"
    if left["explained_ci"][0] <= 0:
        told = f"that the difference explains any of its AUC is not shown ({explained})"
    return (
        f" Among records that inputs and labels alone do not tell apart, that attack has AUC "
        f"{with_interval(left['auc'], left['auc_ci'], area)}: {told}. A simple classifier does not see "
        "all of the difference, so what is left is more than the leak rather than less."
    )


def _rate_at_one_percent(attack: Mapping[str, Any]) -> str:
    measured = attack["tpr_at_fpr"].get("0.01")
    if measured is None or measured["value"] is None:
        return ""
    return (
        f", and at 1% false alarms finds {with_interval(measured['value'], chosen_ci(measured), rate)} of the training records "
        "(guessing: 1%)"
    )


def _relation(own: list[float], other: list[float], below: str, above: str) -> str:
    """How two 95% intervals lie to each other, in words about the hardened model."""
    if own[1] < other[0]:
        return below
    return above if own[0] > other[1] else "shows no difference, as the intervals overlap"


def robustness(audit: Mapping[str, Any] | None) -> Finding:
    """How much accuracy is left when the inputs are perturbed on purpose?

    Args:
        audit: content of model.audit.json, or None.

    Returns:
        The answer by the worst of the evasion attacks, with its interval, beside the float twin.
    """
    topic = "Robustness"
    measured = audit.get("robustness") if audit else None
    if audit is None or measured is None:
        return Finding(topic, "Accuracy under adversarial perturbations was not measured.")
    if measured["worst_case_accuracy"] is None:
        reasons = "; ".join(measured["warnings"])
        if measured.get("at_most") is None:
            return Finding(topic, f"Accuracy under adversarial perturbations was not measured: {reasons}.")
        bound = f"at most {percent(measured['at_most'])}"
        return Finding(
            topic,
            f"The accuracy under adversarial perturbations is not known; it is {bound}, as attacks without gradients "
            f"leave so much of {percent(measured['clean_accuracy'])} ({budget(measured)}): {reasons}.",
            f"{bound} of the inputs keep the right label under attack ({budget(measured)}), as gradients show nothing",
        )
    kept = with_interval(measured["worst_case_accuracy"], measured["ci"], percent)
    sentence = (
        f"Under the worst of {len(measured['attacks'])} attacks that change inputs by up to {budget(measured)}, {kept} of "
        f"{measured['n']:,} test examples keep the right label ({percent(measured['clean_accuracy'])} without attack)."
    )
    twin = (audit.get("float") or {}).get("robustness")
    if twin is not None and twin["ci"] is not None and budget(twin) == budget(measured):
        relation = _relation(measured["ci"], twin["ci"], "is less robust", "is more robust")
        sentence += (
            f" The undefended float model keeps {with_interval(twin['worst_case_accuracy'], twin['ci'], percent)}: "
            f"the hardened one {relation}."
        )
    warned = len(measured["warnings"])
    if warned:
        sentence += f" {warned} {'warning says' if warned == 1 else 'warnings say'} how this may be too good (below)."
    return Finding(topic, sentence, f"{kept} of the inputs keep the right label under attack ({budget(measured)})")


def headline(bench: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The hardened model's figures in a bench. It is the first variant that is not named "float".

    Args:
        bench: content of model.bench.json.

    Returns:
        Its first measured row, and the ratio of that setting to the reference, None if there is none.
    """
    row = next((row for row in bench["variants"] if row["name"] != FLOAT), bench["variants"][0])
    return row, next((ratio for ratio in bench["ratios"] if _same_setting(ratio, row)), None)


def _same_setting(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("name", "threads", "batch"))


def cost(bench: Mapping[str, Any] | None) -> Finding:
    """How large and how fast is the model?

    Args:
        bench: content of model.bench.json, or None.

    Returns:
        The answer in size, latency and memory, with ratios if there is a reference.
    """
    topic = "Size and speed"
    if bench is None:
        return Finding(topic, "Size, latency and memory were not measured.")
    row, ratio = headline(bench)
    size, latency = file_size(row["size_bytes"]), milliseconds(row["latency_ms"]["p50"])
    threads = "all cores" if row["threads"] == 0 else f"{row['threads']} thread{'s' * (row['threads'] > 1)}"
    setting = f"batch {row['batch']}, {threads}"
    if ratio is None:
        return Finding(
            topic,
            f"The file has {size}, an inference takes {latency} ({setting}), and memory peaks at "
            f"{megabytes(row['rss_mb']['peak'])} above a Python with onnxruntime imported.",
            f"the file has {size} and an inference takes {latency}",
        )
    smaller = f"{significant(1 / ratio['size'])} times smaller" if ratio["size"] < 1 else "not smaller"
    known_to = latency_range(ratio)
    speed = _speed(known_to, str(ratio["against"]))
    range_of = "between rounds" if ratio.get("latency_interval") is None else "95% interval"
    sentence = (
        f"The file has {size}, {smaller} than {ratio['against']}. An inference takes {latency} ({setting}): {speed} "
        f"(ratio {significant(ratio['latency_p50'])}, {range_of} "
        f"{interval(known_to, lambda value: significant(value or 0.0))}). "
        f"Memory peaks at {megabytes(row['rss_mb']['peak'])} above a Python with onnxruntime imported"
    )
    sentence += "." if ratio["rss_peak"] is None else f" (ratio {significant(ratio['rss_peak'])})."
    return Finding(topic, sentence, f"the file has {size} ({smaller}) and an inference takes {latency} ({speed})")


def _speed(known_to: tuple[float, float], against: str) -> str:
    low, high = known_to
    if low <= 1 <= high:
        return f"as fast as {against} within the noise"
    return f"faster than {against}" if high < 1 else f"slower than {against}"

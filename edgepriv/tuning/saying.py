"""What the search says: where it is, which budget is kept, what tied."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgepriv import progress
from edgepriv.report.formatting import count, rate
from edgepriv.tuning.budgets import Kept
from edgepriv.tuning.candidates import Candidate
from edgepriv.tuning.frontier import Chosen

BY_CHANCE = (
    "no candidate kept every budget on the non-members that chose; the nearest does on the others, perhaps by chance"
)
"""Of a file that is within all budgets where it is told, and was not where it was chosen."""


def progressed(done: int, most: int, left: float, chosen: Chosen, on_frontier: int) -> str:
    """A line while the search goes on.

    Args:
        done: candidates that were drawn.
        most: that will be.
        left: seconds.
        chosen: the best so far.
        on_frontier: how many are on it.

    Returns:
        The line.
    """
    best = chosen.winner
    state = "best" if chosen.within else "nearest to the budgets"
    return (
        f"tune: {done} of {count(most, 'candidate')}, {progress.duration(left)} left; {state} {best.ratio:.3f}x, "
        f"{best.figures['drop']['value']:.2f} points lost ({best.title}); {on_frontier} on the frontier"
    )


def verdict(kept: Kept, figures: Mapping[str, Any]) -> dict[str, Any]:
    """A budget of the file, and whether it is kept, in one sentence.

    Args:
        kept: the budget beside its figure.
        figures: of the file.

    Returns:
        As JSON: ``budget``, ``limit``, ``value``, ``ci``, ``met``, ``excess``, ``sentence``.
    """
    what, short = _CLAUSES[kept.budget](kept, figures)
    by = "is kept" if kept.met else f"is missed by {short}"
    inside = kept.ci is not None and kept.ci[0] <= kept.limit <= kept.ci[1]
    noise = ", and the limit is within noise" if inside else ""
    return {
        "budget": kept.budget,
        "limit": kept.limit,
        "value": kept.value,
        "ci": None if kept.ci is None else list(kept.ci),
        "met": kept.met,
        "excess": kept.excess,
        "sentence": f"{what}: the budget {by}{noise}",
    }


def accuracy_told(figures: Mapping[str, Any]) -> str:
    """What the file loses to the float file.

    Args:
        figures: of the file.

    Returns:
        A clause with the interval.
    """
    drop = figures["drop"]
    low, high = drop["ci"]
    return f"accuracy {drop['value']:.2f} points [{low:.2f}, {high:.2f}] below the float file's on {drop['n']:,} non-members"


def not_measured(budget: str) -> dict[str, Any]:
    """A budget that there was no time to judge, which is not kept then.

    Args:
        budget: "tpr" or "robust".

    Returns:
        As ``verdict``, without figures.
    """
    what = "leakage" if budget == "tpr" else "accuracy under attack"
    unknown = dict.fromkeys(("limit", "value", "ci", "excess"))
    sentence = f"{what} was not measured, so nothing shows that its budget is kept: give more --time"
    return {"budget": budget, **unknown, "met": False, "sentence": sentence}


def fewer_epochs(last: int, usual: int) -> list[str]:
    """That candidates were trained less than usual.

    Args:
        last: epochs of fine-tuning of those that were trained longest.
        usual: of the search.

    Returns:
        A sentence; none where they were trained in full.
    """
    if last >= usual:
        return []
    return [f"no candidate was fine-tuned for more than {count(last, 'epoch')}, as --time is too short for {usual}"]


def too_few_asked(figures: Mapping[str, Any]) -> list[str]:
    """Attacks that say nothing about the budget of leakage, as they were asked about too few records for its rate.

    Args:
        figures: of the file.

    Returns:
        A sentence; none where all say something.
    """
    names = figures.get("tpr", {}).get("unresolved", [])
    if not names:
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    rate_asked = figures["tpr"]["fpr"]
    return [
        f"{count(len(names), 'attack')} asked about too few non-members to resolve {rate_asked:g} false positives, which says "
        f"nothing about the budget ({shown}): a --recipe asks about more (queried_examples under [audit])"
    ]


def without_time(left_out: Sequence[str]) -> list[str]:
    """Candidates that were drawn and would not have ended in time.

    Args:
        left_out: their titles.

    Returns:
        A sentence; none where there are none.
    """
    if not left_out:
        return []
    shown = "; ".join(left_out[:3]) + (f"; and {len(left_out) - 3} more" if len(left_out) > 3 else "")
    return [
        f"{count(len(left_out), 'candidate')} left out, which would not have ended in the time that there was: {shown}"
    ]


def beside_uniform(winner: Candidate, uniform: Candidate) -> str:
    """The winner beside 4 bits everywhere, on the records that chose.

    Args:
        winner: of the search.
        uniform: trained as long, measured as well.

    Returns:
        A sentence; without the winner's figures where it is that file itself.
    """

    def told(candidate: Candidate) -> str:
        figures = candidate.figures
        parts = [f"{candidate.ratio:.3f}x", f"{figures['drop']['value']:.2f} points lost"]
        if "tpr" in figures:
            parts.append(f"{rate(figures['tpr']['value'])} found by {figures['tpr']['attack']}")
        if "robust" in figures:
            parts.append(f"{rate(figures['robust']['value'])} right under attack")
        return ", ".join(parts)

    if winner.plan.changes(winner.epochs) == uniform.plan.changes(uniform.epochs):
        return f"the file is 4 bits everywhere, by the records that chose: {told(uniform)}"
    return f"by the records that chose: {told(winner)}; 4 bits everywhere: {told(uniform)}"


def not_made(failed: Sequence[str]) -> list[str]:
    """Candidates that came to nothing.

    Args:
        failed: why, for each.

    Returns:
        A sentence with the first reason; none where all were made.
    """
    return [f"{count(len(failed), 'candidate')} could not be made; the first: {failed[0]}"] if failed else []


def _size(kept: Kept, figures: Mapping[str, Any]) -> tuple[str, str]:
    floating = figures["float_bytes"]
    return (
        f"{kept.value:,.0f} bytes ({kept.value / floating:.3f}x of the float file), at most {kept.limit:,.0f} "
        f"({kept.limit / floating:.3f}x)",
        f"{kept.value - kept.limit:,.0f} bytes ({100 * kept.excess:.1f}%)",
    )


def _drop(kept: Kept, figures: Mapping[str, Any]) -> tuple[str, str]:
    return (
        f"{accuracy_told(figures)}, at most {kept.limit:g}",
        f"{kept.value - kept.limit:.2f} points",
    )


def _tpr(kept: Kept, figures: Mapping[str, Any]) -> tuple[str, str]:
    low, high = kept.ci or (0.0, 0.0)
    figure = figures["tpr"]
    return (
        f"{figure['attack']} finds {rate(kept.value)} [{rate(low)}, {rate(high)}] of {figure['n']:,} members at "
        f"{figure['fpr']:g} false positives, at most {rate(kept.limit)}",
        rate(kept.value - kept.limit),
    )


def _robust(kept: Kept, figures: Mapping[str, Any]) -> tuple[str, str]:
    low, high = kept.ci or (0.0, 0.0)
    return (
        f"accuracy under attack {rate(kept.value)} [{rate(low)}, {rate(high)}] on {figures['robust']['n']:,} non-members, at "
        f"least {rate(kept.limit)}",
        f"{100 * (kept.limit - kept.value):.1f} points",
    )


_CLAUSES = {"size": _size, "drop": _drop, "tpr": _tpr, "robust": _robust}


def tied(chosen: Chosen, goal: str) -> str:
    """What the winner tied with.

    Args:
        chosen: of the search.
        goal: "size" or "accuracy".

    Returns:
        A sentence; empty where it tied with none.
    """
    if not chosen.ties:
        return ""
    others = "; ".join(each.title for each in chosen.ties[:2])
    more = f"; and {len(chosen.ties) - 2} more" if len(chosen.ties) > 2 else ""
    alike = "within 1% of its size and not worse beyond noise" if goal == "size" else "as accurate within noise"
    taken = "the simplest" if goal == "size" else "the highest accuracy"
    return f"a tie with {count(len(chosen.ties), 'other candidate')}, {alike} ({others}{more}): {taken} was taken"


def not_the_same(candidate: Candidate, sha256: str) -> str:
    """A warning where the file that the recipe made is another one than the search measured.

    Args:
        candidate: that was chosen.
        sha256: of the file.

    Returns:
        A sentence; empty where it is the same.
    """
    if candidate.figures["sha256"] == sha256:
        return ""
    return (
        "the file that the recipe made differs from the one that was measured in the search, so this machine does not repeat a "
        "training exactly; the figures here are those of the file that was written"
    )

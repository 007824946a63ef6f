"""The best candidates of a search: laid out in other ways or audited in full, and the one that wins."""

from edgepriv import progress
from edgepriv.recipe import Recipe
from edgepriv.report.formatting import count
from edgepriv.tuning.auditing import FINALISTS, FULL
from edgepriv.tuning.candidates import Candidate, by_attacks_that_ask_once, groups_of, relaid
from edgepriv.tuning.clock import LAYOUT
from edgepriv.tuning.frontier import Chosen, choose, score
from edgepriv.tuning.risks import complete
from edgepriv.tuning.search import Search
from edgepriv.tuning.space import VARIANTS, uniform


def chosen_of(search: Search) -> Chosen:
    """The winner, after the best ones have been laid out in every other way, or audited in full.

    Args:
        search: that has ended.

    Returns:
        The winner, and what it tied with.
    """
    question, groups = search.question, groups_of(search.question, search.question.halves.choosing)
    if search.auditor.asked:
        return choose(_audited(search), question.budgets, groups)
    if question.recipe is None or question.recipe.export == Recipe().export:
        _lay_out(search)
    return choose(list(search.candidates.values()), question.budgets, groups)


def _lay_out(search: Search) -> None:
    """Every other layout of the best candidates' weights."""
    question, clock, late = search.question, search.clock, 0
    ranked = sorted(search.candidates.values(), key=lambda each: score(each, question.budgets))
    for candidate in ranked[:FINALISTS]:
        for layout in VARIANTS[1:]:
            if clock.left <= search.auditor.ending(candidate.plan) + (clock.about(LAYOUT, 0) or 0.0):
                late += 1
                continue
            other = relaid(question, candidate, (layout["profile"], layout["compute"]), search.work)
            if other is not None:
                clock.learn(LAYOUT, 0, other.figures["seconds"])
                search.candidates[other.name] = other
    if late:
        search.auditor.remarks.append(
            f"{count(late, 'other layout')} of the best candidates: --time left none for them"
        )


def _audited(search: Search) -> list[Candidate]:
    """The finalists, audited in full where there is time for it."""
    question, auditor = search.question, search.auditor
    kept = [each for each in search.candidates.values() if complete(each.figures, question.budgets)]
    if auditor.level != FULL:
        for each in kept:  # 4 bits everywhere may have been asked by more attacks than the others
            search.take(by_attacks_that_ask_once(question, each, search.work))
        kept = [search.candidates[each.name] for each in kept]
        return kept or list(search.candidates.values())
    ranked = sorted(kept, key=lambda each: score(each, question.budgets))
    done, late = [each for each in kept if each.figures.get("audited")], []
    compared = uniform(question.budgets, question.setting).named(search.auditor.last)
    finalists = [each for each in ranked if not each.figures.get("audited") and each.name != compared][:FINALISTS]
    for candidate in [*finalists, *(each for each in ranked if each.name == compared and each not in done)]:
        if search.clock.left <= auditor.of_audit(candidate.plan) + auditor.ending(candidate.plan):
            late.append(candidate)
            continue
        progress.announce(f"tune: audit of {candidate.title}, {progress.duration(search.clock.left)} left")
        done.append(auditor.in_full(candidate))
        search.candidates[candidate.name] = done[-1]
    if late:
        about = progress.duration(max(auditor.of_audit(each.plan) for each in late))
        auditor.remarks.append(
            f"{count(len(late), 'finalist')} could not be audited in full, which takes about {about} each, as --time is over: "
            + "; ".join(each.title for each in late)
        )
    return done or kept  # with nothing audited, what few reference models found tells

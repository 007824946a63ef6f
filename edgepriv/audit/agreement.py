"""Are reference models that somebody else has made what they are said to be?

Which column is which record, and who was trained on what, are statements of the user's. Each can be checked against something
that he did not say: the true labels, the audited model's own answers, and that a model knows better what it was trained on.
"""

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from edgepriv.audit.answers import Bools, Floats, Outputs
from edgepriv.audit.existing import FEWEST, Existing
from edgepriv.audit.references import POPULATION, Fleet, answers_in, candidates_of, sample, seen_by
from edgepriv.audit.trained_answers import References
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError

SURE = 4.0
"""Standard errors beyond which a contradiction is not chance."""
LINKED = 3.0
"""Of the correlation by which columns are recognised."""
SAME = 1e-5
"""Between two probabilities of one model, asked twice."""
NEAR, MOST_OFF = 0.05, 0.01
"""How far the target's answers may be from what the user says they are, for all but this share of the records."""
UNEVEN = 0.05
"""Between the shares of members and of non-members that a reference model was trained on."""
LEAST_OF_A_CLASS = 10
"""Records of a class by which it is told whether a model has it in the audited model's order."""
SHOWN = 0.25
"""Of the target's own gap: what references must show at least."""


def fleet_of(
    existing: Existing, dataset: Dataset, split: Split, target: Outputs, *, seed: int
) -> tuple[Fleet, list[str]]:
    """The attacker's fleet of references that exist.

    Args:
        existing: what is known of them.
        dataset: under the classes of the audited model.
        split: who of them is a member of it.
        target: its answers to the candidates of ``split``, members first.
        seed: of the population that is drawn.

    Returns:
        The fleet, and warnings.

    Raises:
        UserError: where the statements of ``existing`` contradict each other, the data or the target's answers.
    """
    candidates = candidates_of(split)
    columns = _columns_of(existing, dataset, candidates)
    is_member = np.arange(len(candidates)) < len(split.members)
    _refuse_design(existing, columns, is_member)
    labels = dataset.y[existing.rows]
    labels_agree = _labels_agree(existing, dataset, labels)
    _refuse_other_target(existing, columns, target, is_member)
    seen = seen_by(_told_apart(existing, columns, target), len(existing.names), labels)
    member = existing.member[:, columns]
    _refuse_guesses(existing, seen.right[:, columns], target)
    warnings = _linked(existing, seen.odds[:, columns], member, target, is_member, labels_agree)
    pool = np.isin(existing.rows, split.reference) & ~existing.member.any(axis=0)
    population = sample(existing.rows[pool], POPULATION, seed)
    places = _places(existing, len(dataset))[population]
    records = existing.member.sum(axis=1)
    fleet = Fleet(
        references=References(seen.odds[:, columns], member, seen.tempered[:, :, columns]),
        right=seen.right[:, columns],
        population=seen.odds[:, places],
        tempered_population=seen.tempered[:, :, places],
        population_index=population,
        records=int(np.median(records)),
        shadow=None,
        shadow_index=np.empty(0, dtype=np.int64),
    )
    return fleet, [*warnings, *_of_thin_evidence(existing, member), *_of_split_persons(existing, dataset)]


def refuse_untrained(who: str, fleet: Fleet, target: Outputs) -> None:
    """Raise UserError where models that the user's function made have learnt nothing of their own.

    Args:
        who: the models, for the message.
        fleet: of them, and of their files.
        target: the audited model's answers to the candidates.

    Raises:
        UserError: where they are copies of each other or of the target, or do no better than guessing.
    """
    if fleet.references is None:
        return
    columns = np.arange(len(target.labels))
    existing = Existing(
        who,
        tuple(path.stem for path in fleet.models),
        lambda r: answers_in(fleet.models[r]),
        fleet.references.member,
        columns,
        asked=True,
        trained=True,
    )
    for _ in _told_apart(existing, columns, target):
        pass
    _refuse_guesses(existing, fleet.right, target)


def refuse_unlearned(who: str, fleet: Fleet, target: Outputs, is_member: Bools) -> None:
    """Raise UserError where references do not know what they were trained on as the target does: better than other records.

    Args:
        who: the references, for the message.
        fleet: of them.
        target: the audited model's answers to the n candidates.
        is_member: bool [n], who of these is a member of it.

    Raises:
        UserError: where they are surer of other records, or no surer of their own.
    """
    references = fleet.references
    if references is None:
        return
    mixed = [r for r, own in enumerate(references.member) if own.any() and not own.all()]
    if not mixed:
        return
    areas = np.array([_area(references.confidence[r], references.member[r]) for r in mixed])
    error = float(np.mean([_error(references.member[r]) for r in mixed])) / np.sqrt(len(mixed))
    mean, own = float(areas.mean()), _area(target.confidence, is_member)
    if mean < 0.5 - SURE * error:
        raise UserError(
            f"{who} are surer of records that they were not trained on than of those they were (AUC {mean:.3f}): either "
            "their memberships are inverted (true means trained on), or the records are in another order"
        )
    clear = own > 0.5 + SURE * _error(is_member)
    if clear and mean < 0.5 + SURE * error and mean - 0.5 < SHOWN * (own - 0.5):
        raise UserError(
            f"{who} are no surer of records that they were trained on than of others (AUC {mean:.3f}; the audited model, of "
            f"its members: {own:.3f}): either their memberships are wrong, or they were trained on all records, or members and "
            "non-members of the audited model differ by themselves; --accept-weak-references continues anyway"
        )


def _columns_of(existing: Existing, dataset: Dataset, candidates: np.ndarray) -> np.ndarray:
    """The column of each candidate."""
    columns: np.ndarray = _places(existing, len(dataset))[candidates]
    missing = int((columns < 0).sum())
    if missing:
        raise UserError(
            f"{existing.where} has no answers for {missing} of the {len(candidates)} members and non-members: add those of "
            "every reference model"
        )
    return columns


def _places(existing: Existing, records: int) -> np.ndarray:
    places = np.full(records, -1)
    places[existing.rows] = np.arange(len(existing.rows))
    return places


def _refuse_design(existing: Existing, columns: np.ndarray, is_member: Bools) -> None:
    where, member = existing.where, existing.member[:, columns]
    if len(existing.names) < FEWEST:
        raise UserError(
            f"{where} holds {len(existing.names)} reference model: an attack needs at least {FEWEST}, and 8 find more"
        )
    full = [name for name, own in zip(existing.names, member, strict=True) if own.all()]
    if full:
        raise UserError(
            f"{where}: {full[0]} was trained on every record: each reference model must leave some out, to show how a model "
            "answers to records that it has not seen"
        )
    alone = float(member.all(axis=0).mean())
    if alone > 0.5:
        raise UserError(
            f"{where}: every reference model was trained on the same {alone:.0%} of the records: each record needs models "
            "that were trained without it"
        )
    shares = member[:, is_member].mean(), member[:, ~is_member].mean()
    spread = member.mean(axis=0)
    error = np.sqrt(sum(spread[side].var() / max(1, side.sum()) for side in (is_member, ~is_member)))
    if abs(shares[0] - shares[1]) > max(UNEVEN, SURE * float(error)):
        raise UserError(
            f"{where}: the reference models were trained on {shares[0]:.0%} of the target's members but on {shares[1]:.0%} of "
            "its non-members, so that how often a record was used would give away who is a member: draw their training "
            "records from both alike, or from neither"
        )


def _labels_agree(existing: Existing, dataset: Dataset, labels: np.ndarray) -> bool:
    """Whether the file names the labels, which are then the data set's."""
    stated = existing.labels
    if stated is None:
        return False
    if np.array_equal(stated, labels):
        return True
    names = np.array([str(name) for name in dataset.class_names])[labels]
    written = np.array([str(label) for label in stated.tolist()])
    if np.array_equal(written, names):
        return True
    wrong = int(
        (written != names).sum()
        if stated.dtype.kind in "US"
        else min((stated != labels).sum(), (written != names).sum())
    )
    raise UserError(
        f"{existing.where}: {wrong:,} of {len(labels):,} labels are not those of the data: list the records in the data's "
        "order (members first, then non-members; for a model with a manifest, the order of the data set)"
    )


def _refuse_other_target(existing: Existing, columns: np.ndarray, target: Outputs, is_member: Bools) -> None:
    if existing.target_member is not None:
        wrong = int((existing.target_member[columns] != is_member).sum())
        if wrong:
            raise UserError(
                f"{existing.where}: target_member is wrong for {wrong:,} of {len(columns):,} records: it must be true for the "
                f"members of the audited model, and for no others"
            )
    if existing.target is not None:
        apart = np.abs(existing.target[columns] - target.probabilities).max(axis=1)
        wrong = int((apart > NEAR).sum())
        if wrong > MOST_OFF * len(columns):
            raise UserError(
                f"{existing.where}: the audited model answers otherwise than target says for {wrong:,} of {len(columns):,} "
                "records: either the columns are in another order, or target is of another model"
            )


def _told_apart(existing: Existing, columns: np.ndarray, target: Outputs) -> Iterator[np.ndarray]:
    """The answers of each model in turn. Raises UserError for the target itself, the same model twice, and swapped classes."""
    before: list[np.ndarray] = []
    for r, name in enumerate(existing.names):
        answers = existing.answers(r)
        own = answers[columns]
        _refuse_other_classes(existing.where, name, own.argmax(axis=1), target)
        if np.abs(own - target.probabilities).max() <= SAME:
            remedy = "train a new one on the records that it is given" if existing.trained else "leave it out"
            raise UserError(f"{existing.where}: {name} is the audited model itself: {remedy}")
        some = own[:: max(1, len(own) // 500)]
        twin = next((other for other, known in enumerate(before) if np.abs(known - some).max() <= SAME), None)
        if twin is not None and np.abs(existing.answers(twin)[columns] - own).max() <= SAME:
            remedy = "train on the records that it is given" if existing.trained else "leave one out"
            raise UserError(f"{existing.where}: {name} and {existing.names[twin]} are the same model: {remedy}")
        before.append(some)
        yield answers


def _refuse_other_classes(where: str, name: str, predicted: np.ndarray, target: Outputs) -> None:
    """Raise UserError where a model has some classes in another order: most records of each of these get the label of another
    one of them, and each a label of its own. One that has not learnt a class gives its records labels that others have."""
    swapped = {}
    for label in np.unique(target.labels):
        own = target.labels == label
        usual = [int(np.bincount(answers[own]).argmax()) for answers in (predicted, target.predicted)]
        if (
            own.sum() >= LEAST_OF_A_CLASS
            and usual[1] == label != usual[0]
            and (predicted[own] == usual[0]).mean() > 0.5
        ):
            swapped[int(label)] = usual[0]
    if swapped and set(swapped.values()) == set(swapped):
        label, other = next(iter(swapped.items()))
        raise UserError(
            f"{where}: {name} answers class {other} to most records of class {label}, and so on for {len(swapped)} classes: it "
            "has its classes in another order than the audited model"
        )


def _refuse_guesses(existing: Existing, right: Bools, target: Outputs) -> None:
    largest = float(np.bincount(target.labels).max()) / len(target.labels)
    theirs, own = float(right.mean()), float((target.predicted == target.labels).mean())
    if own > largest and theirs < largest + 0.1 * (own - largest):
        why = "their columns are in another order than the data, or their classes than the model's"
        if existing.asked:
            why = "they were trained on other data, or need another input range, or have their classes in another order"
        raise UserError(
            f"{existing.where}: the reference models are right for {theirs:.1%} of the records, no better than guessing (the "
            f"audited model: {own:.1%}): {why}"
        )


def _linked(
    existing: Existing, odds: Floats, member: Bools, target: Outputs, is_member: Bools, labelled: bool
) -> list[str]:
    """What is hard for one model is hard for another: by that columns are recognised among records of the same label, where
    nothing else tells them apart. Warnings; raises UserError where nothing at all does."""
    if existing.asked or existing.target is not None:
        return []
    out = np.where(member, np.nan, odds)
    known = ~np.isnan(out).all(axis=0)
    theirs = np.nanmean(out[:, known], axis=0)
    strata = target.labels[known] * 2 + is_member[known]
    z = _correlation(target.confidence[known], theirs, strata)
    if z > LINKED:
        return []
    doubt = (
        f"{existing.where}: the answers do not show that its columns are in the order of the data (records that are hard for "
        "the references are not hard for the audited model)"
    )
    if not labelled:
        raise UserError(
            f"{doubt}: add labels [n], or target [n, K], what the audited model answers to the same records"
        )
    return [f"{doubt}; its labels are those of the data"]


def _correlation(one: Floats, other: Floats, strata: np.ndarray) -> float:
    """Standard errors that the rank correlation inside the strata is away from 0."""
    a, b = np.empty(len(one)), np.empty(len(one))
    groups = np.unique(strata)
    for group in groups:
        own = strata == group
        for ranks, values in ((a, one), (b, other)):
            ranks[own] = rankdata(values[own])
            ranks[own] -= ranks[own].mean()
    freedom = len(one) - len(groups)
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale * np.sqrt(freedom) if scale > 0 and freedom > 0 else 0.0


def _area(scores: Floats, inside: Bools) -> float:
    """P(a score of ``inside`` is higher) + P(equal) / 2."""
    ranks, count = rankdata(scores), int(inside.sum())
    return float((ranks[inside].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def _error(inside: Bools) -> float:
    """Standard error of that area where the scores mean nothing."""
    count, others = int(inside.sum()), int((~inside).sum())
    return float(np.sqrt((count + others + 1) / (12 * count * others)))


def _of_thin_evidence(existing: Existing, member: Bools) -> list[str]:
    warnings = []
    alone, never = int(member.all(axis=0).sum()), int((~member).all(axis=0).sum())
    if alone:
        warnings.append(
            f"{alone:,} of {member.shape[1]:,} records were trained on by every reference model of {existing.where}: how they "
            "look from outside is taken from the others"
        )
    if never and member.any():
        warnings.append(
            f"{never:,} of {member.shape[1]:,} records were trained on by no reference model of {existing.where}: how they "
            "look from inside is taken from the others"
        )
    if len(existing.names) < 4:
        warnings.append(
            f"{existing.where} holds {len(existing.names)} reference models: so few find less than a real attacker does"
        )
    return warnings


def _of_split_persons(existing: Existing, dataset: Dataset) -> list[str]:
    """A warning where a model was trained on some of a person's records and not on others, which tell it about these."""
    if dataset.groups is None:
        return []
    _, person = np.unique(dataset.groups[existing.rows], return_inverse=True)
    sizes = np.bincount(person)
    inside = np.stack([np.bincount(person, weights=own, minlength=len(sizes)) for own in existing.member])
    split = (inside > 0) & (inside < sizes)
    if not split.any():
        return []
    count = int(split.any(axis=0).sum())
    return [
        f"{count:,} of {len(sizes):,} persons were split by reference models of {existing.where}: a model "
        "that was trained on one record of a person knows something of the others, which count as not trained on, so attacks "
        "may find less than they would with whole persons; draw the training records of each model by person"
    ]

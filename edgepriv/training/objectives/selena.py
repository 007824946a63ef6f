"""SELENA: a model distilled from what sub-models answer to members that they did not see (Tang et al. 2022, section 4)."""

from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from edgepriv import progress
from edgepriv.errors import UserError
from edgepriv.project import warn
from edgepriv.recipe.defences.selena import Selena
from edgepriv.training.examples import Examples
from edgepriv.training.objectives.base import Answers, Asked, Ground, Objective, Retraining
from edgepriv.training.soft_labels import entropies, probabilities_to

_LARGEST = 0.1
"""Share of the members that one unit may be, if it is not one person."""


def objective(asked: Asked) -> Objective:
    """With the recipe's sub-models.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    own, seed = asked.recipe.own(Selena), asked.recipe.seed

    def refuse(ground: Ground) -> None:
        if ground.members < 2 * own.sub_models:
            raise UserError(
                f"SELENA: {own.sub_models} sub-models are too many for {ground.members:,} members: pass a smaller --selena"
            )

    return Objective(
        retrained=lambda given: self_distilled(given, own.sub_models, own.unseen, seed),
        refuse=refuse,
        title="answers of sub-models",
        remedy="more epochs (--distill-epochs)",
    )


def self_distilled(given: Retraining, sub_models: int, unseen: int, seed: int) -> tuple[Examples, dict[str, Any]]:
    """The members under the mean answer of the sub-models that did not see them (Split-AI, algorithms 1 and 2).

    Each sub-model is a new network, trained as the stage is, on the members that it is not kept from. It sees a person's
    records, and records with equal inputs, all or none (``units_of`` says when not).

    Args:
        given: members, and how a sub-model is trained; without ``trained`` the teacher stands in for each.
        sub_models: K.
        unseen: L < K, how many of them each member is kept from.
        seed: of the draw, and of every sub-model.

    Returns:
        The members with soft labels float32 [N, K], and what was measured.
    """
    members = given.members
    units = units_of(members.x, given.units)
    if given.units is not None and not given.quiet:
        _warn_of_copies_apart(members.x, units)
    kept_from = drawn(units, sub_models, unseen, seed)
    so_far = given.so_far
    total = None if so_far is None else so_far.total
    first = 0 if so_far is None else so_far.done
    if given.trained is not None and (~kept_from).sum(0).min() < 2:
        raise UserError(
            f"SELENA: with {sub_models} sub-models one of them would see no member, since so many records are one person's or "
            "equal: pass a smaller --selena"
        )
    with progress.shown("SELENA", unit="sub-model", total=sub_models, done=first, quiet=given.quiet) as bar:
        for position in range(first, sub_models):
            away = torch.from_numpy(kept_from[:, position])
            own_seed = int(np.random.SeedSequence([seed, 13, position]).generate_state(1)[0])
            total = _with_answers(given, total, away, own_seed)
            given.keep(Answers(total, position + 1))
            bar.update(1)
    assert total is not None, "a recipe has sub-models"
    soft = (total / unseen).float()
    return Examples(members.x, soft), {
        "sub_models": sub_models,
        "unseen": unseen,
        "records_each": int((~kept_from).sum(0).mean()),
        "share_label_kept": round(float((soft.argmax(1) == members.y).float().mean()), 6),
        "mean_entropy": round(float(entropies(soft).mean()), 6),
    }


def _with_answers(given: Retraining, total: Tensor | None, away: Tensor, seed: int) -> Tensor:
    """``total`` and what one sub-model, trained on the others, answers to the members that it is kept from (``away``)."""
    members = given.members
    seen = Examples(members.x[~away], members.y[~away])
    classifier = given.teacher if given.trained is None else given.trained(seen, seed)
    # One that is kept from nobody still says how many classes there are.
    answers = probabilities_to(classifier, members.x[away] if away.any() else members.x[:1])
    total = torch.zeros(len(members), answers.shape[1], dtype=torch.float64) if total is None else total
    if away.any():
        total[away] += answers
    return total


def units_of(x: Tensor, persons: np.ndarray | None) -> np.ndarray:
    """What a sub-model sees as a whole or not at all: records that a chain of equal inputs or of one person joins.

    Where few different inputs chain most people together, sub-models could not be kept from anybody in particular: then a
    unit is a person's records, and equal records of others may be on the other side.

    Args:
        x: [N, ...].
        persons: int64 [N], None where each record stands for itself.

    Returns:
        int64 [N], numbers from 0.
    """
    equal = _equal(x)
    if persons is None:
        return equal
    people = np.unique(persons, return_inverse=True)[1]
    # A graph of people and inputs, an edge for each record: what hangs together is one unit.
    inputs = equal.max(initial=0) + 1
    nodes = inputs + people.max(initial=0) + 1
    edges = coo_array((np.ones(len(equal)), (equal, inputs + people)), shape=(nodes, nodes))
    joined = connected_components(edges, directed=False)[1][equal]
    largest = np.bincount(joined).max(initial=0)
    if largest > max(np.bincount(people).max(initial=0), _LARGEST * len(people)):
        return people
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)


def _equal(x: Tensor) -> np.ndarray:
    """int64 [N], one number for all records with equal inputs."""
    known: dict[bytes, int] = {}
    rows = np.ascontiguousarray(x.numpy())
    digests = (blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
    return np.array([known.setdefault(digest, len(known)) for digest in digests], dtype=np.int64)


def _warn_of_copies_apart(x: Tensor, units: np.ndarray) -> None:
    equal = _equal(x)
    pairs = np.unique(np.stack([equal, units]), axis=1)[0]  # an input stands once for each unit that has it
    apart = int(np.isin(equal, np.flatnonzero(np.bincount(pairs) > 1)).sum())
    if apart:
        warn(
            f"SELENA: {apart:,} of the {len(x):,} members are equal to a record of another person, and too many people hang "
            "together by these: sub-models are kept from persons alone, and may have seen a copy of what they answer to"
        )


def drawn(units: np.ndarray, sub_models: int, unseen: int, seed: int) -> np.ndarray:
    """Which sub-models each record is kept from.

    Args:
        units: int64 [N], numbers from 0; records of one number share their draw.
        sub_models: K.
        unseen: L, how many of them.
        seed: of the draw.

    Returns:
        bool [N, K], L of each row.
    """
    generator = np.random.default_rng([seed, 12])
    marked = np.tile(np.arange(sub_models) < unseen, (int(units.max()) + 1, 1))
    of_each: np.ndarray = generator.permuted(marked, axis=1)[units]
    return of_each

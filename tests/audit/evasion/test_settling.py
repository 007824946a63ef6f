"""When an attack ends for an example, and which point it hands back: the one that leads furthest, whatever came between."""

import numpy as np
import torch

from edgepriv.audit.evasion.apgd import apgd
from edgepriv.audit.evasion.attacked import Attacked
from edgepriv.audit.evasion.attacks import EVASIONS
from edgepriv.audit.evasion.square import square
from edgepriv.audit.evasion.trial import Counter, Trial
from edgepriv.training.pgd import margin, perturbed, pgd_budget


def test_auto_pgd_keeps_the_point_found_at_a_checkpoint_from_which_it_goes_back():
    """The target's logit falls again where another class wins: no progress for the loss, and yet an error."""
    asked = []

    def model(x):
        asked.append(x.detach().clone())
        return torch.cat([0 * x, -1 - (x - 0.5) ** 2, 10 * (x - 0.58)], dim=1)

    x, y = torch.full((100, 1), 0.35), torch.zeros(100, dtype=torch.int64)
    moved = apgd(model, x, y, norm="linf", eps=0.25, generator=torch.Generator().manual_seed(0), target=y + 1, steps=1)
    start, ahead = asked
    left = margin(model(start), y) <= 0.1
    assert margin(model(ahead), y[left]).gt(0.1).sum() > 50
    furthest = torch.maximum(margin(model(start), y)[left], margin(model(ahead), y[left]))
    torch.testing.assert_close(margin(model(moved), y)[left], furthest)


WEIGHT = torch.tensor([1.0, -1.0, 1.0, -1.0])


def two_classes(x):
    lead = (x - 0.5) @ WEIGHT
    return torch.stack([0 * lead, lead], dim=1)


def test_auto_pgd_finds_its_way_back_from_where_answers_are_no_numbers():
    x, y = torch.full((20, 4), 0.5) - 0.02 * WEIGHT, torch.zeros(20, dtype=torch.int64)

    def model(moved):
        broken = (moved - x[:1]).abs().amax(dim=1, keepdim=True) > 0.095
        return two_classes(moved) + torch.where(broken, torch.nan, 0.0)

    moved = apgd(model, x, y, norm="linf", eps=0.1, generator=torch.Generator().manual_seed(0))
    assert (margin(model(moved), y) > 0).float().mean() > 0.5


def test_an_answer_that_is_no_number_settles_nothing():
    x, y, asked = torch.full((5, 4), 0.5) - 0.02 * WEIGHT, torch.zeros(5, dtype=torch.int64), []

    def model(moved):
        asked.append(moved)
        return two_classes(moved) * (torch.nan if len(asked) == 1 else 1)

    moved = perturbed(model, x, y, pgd_budget("linf", 0.1, 10), None, objective=margin, keep_best=True)
    assert (margin(two_classes(moved), y) > 0.1).all()


def test_what_the_twin_has_lost_and_the_file_keeps_is_attacked_with_all_steps():
    x = (torch.full((20, 4), 0.5) - 0.02 * WEIGHT).numpy()
    y = np.zeros(20, np.int64)

    def predict(moved):  # wrong only where the twin leads by 0.25
        return (two_classes(torch.from_numpy(moved)) - torch.tensor([0.0, 0.25])).softmax(dim=1).numpy()

    trial = Trial(
        Attacked(torch.nn.Identity()), predict, predict, x, y, "linf", 20, 1, 256, torch.device("cpu"), 0,
        Counter(lambda done, total: None),
    )  # fmt: skip
    trial.twin.twin.forward = two_classes
    held = trial.withstands(EVASIONS["pgd-margin"](trial, 0.1, 2), np.ones(20, np.bool_), 0.1)
    assert not held.any()


def test_square_spends_an_l2_budget_on_the_columns_that_may_change():
    x, free = np.full((30, 20), 0.5, np.float32), np.arange(20) % 5 == 0

    def scores(moved):
        lead = moved[:, free].sum(axis=1) - 99  # never fooled
        return np.stack([0 * lead, lead], axis=1)

    moved = square(
        scores, x, np.zeros(30, np.int64), norm="l2", eps=0.2, rng=np.random.default_rng(0), queries=30, free=free
    )
    assert (moved[:, ~free] == x[:, ~free]).all()
    np.testing.assert_allclose(np.linalg.norm(moved - x, axis=1), 0.2, rtol=1e-3)

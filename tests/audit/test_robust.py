"""The audit's evasion part: levels, tables, bytes, heads, interruption, and tricks that hide what fools a model."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.audit.columns import free_columns
from edgepriv.audit.evasion import Setting, apgd, attacks, fab, robustness, square
from edgepriv.audit.gate import judged, parse_limit
from edgepriv.audit.robust import refuse_radius, robustness_part
from edgepriv.audit.run import Target
from edgepriv.data import Dataset
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

RNG = np.random.default_rng(0)
WEIGHT = torch.from_numpy(RNG.standard_normal((8, 4)).astype(np.float32))
X = RNG.uniform(0.3, 0.7, (50, 8)).astype(np.float32)
EPS = 0.06


class Linear(nn.Module):
    """Four classes; logits times ``scale``."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * (x - 0.5) @ WEIGHT


def served(model):
    return lambda x: model(torch.from_numpy(np.ascontiguousarray(x))).softmax(dim=1).detach().numpy()


Y = served(Linear())(X).argmax(axis=1)
PAIRS = (WEIGHT.T[:, None] - WEIGHT.T[None]).abs().sum(dim=2)
LOGITS = torch.from_numpy(X - 0.5) @ WEIGHT
GAPS = (LOGITS.gather(1, torch.from_numpy(Y)[:, None]) - LOGITS) / PAIRS[Y]
TRUE = float((GAPS.scatter(1, torch.from_numpy(Y)[:, None], torch.inf).amin(dim=1) > EPS).float().mean())
"""Robust accuracy in closed form: by Hölder, each margin over the L1 norm of the difference of two columns."""


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(square, "QUERIES", 100)
    monkeypatch.setattr(apgd, "STEPS", 30)
    monkeypatch.setattr(fab, "STEPS", 15)


def test_the_ensemble_finds_the_closed_form_and_says_what_each_attack_left():
    found = robustness(Linear(), served(Linear()), X, Y, norm="linf", eps=EPS, level="autoattack")
    assert found["worst_case_accuracy"] == pytest.approx(TRUE, abs=0.01)
    assert [row["name"] for row in found["attacks"]] == list(attacks.LEVELS["autoattack"])
    left = [50, *(row["attacked"] - row["fooled"] for row in found["attacks"])]
    assert [row["attacked"] for row in found["attacks"]] == left[:-1]
    assert left[-1] / 50 == found["worst_case_accuracy"]
    assert found["warnings"] == []


def ranked(x):
    """A rank head: the same four probabilities for every input, placed by rank."""
    answers = np.zeros((len(x), 4), np.float32)
    np.put_along_axis(answers, np.argsort(-served(Linear())(x), axis=1), np.float32([0.7, 0.1, 0.1, 0.1]), axis=1)
    return answers


NOISE = np.random.default_rng(0)


def noisy(x):
    """Equal inputs get different answers, and sometimes, near the boundary, different labels."""
    return served(Linear())(x) + 0.01 * NOISE.standard_normal((len(x), 4))


TRICKS = {
    "logits times 1e4": (Linear(1e4), served(Linear(1e4)), None, "saturated softmax"),
    "certain answers": (Linear(), lambda x: np.eye(4)[served(Linear())(x).argmax(axis=1)], None, "hidden scores"),
    "rank head": (Linear(), ranked, "rank", "hidden scores"),
    "random head": (Linear(), noisy, None, "randomised output"),
}


@pytest.mark.parametrize(("twin", "predict", "head", "symptom"), TRICKS.values(), ids=list(TRICKS))
def test_tricks_hide_nothing_and_their_symptom_is_named(twin, predict, head, symptom):
    given = Recipe(audit={"robust": "autoattack"}, adversary={"eps": EPS})
    found = robustness_part(Target(predict, twin, head=head), dataset(), np.arange(50), given)
    assert found["worst_case_accuracy"] == pytest.approx(TRUE, abs=0.03)  # one example is 0.02
    assert symptom in [line.split(":")[0] for line in found["warnings"]]
    assert found["head"] == head
    # Where answers tell no more than a label, the search without gradients climbs on the logits.
    assert found["square_asks"].startswith("the file" if symptom == "randomised output" else "the logits")


def dataset(x=X):
    return Dataset("table", x, Y, tuple("abcd"))


def part(target, **given):
    recipe = Recipe(audit={"robust": "quick"}, adversary={"eps": EPS})
    return robustness_part(target, dataset(), np.arange(50), recipe, **given)


def test_none_measures_nothing_and_no_limit_is_met_by_it():
    recipe = Recipe(audit={"robust": "none"})
    assert robustness_part(Target(served(Linear()), Linear()), dataset(), np.arange(50), recipe) is None
    (found,) = judged([parse_limit("robust_accuracy<0.5")], {"robustness": None, "attacks": []})
    assert found["outcome"] == "not measured"
    assert "--robust none" in found["sentence"]


def test_an_interrupted_audit_goes_on_after_the_attacks_that_have_ended(tmp_path):
    asked = []

    def predict(x):
        if len(asked) == most:
            raise KeyboardInterrupt
        asked.append(x)
        return served(Linear())(x)

    def audited(sha256="a"):
        asked.clear()
        return part(Target(predict, Linear(), sha256=sha256), cache_dir=tmp_path), len(asked)

    most = -1
    whole, total = audited("another file")
    most = total - 5  # the attacks of this radius have ended, those of the curve have not
    with pytest.raises(KeyboardInterrupt):
        audited()
    most = -1
    resumed, questions = audited()
    assert resumed == whole
    assert questions < total
    assert audited()[1] < questions


def test_outcomes_are_not_taken_over_by_a_file_that_is_read_otherwise_nor_kept_of_random_answers(tmp_path):
    part(Target(served(Linear()), Linear(), sha256="a"), cache_dir=tmp_path)
    otherwise = Target(lambda x: served(Linear())(x[:, ::-1]), Linear(), sha256="a")
    assert part(otherwise, cache_dir=tmp_path) == part(otherwise)
    part(Target(noisy, Linear(), sha256="b"), cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_numbers_of_0_and_1_are_the_users_own_whatever_they_are_scaled_to():
    own = np.stack([RNG.uniform(0, 50, 50), RNG.integers(0, 2, 50), RNG.choice([20.0, 50.0], 50)], axis=1)
    own[0] = 50, 0, 50
    scaled = dataset(np.float32(own / 50))
    assert free_columns(scaled, "continuous", raw=own)[0].tolist() == [True, False, True]
    assert free_columns(scaled, "continuous", span=(0.0, 50.0))[0].tolist() == [True, False, True]


def test_columns_of_0_and_1_are_left_alone_if_asked():
    x = X.copy()
    x[:, ::2] = x[:, ::2] > 0.5
    free, said = free_columns(dataset(x), "continuous")
    assert free.tolist() == [False, True] * 4
    assert said == ["4 of 8 columns hold only 0 and 1: perturbations leave these alone (--perturb continuous)"]
    assert free_columns(dataset(x), "all") == (None, [])
    fed = []

    def predict(moved):
        fed.append(moved)
        return served(Linear())(moved)

    given = Recipe(audit={"robust": "autoattack"}, adversary={"eps": EPS})
    found = robustness_part(Target(predict, Linear()), dataset(x), np.arange(50), given, free=free)
    assert found["fixed_features"] == 4
    assert all(np.isin(moved[:, ::2], [0, 1]).all() for moved in fed)
    assert any(not np.isin(moved[:, 1::2], x[:, 1::2]).all() for moved in fed)
    with pytest.raises(UserError, match="nothing is left to perturb"):
        free_columns(dataset(np.float32(x > 0.5)), "continuous")
    with pytest.raises(UserError, match="is for tables"):
        free_columns(Dataset("images", np.zeros((50, 1, 4, 4), np.float32), Y, tuple("abcd")), "continuous")


def test_a_file_of_bytes_is_counted_on_whole_bytes_inside_the_budget():
    x = np.float32(np.rint(X * 255) / 255)
    fed = []

    def predict(moved):
        fed.append(moved)
        return served(Linear())(np.float32(np.rint(moved * 255) / 255))

    found = robustness(Linear(), predict, x, Y, norm="linf", eps=EPS, setting=Setting(bytes_in=True))
    last = fed[-1]
    np.testing.assert_allclose(last * 255, np.rint(last * 255), atol=1e-3)
    assert all(np.abs(moved - x).max() <= EPS + 1e-6 for moved in fed if len(moved) == 50)
    # 0.06 is 15.3 levels, of which 15 can be used.
    assert found["worst_case_accuracy"] == pytest.approx(TRUE, abs=0.05)


def test_within_less_than_a_level_no_byte_changes():
    x = np.float32(np.rint(X * 255) / 255)
    eps = 1.5 / 255
    found = robustness(
        Linear(), served(Linear()), x, Y, norm="linf", eps=eps, eps_curve=[0, eps / 2, eps, 2 * eps],
        setting=Setting(bytes_in=True),
    )  # fmt: skip
    assert found["curve"][1]["accuracy"] == found["clean_accuracy"]
    target = Target(served(Linear()), Linear(), bytes_in=True)
    with pytest.raises(UserError, match=r"eps 0\.002 .* less than one level"):
        refuse_radius(target, dataset(x), Recipe(adversary={"eps": 0.002}))
    refuse_radius(target, dataset(x), Recipe(adversary={"eps": 0.002}, audit={"robust": "none"}))


def test_who_is_fooled_within_a_smaller_radius_is_fooled_within_eps():
    def wary(x):
        """Right again where an input has moved far."""
        distances = np.abs(x[:, None] - X).max(axis=2)
        far = distances.min(axis=1, keepdims=True) > 0.6 * EPS
        return np.where(far, np.eye(4)[Y[distances.argmin(axis=1)]], served(Linear())(x))

    found = robustness(Linear(), wary, X, Y, norm="linf", eps=EPS, eps_curve=[0, EPS / 2, EPS, 2 * EPS])
    accuracy = [point["accuracy"] for point in found["curve"]]
    assert accuracy == sorted(accuracy, reverse=True)
    assert found["worst_case_accuracy"] == accuracy[2] <= accuracy[1] < 1


def test_square_compares_mean_answers_of_a_file_that_answers_at_random():
    asked = Counter()

    def predict(x):
        asked[np.ascontiguousarray(x).tobytes()] += 1
        return noisy(x)

    robustness(Linear(), predict, X[:10], Y[:10], norm="linf", eps=0.001, level="autoattack")
    assert sum(times == 1 for times in asked.values()) < 25  # of the check whether answers depend on the batch


def test_how_far_a_batch_may_move_an_answer_is_the_files_own_to_say():
    def predict(x):
        answers = served(Linear())(x)
        return answers + 0.02 * (len(x) > 1) * np.eye(4)[answers.argmax(axis=1)]

    said = [
        robustness(Linear(), predict, X, Y, norm="linf", eps=EPS, setting=Setting(tolerance=tolerance))["warnings"]
        for tolerance in (0.005, 0.05)
    ]
    assert [any(line.startswith("batch-dependent") for line in lines) for lines in said] == [True, False]

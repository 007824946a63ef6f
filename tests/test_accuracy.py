"""When a model is not the one its owner thinks it is: a collapse, an untrained one, a quantization that cost too much."""

import numpy as np
import pytest

from edgepriv.accuracy import NEAR, Answers, Asked, Standard, collapse, drop, remarks, too_costly
from edgepriv.errors import UserError

TEN = tuple("0123456789")


def answers(n: int, right: float, classes: int = 10, shares=None, seed: int = 0) -> Answers:
    """Random labels of which about ``right`` are found; the errors are spread over the classes as the data are."""
    drawn = np.random.default_rng(seed)
    truth = drawn.choice(classes, n, p=shares)
    guessed = drawn.choice(classes, n, p=shares)
    return Answers(np.where(drawn.random(n) < right, truth, guessed), truth)


def one_class(n: int, share: float, classes: int = 10, shares=None, seed: int = 0) -> Answers:
    """Class 0 for about ``share`` of the inputs, the true class for the others."""
    drawn = np.random.default_rng(seed)
    truth = drawn.choice(classes, n, p=shares)
    return Answers(np.where(drawn.random(n) < share, 0, truth), truth)


def both(make, n: int = 1000, **how) -> Asked:
    return Asked(make(n, seed=1, **how), make(n, seed=2, **how))


@pytest.mark.parametrize("n", [20, 40, 1000])
@pytest.mark.parametrize("share", [0.97, 1.0])
def test_one_class_for_nearly_all_inputs_is_a_collapse_in_large_and_small_sets(n, share):
    said = collapse(both(one_class, n=n, share=share), TEN)
    assert said is not None
    assert said.startswith("answers '0' to")


def test_a_collapse_is_one_even_where_members_are_known_a_little():
    """Above chance by significance, useless all the same."""
    assert collapse(both(one_class, share=0.96, classes=2), ("no", "yes"))


def test_data_of_one_class_do_not_stop_a_model_that_finds_the_others():
    shares = (0.97, 0.03)
    good = both(answers, right=0.7, classes=2, shares=shares)
    assert collapse(good, ("healthy", "ill")) is None
    constant = both(one_class, share=1.0, classes=2, shares=shares)
    assert "does no better than always answering 'healthy'" in collapse(constant, ("healthy", "ill"))


def test_a_model_that_trades_accuracy_for_the_rare_class_is_judged_by_balanced_accuracy():
    drawn = np.random.default_rng(0)
    truth = (drawn.random(1000) < 0.05).astype(int)
    alarmed = np.where(truth == 1, drawn.random(1000) < 0.9, drawn.random(1000) < 0.2).astype(int)
    found = Answers(alarmed, truth)
    assert found.right.mean() < found.share_of(0)
    assert collapse(Asked(found, found), ("healthy", "ill")) is None


def test_chance_is_stopped_when_enough_was_asked_to_tell():
    said = [
        collapse(Asked(answers(1000, 0.0, seed=seed), answers(1000, 0.0, seed=seed + 100)), TEN) for seed in range(40)
    ]
    assert sum(sentence is not None for sentence in said) >= 36
    assert all("does no better than always answering" in sentence for sentence in said if sentence)


def test_little_more_than_chance_on_few_records_could_be_more_than_it_looks():
    """That is said, and no reason to stop."""
    truth = np.tile([0, 1], 20)
    few = Answers(np.where(np.arange(40) % 5 < 3, truth, 1 - truth), truth)
    assert few.right.mean() == 0.6
    assert few.better() == "unclear"
    assert collapse(Asked(few, few), ("a", "b")) is None
    assert any("cannot be distinguished" in said for said in remarks(Asked(few, few)))


@pytest.mark.parametrize("right", [0.4, 0.6, 0.9])
def test_tiny_sets_do_not_stop_a_working_model(right):
    stops = [
        collapse(Asked(answers(40, 0.9, seed=seed), answers(40, right, seed=seed + 100)), TEN) for seed in range(100)
    ]
    assert not any(stops)


def test_what_is_known_by_heart_and_useless_on_held_out_data_goes_on_with_a_remark():
    asked = Asked(answers(1000, 1.0, seed=1), answers(1000, 0.0, seed=2))
    assert collapse(asked, TEN) is None
    assert any("no better than the largest class on held-out data" in said for said in remarks(asked))


def test_thirty_classes_at_a_tenth_are_above_chance_and_remarked_on():
    asked = both(answers, right=0.08, classes=30)
    assert collapse(asked, tuple(map(str, range(30))), margin=NEAR) is None
    assert any("right on only" in said for said in remarks(asked))
    assert remarks(both(answers, right=0.8)) == []


def test_facts_are_what_anyone_counts():
    facts = Answers(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])).facts()
    assert (facts["accuracy"], facts["balanced_accuracy"], facts["n"]) == (0.75, 0.75, 4)
    assert (facts["largest_class"], facts["commonest_answer"]) == (0.5, 0.75)
    assert facts["ci"][0] < 0.75 < facts["ci"][1]


def worse(asked: Asked, share: float, seed: int = 5) -> Asked:
    """The same inputs, so many of the right answers lost."""
    drawn = np.random.default_rng(seed)

    def lose(part: Answers) -> Answers:
        gone = part.right & (drawn.random(len(part.truth)) < share)
        return Answers(np.where(gone, (part.truth + 1) % 10, part.predicted), part.truth)

    return Asked(lose(asked.members), lose(asked.held_out))


def test_a_loss_is_told_by_what_cost_it_and_against_what():
    floating = both(answers, right=0.9)
    said = too_costly(
        floating, worse(floating, 0.6), Standard(), "rounded weights as trained", "quantization with mixup"
    )
    assert said.startswith("quantization with mixup cost")
    assert "against its rounded weights as trained" in said


@pytest.mark.parametrize(("lost", "stopped"), [(0.0, False), (0.03, False), (0.1, True), (0.6, True)])
def test_quantization_may_cost_what_max_drop_says(lost, stopped):
    floating = both(answers, right=0.9)
    said = too_costly(floating, worse(floating, lost), Standard())
    assert (said is not None) is stopped
    assert too_costly(floating, worse(floating, lost), Standard(max_drop=99.0)) is None


def test_three_of_forty_records_are_noise_and_twenty_are_not():
    truth = np.tile(np.arange(10), 4)
    floating, lost_3, lost_20 = (
        Asked(*(Answers(np.where(np.arange(40) < lost, 9 - truth, truth), truth) for lost in each))
        for each in ((0, 0), (0, 3), (10, 10))
    )
    assert too_costly(floating, lost_3, Standard(max_drop=3)) is None
    assert "members and held-out" in too_costly(floating, lost_20, Standard())


def test_what_only_members_lose_is_no_loss():
    floating = Asked(answers(1000, 1.0, seed=1), answers(1000, 0.7, seed=2))
    forgetful = Asked(answers(1000, 0.8, seed=1), floating.held_out)
    assert too_costly(floating, forgetful, Standard()) is None
    assert drop(floating, forgetful) == 0


def test_a_failure_stops_unless_it_is_accepted():
    with pytest.raises(UserError, match=r"^it broke\. Do something$"):
        Standard().judge(["it broke"], "Do something")
    assert Standard(accept=True).judge(["it broke"], "") == ["it broke (accepted by --accept-accuracy-loss)"]
    assert Standard().judge([], "") == []


@pytest.mark.parametrize("points", [0, -1, 101])
def test_max_drop_is_in_points(points):
    with pytest.raises(UserError, match=f"--max-drop {points}"):
        Standard(max_drop=points)

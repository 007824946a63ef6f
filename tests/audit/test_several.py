"""Several releases combined: closed forms, and what the combination is worth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, multivariate_t, norm
from simulated import simulate

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.attacks.moments import correlation, log_density
from edgepriv.audit.attacks.several import choose_way, lira_offline_of_all, lira_online_of_all, ways_of
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.statistics import auc
from edgepriv.audit.trained_answers import References
from edgepriv.errors import UserError

NAMES = ("lira-offline", "lira-online", "rmia-offline", "rmia-online")


def drawn(shift=(1.0, 1.0), alike=0.0, n=400, models=24, seed=0, trainings=(0, 0)):
    """Two releases whose log-odds are Gaussian: members lie higher by ``shift``; noise of both correlates by ``alike``."""
    rng = np.random.default_rng(seed)
    covariance = np.array([[1.0, alike], [alike, 1.0]])
    hard = 2 * rng.normal(size=n)

    def scores(member):
        noise = rng.multivariate_normal([0, 0], covariance, size=n)
        return hard[:, None] + np.where(member[:, None], shift, 0.0) + noise

    truth = np.arange(n) < n // 2
    member = np.argsort(rng.random((models, n)), axis=0) < models // 2
    target, known = scores(truth), np.stack([scores(own) for own in member])
    one, other = (
        Evidence(Outputs.of_confidence(target[:, d]), references=References(known[:, :, d], member)) for d in range(2)
    )
    return replace(one, releases=(other,), trainings=trainings), truth


def side(evidence, i, inside):
    """The scores of both releases by the models of candidate i that were, or were not, trained on it."""
    releases = (evidence, *evidence.releases)
    member = evidence.references.member[:, i] == inside
    return np.stack([each.references.confidence[member, i] for each in releases], axis=1)


def test_of_one_training_it_is_the_ratio_of_two_gaussians_in_two_dimensions():
    evidence, _ = drawn(alike=0.99, models=40)
    observed = np.stack([each.target.confidence for each in (evidence, *evidence.releases)], axis=1)
    ratios = lira_online_of_all(evidence, "per-example")
    for i in (0, 7, 399):
        inside, out = side(evidence, i, True), side(evidence, i, False)
        expected = [
            multivariate_normal(part.mean(axis=0), np.cov(part.T)).logpdf(observed[i]) for part in (inside, out)
        ]
        assert ratios[i] == pytest.approx(expected[0] - expected[1], rel=1e-9, abs=1e-9)


def test_of_separate_trainings_the_sum_is_the_exact_ratio_of_independent_gaussians():
    evidence, _ = drawn(models=40, trainings=(0, 1))
    observed = [each.target.confidence for each in (evidence, *evidence.releases)]
    ratios = lira_online_of_all(evidence, "per-example")
    for i in (0, 7, 399):
        logs = [
            sum(norm(part[:, d].mean(), part[:, d].std(ddof=1)).logpdf(observed[d][i]) for d in range(2))
            for part in (side(evidence, i, True), side(evidence, i, False))
        ]
        assert ratios[i] == pytest.approx(logs[0] - logs[1], rel=1e-9, abs=1e-9)
    apart = [
        ATTACKS["lira-online"].run(each) for each in (replace(evidence, releases=(), trainings=()), *evidence.releases)
    ]
    np.testing.assert_allclose(ATTACKS["releases/lira-online"].run(evidence), sum(apart), rtol=1e-12)


def test_densities_are_scipys():
    rng = np.random.default_rng(0)
    square = rng.normal(size=(5, 3, 3))
    covariance = square @ np.swapaxes(square, 1, 2) + np.eye(3)
    observed, mean, freedom = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), np.array([3.0, 4.0, 5.5, 20.0, 300.0])
    of_t, gaussian = log_density(observed, mean, covariance, freedom), log_density(observed, mean, covariance, None)
    for i in range(5):
        assert of_t[i] == pytest.approx(
            multivariate_t(mean[i], covariance[i], df=freedom[i]).logpdf(observed[i]), abs=1e-9
        )
        assert gaussian[i] == pytest.approx(multivariate_normal(mean[i], covariance[i]).logpdf(observed[i]), abs=1e-9)


@pytest.mark.parametrize("models", [24, 4, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_audited_file_itself_adds_nothing(name, models):
    """A covariance that is singular; with two models there is one IN model of each candidate, and no spread of these."""
    alone, _ = simulate(1.0, n=300, references=models)
    again = replace(alone, releases=(alone, alone), trainings=(0, 0, 0))
    try:
        expected = ATTACKS[name].run(alone)
    except Unavailable:
        with pytest.raises(Unavailable):
            ATTACKS[f"releases/{name}"].run(again)
        return
    np.testing.assert_allclose(ATTACKS[f"releases/{name}"].run(again), expected, rtol=1e-9, atol=1e-9)


def test_what_rounding_leaves_of_a_second_export_adds_nothing():
    """The same weights in another layout: answers differ in the last digits, and reference models do not."""
    alone, _ = drawn()
    alone = replace(alone, releases=(), trainings=())
    rounded = Outputs.of_confidence(alone.target.confidence + 1e-5 * np.random.default_rng(1).normal(size=400))
    both = replace(alone, releases=(replace(alone, target=rounded),), trainings=(0, 0))
    apart = ATTACKS["releases/lira-online"].run(both) - ATTACKS["lira-online"].run(alone)
    assert np.abs(apart).max() < 1e-3


@pytest.mark.parametrize("trainings", [(0, 0), (0, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_two_releases_with_noise_of_their_own_find_more_than_each(name, trainings):
    evidence, truth = drawn(n=2000, trainings=trainings)
    single = [auc(ATTACKS[name].run(each), truth)[0] for each in (replace(evidence, releases=()), *evidence.releases)]
    assert auc(ATTACKS[f"releases/{name}"].run(evidence), truth)[0] > max(single)


def test_a_small_difference_that_members_shift_tells_more_than_either_release():
    """Scores correlate by .99, members rise in one release only: the covariance makes their difference count."""
    evidence, truth = drawn(shift=(0.5, 0.0), alike=0.99, n=2000)
    single = auc(ATTACKS["lira-online"].run(replace(evidence, releases=(), trainings=())), truth)[0]
    assert single < 0.7
    assert auc(ATTACKS["releases/lira-online"].run(evidence), truth)[0] > 0.95


def test_scores_of_one_training_are_not_counted_twice():
    """Correlated by .99, the second release is nearly a copy: the ratio is that of one release, and not its double."""
    evidence, _ = drawn(alike=0.9999, n=2000)
    alone = ATTACKS["lira-online"].run(replace(evidence, releases=(), trainings=()))
    slope = np.polyfit(alone, ATTACKS["releases/lira-online"].run(evidence), 1)[0]
    doubled = np.polyfit(alone, ATTACKS["releases/lira-online"].run(replace(evidence, trainings=(0, 1))), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)
    assert doubled == pytest.approx(2.0, abs=0.1)


def chosen(evidence, name="lira-online"):
    run, parameters = ATTACKS[f"releases/{name}"].tuned(evidence)
    return run(evidence), parameters["way"]


def test_the_ways_are_those_that_differ():
    assert ways_of(drawn()[0], mean=True) == ["joint", "mean", "release 1 alone", "release 2 alone"]
    assert ways_of(drawn(trainings=(0, 1))[0], mean=True) == ["joint", "release 1 alone", "release 2 alone"]


def test_a_release_that_tells_nothing_is_left_out_by_what_reference_models_show():
    """Few models of a second release that is noise: the joint Gaussian finds less than the first release alone."""
    evidence, truth = drawn(shift=(2.0, 0.0), n=2000, models=6)
    alone = replace(evidence, releases=(), trainings=())
    scores, way = chosen(evidence)
    assert way == "release 1 alone"
    np.testing.assert_array_equal(scores, ATTACKS["lira-online"].run(alone))
    assert auc(scores, truth)[0] > auc(lira_online_of_all(evidence), truth)[0]


@pytest.mark.parametrize("name", NAMES)
def test_noise_of_their_own_makes_it_choose_all_releases(name):
    evidence, _ = drawn(shift=(1.5, 1.5), n=2000, trainings=(0, 1))
    assert chosen(evidence, name)[1] == "joint"


def test_a_difference_that_tells_makes_it_choose_the_joint_gaussian():
    assert chosen(drawn(shift=(0.5, 0.0), alike=0.99, n=2000)[0])[1] == "joint"


def test_one_reference_model_leaves_the_way_as_it_is():
    evidence, _ = drawn(models=2)
    one, other = (
        replace(
            each,
            references=References(each.references.confidence[:1], each.references.member[:1]),
            releases=(),
            trainings=(),
        )
        for each in (evidence, *evidence.releases)
    )
    way = choose_way(lira_offline_of_all)(replace(one, releases=(other,), trainings=(0, 0)))
    assert way == {"way": "joint", "by": "default, since no reference model can be attacked by others"}


def test_correlation_is_that_of_the_models_around_each_candidate():
    evidence, _ = drawn(alike=0.8, n=2000)
    assert correlation(evidence.references, evidence.releases[0].references) == pytest.approx((0.8, 0.8), abs=0.02)


def test_a_reference_model_stands_for_all_releases_when_it_is_attacked():
    evidence, _ = drawn()
    pretended, member = evidence.with_reference_as_target(3)
    np.testing.assert_array_equal(member, evidence.references.member[3])
    np.testing.assert_allclose(
        pretended.releases[0].target.confidence, evidence.releases[0].references.confidence[3], rtol=1e-9
    )
    assert len(pretended.releases[0].references.member) == 23


def test_releases_that_are_not_in_pairs_are_refused():
    evidence, _ = drawn()
    other = evidence.releases[0]
    unpaired = replace(other, references=replace(other.references, member=other.references.member[::-1]))
    for change in ({"releases": (unpaired,)}, {"releases": (other.take(np.arange(9)),)}, {"trainings": (0,)}):
        with pytest.raises(UserError):
            replace(evidence, **change)


@pytest.mark.parametrize("name", NAMES)
def test_without_another_release_there_is_nothing_to_combine(name):
    with pytest.raises(Unavailable, match="--also"):
        ATTACKS[f"releases/{name}"].run(replace(drawn()[0], releases=(), trainings=()))

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t
from simulated import simulate

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import Unavailable
from edgepriv.audit.attacks.lira import STRENGTH, lira_offline, lira_online
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import References


def split(references, i):
    """The IN and the OUT models' confidences of candidate i."""
    chosen = references.member[:, i]
    return references.confidence[chosen, i], references.confidence[~chosen, i]


def pooled(groups):
    return np.sqrt(sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups))


@pytest.mark.parametrize("variance", ["fixed", "per-example"])
def test_lira_equals_a_slow_reading_of_the_paper(variance):
    evidence, _ = simulate(1.5, n=60, references=36)
    pairs = [split(evidence.references, i) for i in range(60)]
    spread_in, spread_out = pooled([a for a, _ in pairs]), pooled([b for _, b in pairs])
    online, offline = [], []
    for observed, (inside, out) in zip(evidence.target.confidence, pairs, strict=True):
        if variance == "per-example":
            spread_in, spread_out = inside.std(ddof=1), out.std(ddof=1)
        online.append(norm.logpdf(observed, inside.mean(), spread_in) - norm.logpdf(observed, out.mean(), spread_out))
        offline.append(1 - norm.sf(observed, out.mean(), spread_out))
    np.testing.assert_allclose(lira_online(evidence, variance), online, rtol=1e-9)
    np.testing.assert_allclose(norm.cdf(lira_offline(evidence, variance)), offline, rtol=1e-9)


def test_a_candidate_without_in_or_out_models_is_filled_in_by_the_average_gap():
    evidence, _ = simulate(3.0, n=60, references=8)
    member = evidence.references.member.copy()
    member[:, 0], member[:, 1] = True, False
    references = References(evidence.references.confidence, member)
    pairs = [split(references, i) for i in range(2, 60)]
    gap = np.mean([a.mean() - b.mean() for a, b in pairs])
    all_in, all_out = split(references, 0)[0], split(references, 1)[1]
    spread_in, spread_out = pooled([all_in, *(a for a, _ in pairs)]), pooled([all_out, *(b for _, b in pairs)])
    seen = evidence.target.confidence
    scores = lira_online(replace(evidence, references=references), "fixed")
    assert np.isfinite(scores).all()
    for i, mean_in, mean_out in ((0, all_in.mean(), all_in.mean() - gap), (1, all_out.mean() + gap, all_out.mean())):
        expected = norm.logpdf(seen[i], mean_in, spread_in) - norm.logpdf(seen[i], mean_out, spread_out)
        assert scores[i] == pytest.approx(expected)


def test_offline_never_looks_at_in_models():
    evidence, _ = simulate(3.0, n=60, references=8)
    member = evidence.references.member.copy()
    member[:, 0] = True
    changed = np.where(member, 50.0, evidence.references.confidence)
    before = lira_offline(replace(evidence, references=References(evidence.references.confidence, member)))
    after = lira_offline(replace(evidence, references=References(changed, member)))
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before).all()


@pytest.mark.parametrize("attack", [lira_offline, lira_online])
def test_one_reference_model_is_refused_with_the_reason(attack):
    evidence, _ = simulate(1.0, n=60, references=8)
    one = References(evidence.references.confidence[:1], evidence.references.member[:1])
    with pytest.raises(Unavailable, match=r"2 or more (IN|OUT) reference models, found 1"):
        attack(replace(evidence, references=one, population=None))


def test_variance_per_example_needs_many_models():
    evidence, _ = simulate(1.0, n=60, references=30)
    with pytest.raises(Unavailable, match="every candidate with 16 or more OUT reference models, found 15"):
        lira_online(evidence, "per-example")


def test_purely_offline_references_serve_the_offline_attack_only():
    evidence, _ = simulate(1.0, n=60, references=8)
    never = References(evidence.references.confidence, np.zeros((8, 60), dtype=bool))
    assert np.isfinite(lira_offline(replace(evidence, references=never))).all()
    with pytest.raises(Unavailable, match="IN reference models, found 0"):
        lira_online(replace(evidence, references=never))


def test_candidates_in_all_or_in_no_model_leave_no_gap_to_learn():
    evidence, _ = simulate(1.0, n=60, references=8)
    member = np.tile(np.arange(60) < 30, (8, 1))
    with pytest.raises(Unavailable, match="no candidate has both"):
        lira_online(replace(evidence, references=References(evidence.references.confidence, member)), "fixed")


def test_the_default_is_students_t_around_each_mean_with_a_variance_drawn_towards_the_usual():
    evidence, _ = simulate(1.5, n=60, references=12)
    observed = evidence.target.confidence
    densities = []
    for chosen in (evidence.references.member, ~evidence.references.member):
        groups = [evidence.references.confidence[chosen[:, i], i] for i in range(60)]
        squares = np.array([((group - group.mean()) ** 2).sum() for group in groups])
        usual = squares.sum() / (60 * 5)
        scale = np.sqrt((STRENGTH * usual + squares) / (STRENGTH + 5) * (1 + 1 / 6))
        means = np.array([group.mean() for group in groups])
        densities.append(t.logpdf(observed, STRENGTH + 5, means, scale))
    np.testing.assert_allclose(lira_online(evidence), densities[0] - densities[1])
    np.testing.assert_allclose(lira_offline(evidence), (observed - means) / scale)


def test_references_that_never_disagree_leave_finite_scores():
    evidence, _ = simulate(1.0, n=60, references=8)
    same = np.tile(evidence.references.confidence[:1], (8, 1))
    constant = replace(evidence, references=References(same, evidence.references.member))
    assert np.isfinite(lira_online(constant)).all()
    assert np.isfinite(lira_offline(constant)).all()


def test_who_has_in_models_does_not_show():
    """16 models of a tenth of the candidates each: a candidate has one or two IN models, or none. What these say about it
    alone is not used, only what all of them say together."""
    evidence, _ = simulate(2.0, n=400, references=16)
    member = np.zeros((16, 400), dtype=bool)
    for r, row in enumerate(member):
        row[(40 * r + np.arange(40)) % 390] = True
    assert set(member.sum(axis=0)) == {0, 1, 2}
    seen = evidence.references.confidence
    scores = lira_online(replace(evidence, references=References(seen, member)))
    swapped = seen.copy()
    swapped[0, 0] += 1.0
    swapped[0, 1] -= 1.0
    assert member[0, :2].all()
    again = lira_online(replace(evidence, references=References(swapped, member)))
    changed = scores - again
    # One mean gap and one spread: both move every candidate a little, and the two no more than the rest.
    assert np.abs(changed[:2]).max() <= np.abs(changed[2:]).max()


def test_difficulty_does_not_fool_lira():
    """An easy non-member looks like a member to the loss, not to an attack that knows how easy it is."""
    trained = np.repeat([True, False], 8)[:, None]
    usual = np.random.default_rng(0).normal(scale=0.5, size=(16, 2)) + np.array([8.0, 0.0])
    references = References(usual + 4 * trained, np.repeat(trained, 2, axis=1))
    easy_non_member, hard_member = lira_online(
        Evidence(Outputs.of_confidence(np.array([8.0, 4.0])), references=references)
    )
    assert easy_non_member < 0 < hard_member

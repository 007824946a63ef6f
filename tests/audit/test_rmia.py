from dataclasses import replace

import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.attacks import Unavailable
from edgepriv.audit.attacks.rmia import choose_a, rmia_offline, rmia_online
from edgepriv.audit.evidence import References


def probability(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def counting_rmia(evidence, online, a, gamma):
    """The paper's score, literally: for each x and each z, average over models, compare the ratio with gamma."""
    references, population = evidence.references, evidence.population
    models, n = references.confidence.shape

    def usual(out, inside):
        p_out = sum(out) / len(out)
        p_in = sum(inside) / len(inside) if inside else a * p_out + 1 - a
        return (p_in + p_out) / 2

    scores, ratios = [], []
    for x in range(n):
        out = [probability(references.confidence[r, x]) for r in range(models) if not references.member[r, x]]
        inside = [probability(references.confidence[r, x]) for r in range(models) if references.member[r, x]]
        ratio_x = probability(evidence.target.confidence[x]) / usual(out, inside if online else [])
        passed = 0
        for z in range(len(population.target)):
            out = [probability(population.references[r, z]) for r in range(models)]
            passed += ratio_x / (probability(population.target[z]) / usual(out, [])) >= gamma
        scores.append(passed / len(population.target))
        ratios.append(ratio_x)
    return np.array(scores), np.array(ratios)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize(("attack", "online"), [(rmia_offline, False), (rmia_online, True)])
def test_the_raw_ratio_ranks_as_the_papers_counting_does_and_splits_its_ties(attack, online, gamma):
    evidence, _ = simulate(1.5, n=40, references=6)
    population = replace(
        evidence.population,
        target=evidence.population.target[:60],
        references=evidence.population.references[:, :60],
    )
    evidence = replace(evidence, population=population)
    counted, ratios = counting_rmia(evidence, online, 0.3, gamma)
    scores = attack(evidence, a=0.3)
    shift = scores - np.log(ratios)
    np.testing.assert_allclose(shift, shift[0], atol=1e-9)
    order = np.argsort(scores)
    assert (np.diff(counted[order]) >= 0).all()
    assert len(np.unique(counted)) < len(np.unique(scores)) == 40


def test_the_population_only_shifts_all_scores_alike():
    evidence, _ = simulate(1.0, n=40, references=6)
    with_z, without = rmia_offline(evidence, a=0.3), rmia_offline(replace(evidence, population=None), a=0.3)
    np.testing.assert_allclose(with_z - without, (with_z - without)[0])
    assert abs((with_z - without)[0]) > 1e-6


def test_a_is_the_best_on_reference_models():
    evidence, _ = simulate(2.0, n=400, references=8)
    assert choose_a(evidence) in np.linspace(0, 1, 11)
    np.testing.assert_array_equal(rmia_offline(evidence), rmia_offline(evidence, a=choose_a(evidence)))
    never = References(evidence.references.confidence, np.zeros((8, 400), dtype=bool))
    assert choose_a(replace(evidence, references=never)) == 0.3


def test_one_reference_model_is_enough():
    evidence, _ = simulate(2.0, n=200, references=8)
    one = References(evidence.references.confidence[:1], evidence.references.member[:1])
    evidence = replace(evidence, references=one, population=None)
    assert np.isfinite(rmia_offline(evidence)).all()
    assert np.isfinite(rmia_online(evidence)).all()


def test_candidates_without_in_or_out_models_get_finite_scores():
    evidence, _ = simulate(2.0, n=60, references=8)
    member = evidence.references.member.copy()
    member[:, 0], member[:, 1] = True, False
    evidence = replace(evidence, references=References(evidence.references.confidence, member))
    evidence = replace(evidence, population=None)
    scores = rmia_online(evidence, a=0.3)
    assert np.isfinite(rmia_offline(evidence)).all()
    assert np.isfinite(scores).all()
    p_out = probability(evidence.references.confidence[:, 1]).mean()
    usual = (0.3 * p_out + 0.7 + p_out) / 2
    assert scores[1] == pytest.approx(np.log(probability(evidence.target.confidence[1]) / usual))


def test_references_of_the_wrong_kind_are_refused_with_the_reason():
    evidence, _ = simulate(2.0, n=60, references=8)
    never, always = np.zeros((8, 60), dtype=bool), np.ones((8, 60), dtype=bool)
    with pytest.raises(Unavailable, match="no reference model was trained on a candidate"):
        rmia_online(replace(evidence, references=References(evidence.references.confidence, never)))
    with pytest.raises(Unavailable, match="trained on every candidate"):
        rmia_offline(replace(evidence, references=References(evidence.references.confidence, always)))

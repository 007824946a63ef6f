import warnings
from dataclasses import replace

import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import Unavailable
from edgepriv.audit.attacks.rmia import GRID, choose_offline, choose_online, rmia_offline, rmia_online
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.statistics import tpr_at_fpr
from edgepriv.audit.tempered import TEMPERATURES
from edgepriv.audit.trained_answers import References


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
        tempered_target=None,
        tempered_references=None,
    )
    evidence = replace(evidence, population=population)
    counted, ratios = counting_rmia(evidence, online, 0.3, gamma)
    scores = attack(evidence, temperature=1.0, a=0.3)
    shift = scores - np.log(ratios)
    np.testing.assert_allclose(shift, shift[0], atol=1e-9)
    order = np.argsort(scores)
    assert (np.diff(counted[order]) >= 0).all()
    assert len(np.unique(counted)) < len(np.unique(scores)) == 40


def test_the_population_only_shifts_all_scores_alike():
    evidence, _ = simulate(1.0, n=40, references=6)
    with_z, without = (rmia_offline(given, 2.0, a=0.3) for given in (evidence, replace(evidence, population=None)))
    np.testing.assert_allclose(with_z - without, (with_z - without)[0])
    assert abs((with_z - without)[0]) > 1e-6


def test_no_reference_model_that_can_be_attacked_leaves_the_default():
    evidence, _ = simulate(2.0, n=400, references=8)
    never = replace(evidence.references, member=np.zeros((8, 400), dtype=bool))
    chosen = choose_offline(replace(evidence, references=never))
    assert (chosen["temperature"], chosen["a"]) == (2.0, 0.3)
    assert chosen["by"].startswith("default")


def answered(true, losers, n=600, references=12, seed=0):
    """Networks of 22 classes whose logit of the true class is ``true`` of an example's nature and its membership; of the
    others one is 0 and twenty are ``losers`` of a draw for each network and example."""
    rng = np.random.default_rng(seed)
    halves = [rng.permutation(n) < n // 2 for _ in range(references // 2 + 1)]
    member = np.stack([half for chosen in halves for half in (chosen, ~chosen)])
    nature, answers = rng.normal(size=n), []
    for trained_on in member:
        logits = np.zeros((n, 22))
        logits[:, 0] = true(nature, trained_on) + 0.5 * rng.normal(size=n)
        logits[:, 2:] = losers(rng.normal(size=(n, 1)))
        odds = np.exp(logits)
        answers.append(Outputs((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), np.zeros(n, dtype=int)))
    target, *others = answers
    seen = References(
        np.stack([outputs.confidence for outputs in others]),
        member[1:],
        np.stack([outputs.tempered for outputs in others], axis=1),
    )
    return Evidence(target, references=seen), member[0]


SURE = {"true": lambda nature, member: 6 + 2 * nature + 2 * member, "losers": lambda _: -60.0}
UNSURE = {"true": lambda nature, member: -2 + nature + 2 * member, "losers": lambda draw: -9 + 3 * draw}


def test_networks_that_are_sure_of_everything_are_read_at_a_high_temperature():
    evidence, membership = answered(**SURE)
    assert choose_online(evidence)["temperature"] > 2
    assert choose_offline(evidence)["temperature"] > 2
    found = tpr_at_fpr(rmia_online(evidence), membership, 0.01)["value"]
    assert found > 0.3 + tpr_at_fpr(rmia_online(evidence, 1.0), membership, 0.01)["value"]


def test_where_the_classes_that_lost_are_noise_the_softmax_is_read_as_it_is():
    evidence, membership = answered(**UNSURE)
    assert choose_online(evidence)["temperature"] == choose_offline(evidence)["temperature"] == 1
    found = tpr_at_fpr(rmia_online(evidence), membership, 0.01)["value"]
    assert found > 0.1 + tpr_at_fpr(rmia_online(evidence, 2.0), membership, 0.01)["value"]


@pytest.mark.parametrize(("attack", "choose"), [(rmia_offline, choose_offline), (rmia_online, choose_online)])
def test_what_is_chosen_is_in_the_grids_and_never_depends_on_the_target(attack, choose):
    evidence, _ = simulate(2.0, n=400, references=8)
    chosen = choose(evidence)
    assert chosen["temperature"] in TEMPERATURES
    assert chosen.get("a", 0.3) in GRID
    parameters = {name: value for name, value in chosen.items() if name != "by"}
    np.testing.assert_array_equal(attack(evidence), attack(evidence, **parameters))
    other, _ = simulate(9.0, n=400, references=8, seed=5)
    assert choose(replace(evidence, target=other.target)) == chosen


def test_references_of_which_only_log_odds_are_known_are_read_at_temperature_one():
    evidence, _ = simulate(2.0, n=400, references=8)
    bare = References(evidence.references.confidence, evidence.references.member)
    evidence = replace(evidence, references=bare, population=None)
    assert choose_offline(evidence)["temperature"] == 1
    with pytest.raises(Unavailable, match="not known at temperature 2"):
        rmia_offline(evidence, 2.0, a=0.3)


def test_the_score_at_a_temperature_is_that_of_logits_divided_by_it():
    evidence, _ = simulate(2.0, n=50, references=6)
    evidence = replace(evidence, population=None)

    def at_three(outputs):
        powers = outputs.probabilities.astype(np.float64) ** (1 / 3)
        return (powers / powers.sum(axis=1, keepdims=True))[np.arange(50), outputs.labels]

    hot = probability(evidence.references.tempered[TEMPERATURES.index(3.0) - 1])
    member = evidence.references.member
    usual = [(hot[member[:, i], i].mean() + hot[~member[:, i], i].mean()) / 2 for i in range(50)]
    np.testing.assert_allclose(
        rmia_online(evidence, 3.0), np.log(at_three(evidence.target) / usual), rtol=1e-5, atol=1e-6
    )


def test_one_reference_model_is_enough():
    evidence, _ = simulate(2.0, n=200, references=8)
    one = References(evidence.references.confidence[:1], evidence.references.member[:1])
    evidence = replace(evidence, references=one, population=None)
    assert np.isfinite(rmia_offline(evidence)).all()
    assert np.isfinite(rmia_online(evidence)).all()


def test_who_has_in_models_does_not_show():
    """A candidate that no model was trained on, and one that all were: the first makes all do without IN models."""
    evidence, _ = simulate(2.0, n=60, references=8)
    member = evidence.references.member.copy()
    member[:, 0], member[:, 1] = True, False
    evidence = replace(evidence, references=References(evidence.references.confidence, member))
    evidence = replace(evidence, population=None)
    scores = rmia_online(evidence, 1.0, a=0.3)
    assert np.isfinite(rmia_offline(evidence)).all()
    assert np.isfinite(scores).all()
    p_out = probability(evidence.references.confidence[:, 1]).mean()
    usual = (0.3 * p_out + 0.7 + p_out) / 2
    assert scores[1] == pytest.approx(np.log(probability(evidence.target.confidence[1]) / usual))
    np.testing.assert_array_equal(scores, rmia_offline(evidence, 1.0, a=0.3))
    assert choose_online(evidence) == choose_offline(evidence)


def test_references_of_the_wrong_kind_are_refused_with_the_reason():
    evidence, _ = simulate(2.0, n=60, references=8)
    never, always = np.zeros((8, 60), dtype=bool), np.ones((8, 60), dtype=bool)
    with pytest.raises(Unavailable, match="no reference model was trained on a candidate"):
        rmia_online(replace(evidence, references=References(evidence.references.confidence, never)))
    with pytest.raises(Unavailable, match="trained on every candidate"):
        rmia_offline(replace(evidence, references=References(evidence.references.confidence, always)))


def test_probabilities_that_are_tiny_beside_those_of_the_model_attacked_are_not_lost():
    evidence, _ = simulate(2.0, n=400, references=4)
    extreme = np.full((4, 500), -80.0)
    extreme[0] = 60.0  # one model is sure of everything, the others of nothing
    given = replace(evidence, population=replace(evidence.population, references=extreme))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_offline(given)["a"] in GRID

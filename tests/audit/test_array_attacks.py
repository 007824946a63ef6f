"""The attacks on arrays against their formulas, written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import simulate
from sklearn.metrics import roc_auc_score

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.attacks.blindmi import VARIANCES, blindmi_diff, blindmi_diff_without
from edgepriv.audit.attacks.difficulty import difficulty_calibration
from edgepriv.audit.attacks.ml_leaks import largest
from edgepriv.audit.attacks.quantile import quantile_regression
from edgepriv.audit.attacks.signals import top_one
from edgepriv.audit.evidence import Evidence, PopulationInputs
from edgepriv.audit.trained_answers import References, Shadow


def three_largest(rows):
    return -np.sort(-rows.astype(np.float64), axis=1)[:, :3]


def mmd(t, n):
    """Squared maximum mean discrepancy, term by term."""

    def mean_kernel(a, b):
        apart = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return sum(np.exp(-apart / (2 * variance)) for variance in VARIANCES).mean()

    return mean_kernel(t, t) + mean_kernel(n, n) - 2 * mean_kernel(t, n)


def test_top_one_ranks_as_the_largest_probability_and_beyond_float32():
    p = np.array([[0.2, 0.5, 0.3], [0.05, 0.05, 0.9], [1.0, 1e-9, 0.0], [1.0, 1e-12, 0.0]], dtype=np.float32)
    scores = top_one(Outputs(p, np.zeros(4, dtype=np.int64)))
    assert (np.diff(scores) > 0).all()
    assert scores[0] == pytest.approx(np.log(0.5), abs=1e-6)


def test_the_three_largest_fall_and_two_classes_have_two():
    p = np.array([[0.1, 0.4, 0.2, 0.3]])
    np.testing.assert_allclose(largest(p), [[0.4, 0.3, 0.2]])
    np.testing.assert_allclose(largest(np.array([[0.3, 0.7]])), [[0.7, 0.3]])


@pytest.mark.parametrize(
    "name", ["top-1", "ml-leaks", "shadow-mlp", "blindmi-diff", "blindmi-diff-without", "entropy", "largest-score"]
)
def test_attacks_that_need_no_labels_do_not_look_at_them(name):
    evidence, _ = simulate(2.0, n=200)
    wrong = replace(evidence, target=replace(evidence.target, labels=np.zeros(200, dtype=np.int64)))
    assert "labels" not in ATTACKS[name].needs
    np.testing.assert_array_equal(ATTACKS[name].run(wrong), ATTACKS[name].run(evidence))


def test_ml_leaks_does_not_see_which_class_is_which():
    evidence, _ = simulate(2.0, n=200)
    turned = replace(evidence, target=Outputs(evidence.target.probabilities[:, ::-1], evidence.target.labels))
    np.testing.assert_allclose(ATTACKS["ml-leaks"].run(turned), ATTACKS["ml-leaks"].run(evidence))


def test_blindmi_with_generated_moves_what_takes_the_sets_apart_and_scores_by_the_difference():
    evidence, _ = simulate(14.0, n=60, classes=20, accuracy_shift=0.0, references=2)
    seen, made_up = three_largest(evidence.target.probabilities), three_largest(evidence.generated[:40])
    member = np.ones(60, dtype=bool)
    while True:
        known = [mmd(seen[member], np.concatenate([made_up, seen[~member]]))]
        moved = member.copy()
        for i in np.flatnonzero(member):
            alone = member.copy()
            alone[i] = False
            if mmd(seen[alone], np.concatenate([made_up, seen[~alone]])) > known[0] + 1e-9:
                moved[i] = False
        if (moved == member).all():
            break
        member = moved
    expected = []
    for i in range(60):
        others = np.arange(60) != i
        t, n = seen[member & others], np.concatenate([made_up, seen[~member & others]])
        x = seen[i : i + 1]
        expected.append(mmd(np.concatenate([t, x]), n) - mmd(t, np.concatenate([n, x])))
    found = blindmi_diff(replace(evidence, generated=evidence.generated[:40]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 10 < member.sum() < 50


def test_blindmi_without_generated_ends_where_no_single_move_takes_the_sets_apart():
    """The sign of the score is the decision: whoever is nearer as a member, and only those, is in T."""
    evidence, _ = simulate(14.0, n=60, classes=20, accuracy_shift=0.0, references=2)
    seen, scores = three_largest(evidence.target.probabilities), blindmi_diff_without(evidence)
    member = scores > 0
    best = mmd(seen[member], seen[~member])
    for i in range(60):
        other = member.copy()
        other[i] = not other[i]
        assert mmd(seen[other], seen[~other]) <= best + 1e-6


def test_difficulty_calibration_is_the_loss_of_models_without_the_example_less_the_targets():
    evidence, _ = simulate(1.0, n=50, references=6)
    scores = difficulty_calibration(evidence)
    references = evidence.references
    for i in range(50):
        out = [np.log1p(np.exp(-references.confidence[r, i])) for r in range(6) if not references.member[r, i]]
        own = -np.log(evidence.target.probabilities[i, evidence.target.labels[i]])
        assert scores[i] == pytest.approx(np.mean(out) - own, abs=1e-5)


def test_difficulty_calibration_needs_a_model_without_some_candidate():
    evidence, _ = simulate(1.0, n=50, references=6)
    always = References(evidence.references.confidence, np.ones((6, 50), dtype=bool))
    with pytest.raises(Unavailable, match="trained on every candidate"):
        difficulty_calibration(replace(evidence, references=always))


def noisy_by_side(rng, count, lifted):
    """Examples whose usual log-odds, and whose spread, are plain from their one feature."""
    side = rng.random(count) < 0.5
    odds = np.where(side, 4.0, -1.0) + np.where(side, 0.3, 2.0) * (rng.standard_normal(count) + lifted)
    return side.astype(np.float32)[:, None], Outputs.of_confidence(odds)


def test_quantile_regression_counts_spreads_above_what_is_usual_for_such_an_input():
    rng = np.random.default_rng(0)
    member = rng.random(2000) < 0.5
    population, answered = noisy_by_side(rng, 2000, 0.0)
    candidates, target = noisy_by_side(rng, 2000, 2.0 * member)
    evidence = Evidence(target, inputs=PopulationInputs(candidates, population, answered))
    scores = quantile_regression(evidence)
    # Two spreads apart: the area of the best test is P(N(2, 2) > 0) = 0.921.
    assert roc_auc_score(member, scores) == pytest.approx(0.921, abs=0.015)
    assert roc_auc_score(member, target.confidence) < 0.8
    assert scores[~member].mean() == pytest.approx(0, abs=0.1)
    assert scores[~member].std() == pytest.approx(1, abs=0.1)


def test_quantile_regression_says_how_many_population_examples_it_lacks():
    rng = np.random.default_rng(0)
    features, answered = noisy_by_side(rng, 50, 0.0)
    with pytest.raises(Unavailable, match="needs 100 population examples or more, found 50"):
        quantile_regression(Evidence(answered, inputs=PopulationInputs(features, features, answered)))


def test_the_three_subnets_learn_what_only_label_and_prediction_together_tell():
    """Members are those whose most probable class is the label's neighbour: neither of the two says so by itself."""
    rng = np.random.default_rng(0)

    def draw():
        labels, member = rng.integers(4, size=1500), rng.random(1500) < 0.5
        shown = (labels + np.where(member, 1, rng.choice([2, 3], size=1500))) % 4
        p = 0.1 * rng.dirichlet(np.ones(4), size=1500) + 0.9 * np.eye(4)[shown]
        return Outputs(p, labels), member

    (known, inside), (target, member) = draw(), draw()
    evidence = Evidence(target, shadow=Shadow(known, inside))
    before = torch.get_num_threads()
    assert roc_auc_score(member, ATTACKS["three-subnet"].run(evidence)) > 0.85
    assert torch.get_num_threads() == before
    assert roc_auc_score(member, ATTACKS["ml-leaks"].run(evidence)) < 0.6


def test_a_shadow_model_of_other_classes_is_refused_with_both_numbers():
    evidence, other = simulate(0.0, n=50)[0], simulate(0.0, n=50, classes=7)[0]
    for name in ("three-subnet", "ml-leaks"):
        with pytest.raises(Unavailable, match="has 7 classes, the target 10"):
            ATTACKS[name].run(replace(evidence, shadow=other.shadow))

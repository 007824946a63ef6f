"""What attacks find of canaries: the published computation, its intervals, and an overfitted model against a shuffled one."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from edgepriv.audit import gate
from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.canaries import Pool, figures, pooled
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.memberships import plan
from edgepriv.audit.references import train_fleet
from edgepriv.audit.run import Target
from edgepriv.audit.steps import canaries_of
from edgepriv.audit.trained_answers import References
from edgepriv.data import canaries_in, load, make_split, with_canaries
from edgepriv.recipe import Data, Recipe


def references(models, records, gap, seed=0):
    """Log-odds that are higher by ``gap`` where a model was trained on the record; each model knows half of them."""
    generator = np.random.default_rng(seed)
    member = np.argsort(generator.random((models, records)), axis=0) < models // 2
    return References(generator.normal(size=(models, records)) + gap * member, member)


def evidence_of(known):
    from edgepriv.audit.answers import Outputs

    return Evidence(Outputs.of_confidence(known.confidence[0]), references=known)


def by_aerni(known):
    """``lira_attack_loo`` of ethz-spylab/misleading-privacy-evals, written again from its definition."""
    scores = []
    for r in range(len(known.member)):
        others, inside = np.delete(known.confidence, r, axis=0), np.delete(known.member, r, axis=0)
        sides = [np.where(side, others, np.nan) for side in (inside, ~inside)]
        logs = [
            norm.logpdf(known.confidence[r], np.nanmean(side, axis=0), np.nanstd(side, axis=0, ddof=1) + 1e-30)
            for side in sides
        ]
        scores.append(logs[0] - logs[1])
    return np.concatenate(scores), known.member.ravel()


def test_the_figure_is_that_of_aerni_et_al():
    known = references(36, 120, gap=2.0)
    theirs, member = by_aerni(known)
    pool = pooled(ATTACKS["lira-online-per-example"], evidence_of(known))
    np.testing.assert_array_equal(pool.member, member)
    np.testing.assert_allclose(pool.scores, theirs, rtol=1e-5, atol=1e-6)
    fpr, tpr, _ = roc_curve(member, theirs, drop_intermediate=False)
    rates = figures(pool, seed=0)["tpr_at_fpr"]
    for rate in ("0.01", "0.001"):
        assert rates[rate]["value"] == pytest.approx(tpr[fpr <= float(rate)][-1], abs=1e-12)


def test_few_models_leave_out_a_variance_for_each_canary_and_no_other_attack():
    known = references(8, 60, gap=2.0)
    with pytest.raises(Unavailable, match="16 or more"):
        pooled(ATTACKS["lira-online-per-example"], evidence_of(known))
    assert len(pooled(ATTACKS["lira-online"], evidence_of(known)).scores) == 8 * 60


@pytest.mark.parametrize("name", ["lira-online", "lira-offline", "rmia-online", "rmia-offline"])
def test_nothing_is_found_where_models_know_nothing(name):
    measured = figures(pooled(ATTACKS[name], evidence_of(references(8, 300, gap=0.0))), seed=0)
    assert measured["auc_ci"][0] <= 0.5 <= measured["auc_ci"][1]
    assert measured["tpr_at_fpr"]["0.01"]["ci"][0] <= 0.01


def test_the_interval_is_over_canaries_not_over_scores():
    """Scores that depend on the record alone say as much as one model's, however many models there are."""
    generator = np.random.default_rng(0)
    of_record = generator.normal(size=100)
    scores = np.tile(of_record, 40) + 0.01 * generator.normal(size=4000)
    member = np.tile(of_record + generator.normal(size=100) > 0, 40)
    apart = figures(Pool(scores, member, np.arange(4000)), seed=0)
    together = figures(Pool(scores, member, np.tile(np.arange(100), 40)), seed=0)
    widths = [np.diff(measured["auc_ci"])[0] for measured in (together, apart)]
    assert widths[0] > 4 * widths[1]


def test_where_all_canaries_are_found_the_interval_is_that_of_so_many_canaries():
    member = np.tile([True, False], 2000)
    measured = figures(Pool(member.astype(float), member, np.repeat(np.arange(100), 40)), seed=0)
    rate = measured["tpr_at_fpr"]["0.001"]
    assert rate["value"] == 1
    assert rate["ci"][0] == pytest.approx(0.0250 ** (1 / 100), abs=1e-3)


def test_a_rate_that_so_few_canaries_cannot_resolve_is_not_given():
    member = np.tile([True, False], 100)
    measured = figures(Pool(member.astype(float), member, np.arange(200)), seed=0)
    assert measured["tpr_at_fpr"]["0.001"]["value"] is None
    assert "not resolvable with 100" in measured["tpr_at_fpr"]["0.001"]["note"]


# --- which models are trained on them ---


@pytest.mark.parametrize("members", [100, 60, 150])
def test_half_of_the_models_are_trained_on_each_canary(members):
    dataset = load("digits")
    asked = Data(name="digits", members=members, non_members=100, reference=100, canaries="mislabelled:14")
    split = make_split(dataset, asked, 0)
    planted = canaries_in(split, with_canaries(dataset, split, asked))
    planned = plan(split, 0, None, planted)
    memberships = np.stack(planned.memberships(6))
    assert (memberships[:, planted].sum(axis=0) == 3).all()
    np.testing.assert_array_equal(memberships[0, planted], ~memberships[1, planted])
    assert set(memberships[:, planted].sum(axis=1)) == {7}
    assert np.ptp([len(planned.training_set(r, member)) for r, member in enumerate(memberships)]) <= 1


# --- a model that learns by heart ---


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """An overfitted perceptron with canaries, its subject and its attackers, as an audit by manifest has them."""
    from types import SimpleNamespace

    from edgepriv.audit.trained_attackers import apart
    from edgepriv.data import ordinary
    from edgepriv.training import new_classifier, run_stages
    from edgepriv.training.answers import softmax_of

    recipe = Recipe(
        data={"name": "digits", "members": 240, "non_members": 240, "reference": 60, "canaries": "mislabelled:60"},
        model={"name": "mlp", "args": {"widths": [32]}},
        train={"epochs": 25, "batch_size": 40, "lr": 0.02},
    )
    dataset = load("digits")
    split = make_split(dataset, recipe.data, recipe.seed)
    dataset = with_canaries(dataset, split, recipe.data)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(classifier, recipe, ("train",), dataset, split, quiet=True)

    def predict(x):
        import torch

        return softmax_of(classifier, [torch.from_numpy(x)])

    subject = SimpleNamespace(
        dataset=dataset,
        split=ordinary(split, dataset),
        planted=split,
        whole=split,
        target=Target(predict, None),
        recipe=recipe,
    )
    folder = tmp_path_factory.mktemp("fleet")
    fleet = train_fleet(recipe, dataset, split, count=6, cache_dir=folder, label="test", jobs=1)
    return subject, {"adaptive": fleet}, apart


@pytest.fixture(scope="module")
def part(audited):
    subject, fleets, apart = audited
    return canaries_of(subject, apart(subject, fleets))["canaries"]


def test_canaries_are_found_far_more_often_than_the_average_record(part):
    best = next(row for row in part["attacks"] if row["name"] == part["strongest"])
    rate = {side: best[side]["tpr_at_fpr"]["0.01"]["value"] for side in ("canaries", "average")}
    assert rate["canaries"] > 0.7
    assert rate["average"] < 0.2
    assert best["file"]["auc"] > 0.95
    assert best["canaries"]["records"] == 60
    assert part["members"] == part["non_members"] == 30


def test_canaries_are_not_found_where_nobody_was_trained_on_them(audited):
    from dataclasses import replace

    subject, fleets, apart = audited
    fleet = fleets["adaptive"]
    shuffled = np.stack([np.random.default_rng(r).permutation(row) for r, row in enumerate(fleet.references.member)])
    fleet = replace(fleet, references=replace(fleet.references, member=shuffled))
    part = canaries_of(subject, apart(subject, {"adaptive": fleet}))["canaries"]
    for row in part["attacks"]:
        low, high = row["canaries"]["auc_ci"]
        assert low - 0.05 < 0.5 < high + 0.05
        assert row["canaries"]["tpr_at_fpr"]["0.01"]["value"] < 0.15


def test_models_of_another_recipe_say_nothing_of_each_other(audited):
    subject, fleets, apart = audited
    part = canaries_of(subject, apart(subject, {"oblivious": fleets["adaptive"]}))["canaries"]
    assert all(row["canaries"] is None and row["average"] is None for row in part["attacks"])
    assert part["strongest"] is not None


def test_without_reference_models_there_is_a_reason(audited):
    from edgepriv.audit.attackers import Attackers

    part = canaries_of(audited[0], Attackers())["canaries"]
    assert "reference models" in part["not_run"]


def test_a_limit_on_canaries_is_judged_by_the_strongest_attack_on_them(part):
    audit = {"canaries": part, "attacks": [], "robustness": None}
    limits = [gate.parse_limit(text) for text in ("canary_tpr@0.01>0.1", "canary_tpr@0.001>0.1")]
    outcomes = gate.judged(limits, audit)
    assert outcomes[0]["outcome"] == "exceeded"
    assert "canaries" in outcomes[0]["sentence"]
    assert outcomes[1]["outcome"] == "not measured"
    assert "180" in outcomes[1]["sentence"]
    assert gate.judged(limits[:1], {"attacks": [], "robustness": None})[0]["outcome"] == "not measured"

"""Who is asked what: the same questions for every model, kept beside it, and what happens where they cannot be asked."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from queried_models import Ready, ready

from edgepriv.audit import query_evidence, references
from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.distil import EPOCHS, loss_of, loss_trajectories
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.queries import asked, on_perturbed
from edgepriv.audit.query_evidence import QueryEvidence, balanced
from edgepriv.audit.run import Target, membership_part

SOME = 40
LABEL_ONLY = ["correctness", "label-only-augmentation", "label-only-noise", "label-only-boundary"]
ASKING = [
    *LABEL_ONLY[1:],
    "loss-trajectory",
    "adversarial-robustness",
    "adversarial/confidence",
    "adversarial/lira-online",
]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Ready:
    """Hardly trained: what is asked matters here, not what comes of it."""
    made = ready(tmp_path_factory.mktemp("fleet"), epochs=2)
    audit = made.recipe.audit.model_copy(update={"queried_examples": SOME})
    return replace(made, recipe=made.recipe.model_copy(update={"audit": audit}))


@pytest.fixture
def audited(given):
    """The audit with some things changed: (content, scores)."""

    def audited(attacks=ASKING, target=given.target, fleets=None, pool=given.split.reference):
        split, recipe = given.split, given.recipe
        fleets = {"adaptive": given.fleet} if fleets is None else fleets
        run = partial(membership_part, target, given.dataset, split.members, split.non_members, fleets)
        return run(attacks=attacks, recipe=recipe, pool=pool)

    return audited


def test_rows_say_what_was_asked_and_of_how_many(audited):
    content, _ = audited()
    rows = {row["name"]: row for row in content["attacks"]}
    assert list(rows) == ASKING
    assert {name: row["queries"] for name, row in rows.items()} == {
        "label-only-augmentation": "label-only",
        "label-only-noise": "label-only",
        "label-only-boundary": "label-only",
        "loss-trajectory": "clean",
        "adversarial-robustness": "adversarial",
        "adversarial/confidence": "adversarial",
        "adversarial/lira-online": "adversarial",
    }
    assert rows["loss-trajectory"]["n_members"] == 250
    assert all(
        row["n_members"] == row["n_non_members"] == 20 for name, row in rows.items() if name != "loss-trajectory"
    )
    assert rows["label-only-noise"]["threshold_source"] == rows["loss-trajectory"]["threshold_source"] == "shadow model"
    assert rows["adversarial/lira-online"]["threshold_source"] == "reference models"


def test_scores_of_a_part_say_which_part(audited, given):
    _, scores = audited(["confidence", "adversarial/confidence", "label-only-noise"])
    assert "adaptive/confidence/index" not in scores
    for name in ("adversarial/confidence", "label-only-noise"):
        index = scores[f"adaptive/{name}/index"]
        assert len(index) == len(np.unique(index)) == len(scores[f"adaptive/{name}"]) == SOME
        assert scores["member"][index].sum() == SOME // 2


def test_every_model_is_asked_about_the_inputs_that_fool_itself(given):
    """Else a reference model's confidence would not be what it were had it been the target."""
    chosen = np.arange(0, 500, 25)
    candidates = np.concatenate([given.split.members, given.split.non_members])
    target = asked(given.classifier)
    collector = QueryEvidence(target, given.dataset, candidates, chosen, given.recipe)
    plain = _plain(given, candidates)
    index, evidence = collector.evidence("adversarial", plain, given.fleet, None)
    np.testing.assert_array_equal(index, chosen)
    x, y = given.dataset.inputs(candidates[chosen]), given.dataset.y[candidates[chosen]]
    for r, path in enumerate(given.fleet.models):
        own = asked(references.load_model(path, given.fleet.recipe, given.dataset))
        answers = on_perturbed(own, x, y, collector.budget, tries=1, seed=given.recipe.seed)[0]
        np.testing.assert_allclose(evidence.references.confidence[r], log_odds(answers, y), atol=1e-4)
    np.testing.assert_array_equal(evidence.references.member, given.fleet.references.member[:, chosen])
    assert evidence.target.confidence.mean() < plain.take(chosen).target.confidence.mean()


def _plain(given, candidates):
    outputs = Outputs(given.target.predict(given.dataset.inputs(candidates)), given.dataset.y[candidates])
    return Evidence(outputs, shadow=given.fleet.shadow, references=given.fleet.references)


def test_a_killed_audit_asks_no_trained_model_twice(audited, monkeypatch):
    _, first = audited()
    monkeypatch.setattr(query_evidence, "on_perturbed", _only_the_target(query_evidence.on_perturbed))
    monkeypatch.setattr(query_evidence, "labels_on", _only_the_target(query_evidence.labels_on, position=1))
    monkeypatch.setattr(query_evidence.distil, "loss_trajectories", None)
    _, second = audited()
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def _only_the_target(measure, position=0):
    calls = []

    def watched(*arguments, **options):
        calls.append(arguments[position])
        assert len(calls) <= 3, "a shadow or reference model was asked again"
        return measure(*arguments, **options)

    return watched


def test_other_perturbations_are_not_taken_from_the_cache(given, audited):
    audited(["adversarial/lira-online"])
    kept = set(given.fleet.models[0].parent.glob("reference-0000.*.npz"))
    stronger = given.recipe.with_changes(adversary={"eps": 0.02})
    split = given.split
    arguments = (given.target, given.dataset, split.members, split.non_members, {"adaptive": given.fleet})
    membership_part(*arguments, attacks=["adversarial/lira-online"], recipe=stronger, pool=None)
    assert len(set(given.fleet.models[0].parent.glob("reference-0000.*.npz")) - kept) == 1


def test_a_file_that_returns_labels_only_is_attacked_by_labels(audited, given):
    def one_hot(x):
        return np.eye(20, dtype=np.float32)[given.target.predict(x).argmax(axis=1)]

    target = Target(one_hot, given.classifier, labels_only=True)
    content, scores = audited([*LABEL_ONLY, "confidence", "lira-online", *ASKING[3:]], target)
    assert [row["name"] for row in content["attacks"]] == LABEL_ONLY
    assert {row["reason"] for row in content["left_out"]} == {"the file returns labels only"}
    assert len(content["left_out"]) == 6
    seen = audited(LABEL_ONLY)[1]
    for name in LABEL_ONLY:
        np.testing.assert_array_equal(scores[f"adaptive/{name}"], seen[f"adaptive/{name}"])


def test_without_gradients_the_attacks_on_perturbed_inputs_are_left_out_with_the_reason(audited, given):
    content, _ = audited(target=Target(given.target.predict, None, "it sorts its inputs"))
    reasons = {row["name"]: row["reason"] for row in content["left_out"]}
    assert set(reasons) == set(ASKING[4:])
    assert set(reasons.values()) == {"the gradients of this graph cannot be computed: it sorts its inputs"}


def test_an_attacker_who_trains_nothing_asks_all_the_same(audited):
    content, scores = audited(fleets={}, pool=None)
    assert [row["name"] for row in content["attacks"]] == [*ASKING[:3], *ASKING[4:6]]
    assert {row["threshold_source"][:11] for row in content["attacks"]} == {"random half"}
    assert {row["name"]: row["reason"] for row in content["left_out"]} == {
        "loss-trajectory": "needs a shadow model",
        "adversarial/lira-online": "needs reference models",
    }
    assert scores["none/label-only-noise/index"].shape == (SOME,)


def test_a_pool_too_small_to_distil_from_leaves_the_trajectory_out(audited, given):
    content, _ = audited(["loss-trajectory"], pool=given.split.reference[:10])
    assert "are left to distil from, fewer than 50" in content["left_out"][0]["reason"]


def test_a_copy_learns_the_models_answers_and_not_the_labels(given):
    pool, about = given.split.reference, given.split.members[:50]
    soft = np.full((len(pool), 20), 0.2 / 19, np.float32)
    soft[:, 7] = 0.8  # whatever the example
    losses = loss_trajectories(soft, pool, about, given.recipe, given.dataset)
    assert losses.shape == (50, EPOCHS)
    seventh = given.dataset.y[about] == 7
    np.testing.assert_allclose(losses[~seventh, -1].mean(), -np.log(0.2 / 19), atol=0.7)
    assert losses[seventh, -1].max(initial=0) < 1
    np.testing.assert_array_equal(losses, loss_trajectories(soft, pool, about, given.recipe, given.dataset))


def test_the_loss_is_the_cross_entropy():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    np.testing.assert_allclose(loss_of(p, np.array([0, 2])), -np.log([0.7, 0.3]))


@pytest.mark.parametrize(("count", "members", "strangers"), [(40, 20, 20), (2, 2, 2), (1000, 30, 100), (80, 30, 40)])
def test_half_of_those_chosen_are_members(count, members, strangers):
    member = np.arange(130) < 30
    chosen = balanced(member, count, seed=0)
    assert (member[chosen].sum(), (~member[chosen]).sum()) == (members, strangers)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, balanced(member, count, seed=0))

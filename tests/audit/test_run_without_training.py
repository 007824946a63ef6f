"""The audit of a model whose attacker trains nothing: made-up inputs, population inputs, and who is exposed."""

import numpy as np
import pytest

from edgepriv.audit import run
from edgepriv.audit.run import Target, membership_part
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe

ATTACKS = ["loss", "blindmi-diff", "blindmi-one-class", "quantile-regression", "shadow-mlp"]
MEMBERS, NON_MEMBERS, POOL = np.arange(0, 200), np.arange(200, 400), np.arange(400, 600)


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    x, y = rng.random((600, 30)).astype(np.float32), rng.integers(0, 3, 600)
    return Dataset("random", x, y, ("cat", "dog", "eel"))


@pytest.fixture(scope="module")
def target(dataset):
    """It answers by nearest member, the surer the nearer: an input that is no member's gets a flat answer."""
    known, labels = dataset.x[MEMBERS], np.eye(3)[dataset.y[MEMBERS]]

    def predict(x):
        apart = ((x[:, None] - known[None]) ** 2).sum(axis=2)
        return softmax(6 * labels[apart.argmin(1)] * np.exp(-apart.min(1, keepdims=True))).astype(np.float32)

    return Target(predict, None)


def test_every_attack_that_trains_nothing_finds_the_members(target, dataset):
    content, scores = membership_part(
        target, dataset, MEMBERS, NON_MEMBERS, {}, attacks=ATTACKS, recipe=Recipe(), pool=POOL
    )
    assert [row["name"] for row in content["attacks"]] == ATTACKS[:-1]
    assert all(row["auc"] > 0.99 for row in content["attacks"])
    assert [row["reason"] for row in content["left_out"]] == ["needs a shadow model"]
    assert content["per_class"]["threat_model"] == content["most_exposed"]["threat_model"] == "none"
    assert [row["class"] for row in content["per_class"]["rows"]] == ["cat", "dog", "eel"]
    exposed = [row["index"] for row in content["most_exposed"]["rows"]]
    assert set(exposed) <= set(MEMBERS)
    strongest = scores[f"none/{content['most_exposed']['attack']}"]
    assert strongest[exposed].min() > strongest[200:].max()


def test_the_most_exposed_are_named_by_their_place_in_the_data_set(target, dataset):
    content, _ = membership_part(
        target, dataset, MEMBERS[50:], NON_MEMBERS, {}, attacks=["loss"], recipe=Recipe(), pool=POOL
    )
    rows = content["most_exposed"]["rows"]
    assert all(50 <= row["index"] < 200 and row["label"] == dataset.y[row["index"]] for row in rows)


def test_without_a_pool_the_regression_is_left_out_with_the_reason(target, dataset):
    content, _ = membership_part(target, dataset, MEMBERS, NON_MEMBERS, {}, attacks=ATTACKS[3:4], recipe=Recipe())
    assert content["left_out"][0]["reason"] == "needs population examples with their inputs"
    assert "per_class" not in content


def test_the_order_of_the_questions_tells_nothing(dataset, monkeypatch):
    """A file that answers each batch its own way, as one that quantizes activations by the batch's range."""
    monkeypatch.setattr(run, "_CHUNK", 20)
    batches = []

    def predict(x):
        batches.append(len(x))
        return softmax(np.eye(3)[(10 * x[:, 0]).astype(int) % 3] * (1 + len(batches))).astype(np.float32)

    attacks = ["top-1", "entropy", "label-only-noise"]
    content, _ = membership_part(
        Target(predict, None), dataset, MEMBERS, NON_MEMBERS, {}, attacks=attacks, recipe=Recipe()
    )
    assert max(batches) == 20
    assert all(row["auc_ci"][0] < 0.5 < row["auc_ci"][1] for row in content["attacks"])

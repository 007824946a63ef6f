"""Reference models that do not behave like the target are found by how often they are right."""

import numpy as np
import pytest

from edgepriv.audit.alike import FAR, FROM_RANDOM, WARNED, differences, likeness, refuse_unlike, warnings_of
from edgepriv.audit.answers import Outputs
from edgepriv.audit.references import Fleet
from edgepriv.audit.run import Target
from edgepriv.audit.trained_answers import References, Shadow
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError

N = 400
NOBODY = np.empty(0, dtype=np.int64)


def answered(rng, labels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, 2], right with the probability ``share`` [n]."""
    right = rng.random(len(labels)) < share
    shown = np.where(right, labels, 1 - labels)
    return np.eye(2, dtype=np.float32)[shown] * 0.8 + np.float32(0.1)


def audited(*, target=(1.0, 0.8), references=(1.0, 0.8), models=6, seed=0, shadow_size=None):
    """``likeness`` of a target and of models with these shares of right answers on members and on others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=2 * N)
    dataset = Dataset("d", np.arange(2.0 * N, dtype=np.float32)[:, None] / (2 * N), labels, ("a", "b"))
    split = Split(0, np.arange(N), np.arange(N, 2 * N), NOBODY, NOBODY, NOBODY)
    shown = answered(rng, labels, np.where(np.arange(2 * N) < N, *target))
    behind = Target(lambda x: shown[np.rint(x[:, 0] * 2 * N).astype(int)], None)
    member = np.argsort(rng.random((max(models, 2), 2 * N)), axis=0)[:models] < max(models, 2) // 2
    theirs = [answered(rng, labels, np.where(member[r], *references)) for r in range(models)]
    shadow = None
    if shadow_size:
        known = np.arange(2 * shadow_size) < shadow_size
        y = rng.integers(2, size=len(known))
        shadow = Shadow(Outputs(answered(rng, y, np.where(known, *references)), y), known)
    found = References(np.zeros((models, 2 * N)), member) if models else None
    fleet = Fleet(
        references=found,
        right=np.array([answers.argmax(axis=1) == labels for answers in theirs]),
        population=np.empty((models, 0)),
        tempered_population=None,
        population_index=NOBODY,
        records=N,
        shadow=shadow,
        shadow_index=NOBODY,
    )
    return likeness(behind, dataset, split, fleet)


def test_models_of_the_same_recipe_are_alike():
    for seed in range(10):
        found = audited(seed=seed)
        assert found["by"] == "reference models"
        assert differences(found, WARNED) == []
        assert abs(found["non_members"]["models"] - 0.8) < 0.03
    refuse_unlike(found, FROM_RANDOM)
    assert warnings_of(found) == []


@pytest.mark.parametrize(("target", "side"), [((1.0, 0.95), "held-out"), ((0.8, 0.8), "trained on")])
def test_a_target_of_another_making_is_refused_with_the_way_out(target, side):
    found = audited(target=target)
    with pytest.raises(UserError) as refused:
        refuse_unlike(found, FROM_RANDOM)
    ways_out = ("--start-weights", "--trainer", "--attacks quick", "--accept-weak-references")
    for words in (side, "understate the leakage", "from random weights by a recipe that was assumed", *ways_out):
        assert words in str(refused.value)
    with pytest.raises(UserError) as refused:
        refuse_unlike(found)
    assert "was assumed" not in str(refused.value)


def test_a_smaller_difference_is_a_warning():
    found = audited()
    found["non_members"] |= {"target": 0.86, "models": 0.80, "noise": 0.03}
    assert differences(found, FAR) == []
    refuse_unlike(found)
    [said] = warnings_of(found)
    assert "do not quite behave like the target" in said


def test_an_assumed_recipe_is_always_said():
    [said] = warnings_of(audited(), FROM_RANDOM)
    assert "trained from random weights by a recipe that was assumed" in said
    assert "--start-weights" not in said
    assert warnings_of(None) == []


def test_a_difference_beyond_its_interval_names_what_may_explain_it():
    found = audited()
    found["non_members"] |= {"target": 0.82, "models": 0.80, "noise": 0.01}
    assert warnings_of(found) == []
    [said] = warnings_of(found, FROM_RANDOM)
    assert "target classifies 82.0% right, the reference models 80.0%" in said
    assert "--start-weights" in said
    assert "--trainer" in said
    [said] = warnings_of(found, "from the public weights of resnet18.pth")
    assert "--start-weights" not in said
    assert "--trainer" in said


def test_without_reference_models_a_shadow_model_of_the_same_size_is_asked():
    found = audited(target=(1.0, 0.98), models=0, shadow_size=N)
    assert (found["by"], found["models"]) == ("shadow model", 1)
    assert len(differences(found, FAR)) == 1
    refuse_unlike(found)  # one model's spread is not known: a warning is all
    assert len(warnings_of(found)) == 1
    assert audited(models=0, shadow_size=N // 2) is None


def test_few_records_are_too_noisy_for_a_verdict():
    found = audited(models=2)
    small = found | {"non_members": found["non_members"] | {"target": 0.92, "noise": 0.15}}
    assert differences(small, FAR) == []

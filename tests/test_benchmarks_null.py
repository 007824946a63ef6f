"""Where nothing leaks, a report says so: the negative control of the verdict, on sizes that take seconds."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

RUNS = 100


@pytest.fixture(scope="module")
def control():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        module = importlib.import_module("null_audit")
        patch.setattr(module, "NAMES", ["correctness", "entropy", "loss", "lira-online", "rmia-offline"])
        yield module


@pytest.mark.parametrize(("members", "others", "form"), [(20, 20, "tied"), (20, 300, "rare")])
def test_of_a_hundred_shuffled_memberships_a_few_are_called_a_leak(control, members, others, form):
    """More than fourteen of a hundred would come once in four thousand times, if the share were 5%."""
    found = control.shares(members, others, form, RUNS)
    assert binom.sf(14, RUNS, control.ALPHA) < 1 / 4000
    assert found["leak"] <= 0.14
    assert found["exposed"] <= found["leak"], "records are named of an attack that is a guess"
    assert found["reversed"] <= found["leak"]
    assert found["epsilon"] <= 0.14
    assert found["uncorrected"] > 0, "no attack was ever beyond chance by itself: there was nothing to correct"


def test_the_same_verdict_finds_a_leak(control):
    """Membership as the first reference model's, which is taken for the target."""
    evidence = control.evidence_of(300, "smooth", 0)
    pretended, member = evidence.with_reference_as_target(0)
    found = control.verdict_on(pretended, member, 0)
    assert found["leak"]
    assert found["exposed"]
    assert not np.array_equal(member, np.sort(member))

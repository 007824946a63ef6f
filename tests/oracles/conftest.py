"""Evidence for the comparisons; the simulation is the audit tests' own."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "audit"))

from simulated import simulate


@pytest.fixture(scope="module")
def leaky():
    """Evidence on 600 candidates that leaks, with 40 reference models, and the true membership."""
    return simulate(1.0, n=600, references=40, seed=3)

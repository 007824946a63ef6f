"""Evidence for the comparisons; the simulation is the audit tests' own."""

import importlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest

sys.path.append(str(Path(__file__).parents[1] / "audit"))

from simulated import simulate

if importlib.util.find_spec("art") is not None:
    # At its first import it writes a file of settings into the home folder; another process that reads a half of it fails.
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, HOME=home):
        importlib.import_module("art.config")


@pytest.fixture(scope="module")
def leaky():
    """Evidence on 600 candidates that leaks, with 40 reference models, and the true membership."""
    return simulate(1.0, n=600, references=40, seed=3)

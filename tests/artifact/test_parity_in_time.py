"""A proof takes as many inputs as there is time for, and says how much that proves."""

import numpy as np
import pytest
import torch

from edgepriv.artifact import parity
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.session import open_session
from edgepriv.models import Classifier
from edgepriv.models.small import MLP

X = np.random.default_rng(0).random((1000, 6), dtype=np.float32)


@pytest.fixture(scope="module")
def built():
    """A classifier and the session of its file."""
    torch.manual_seed(0)
    classifier = Classifier(MLP(3, (6,), (8,)), [0.5], [0.25])
    return classifier, open_session(build_graph(classifier, {}, input_shape=(6,), class_names="abc").content)


@pytest.fixture
def proven(monkeypatch, built):
    """Parity of a network that takes so many seconds of the test's own time for each input."""

    def prove(seconds_each):
        clock, predict = [0.0], parity.predict

        def slow(session, x):
            clock[0] += seconds_each * len(x)
            return predict(session, x)

        monkeypatch.setattr(parity, "predict", slow)
        monkeypatch.setattr(parity.time, "monotonic", lambda: clock[0])
        classifier, session = built
        return parity.prove_parity(classifier, {}, session, X)

    return prove


@pytest.mark.parametrize(
    ("seconds_each", "n"),
    [(0.001, 1000), (0.03, 64 + 3 * 256), (0.1, 64 + 256), (10.0, parity.FEWEST)],
)
def test_large_networks_are_compared_on_fewer_inputs(proven, seconds_each, n):
    found = proven(seconds_each)
    assert found.n == n
    assert found.labels_changed == 0
    # The share p of inputs that change their label which would show none of them in n draws with probability 5%.
    assert (1 - found.changed_at_most) ** n == pytest.approx(0.05)


def test_what_eight_bits_change_has_its_interval():
    expected = np.eye(4)[np.zeros(400, int)]
    shipped = expected.copy()
    shipped[:8] = np.eye(4)[1]
    found = parity._difference(parity.compare(expected, shipped))
    assert found.labels_changed == 8
    low, high = found.changed_ci
    assert low < 0.02 < high
    assert (low, high) == pytest.approx((0.00867, 0.03903), abs=2e-5)

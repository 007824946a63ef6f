"""Gradients that show nothing are found and said, and never make a model look robust."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.audit import blackbox
from edgepriv.audit.evasion import robustness, without_gradients
from edgepriv.audit.gate import judged, parse_limit
from edgepriv.report.not_measured import notes
from edgepriv.report.tables import worst_case

RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 0.8, (120, 6)).astype(np.float32)
WEIGHT = torch.tensor(RNG.standard_normal((6, 2)).astype(np.float32))
Y = np.asarray((torch.from_numpy(X - 0.5) @ WEIGHT).argmax(dim=1))
BUDGET = {"norm": "linf", "eps": 0.3}


class Network(nn.Module):
    """The classes of a linear model, whatever ``scores`` make of its logits."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, x):
        return self.scores((x - 0.5) @ WEIGHT)


@torch.no_grad()
def predict(x):
    return ((torch.from_numpy(x) - 0.5) @ WEIGHT).softmax(dim=1).numpy()


MASKED = {
    "detached": lambda logits: logits.detach() + 0 * logits,
    "rounded": lambda logits: (logits * 1e4).round(),
    "exactly one": lambda logits: (300 * logits.double()).softmax(1).float().clamp(1e-6, 1 - 1e-6).log(),
    "not a number": lambda logits: logits + (logits - logits.detach()).abs().sqrt(),
}


@pytest.mark.parametrize("scores", MASKED.values(), ids=list(MASKED))
def test_masked_gradients_are_not_robustness(scores):
    found = robustness(Network(scores), predict, X, Y, **BUDGET, steps=3, eps_curve=[0, 0.3])
    assert found["clean_accuracy"] == 1
    assert found["worst_case_accuracy"] is None
    assert found["ci"] is None
    assert found["curve"] == []
    assert found["warnings"][0].startswith("masked gradients")
    # The boundary is flat, and labels alone find it.
    assert found["at_most"] < 0.3
    assert worst_case(found).startswith("not measured (at most")
    said = " ".join("\n".join(notes({"robustness": found})).split())
    assert "robust accuracy not measured: masked gradients" in said


def test_good_gradients_are_as_before():
    found = robustness(Network(lambda logits: logits), predict, X, Y, **BUDGET, steps=3)
    assert found["warnings"] == []
    assert "at_most" not in found
    assert found["worst_case_accuracy"] < 0.2


def test_rounding_inside_brings_an_attack_without_gradients_and_misleading_ones_are_found():
    twin = Network(lambda logits: -logits)  # gradients of something else, which lead away from the boundary
    twin.straight_through = ("Round (node r)",)
    found = robustness(twin, predict, X, Y, **BUDGET, steps=3)
    assert [attack["name"] for attack in found["attacks"]][-1] == blackbox.NAME
    assert found["worst_case_accuracy"] is None
    assert any(warning.startswith("gradients mislead") for warning in found["warnings"])
    honest = Network(lambda logits: logits)
    honest.straight_through = ("Round (node r)",)
    found = robustness(nn.Sequential(nn.Identity(), honest), predict, X, Y, **BUDGET, steps=3)  # as fed from elsewhere
    assert found["worst_case_accuracy"] < 0.2
    assert found["warnings"][0].startswith("the model rounds inside (Round (node r))")


def test_only_some_are_attacked_by_labels_alone_and_that_is_said(monkeypatch):
    monkeypatch.setattr(blackbox, "MOST", 30)
    for found in (
        robustness(Network(MASKED["detached"]), predict, X, Y, **BUDGET, steps=3),
        without_gradients(predict, X, Y, **BUDGET, reason="an LSTM"),
    ):
        last = found["attacks"][-1]
        assert last["attacked"] == 30
        assert last["fooled"] > 20
    twin = Network(lambda logits: -logits)
    twin.straight_through = ("Round (node r)",)
    said = robustness(twin, predict, X, Y, **BUDGET, steps=3)["warnings"]
    assert any("of the 30 examples that it was made against" in line for line in said)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.15)])
def test_what_labels_alone_show_is_an_upper_bound(norm, eps):
    lead = np.abs((X - 0.5) @ (WEIGHT[:, 0] - WEIGHT[:, 1]).numpy())
    slope = (WEIGHT[:, 0] - WEIGHT[:, 1]).abs().numpy()
    farthest = eps * (slope.sum() if norm == "linf" else np.linalg.norm(slope))
    asked = []

    def ask(x):
        asked.append(x)
        return predict(x)

    found = without_gradients(ask, X, Y, norm=norm, eps=eps, reason="an LSTM")
    truth = float((lead > farthest).mean())
    assert truth <= found["at_most"] <= truth + 0.3 * (1 - truth)
    assert found["warnings"] == ["the gradients of this graph cannot be computed: an LSTM"]
    assert all(((x >= 0) & (x <= 1)).all() for x in asked)


def test_no_limit_is_met_by_what_was_not_measured():
    found = without_gradients(predict, X, Y, norm="linf", eps=0.02, reason="an LSTM")
    assert 0.01 < found["at_most"] < 0.95
    audit = {"robustness": found, "attacks": []}
    met, failed = judged([parse_limit("robust_accuracy<0.01"), parse_limit("robust_accuracy<0.99")], audit)
    assert met["outcome"] == "not measured"
    assert "an LSTM" in met["sentence"]
    assert failed["outcome"] == "exceeded"

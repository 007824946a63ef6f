"""LT-IQR: members ranked by the losses of the training itself."""

import json

import numpy as np
import pytest

import edgepriv
from edgepriv.audit.loss_trace import loss_trace_part, lt_iqr
from edgepriv.errors import UserError
from edgepriv.pipeline._train import gap_in
from edgepriv.training.traces import LossTrace, read_trace


def authors_iqr(traces):
    """As the authors' ``_reduction_iqr``, by the quantile of pandas that it calls: between the two nearest, linearly."""

    def quantile(trace, share):
        ordered, place = sorted(trace), share * (len(trace) - 1)
        below = int(place)
        above = min(below + 1, len(trace) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return [quantile(trace, 0.75) - quantile(trace, 0.25) for trace in traces]


@pytest.mark.parametrize("epochs", [4, 5, 30])
def test_the_range_is_the_authors(epochs):
    losses = np.random.default_rng(0).gamma(1.0, 2.0, size=(epochs, 50)).astype(np.float32)
    np.testing.assert_allclose(lt_iqr(losses), authors_iqr(losses.T.astype(float)), atol=1e-12)


def test_the_first_are_compared_with_whom_the_strongest_attack_finds():
    rng = np.random.default_rng(0)
    index, member = np.arange(4000), np.arange(4000) < 2000
    late = np.arange(200)  # the loss of these members falls late, and these are found
    losses = np.full((10, 2000), 0.1, dtype=np.float32)
    losses[:7, late] = 3.0
    scores = rng.normal(size=4000)
    scores[late] += 20
    row = {"name": "lira-online", "threat_model": "adaptive", "auc": 0.6, "tpr_at_fpr": {"0.001": {"value": 0.1}}}
    trace = LossTrace(index[:2000], "data", list(losses), list(range(1, 11)))
    part = loss_trace_part(trace, [row], {"adaptive/lira-online": scores, "member": member, "index": index})
    assert part["agreement"]["precision"] == 1.0
    assert part["agreement"]["ranked"] == 20
    assert part["agreement"]["base_rate"] == pytest.approx(0.1, abs=0.01)
    assert {shown["index"] for shown in part["most_exposed"]} <= set(late.tolist())
    assert "lira-online finds 100% of the first 20" in part["sentence"]
    assert loss_trace_part(trace, [], {"member": member, "index": index})["agreement"] is None


def test_canaries_are_not_ranked_among_the_members():
    """Record 0 is a canary: it is trained on, its loss falls last, and the audit's candidates leave it out."""
    losses = np.tile(np.linspace(1, 2, 10, dtype=np.float32)[:, None], (1, 4)) * np.array(
        [9, 1, 3, 2], dtype=np.float32
    )
    trace = LossTrace(np.arange(4), "data", list(losses), list(range(1, 11)))
    part = loss_trace_part(trace, [], {"member": np.array([True] * 3 + [False]), "index": np.array([1, 2, 3, 7])})
    assert [shown["index"] for shown in part["most_exposed"]] == [2, 3, 1]
    assert part["members"] == 3


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    edgepriv.train(
        data="digits", model="mlp", widths=[16], epochs=5, lr=0.01, out=folder / "model.pt", trace_losses=True
    )
    edgepriv.export(folder / "model.pt", bits=8, out=folder / "model.onnx")
    return folder


def test_a_training_leaves_the_loss_of_every_member_after_every_epoch_and_the_shipped_file_none_of_it(traced):
    trace = read_trace(traced / "model.losses.npz")
    losses = np.stack(trace.losses)
    assert trace.epochs == [1, 2, 3, 4, 5]
    assert losses.shape == (5, len(trace.members))
    assert losses[-1].mean() < losses[0].mean()
    shipped = (traced / "model.onnx").read_bytes()
    assert b"losses" not in shipped
    assert losses[-1, :8].tobytes() not in shipped


def test_an_audit_that_is_given_the_trace_ranks_members_by_it(traced):
    options = {"attacks": "quick", "robust": "none", "float_twin": False, "force": True}
    audited = edgepriv.audit(traced / "model.onnx", loss_trace=traced / "model.losses.npz", **options)
    part = json.loads(audited.file.read_text())["loss_trace"]
    trace = read_trace(traced / "model.losses.npz")
    ranges = lt_iqr(np.stack(trace.losses))
    assert part["most_exposed"][0]["index"] == trace.members[ranges.argmax()]
    assert "losses of training" in audited.report.read_text()


def test_the_trace_of_another_training_is_refused(traced, tmp_path):
    trace = read_trace(traced / "model.losses.npz")
    LossTrace(trace.members[1:], trace.data, [row[1:] for row in trace.losses], trace.epochs).write(tmp_path / "a.npz")
    LossTrace(trace.members, trace.data, trace.losses[:2], trace.epochs[:2]).write(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"nothing")
    for name, reason in (("a", "other members"), ("b", "2 epochs, too few"), ("c", "is no loss trace")):
        with pytest.raises(UserError, match=reason):
            edgepriv.audit(
                traced / "model.onnx", attacks="quick", robust="none", force=True, loss_trace=tmp_path / f"{name}.npz"
            )


def test_a_trace_of_an_interrupted_training_says_what_it_lacks():
    whole = LossTrace(np.arange(3), "data", [np.zeros(3, np.float32)] * 4, [1, 2, 3, 4])
    rest = LossTrace(np.arange(3), "data", [np.zeros(3, np.float32)] * 2, [3, 4])
    assert gap_in(whole, 4) == ""
    assert "the first 2 of 4 epochs" in gap_in(rest, 4)

"""Audits of ONNX files that are not ours, in the shapes that other exporters give them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepriv import data, pipeline
from edgepriv.audit.described import _one_number
from edgepriv.errors import UserError

WEIGHTS = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
WEIGHTS -= WEIGHTS.mean(axis=0)  # so that no class is the answer to most noise
DENSE = [helper.make_node("Flatten", ["t"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["logits"])]


def save(path, nodes, shape):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    returned = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "foreign", [given], [returned], [numpy_helper.from_array(WEIGHTS, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def labelled(x):
    """Labels that the models here give, but for every fifth."""
    y = (x[:, :4].reshape(len(x), -1) / 255 @ WEIGHTS).argmax(1)
    return np.where(np.arange(len(x)) % 5 == 0, (y + 1) % 3, y)


@pytest.fixture
def audited(tmp_path):
    """The audit of a model on colour images that are stored channels last."""
    x = np.random.default_rng(1).integers(0, 256, (60, 4, 4, 3), np.uint8)
    # 4x4 pixels would be taken for four channels; five rows are not.
    x = np.concatenate([x, x[:, :1]], axis=1)[:, :5]
    y = labelled(x)
    files = tmp_path / "a.npz", tmp_path / "b.npz"
    for part, path in zip((slice(30), slice(30, 60)), files, strict=True):
        np.savez(path, x=x[part], y=y[part].astype(float))

    def audited(model, attacks="quick"):
        changes = {
            "audit": {
                "robust": "quick",
                "robust_examples": 5,
                "pgd_steps": 2,
                "attacks": attacks,
                "queried_examples": 20,
            }
        }
        content = pipeline.audit(model, changes, members=files[0], non_members=files[1], accept_accuracy_loss=True)
        return content, data.from_member_files(*files)

    return audited


def channels_last(path, rest=DENSE):
    nodes = [helper.make_node("Slice", ["x", "from", "to", "axis"], ["s"]), helper.make_node("Identity", ["s"], ["t"])]
    constants = [("from", [0]), ("to", [4]), ("axis", [1])]
    given = [helper.make_node("Constant", [], [name], value_ints=value) for name, value in constants]
    return save(path, [*given, *nodes, *rest], ["N", 5, 4, 3])


def test_scores_that_are_no_probabilities_are_attacked_as_they_are(audited, tmp_path):
    """The softmax that makes probabilities of them would hide how large they are; where there is one, there is no more."""
    raw, _ = audited(channels_last(tmp_path / "raw.onnx"))
    assert {"score", "margin", "largest-score"} <= {row["name"] for row in raw["attacks"]}
    softmax = [
        *DENSE[:-1],
        helper.make_node("Gemm", ["f", "w"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["logits"]),
    ]
    sure, _ = audited(channels_last(tmp_path / "sure.onnx", softmax), attacks="quick,margin")
    assert not {"score", "largest-score"} & {row["name"] for row in sure["attacks"]}
    assert sure["left_out"] == [
        {
            "name": "margin",
            "reason": "needs scores that are no probabilities",
            "threat_model": "none",
            "attacker": "answers",
        }
    ]


def test_images_are_turned_for_a_model_that_takes_channels_last(audited, tmp_path):
    content, examples = audited(channels_last(tmp_path / "m.onnx"))
    rows = examples.inputs().transpose(0, 2, 3, 1)[:, :4].reshape(60, -1)
    right = (rows @ WEIGHTS).argmax(1) == examples.y
    assert content["utility"]["member_accuracy"] == pytest.approx(right[:30].mean())
    assert content["robustness"]["worst_case_accuracy"] is not None


def test_free_sizes_take_those_of_the_examples(audited, tmp_path):
    nodes = [helper.make_node("Slice", ["x", "from", "to", "axis"], ["t"])]
    constants = [("from", [0]), ("to", [4]), ("axis", [2])]
    given = [helper.make_node("Constant", [], [name], value_ints=value) for name, value in constants]
    path = save(tmp_path / "m.onnx", [*given, *nodes, *DENSE], ["N", "C", "H", "W"])
    content, _ = audited(path)
    assert any("is right on only" in warning for warning in content["warnings"])
    assert content["robustness"]["worst_case_accuracy"] is not None


def test_a_foreign_model_is_asked_many_times_without_reference_models(audited, tmp_path):
    """Labels alone, and gradients of the twin, are to be had of any file."""
    names = ["label-only-augmentation", "label-only-noise", "label-only-boundary", "adversarial-robustness"]
    content, _ = audited(channels_last(tmp_path / "m.onnx"), ",".join([*names, "adversarial/loss", "loss-trajectory"]))
    assert [row["name"] for row in content["attacks"]] == [*names, "adversarial/loss"]
    assert all(row["n_members"] == row["n_non_members"] == 10 for row in content["attacks"])
    assert [row["name"] for row in content["left_out"]] == ["loss-trajectory"]


def test_a_foreign_model_without_a_twin_is_asked_for_labels(audited, tmp_path):
    sort = helper.make_node("Hardmax", ["logits_of_all"], ["logits"], axis=-1)
    nodes = [helper.make_node("Flatten", ["t"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["logits_of_all"]), sort]
    content, _ = audited(channels_last(tmp_path / "m.onnx", nodes), "label-only-noise,adversarial/loss")
    assert [row["name"] for row in content["attacks"]] == ["label-only-noise"]
    assert content["left_out"][0]["reason"].startswith("the gradients of this graph cannot be computed: ")


def test_a_foreign_model_that_returns_labels_only_is_asked_for_them(audited, tmp_path):
    nodes = [
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    path = channels_last(tmp_path / "m.onnx", nodes)
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    onnx.save(model, path)
    content, examples = audited(path, "correctness,confidence,label-only-noise,adversarial/loss")
    rows = examples.inputs().transpose(0, 2, 3, 1)[:, :4].reshape(60, -1)
    right = (rows @ WEIGHTS).argmax(1) == examples.y
    assert content["utility"]["member_accuracy"] == pytest.approx(right[:30].mean())
    assert [row["name"] for row in content["attacks"]] == ["correctness", "label-only-noise"]
    assert {row["name"] for row in content["left_out"]} == {"confidence", "adversarial/loss"}
    assert content["robustness"]["worst_case_accuracy"] <= content["robustness"]["clean_accuracy"]


def test_attacks_that_need_a_manifest_are_refused_when_nothing_else_is_asked(audited, tmp_path):
    with pytest.raises(UserError, match=r"none of these attacks .*lira-online: .*manifest"):
        audited(channels_last(tmp_path / "m.onnx"), "lira-online")


def test_a_sigmoid_that_is_read_as_logits_is_told(audited, tmp_path):
    sigmoid = helper.make_node("Sigmoid", ["logits_of_all"], ["logits"])
    nodes = [
        helper.make_node("Flatten", ["t"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["logits_of_all"]),
        sigmoid,
    ]
    content, _ = audited(channels_last(tmp_path / "m.onnx", nodes), "confidence")
    assert any(warning.startswith("m.onnx ends with a sigmoid, ") for warning in content["warnings"])
    content, _ = audited(channels_last(tmp_path / "plain.onnx"), "confidence")
    assert not any("sigmoid" in warning for warning in content["warnings"])


@pytest.mark.parametrize(("shape", "one"), [(["n", 1], True), (["n"], True), (["n", 2], False), (["n", "k"], False)])
def test_one_number_for_each_example_is_no_separate_probability(shape, one):
    assert _one_number(helper.make_tensor_value_info("p", 1, shape)) is one


def test_repeated_examples_are_told(tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (40, 5, 4, 3), np.uint8)
    y = labelled(x)
    np.savez(tmp_path / "a.npz", x=np.concatenate([x[:20], x[:5]]), y=np.concatenate([y[:20], y[:5]]))
    np.savez(tmp_path / "b.npz", x=x[20:], y=y[20:])
    changes = {"audit": {"robust": "quick", "robust_examples": 5, "pgd_steps": 2, "attacks": "confidence"}}
    files = {"members": tmp_path / "a.npz", "non_members": tmp_path / "b.npz"}
    content = pipeline.audit(channels_last(tmp_path / "m.onnx"), changes, **files, accept_accuracy_loss=True)
    assert "5 of the 25 examples in a.npz repeat others: the intervals are too narrow" in content["warnings"]

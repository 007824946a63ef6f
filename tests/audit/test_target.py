"""Files of others: how they are fed and read is told by the user or found by the labels, and never taken on trust."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepriv import pipeline
from edgepriv.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (160, 6, 6), np.uint8)
PIXELS = RNG.standard_normal((36, 3)).astype(np.float32)
PIXELS -= PIXELS.mean(axis=0)
FLAT = IMAGES.reshape(160, 36).astype(np.float32)
CHANGES = {"audit": {"robust": "quick", "robust_examples": 10, "pgd_steps": 2, "attacks": "confidence,correctness"}}


def save(path, nodes, constants, shape, outputs=None, dtype=TensorProto.FLOAT):
    nodes = [helper.make_node(op, given.split(), made.split(), **more) for op, given, made, more in nodes]
    returned = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in (outputs or {"y": TensorProto.FLOAT}).items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = [helper.make_tensor_value_info("x", dtype, shape)]
    graph = helper.make_graph(nodes, "foreign", given, returned, tensors)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


def of_images(path, bias=0.0, shape=("N", 1, 6, 6), scale=1.0):
    nodes = [("Flatten", "x", "f", {}), ("Gemm", "f w b", "y", {})]
    return save(path, nodes, {"w": PIXELS * scale, "b": np.full(3, 0, np.float32) + bias}, shape)


def labelled(logits):
    """What the model says, but for every eighth example."""
    y = logits.argmax(axis=1)
    return np.where(np.arange(len(y)) % 8 == 0, (y + 1) % logits.shape[1], y)


def files(folder, x, y):
    for name, part in (("in", slice(80)), ("out", slice(80, None))):
        np.savez(folder / f"{name}.npz", x=x[part], y=y[part])
    return {"members": folder / "in.npz", "non_members": folder / "out.npz"}


def audited(path, given, audit=None, **options):
    changes = CHANGES | {"audit": CHANGES["audit"] | (audit or {})}
    return pipeline.audit(path, changes, force=True, **given, **options)


BIAS = np.array([3.0, 0.0, -3.0], np.float32)


def test_a_file_of_bytes_is_fed_whole_numbers_that_are_stored_as_floats(tmp_path):
    nodes = [("Cast", "x", "c", {"to": TensorProto.FLOAT}), ("Flatten", "c", "f", {}), ("Gemm", "f w b", "y", {})]
    shape, weights = ["N", 1, 6, 6], {"w": PIXELS / 50, "b": BIAS}
    path = save(tmp_path / "m.onnx", nodes, weights, shape, dtype=TensorProto.UINT8)
    y = labelled(FLAT @ PIXELS / 50 + BIAS)
    for stored in (IMAGES, IMAGES.astype(np.float32)):
        content = audited(path, files(tmp_path, stored, y))
        assert content["utility"]["member_accuracy"] == 7 / 8
    with pytest.raises(UserError, match="takes bytes, and these examples are numbers from"):
        audited(path, files(tmp_path, IMAGES + np.float32(0.25), y))


def test_bytes_that_a_file_wants_whole_are_not_divided_in_silence(tmp_path):
    logits = FLAT @ PIXELS / 50 + BIAS
    path = of_images(tmp_path / "m.onnx", BIAS, scale=1 / 50)
    given = files(tmp_path, IMAGES, labelled(logits))
    with pytest.raises(
        UserError, match=r"not stated how these bytes are fed.*fed from 0 to 255 \(--input-range 0:255\)"
    ):
        audited(path, given)
    content = audited(path, given, {"input_range": (0, 255)})
    assert content["utility"]["member_accuracy"] == 7 / 8
    assert content["utility"]["non_member_accuracy"] == 7 / 8
    assert any("87.5% of 80 members" in line for line in content["said"])


def test_a_file_that_is_fed_too_weakly_is_right_but_never_sure(tmp_path):
    """Standardised images have the labels of images divided by 255 here; only the loss tells them apart."""
    mean, std = FLAT.mean() / 255, FLAT.std() / 255
    logits = (FLAT / 255 - mean) / std @ PIXELS
    path = of_images(tmp_path / "m.onnx")
    given = files(tmp_path, IMAGES, logits.argmax(axis=1))
    with pytest.raises(UserError, match=r"depends on it.*--mean 0\.\d+ --std 0\.\d+"):
        audited(path, given)
    content = audited(path, given, {"mean": (float(mean),), "std": (float(std),)})
    assert content["utility"]["member_accuracy"] == 1
    assert audited(path, given, {"input_range": (0, 1)})["utility"]["member_accuracy"] == 1


def test_the_plain_way_is_taken_where_none_is_better_and_said(tmp_path):
    logits = FLAT / 255 @ PIXELS + BIAS / 10
    content = audited(of_images(tmp_path / "m.onnx", BIAS / 10), files(tmp_path, IMAGES, labelled(logits)))
    assert content["utility"]["member_accuracy"] == 7 / 8
    assert any("inputs are divided by 255" in line for line in content["said"])
    assert content["warnings"] == []


def test_a_model_of_other_examples_is_stopped_unless_that_is_accepted(tmp_path):
    path, y = of_images(tmp_path / "m.onnx", BIAS), np.random.default_rng(3).integers(0, 3, 160)
    given = files(tmp_path, IMAGES, y)
    with pytest.raises(UserError, match=r"always answering their largest class.*--accept-accuracy-loss"):
        audited(path, given)
    content = audited(path, given, accept_accuracy_loss=True)
    assert sum("accepted by --accept-accuracy-loss" in warning for warning in content["warnings"]) == 1


FEATURES = RNG.normal([50, 0.1, 4000, -7], [10, 0.02, 900, 3], (160, 4)).astype(np.float32)
TABLE = RNG.standard_normal((4, 3)).astype(np.float32)
STANDARD = ((FEATURES - [50, 0.1, 4000, -7]) / [10, 0.02, 900, 3]).astype(np.float32)


def of_features(path, **options):
    middle, spread = np.float32([50, 0.1, 4000, -7]), np.float32([10, 0.02, 900, 3])
    nodes = [("Sub", "x m", "c", {}), ("Div", "c s", "z", {}), ("MatMul", "z w", "y", {})]
    return save(path, nodes, {"m": middle, "s": spread, "w": TABLE}, ["N", 4], **options)


def test_raw_features_are_fed_as_they_are(tmp_path):
    content = audited(of_features(tmp_path / "m.onnx"), files(tmp_path, FEATURES, labelled(STANDARD @ TABLE)))
    assert content["utility"]["member_accuracy"] == 7 / 8
    assert content["robustness"]["eps"] == 0.05
    assert content["robustness"]["worst_case_accuracy"] <= content["robustness"]["clean_accuracy"]
    assert content["robustness"]["unit"] == "of each feature's range"
    assert "linf eps 0.05: a perturbation moves each feature by at most 0.05 times its range" in " ".join(
        content["said"]
    )


def test_budgets_of_images_outside_0_to_1_are_in_their_units(tmp_path):
    standard = ((FLAT / 255 - 0.5) / 0.25).reshape(-1, 6, 6)
    path = of_images(tmp_path / "m.onnx", BIAS)
    given = files(tmp_path, standard, labelled(standard.reshape(160, 36) @ PIXELS + BIAS))
    changes = CHANGES | {"adversary": {"eps": 0.2}}
    content = pipeline.audit(path, changes, **given)
    assert content["utility"]["member_accuracy"] == 7 / 8
    assert content["robustness"]["eps"] == pytest.approx(0.2)
    assert [point["eps"] for point in content["robustness"]["curve"]] == pytest.approx([0, 0.1, 0.2, 0.4])
    assert any("lie in [-2, 2]" in line for line in content["said"])
    derived = audited(path, given)
    assert derived["robustness"]["eps"] == pytest.approx(0.4)
    assert any("eps is not given" in line for line in derived["said"])
    assert derived["robustness"]["unit"] == "in the inputs' own units"


def test_labels_are_matched_with_the_files_own(tmp_path):
    classifier = {
        "domain": "ai.onnx.ml",
        "classlabels_strings": ["high", "low", "mid"],
        "coefficients": TABLE.T.ravel().tolist(),
        "intercepts": [0.0] * 3,
        "post_transform": "SOFTMAX",
    }
    nodes = [("LinearClassifier", "x", "label p", classifier)]
    outputs = {"label": TensorProto.STRING, "p": TensorProto.FLOAT}
    path = save(tmp_path / "m.onnx", nodes, {}, ["N", 4], outputs)
    named = np.array(["high", "low", "mid"])[labelled(STANDARD @ TABLE)]
    content = audited(path, files(tmp_path, STANDARD, named))
    assert content["utility"]["member_accuracy"] == 7 / 8


CENTRED = [("ReduceMean", "x", "m", {"axes": [0], "keepdims": 1}), ("Sub", "x m", "c", {})]


def test_answers_that_depend_on_the_batch_are_refused_or_asked_one_by_one(tmp_path):
    nodes = [*CENTRED, ("MatMul", "c w", "l", {}), ("Add", "l b", "y", {})]
    path = save(tmp_path / "m.onnx", nodes, {"w": TABLE, "b": BIAS}, ["N", 4])
    given = files(tmp_path, STANDARD, labelled(STANDARD @ TABLE + BIAS))
    with pytest.raises(UserError, match=r"by the batch that it stands in: of 48 inputs .*--batch-dependent"):
        audited(path, given)
    content = audited(path, given, {"batch_dependent": True}, accept_accuracy_loss=True)
    alone = (labelled(STANDARD @ TABLE + BIAS)[:80] == 0).mean()  # alone, every input is its own mean
    assert content["utility"]["member_accuracy"] == alone
    assert any("run on its own" in line for line in content["said"])


def test_a_batch_that_moves_probabilities_alone_is_refused_too(tmp_path):
    nodes = [CENTRED[0], ("Mul", "m s", "a", {}), ("Sub", "x a", "c", {}), ("MatMul", "c w", "y", {})]
    constants = {"w": TABLE / 10, "s": np.float32(0.05)}
    given = files(tmp_path, STANDARD, labelled(STANDARD @ TABLE))
    with pytest.raises(
        UserError, match=r"of 48 inputs asked alone and in batches, .* probabilities move by up to 0\.0"
    ):
        audited(save(tmp_path / "m.onnx", nodes, constants, ["N", 4]), given)


def test_pictures_whose_channels_are_reversed_are_found(tmp_path):
    x = RNG.integers(0, 256, (160, 3, 4, 5), np.uint8)
    w = RNG.standard_normal((60, 3)).astype(np.float32)
    w -= w.mean(axis=0)
    y = labelled(x[:, ::-1].reshape(160, 60) / 255 @ w)
    path = save(tmp_path / "m.onnx", [("Flatten", "x", "f", {}), ("MatMul", "f w", "y", {})], {"w": w}, ["N", 3, 4, 5])
    with pytest.raises(UserError, match=r"another order .* 87\.5% .*red and blue swapped \(x\[:, ::-1\]\)"):
        audited(path, files(tmp_path, x, y))
    told = {"input_range": (0.0, 1.0)}  # which says nothing of the channels
    with pytest.raises(UserError, match="save them in that order"):
        audited(path, files(tmp_path, x, y), told)
    assert audited(path, files(tmp_path, x[:, ::-1], y), told)["utility"]["member_accuracy"] == 7 / 8


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        (("N", 3, 6, 6), "--channels 3"),
        (("N", 1, 8, 8), "--image-size 8x8"),
        (("N", 4, 4, 3), "--channels 3 --image-size 4x4"),
        (("N", 36), "save the examples in that shape"),
    ],
)
def test_pictures_of_another_shape_are_refused_with_the_option_that_makes_them_fit(tmp_path, shape, remedy):
    path = save(tmp_path / "m.onnx", [("Flatten", "x", "y", {})], {}, shape)
    with pytest.raises(UserError, match=rf"takes inputs of shape \[N, .*these are \[N, 1, 6, 6\]: .*{remedy}"):
        audited(path, files(tmp_path, IMAGES, np.arange(160) % 3))


def test_attacks_read_positive_scores_by_their_shares(tmp_path):
    nodes = [("MatMul", "x w", "l", {}), ("Exp", "l", "y", {})]
    path = save(tmp_path / "m.onnx", nodes, {"w": TABLE}, ["N", 4])
    logits = save(tmp_path / "l.onnx", [*nodes[:1], ("Identity", "l", "y", {})], {"w": TABLE}, ["N", 4])
    given = files(tmp_path, STANDARD, labelled(STANDARD @ TABLE))
    asked = {"attacks": "confidence,entropy,margin"}
    powers, same = (audited(one, given, asked) for one in (path, logits))
    assert [row["auc"] for row in powers["attacks"]] == pytest.approx([row["auc"] for row in same["attacks"]], abs=2e-3)
    assert any("divided by its sum" in line for line in powers["said"])
    assert powers["robustness"]["worst_case_accuracy"] == same["robustness"]["worst_case_accuracy"]


def test_random_answers_are_said(tmp_path):
    nodes = [
        ("RandomNormalLike", "x", "r", {"scale": 0.1}),
        ("Add", "x r", "n", {}),
        ("MatMul", "n w", "y", {}),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"w": TABLE}, ["N", 4])
    content = audited(path, files(tmp_path, STANDARD, labelled(STANDARD @ TABLE)))
    assert "differently each time" in content["warnings"][0]


@pytest.mark.parametrize("size", [1, 8])
def test_files_of_a_fixed_batch_are_audited(tmp_path, size):
    path = of_images(tmp_path / "m.onnx", BIAS / 10, shape=(size, 1, 6, 6))
    content = audited(path, files(tmp_path, IMAGES, labelled(FLAT / 255 @ PIXELS + BIAS / 10)))
    assert content["utility"]["member_accuracy"] == 7 / 8
    assert content["robustness"]["worst_case_accuracy"] is not None


def test_a_file_of_ours_says_itself_how_it_is_fed(tmp_path):
    path = of_images(tmp_path / "m.onnx", BIAS / 10)
    model = onnx.load(path)
    helper.set_model_props(model, {"edgepriv_version": "1", "class_names": '["a", "b", "c"]', "output": "logits"})
    onnx.save(model, path)
    given = files(tmp_path, IMAGES, labelled(FLAT / 255 @ PIXELS + BIAS / 10))
    with pytest.raises(UserError, match="states how it is fed and read: leave out --mean"):
        audited(path, given, {"mean": (0.5,), "std": (0.5,)})
    assert audited(path, given)["utility"]["member_accuracy"] == 7 / 8


def test_sizes_that_a_file_leaves_open_may_be_stated_and_are_compared_with_the_examples(tmp_path):
    given = files(tmp_path, IMAGES, labelled(FLAT @ PIXELS))
    path = of_images(tmp_path / "open.onnx", shape=("N", 1, "h", "w"))
    audited(path, given, input_shape=(1, 6, 6))
    assert pipeline.show(path, input_shape=(1, 6, 6))["inputs"][0]["shape"] == ["N", 1, 6, 6]
    with pytest.raises(UserError, match=r"--input-shape 1,8,8: .* would be fed examples of 1,6,6"):
        audited(path, given, input_shape=(1, 8, 8))
    with pytest.raises(UserError, match=r"--input-shape 3,6,6: the model's input 'x' is \[N, 1, \?, \?\]"):
        pipeline.show(path, input_shape=(3, 6, 6))

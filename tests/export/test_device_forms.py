"""Files that return logits or labels, take bytes, or are .ort: the Python kit."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgepriv.device import predict as kit
from edgepriv.device.verify import verify
from edgepriv.measure.kit import write_kit


def noise(n=20):
    return np.random.default_rng(3).integers(0, 256, (n, 3, 12, 12), dtype=np.uint8)


def answers(model, x):
    session = kit.open_session(model)
    outputs = kit.predict(session, kit.fit_inputs(session, x))
    return kit.output_kind(session, outputs), outputs


def test_all_forms_say_the_same(deployed):
    kind, probabilities = answers(deployed(), noise())
    assert kind == "probabilities"
    kind, logits = answers(deployed(output="logits", input="uint8"), noise())
    assert kind == "logits"
    np.testing.assert_allclose(kit.softmax(logits), probabilities, atol=1e-6)
    for source in ("float32", "uint8"):
        kind, labels = answers(deployed(output="label", input=source), noise())
        assert (kind, labels.dtype) == ("label", np.int64)
        assert labels.tolist() == probabilities.argmax(axis=1).tolist()


def test_bytes_are_taken_as_whole_numbers_of_any_type(deployed):
    session = kit.open_session(deployed(output="logits", input="uint8"))
    for kind in (np.uint8, np.int64, np.float32):
        fitted = kit.fit_inputs(session, noise().astype(kind))
        assert fitted.dtype == np.uint8
        np.testing.assert_array_equal(fitted, noise())
    for wrong in (noise() / 255, noise() + 0.5, noise() - 1.0, np.ones((1, 3, 12, 12)), noise() * np.nan):
        with pytest.raises(kit.KitError, match="bytes: whole numbers from 0 to 255"):
            kit.fit_inputs(session, wrong)


@pytest.mark.parametrize("form", ["logits", "label"])
def test_the_command_prints_names(form, deployed, tmp_path):
    model = deployed(output=form, input="uint8")
    np.save(tmp_path / "x.npy", noise(2))
    command = [sys.executable, kit.__file__, model, tmp_path / "x.npy"]
    rows = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True).stdout)["predictions"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[1] for line in lines] == [row["name"] for row in rows]
    assert rows[0].keys() == {"label", "name"} | ({"logits"} if form == "logits" else set())
    assert all(len(line.split()) == (3 if form == "logits" else 2) for line in lines)


def test_labels_verify_exactly(deployed):
    model = deployed(output="label", input="uint8")
    folder = model.parent / "device"
    assert verify(folder)["tolerance"] == 0
    golden = json.loads((folder / "golden.json").read_text())
    golden["outputs"][5] += 1
    (folder / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(kit.KitError, match="1 of 16 labels are not those at export"):
        verify(folder)


def test_logits_may_differ_in_proportion_to_their_size(deployed):
    model = deployed(output="logits", input="uint8")
    _, logits = answers(model, np.zeros((1, 3, 12, 12), np.uint8))
    assert verify(model.parent / "device")["tolerance"] > 1e-3 * max(1, np.abs(logits).max()) / 2


def test_activations_of_8_bits_are_allowed_to_differ_more(deployed):
    model = deployed(profile="memory", compute="int8")
    assert verify(model.parent / "device")["tolerance"] == 1e-2


def test_an_ort_file_predicts_and_verifies(deployed, as_ort):
    model = deployed()
    converted = as_ort(model)
    write_kit(model, also=[converted], force=True)
    assert verify(model.parent / "device", converted)["model"] == "model.ort"
    np.testing.assert_allclose(answers(converted, noise())[1], answers(model, noise())[1], atol=1e-6)


def test_foreign_files_are_told_by_what_they_return(model_of):
    x = np.array([[0.5, 0.25], [1, 0]], np.float32)
    for graph, kind in [
        ("g (float[N, 2] a) => (float[N, 2] out) { out = Softmax(a) }", "probabilities"),
        ("g (float[N, 2] a) => (float[N, 2] out) { out = Neg(a) }", "logits"),
        ("g (float[N, 2] a) => (int64[N] out) { out = ArgMax <axis = 1, keepdims = 0> (a) }", "label"),
    ]:
        assert answers(model_of(graph), x)[0] == kind
    with pytest.raises(kit.KitError, match="not one number per class"):
        answers(model_of("g (float[N, 2, 1] a) => (float[N, 2, 1] out) { out = Neg(a) }"), x[..., None])

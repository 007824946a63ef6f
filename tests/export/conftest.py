import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import edgepriv.device.predict
from edgepriv.device.table import KIND
from edgepriv.measure.kit import write_kit
from edgepriv.recipe import Export, Quantize

SOURCE = Path(edgepriv.device.predict.__file__).parent
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
small (float[N, 3] input) => (float[N, 2] probabilities)
<float[3, 2] w = {0, 1, 0, 2, 0, 4}> {
    logits = MatMul(input, w)
    probabilities = Softmax <axis = 1> (logits)
}
"""


@pytest.fixture
def model(tmp_path):
    """File of a classifier with p(b) = sigmoid(x0 + 2 x1 + 4 x2) and the classes a and b."""
    parsed = onnx.parser.parse_model(GRAPH)
    onnx.helper.set_model_props(parsed, {"edgepriv_version": "0", "class_names": '["a", "b"]'})
    path = tmp_path / "model.onnx"
    onnx.save(parsed, path)
    return path


@pytest.fixture
def model_of(tmp_path):
    """Write a model given in ONNX's text format, return its path."""

    def write(graph, name="other.onnx"):
        path = tmp_path / name
        onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}'), path)
        return path

    return write


@pytest.fixture
def pictured(tmp_path):
    """Write pictured.onnx, a linear classifier of pictures of 12 x 12 pixels into three classes, and return its path."""

    def write(takes="float", channels=3):
        size = 144 * channels
        weights = 9 * np.random.default_rng(0).normal(size=(size, 3)).astype(np.float32) / size**0.5
        scaled = "Cast <to = 1> (input)" if takes == "float" else "Div(cast, full)"
        graph = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["" : 21]> g ({takes}[N, {channels}, 12, 12] input) => (float[N, 3] '
            f"probabilities) <float full = {{255.0}}, float[{size}, 3] w> {{ cast = Cast <to = 1> (input) x = {scaled} "
            "flat = Flatten(x) logits = MatMul(flat, w) probabilities = Softmax <axis = 1> (logits) }"
        )
        graph.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
        onnx.helper.set_model_props(graph, {"edgepriv_version": "0", "class_names": '["a", "b", "c"]'})
        path = tmp_path / "pictured.onnx"
        onnx.save(graph, path)
        return path

    return write


@pytest.fixture
def titanic(tmp_path):
    """A model.onnx that takes the rows of a table with age and sex, p(b) rising with the age, and its kit."""
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> small (float[N, 3] input) => (float[N, 2] probabilities)'
        "<float[3, 2] w = {0, 3, 0, 1, 0, 0}> { l = MatMul(input, w) probabilities = Softmax <axis = 1> (l) }"
    )
    columns = [
        {"name": "age", "place": 0, "kind": "integer", "low": 17, "high": 90, "fill": 38, "missing": False},
        {"name": "sex", "place": 1, "kind": "category", "categories": ["F", "M"], "missing": False, "other": False},
    ]
    record = {"version": 1, "columns": columns, "decimal": ".", "thousands": "", "missing": ["", "?"]}
    record |= {"titled": True, "width": 3, "label": "who", "label_place": 2}
    told = {"edgepriv_version": "0", "class_names": '["a", "b"]', KIND: json.dumps(record)}
    onnx.helper.set_model_props(graph, told)
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    write_kit(path)
    return path


@cache
def _built(settings):
    import torch
    from torch import nn

    from edgepriv.artifact.build import build_graph
    from edgepriv.models import Classifier
    from edgepriv.training import quantize_weights

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(576, 32),
        nn.ReLU(),
        nn.Linear(32, 5),
    )
    network[-1].weight.data *= 20  # so that the probabilities of different inputs differ
    classifier = Classifier(network, [0.4] * 3, [0.25] * 3).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    names = ["bridge", "cliff", "forest", "harbour", "meadow"]
    return build_graph(classifier, weights, input_shape=(3, 12, 12), class_names=names, settings=settings).content


@pytest.fixture
def deployed(tmp_path):
    """Write model.onnx, a 4-bit colour classifier of 12 x 12 pixels, as ``Export`` settings ask, and its kit."""

    def write(**settings):
        path = tmp_path / "out" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_built(Export(**settings)))
        write_kit(path, force=True)
        return path

    return write


def _installed(kind, tmp_path_factory):
    """node_modules of the kit's ``kind``, removed afterwards; the test is skipped where npm cannot install it."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    folder = tmp_path_factory.mktemp(kind)
    shutil.copy(SOURCE / kind / "package.json", folder)
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--loglevel=error"]
    try:
        ended = subprocess.run(
            ["npm", "install", "--ignore-scripts", *quiet], cwd=folder, capture_output=True, text=True, timeout=180
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm install took more than 180 seconds")
    if ended.returncode != 0:
        pytest.skip(f"npm install failed: {' '.join(ended.stderr.split())[:200]}")
    yield folder / "node_modules"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def onnxruntime_node(tmp_path_factory):
    yield from _installed("node", tmp_path_factory)


@pytest.fixture(scope="session")
def onnxruntime_web(tmp_path_factory):
    yield from _installed("web", tmp_path_factory)


@pytest.fixture
def as_ort(tmp_path):
    """Write a model as .ort, return its path."""
    import onnxruntime as ort

    def convert(path):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(path.with_suffix(".ort"))
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 4
        options.add_session_config_entry("session.save_model_format", "ORT")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return path.with_suffix(".ort")

    return convert

import onnx
import onnx.parser
import pytest

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

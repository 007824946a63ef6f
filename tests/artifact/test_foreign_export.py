import numpy as np
import onnx
import pytest
from foreign_nets import angle_classifier, channels_last, file_type_classifier, floats, model_of, normal, perceptron
from onnx import helper

from edgepriv.artifact.contract import source_of
from edgepriv.artifact.foreign_export import pack_graph, prove_packed
from edgepriv.artifact.foreign_inputs import example_shape, random_examples, read_by
from edgepriv.artifact.layers import layers
from edgepriv.artifact.session import predict, started
from edgepriv.errors import UserError
from edgepriv.recipe import Export, Quantize

NETS = {
    "angle": (angle_classifier, (3, 12, 20), None),
    "file type": (file_type_classifier, None, None),
    "channels last": (channels_last, None, None),
    "perceptron": (perceptron, None, "probabilities"),
}
PROFILES = ("latency", "memory", "portable")


def opened(name):
    make, shape, output = NETS[name]
    model = make()
    session = started(model.SerializeToString(), name)
    x = random_examples(session, example_shape(source_of(session), shape), 8)
    contract, _ = read_by(session, x, output)
    return model, session, x, contract


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NETS)
def test_a_graph_from_elsewhere_is_packed_and_computes_what_its_integers_stand_for(name, profile):
    model, session, x, contract = opened(name)
    packed = pack_graph(model, Quantize(bits=4), Export(profile=profile))
    parity, own = prove_packed(model, packed, contract, x)
    assert parity.max_difference <= 1e-6
    assert packed.left_float == {}
    assert {layer.bits for layer in layers(onnx.load_from_string(packed.content))} <= {4, 32}
    assert sum(layer.bits == 4 for layer in layers(onnx.load_from_string(packed.content))) >= 2
    assert own.get_inputs()[0].name == session.get_inputs()[0].name
    assert [output.name for output in own.get_outputs()] == [output.name for output in session.get_outputs()]
    assert not np.array_equal(predict(own, x), predict(session, x))  # 4 bits do change the answers


@pytest.mark.parametrize("name", NETS)
def test_at_full_width_a_file_keeps_its_answers(name):
    model, session, x, contract = opened(name)
    packed = pack_graph(model, Quantize(bits=32), Export())
    assert packed.integers == {}
    _, own = prove_packed(model, packed, contract, x)
    assert np.abs(predict(own, x) - predict(session, x)).max() <= 1e-6


@pytest.mark.parametrize("opset", [9, 13, 22, 25])
def test_any_opset_is_taken(opset):
    model = perceptron(opset)
    packed = pack_graph(model, Quantize(bits=3), Export())
    (own,) = {entry.version for entry in onnx.load_from_string(packed.content).opset_import if entry.domain == ""}
    assert own == max(21, opset)


def test_an_open_size_that_nobody_says_is_asked_for():
    session = started(angle_classifier().SerializeToString(), "angle")
    with pytest.raises(
        UserError, match=r"leaves sizes open \(\[N, 3, \?, \?\]\): say them with --input-shape, such as"
    ):
        example_shape(source_of(session), None)
    with pytest.raises(UserError, match="--input-shape 1,8,8: the model's input 'x' is"):
        example_shape(source_of(session), (1, 8, 8))


def test_random_tokens_are_those_that_the_embedding_knows():
    session = started(file_type_classifier().SerializeToString(), "file type")
    x = random_examples(session, (32,), 6)
    assert (x == np.rint(x)).all()
    assert 8 < x.max() < 40  # 40 rows: the largest power of two of them


def test_of_several_outputs_one_is_chosen_or_named():
    session = started(perceptron().SerializeToString(), "perceptron")
    x = random_examples(session, (10,), 8)
    with pytest.raises(UserError, match="there is no such output; the model's outputs are embedding"):
        read_by(session, x, "nothing")
    contract, _ = read_by(session, x, "probabilities")
    assert (contract.outputs, contract.classes, contract.fixed_batch) == (("probabilities",), 3, 4)


def test_a_packed_linear_at_the_end_keeps_the_name_of_the_output():
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["theirs"])]
    weights = [("w", normal(0, 1024, 16)), ("b", normal(1, 16))]
    model = model_of(nodes, [floats("x", ["N", 1024])], [floats("theirs", ["N", 16])], 13, weights)
    packed = pack_graph(model, Quantize(bits=4), Export(profile="memory", keep_packed=True))
    assert packed.packed_linears == 1
    (output,) = started(packed.content, "packed").get_outputs()
    assert (output.name, output.shape) == ("theirs", ["N", 16])


def test_bits_are_chosen_by_the_names_of_the_file():
    packed = pack_graph(file_type_classifier(), Quantize(bits="conv*=8,*=4"), Export())
    assert [tensor.bits for tensor in packed.integers.values()] == [4, 8, 4]
    with pytest.raises(UserError, match="nothing matches no layer: the model's are embed/Gather_0, conv/kernel_0"):
        pack_graph(file_type_classifier(), Quantize(bits="nothing=4,*=32"), Export())


def test_a_weight_that_is_read_in_two_ways_stays_float_with_the_reason():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "w"], ["b"], transB=1),
        helper.make_node("MatMul", ["b", "v"], ["logits"]),
    ]
    weights = [("w", normal(0, 6, 6)), ("v", normal(1, 6, 2))]
    model = model_of(nodes, [floats("x", ["N", 6])], [floats("logits", ["N", 2])], 13, weights)
    packed = pack_graph(model, Quantize(bits=4), Export())
    assert packed.left_float == {"w": "it is read in two ways, by MatMul and Gemm"}
    assert list(packed.integers) == ["v"]


def test_what_is_quantized_already_or_has_no_weights_is_refused():
    no_weights = model_of(
        [helper.make_node("Softmax", ["x"], ["p"])], [floats("x", ["N", 3])], [floats("p", ["N", 3])], 13
    )
    with pytest.raises(UserError, match="has no float32 weights"):
        pack_graph(no_weights, Quantize(bits=4), Export())
    quantized = angle_classifier()
    quantized.graph.node[-2].op_type = "MatMulInteger"
    with pytest.raises(UserError, match=r"quantized already \(MatMulInteger\)"):
        pack_graph(quantized, Quantize(bits=4), Export())
    with pytest.raises(UserError, match="learns its scales in training"):
        pack_graph(angle_classifier(), Quantize(bits=4, quantizer="lsq"), Export())


def test_a_wrong_number_in_the_packed_file_is_noticed():
    model, _, x, contract = opened("angle")
    packed = pack_graph(model, Quantize(bits=4), Export())
    other = angle_classifier()
    for node in other.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("epsilon", 0.5))
    with pytest.raises(UserError, match="does not compute what its integers stand for"):
        prove_packed(other, packed, contract, x)

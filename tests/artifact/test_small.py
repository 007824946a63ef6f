"""Small networks run as fast as float in every profile: what they would be packed for, they do not need."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from nets import CLASSES, NETS, classifier_of, inputs_of, traced

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.export import export, prove_kernels
from edgepriv.artifact.layers import layers
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.profiles import lower_for_latency, profile
from edgepriv.artifact.session import op_histogram, open_session, optimized_graph, predict
from edgepriv.artifact.small import SMALL, fitted, restore_plainly
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import quantize_weights

NAMES = [f"class {label}" for label in range(CLASSES)]


@pytest.fixture(scope="module")
def weights():
    return quantize_weights(classifier_of("convolutions").network, Quantize(bits=4))


def test_only_small_networks_in_packed_profiles_are_laid_out_otherwise(weights):
    assert fitted(Export(profile="memory"), weights)[0] is lower_for_latency
    lowering, note = fitted(Export(profile="portable"), weights)
    assert lowering is restore_plainly
    assert "profile portable: the weights are restored" in note
    assert "--keep-packed" in note
    for settings in (
        Export(profile="latency"),
        Export(profile="memory", keep_packed=True),
        Export(profile="memory", compute="int8-dynamic"),
    ):
        assert fitted(settings, weights) == (profile(settings.profile), None)
    name, tensor = next(iter(weights.items()))
    large = {name: replace(tensor, integers=np.zeros((2, SMALL // 2), np.uint8))}
    assert fitted(Export(profile="memory"), large)[1] is not None
    large[name + " too"] = tensor
    assert fitted(Export(profile="memory"), large)[1] is None


@pytest.mark.parametrize(("bits", "granularity"), [(3, "channel"), (4, "block:16"), (6, "tensor"), (8, "channel")])
def test_portable_weights_are_restored_by_operators_of_the_standard_and_run_as_float(bits, granularity):
    classifier = classifier_of("convolutions")
    weights = quantize_weights(classifier.network, Quantize(bits=bits, granularity=granularity))

    def build(chosen, **how):
        return build_graph(
            classifier,
            chosen,
            input_shape=NETS["convolutions"][1],
            class_names=NAMES,
            traced=traced("convolutions"),
            **how,
        ).content

    content = build(weights, settings=Export(profile="portable"), lowering=restore_plainly)
    model = onnx.load_from_string(content)
    assert {node.domain for node in model.graph.node} == {""}
    assert not {"BitShift", "DequantizeLinear"} & {node.op_type for node in model.graph.node}
    assert op_histogram(content) == op_histogram(build({}))
    prove_kernels(optimized_graph(content), 0)
    assert {layer.bits for layer in layers(model)} >= {4 if bits <= 4 else 8}
    x = inputs_of("convolutions")
    np.testing.assert_allclose(
        predict(open_session(content), x), torch_probabilities(classifier, weights, x), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("keep", [False, True])
def test_the_export_says_what_it_has_done(weights, tmp_path, keep):
    exported = export(
        classifier_of("convolutions"),
        weights,
        input_shape=NETS["convolutions"][1],
        class_names=NAMES,
        x=inputs_of("convolutions"),
        path=tmp_path / "model.onnx",
        settings=Export(profile="portable", keep_packed=keep),
    )
    assert (exported.layout is None) == keep
    assert ("DequantizeLinear" in exported.ops) == keep

"""model.ort beside model.onnx."""

import numpy as np
import pytest
from nets import CLASSES, NETS, classifier_of, inputs_of, weights_of

from edgepriv.artifact.export import export
from edgepriv.artifact.session import check_contract, open_session, predict
from edgepriv.device.ops import executed_ops
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.recipe import Export


def exported(path, bits=4, **settings):
    classifier = classifier_of("table")
    return export(
        classifier, weights_of(classifier, bits), input_shape=NETS["table"][1], class_names=list("abcde")[:CLASSES],
        x=inputs_of("table"), path=path, settings=Export(ort=True, **settings),
    )  # fmt: skip


@pytest.mark.parametrize("form", ["probabilities", "label"])
def test_the_ort_file_computes_what_the_onnx_file_computes(tmp_path, form):
    facts = exported(tmp_path / "m.onnx", output=form).ort
    path = tmp_path / "m.ort"
    assert facts == {"file": "m.ort", "sha256": sha256_of(path), "size_bytes": path.stat().st_size}
    session = open_session(path)
    assert check_contract(session).returns == form
    x = inputs_of("table")
    np.testing.assert_allclose(predict(session, x), predict(open_session(tmp_path / "m.onnx"), x), atol=1e-6)
    assert "nchwc.Conv" not in executed_ops(path)


def test_a_profile_that_the_format_cannot_hold_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"cannot hold the weights of profile portable: use --profile memory"):
        exported(tmp_path / "m.onnx", profile="portable", keep_packed=True)
    assert not list(tmp_path.iterdir())

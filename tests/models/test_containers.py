"""Weights as training code leaves them: in a container, under a prefix, in another dtype; what was recognised is said."""

import argparse
import gzip
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edgepriv.errors import UserError
from edgepriv.models.containers import state_for, tensors_in
from edgepriv.models.reading import load_tensors


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))


NET = network()
STATE = {name: value.clone() for name, value in NET.state_dict().items()}
OTHER = {name: value + 1 for name, value in STATE.items()}
OPTIMIZER = torch.optim.SGD(NET.parameters(), 0.1, momentum=0.9).state_dict()


def under(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def read(content, wanted=STATE):
    return state_for(content, [wanted], "net", "file.pth")


def assert_is(found, state=STATE):
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (STATE, None),
        (
            {"epoch": 5, "model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER, "loss": 0.4},
            "read model_state_dict",
        ),
        ({"model": STATE, "optimizer": OPTIMIZER, "args": {"lr": 0.1}}, "read model"),
        ({"net": under("module."), "acc": 93.1}, "read net without the prefix module."),
        (under("_orig_mod."), "without the prefix _orig_mod."),
        (under("module._orig_mod."), "without the prefix module._orig_mod."),
        ({"state_dict": under("model."), "loops": {}}, "read state_dict without the prefix model."),
        ({"checkpoint": {"weights": {"ours": STATE}}}, "read checkpoint.weights.ours"),
        ({"trainer": {"state": {"nets": {"main": STATE}}}}, "read trainer.state.nets.main"),
        ({"folds": [STATE], "epoch": 3}, "read folds.0"),
        (AveragedModel(NET).state_dict(), "averaged weights, the state_dict without the prefix module."),
        ({"model_ema": STATE}, "read averaged weights, model_ema"),
    ],
)
def test_containers_and_prefixes_are_recognised_and_said(content, said):
    found = read(content)
    assert_is(found)
    assert (said is None) == (not found.notes)
    assert said is None or found.notes[0].endswith(said)


def test_a_wrapper_inside_the_names_is_left_out():
    names = {name.replace("0.", "0.module.", 1) if name.startswith("0.") else name: v for name, v in STATE.items()}
    assert_is(read(names))


def test_counters_of_profilers_are_not_weights():
    counted = {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1), "1.n_averaged": torch.tensor(3)}
    assert_is(read(STATE | counted))
    assert_is(read({**STATE, "_metadata": {"version": 2}}))


def test_batch_norm_from_before_it_counted_batches():
    assert_is(read({name: value for name, value in STATE.items() if "num_batches" not in name}))


def test_what_stands_beside_the_network_is_left_out_and_said():
    content = {"state_dict": under("model.") | {"criterion.weight": torch.ones(3), "val_acc.total": torch.ones(1)}}
    found = read(content)
    assert_is(found)
    assert "left out what does not stand under model.: criterion.weight, val_acc.total" in found.notes


def test_the_weights_are_taken_and_their_average_is_named():
    found = read({"state_dict": STATE, "state_dict_ema": OTHER})
    assert_is(found)
    assert any("averaged weights in state_dict_ema differ and were not taken" in words for words in found.notes)
    assert not any("differ" in words for words in read({"state_dict": STATE, "state_dict_ema": STATE}).notes)


def test_two_networks_that_differ_are_not_guessed_between():
    with pytest.raises(UserError, match=r"several sets of weights that fit: .*student.*teacher"):
        read(under("student.") | under("teacher.", OTHER))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_other_widths_of_floats_become_the_networks(dtype):
    content = {name: value.to(dtype) if value.ndim > 1 else value for name, value in STATE.items()}
    found = read(content)
    assert all(value.dtype == STATE[name].dtype for name, value in found.state.items())
    assert torch.equal(found.state["3.weight"], STATE["3.weight"].to(dtype).float())
    assert found.notes == (f"{str(dtype).removeprefix('torch.')} weights became float32",)


def test_sparse_weights_become_dense():
    found = read(STATE | {"3.weight": STATE["3.weight"].to_sparse()})
    assert_is(found)
    assert found.notes == ("sparse weights became dense",)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # deprecated, and in files that exist
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "quantized"),
        (lambda weight: weight.to(torch.int8), "int8, whose scale is not known"),
        (lambda weight: weight.to(torch.complex64), "complex numbers"),
        (lambda weight: weight.to("meta"), "empty"),
    ],
)
def test_what_cannot_become_the_networks_is_refused(changed, sentence):
    with pytest.raises(UserError, match=f"3.weight .*{sentence}"):
        read(STATE | {"3.weight": changed(STATE["3.weight"])})


def test_a_shared_tensor_may_be_stored_once():
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    once = {name: value for name, value in tied.state_dict().items() if name != "0.weight"}
    assert torch.equal(read(once, tied.state_dict()).state["0.weight"], tied[0].weight)


def test_both_names_of_weight_norm_are_one():
    def normed(norm):
        torch.manual_seed(0)
        return nn.Sequential(norm(nn.Linear(4, 2)))

    new = normed(nn.utils.parametrizations.weight_norm).state_dict()
    old = {"0.bias": new["0.bias"], "0.weight_g": new["0.parametrizations.weight.original0"]}
    old |= {"0.weight_v": new["0.parametrizations.weight.original1"]}
    assert_is(read(old, new), new)


def test_a_misfit_names_what_matters_first():
    with pytest.raises(UserError) as error:
        read(STATE | {"3.weight": torch.zeros(2, 5), "extra.weight": torch.zeros(1)})
    sentence = str(error.value)
    assert "do not fit model 'net': 3.weight is [2, 5] where the model has [3, 144]" in sentence
    assert "the model has no extra.weight" in sentence
    with pytest.raises(UserError, match=r"the model has no stem\.w, stem\.b; the file has no 0\.weight, 0\.bias"):
        read({"stem.w": OTHER["0.weight"], "stem.b": OTHER["0.bias"]})


def test_without_a_network_the_wrappers_are_still_known():
    found = tensors_in({"net": under("module."), "acc": 1.0})
    assert_is(found)
    assert found.notes == ("read net", "without the prefix module.")


# --- files ---


def test_safetensors_are_read_whatever_their_name(tmp_path):
    save_file(STATE, tmp_path / "weights.pth", metadata={"format": "pt"})
    assert_is(read(load_tensors(tmp_path / "weights.pth")))
    whole = (tmp_path / "weights.pth").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a safetensors file"):
        load_tensors(tmp_path / "half.safetensors")


def test_harmless_things_beside_the_tensors_are_read(tmp_path):
    beside = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
        "best": np.float64(93.1),
        "at": np.arange(3),
    }
    torch.save({"state_dict": STATE, **beside}, tmp_path / "c.ckpt")
    assert_is(read(load_tensors(tmp_path / "c.ckpt")))


def test_programs_are_refused_with_the_line_that_saves_them(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "s.pt")
    with pytest.raises(UserError, match=r"program of TorchScript.*torch\.jit\.load\('.*s\.pt'\)\.state_dict\(\)"):
        load_tensors(tmp_path / "s.pt")
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "e.pt2")
    with pytest.raises(UserError, match=r"program of torch\.export.*torch\.export\.load\('.*e\.pt2'\)\.state_dict,"):
        load_tensors(tmp_path / "e.pt2")


def test_a_pickle_is_refused_with_the_line_that_saves_its_weights(tmp_path):
    torch.save({"state_dict": STATE, "callbacks": nn.ReLU()}, tmp_path / "c.ckpt")
    with pytest.raises(UserError, match=r"ReLU.*weights_only=False\)\['state_dict'\], '.*c\.state_dict\.pth'\)"):
        load_tensors(tmp_path / "c.ckpt")
    torch.save({"model": nn.ReLU(), "epoch": 3}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"weights_only=False\)\['model'\]\.state_dict\(\)"):
        load_tensors(tmp_path / "m.pt")


def test_pickles_that_torch_did_not_write_have_a_line_of_their_own_that_works(tmp_path):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    (tmp_path / "np.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(UserError, match="torch did not write") as refused:
        load_tensors(tmp_path / "np.pkl")
    exec(str(refused.value).split('python -c "')[1].rstrip('"'))
    assert_is(read(load_tensors(tmp_path / "np.state_dict.pth")))


def test_arrays_of_numpy_by_name_are_a_state_dict(tmp_path):
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in STATE.items()})
    assert_is(read(load_tensors(tmp_path / "w.npz")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (gzip.compress(b"weights", mtime=0), "compressed by gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it"),
        (b"", "is empty"),
    ],
)
def test_what_is_taken_for_a_checkpoint_is_told_by_its_first_bytes(tmp_path, content, sentence):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        load_tensors(tmp_path / "c.pt")


def test_folders_and_archives_are_told_from_files_of_weights(tmp_path):
    with pytest.raises(UserError, match="is a folder: name the file of weights in it"):
        load_tensors(tmp_path)
    torch.save(STATE, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "m.pt", "run1/m.pt")
    with pytest.raises(UserError, match=r"archive of run1/m\.pt: unpack it"):
        load_tensors(tmp_path / "all.zip")

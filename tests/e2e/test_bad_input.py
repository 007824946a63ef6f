"""Bad input: one sentence, exit code 2, nothing half-written."""

import io
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepriv import data

Refused = Callable[..., str]
Command = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Members and non-members of the digits."""
    digits = data.load("digits")
    np.savez(tmp_path / "a.npz", x=digits.x[:100], y=digits.y[:100])
    np.savez(tmp_path / "b.npz", x=digits.x[100:200], y=digits.y[100:200])
    return tmp_path / "a.npz", tmp_path / "b.npz"


def test_files_that_are_not_there(refused: Refused, tmp_path: Path) -> None:
    assert "no such file" in refused("harden", tmp_path / "no.pt", "-o", tmp_path / "out")
    assert "no such file" in refused("export", tmp_path / "no.pt", "-o", tmp_path / "a.onnx")
    for command in ("audit", "bench", "show"):
        assert "no such file" in refused(command, tmp_path / "no.onnx")
    assert "no such file" in refused("show", tmp_path / "no.pt")
    assert "no such recipe" in refused("train", "--recipe", tmp_path / "no.toml", "-o", tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_no_data_set_is_assumed(refused: Refused, tmp_path: Path) -> None:
    assert "no data set is named: pass --data" in refused("train", "-o", tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())


def test_truncated_files(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    for name, source in (("m.onnx", hardened / "out" / "model.onnx"), ("m.pt", hardened / "float.pt")):
        (tmp_path / name).write_bytes(source.read_bytes()[:1000])
    assert "m.onnx" in refused("bench", tmp_path / "m.onnx")
    assert "m.onnx" in refused("audit", tmp_path / "m.onnx")
    assert "m.onnx" in refused("show", tmp_path / "m.onnx")
    assert "truncated" in refused("harden", tmp_path / "m.pt", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_with_code_in_it_is_refused_and_not_run(refused: Refused, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "it-ran"),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Payload()}))
    assert "never loaded" in refused("export", tmp_path / "evil.pt", "-o", tmp_path / "a.onnx")
    archive = io.BytesIO()
    np.savez(archive, x=np.array([Payload()], dtype=object), y=np.array([0]))
    (tmp_path / "evil.npz").write_bytes(archive.getvalue())
    assert "pickled" in refused("train", "--data", f"npz:{tmp_path / 'evil.npz'}", "-o", tmp_path / "a.pt")
    assert not (tmp_path / "it-ran").exists()


def test_unknown_names_are_answered_with_the_known(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "x.pt")
    digits = ("--data", "digits", *output)
    assert "fashion_mnist" in refused("train", "--data", "nope", *output)
    assert "lenet" in refused("train", "--model", "nope", *digits)
    assert "fgsm" in refused("train", "--adv", "nope", *digits)
    assert "minmax" in refused("train", "--bits", 4, "--quantizer", "nope", "--epochs", 1, *digits)
    assert "2 to 16" in refused("train", "--bits", 17, *digits)
    assert "latency" in refused("export", hardened / "float.pt", "--profile", "nope", "-o", tmp_path / "x.onnx")
    shipped = hardened / "out" / "model.onnx"
    assert "lira-online" in refused("audit", shipped, "--attacks", "nope", "-o", tmp_path / "x.json")
    assert "adaptive" in refused("audit", shipped, "--threat-model", "nope", "-o", tmp_path / "x.json")
    assert "auc>0.55" in refused("audit", shipped, "--fail-if", "nope", "-o", tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.full((50, 1, 8, 8), np.nan, np.float32), np.arange(50) % 10, "NaN"),
        (np.full((50, 1, 8, 8), 3.0, np.float32), np.arange(50) % 10, "[0, 1]"),
        (np.zeros((0, 1, 8, 8), np.float32), np.zeros(0, np.int64), "no examples"),
        (np.zeros((50, 1, 8, 8), np.float32), np.zeros(50, np.int64), "two classes"),
        (np.zeros((50, 1, 8, 8), np.float32), np.zeros(49, np.int64), "49 labels"),
        (np.zeros((50, 1, 8, 8), np.float32), np.arange(50) % 10 - 1, "outside the classes"),
    ],
)
def test_data_that_cannot_be_trained_on(
    refused: Refused, tmp_path: Path, x: np.ndarray, y: np.ndarray, words: str
) -> None:
    np.savez(tmp_path / "d.npz", x=x, y=y)
    assert words in refused("train", "--data", f"npz:{tmp_path / 'd.npz'}", "-o", tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_member_files_that_do_not_fit(
    refused: Refused, hardened: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    members, _ = files

    def audit_with(*files: object) -> str:
        return refused("audit", hardened / "out" / "model.fp32.onnx", *files, "-o", tmp_path / "x.json")

    digits = data.load("digits")
    np.savez(tmp_path / "overlap.npz", x=digits.x[90:150], y=digits.y[90:150])
    assert "10 of the 60" in audit_with("--members", members, "--non-members", tmp_path / "overlap.npz")
    np.savez(tmp_path / "label.npz", x=digits.x[200:260], y=digits.y[200:260] + 5)
    assert "outside the classes" in audit_with("--members", members, "--non-members", tmp_path / "label.npz")
    np.savez(tmp_path / "shape.npz", x=np.zeros((60, 1, 9, 9), np.float32), y=np.arange(60) % 10)
    assert "shape" in audit_with("--members", members, "--non-members", tmp_path / "shape.npz")
    np.savez(tmp_path / "shape2.npz", x=np.ones((60, 1, 9, 9), np.float32), y=np.arange(60) % 10)
    assert "shape" in audit_with("--members", tmp_path / "shape.npz", "--non-members", tmp_path / "shape2.npz")
    assert "go together" in audit_with("--members", members)
    for name, part in (("one", slice(200, 240)), ("two", slice(240, 280))):
        np.savez(tmp_path / f"{name}.npz", x=digits.x[part], y=np.full(40, 3))
    assert "two classes" in audit_with("--members", tmp_path / "one.npz", "--non-members", tmp_path / "two.npz")
    assert not (tmp_path / "x.json").exists()


def test_a_changed_model_is_not_audited_as_if_it_were_not(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.manifest.json"):
        shutil.copy(hardened / "out" / name, tmp_path / name)
    content = bytearray((tmp_path / "model.onnx").read_bytes())
    content[-200] ^= 1
    (tmp_path / "model.onnx").write_bytes(content)
    assert "changed since" in refused("audit", tmp_path / "model.onnx")
    assert "changed since" in refused("bench", tmp_path / "model.onnx")


def test_output_that_exists_is_kept(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    for name in ("m.pt", "m.onnx", "m.json"):
        (tmp_path / name).write_text("mine")
    shipped = hardened / "out" / "model.onnx"
    assert "--force" in refused("train", "-o", tmp_path / "m.pt")
    assert "--force" in refused("export", hardened / "float.pt", "-o", tmp_path / "m.onnx")
    assert "--force" in refused("audit", shipped, "-o", tmp_path / "m.json")
    assert "--force" in refused("bench", shipped, "-o", tmp_path / "m.json")
    assert "--force" in refused("harden", hardened / "float.pt", "-o", hardened / "out")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_bits_for_layers_that_do_not_exist_name_those_that_do(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    assert "conv1, conv2" in refused("export", hardened / "float.pt", "--bits", "nope=4", "-o", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--profile", "portable", "--compute", "int8"), "the profile portable cannot compute in int8"),
        (
            ("--profile", "portable", "--bits", "4", "--keep-packed", "--ort"),
            "cannot hold the weights of profile portable",
        ),
        (("--bits", "nope=4"), "matches no layer"),
        (("--bits", "conv1=8,nope=4"), "nope matches no layer"),
        (("--bits", "4", "--seed", "3"), "a checkpoint keeps its own"),
        (("--bits", "32", "--compute", "int8"), "this file has none: give --bits"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_trained(
    refused: Refused, hardened: Path, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    for verb, name in (("export", "m.onnx"), ("harden", "out")):
        assert reason in refused(verb, hardened / "float.pt", *options, "-o", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_ort_file_is_answered_with_the_onnx_beside_it(
    edgepriv: Command, refused: Refused, hardened: Path, tmp_path: Path
) -> None:
    options = ("--bits", "4", "--profile", "memory", "--ort", "--accept-accuracy-loss")
    assert edgepriv("export", hardened / "float.pt", *options, "-o", tmp_path / "m.onnx").code == 0
    for verb in ("audit", "bench", "show"):
        assert "name the .onnx beside it" in refused(verb, tmp_path / "m.ort")


def test_inputs_are_never_overwritten_whatever_force_says(
    refused: Refused, hardened: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    members, others = files
    shutil.copy(hardened / "float.pt", tmp_path / "model.pt")
    shutil.copy(hardened / "recipe.toml", tmp_path / "recipe.toml")
    (tmp_path / "linked.npz").symlink_to(members)
    shipped = hardened / "out" / "model.fp32.onnx"
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for asked, output, read in (
        (("audit", shipped, "--members", members, "--non-members", others), "a.json", "a.npz"),
        (("audit", shipped, "--members", tmp_path / "linked.npz", "--non-members", others), "a.json", "linked.npz"),
        (("train", "--data", f"npz:{members}"), "a.npz", "a.npz"),
        (("train", "--recipe", tmp_path / "recipe.toml"), "recipe.toml", "recipe.toml"),
        (("harden", tmp_path / "model.pt"), "", "model.pt"),
    ):
        said = refused(*asked, "-o", tmp_path / output, "--force")
        assert "choose another -o (--force replaces no input)" in said
        assert read in said
    shutil.copy(hardened / "out" / "model.onnx", tmp_path / "m.onnx")
    (tmp_path / "board.json").write_text("{}")
    assert "board.json" in refused(
        "bench", tmp_path / "m.onnx", "--import", tmp_path / "board.json", "-o", tmp_path / "board.json", "--force"
    )
    assert {path: path.read_bytes() for path in before} == before


def test_json_is_never_written_over_a_model(refused: Refused, hardened: Path) -> None:
    model = hardened / "out" / "model.onnx"
    content = model.read_bytes()
    for verb in ("audit", "bench"):
        assert "must end in .json" in refused(verb, model, "-o", model, "--force")
    assert model.read_bytes() == content


def test_an_interrupt_says_how_to_go_on(edgepriv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgepriv import pipeline

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", interrupted)
    ran = edgepriv("train", "-o", tmp_path / "m.pt")
    assert ran.code == 130
    assert "run the same command again" in ran.err


@contextmanager
def small_disk() -> Iterator[None]:
    """No file of this process may grow beyond 2,000 bytes, for as long as one command takes."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, allowed[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


def test_a_disk_that_is_full_leaves_nothing(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    with small_disk():
        said = refused("export", hardened / "float.pt", "--bits", "4", "-o", tmp_path / "m.onnx")
    assert "larger than the limit" in said
    assert not list(tmp_path.iterdir())


def test_numbers_that_make_no_sense(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    output = ("--data", "digits", "-o", tmp_path / "x.pt")
    assert "epochs" in refused("train", "--epochs", 0, *output)
    assert "lr" in refused("train", "--lr", -1, *output)
    assert "eps" in refused("train", "--adv", "pgd", "--eps", 0, *output)
    assert "widths" in refused("train", "--model", "mlp", "--widths", "a,b", *output)
    assert "rounds" in refused("bench", hardened / "out" / "model.onnx", "--rounds", 0, "-o", tmp_path / "x.json")


def test_a_checkpoint_keeps_its_data_and_is_hardened_once(refused: Refused, hardened: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "out")
    told = refused("harden", hardened / "float.pt", "--model", "cnn", "--data", "location30", *output)
    assert "was trained on digits" in told
    assert "hardened already" in refused("harden", hardened / "out" / "model.robust.pt", *output)
    assert "--flatten" in refused("harden", hardened / "float.pt", "--bits", 32, "--flatten", 1, *output)
    assert not (tmp_path / "out").exists()

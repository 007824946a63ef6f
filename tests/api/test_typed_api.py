"""The typed API: what a verb returns and says, that it prints nothing, and that it writes the bytes of the command line."""

import dataclasses
import doctest
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import edgepriv
from edgepriv import api, cli
from edgepriv.progress import Step
from edgepriv.recipe import Recipe

IN_ORDER = ("attacks", "train", "harden", "export", "audit", "bench", "compare", "show", "tune")


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the examples of the docstrings have been run, one after the other."""
    folder = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        for name in IN_ORDER:
            (example,) = doctest.DocTestFinder(recurse=False).find(getattr(api, name), name, globs={})
            failed, tried = doctest.DocTestRunner().run(example, out=(said := []).append)
            assert tried > 1, f"{name} has no example"
            assert not failed, "".join(said)
    return folder


def test_every_example_of_a_docstring_is_true(documented):
    assert {path.name for path in documented.iterdir()} >= {"model.pt", "model.onnx", "model.fp32.onnx", "out"}
    assert {path.name for path in (documented / "out").iterdir()} >= {
        "model.onnx", "model.audit.json", "model.audit.html", "model.audit.npz", "model.bench.json", "device",
    }  # fmt: skip


def test_the_command_line_writes_the_same_bytes(documented, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["edgepriv", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code, capsys.readouterr().err

    run(
        *[
            "train",
            "--data",
            "digits",
            "--model",
            "mlp",
            "--widths",
            "32",
            "--epochs",
            "3",
            "--lr",
            "0.005",
            "-o",
            "model.pt",
        ]
    )
    shorter = ["--epochs", "1", "--qat-epochs", "1", "--robust", "quick", "--robust-examples", "50"]
    run(*["harden", "model.pt", "--bits", "4", "--adv", "fgsm", *shorter, "-o", "out/"])
    run(
        *[
            "audit",
            "out/model.onnx",
            "--attacks",
            "quick",
            "--robust",
            "quick",
            "--robust-examples",
            "50",
            "--no-float-twin",
        ]
    )
    endings = ("onnx", "pt", "robust.pt", "fp32.onnx", "manifest.json", "audit.npz", "audit.json")
    for name in ("model.pt", *(f"out/model.{ending}" for ending in endings)):
        assert (tmp_path / name).read_bytes() == (documented / name).read_bytes(), name


def test_results_are_frozen_and_are_what_the_command_prints(documented, monkeypatch, capsys):
    result = edgepriv.show(documented / "model.onnx")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.profile = "latency"
    monkeypatch.setattr(sys, "argv", ["edgepriv", "show", str(documented / "model.onnx"), "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == result.json() + "\n"
    assert repr(result).startswith("Shown(size_bytes=")
    assert json.loads(result.json())["profile"] == result.profile == "portable"


def test_a_notebook_shows_what_the_terminal_does(documented):
    page = edgepriv.show(documented / "model.onnx")._repr_html_()
    assert page.startswith("<pre")
    assert "portable" in page
    assert "membership attacks" in edgepriv.attacks()._repr_html_()


def test_nothing_is_printed_unless_it_is_asked_for(tmp_path, capfd):
    few = {"data": "digits", "model": "mlp", "widths": 4, "epochs": 1, "accept_accuracy_loss": True}
    steps: list[Step] = []
    silent = edgepriv.train(**few, out=tmp_path / "a.pt")
    edgepriv.train(**few, out=tmp_path / "b.pt", progress=steps.append)
    assert capfd.readouterr() == ("", "")
    assert any(step.unit and step.done == step.total for step in steps)
    assert silent.remarks == tuple(step.note for step in steps if step.note)
    assert "members" in " ".join(silent.remarks)
    edgepriv.train(**few, out=tmp_path / "c.pt", progress=True)
    told = capfd.readouterr()
    assert told.out == ""
    assert f"note: {silent.remarks[0]}" in told.err
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes() == (tmp_path / "c.pt").read_bytes()


def test_a_recipe_says_what_keywords_do_and_keywords_win(tmp_path):
    recipe = Recipe(data={"name": "digits"}, model={"name": "cnn", "args": {"width": 2}}, train={"epochs": 3})
    (tmp_path / "r.toml").write_text('[data]\nname = "digits"\n[model]\nargs = { width = 2 }\n[train]\nepochs = 3\n')
    given = [
        edgepriv.train(form, epochs=1, out=tmp_path / f"{number}.pt", accept_accuracy_loss=True)
        for number, form in enumerate((recipe, tmp_path / "r.toml", str(tmp_path / "r.toml")))
    ]
    assert {result.recipe.train.epochs for result in given} == {1}
    assert given[0].recipe == given[1].recipe == given[2].recipe
    assert given[0].checkpoint.read_bytes() == given[1].checkpoint.read_bytes()
    with pytest.raises(edgepriv.UserError, match=r"r\.toml"):
        edgepriv.train(tmp_path / "r.toml", out=tmp_path / "r.toml", force=True)


def test_bad_input_is_a_user_error_and_so_is_an_option_that_is_not_known(tmp_path):
    with pytest.raises(edgepriv.UserError, match="no such file"):
        edgepriv.harden(tmp_path / "none.pt")
    for kind in (edgepriv.UserError, TypeError):
        with pytest.raises(kind, match=r"harden\(\) has no option 'bit'; did you mean 'bits'\?"):
            edgepriv.harden(tmp_path / "none.pt", bit=4)
    with pytest.raises(edgepriv.UserError, match=r"unknown profile .*did you mean 'latency'"):
        edgepriv.export(tmp_path / "none.pt", profile="latncy", out=tmp_path / "m.onnx")


def test_a_limit_that_is_exceeded_brings_the_result(documented, tmp_path):
    with pytest.raises(edgepriv.GateFailed) as failed:
        edgepriv.audit(
            documented / "out" / "model.onnx", attacks="loss", robust="quick", robust_examples=20, steps=1, float_twin=False,
            fail_if="auc>0.01", out=tmp_path / "m.audit.json",
        )  # fmt: skip
    assert failed.value.audit.limits[0]["limit"] == "auc>0.01"
    assert failed.value.audit.file == tmp_path / "m.audit.json"
    assert failed.value.audit.remarks


def test_values_of_python_are_taken_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).random((60, 3, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=pixels, y=np.arange(60) % 3)
    result = edgepriv.train(
        data=f"npz:{tmp_path / 'd.npz'}", model="mlp", widths=[4], mean=[0.1], std=0.5, channels=1, epochs=1,
        out=tmp_path / "m.pt", accept_accuracy_loss=True,
    )  # fmt: skip
    assert result.recipe.model.args == {"widths": [4]}
    assert result.recipe.data.channels == 1
    assert result.normalisation == {"mean": pytest.approx([0.1]), "std": [0.5]}

"""A network whose answers depend on the batch: refused, or shipped with a batch of one and measured on single inputs."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from edgepriv import pipeline, project
from edgepriv.artifact import manifest
from edgepriv.cli import app
from edgepriv.errors import UserError
from edgepriv.models import checkpoint
from edgepriv.recipe import Model, Recipe

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.last = nn.Linear(72, classes)

    def forward(self, x):
        x = self.conv(x)
        x = x if self.kind == "plain" else self.norm(x)
        spread = (x - x.mean(0)).square().sum() / (len(x) - 1) if self.kind == "needs-two" else 0
        return self.last(torch.relu(x).flatten(1)) + spread


def make(num_classes, input_shape, kind="mixed"):
    return Net(num_classes, kind)
"""
ALONE = {"model": {"batch_dependent": True}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coupled")
    (folder / "coupled_net.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        yield folder


def recipe(**model):
    return Recipe(
        data={"name": "digits"},
        model={"name": "coupled_net:make", **model},
        train={"epochs": 6, "lr": 0.01},
        audit={"attacks": "confidence", "robust": "quick", "robust_examples": 20, "pgd_steps": 2},
    )


@pytest.fixture(scope="module")
def trained(folder):
    pipeline.train(recipe(batch_dependent=True), folder / "model.pt")
    return folder / "model.pt"


@pytest.fixture(scope="module")
def shipped(trained, folder):
    changes = {"quantize": {"bits": 8}, "adversary": {"method": "none"}, "qat": {"epochs": 1}, **ALONE}
    told = pipeline.harden(trained, Recipe(model={"name": "coupled_net:make"}), changes, folder / "out")
    return folder / "out" / "model.onnx", told


@pytest.fixture(scope="module")
def bare(trained, folder):
    found = checkpoint.load(trained, Model(name="coupled_net:make"))
    torch.save(found.state_dict, folder / "weights.pt")
    stated = recipe(mean=found.recipe.model.mean or (0.5,), std=found.recipe.model.std or (0.25,))
    return folder / "weights.pt", stated


@pytest.mark.parametrize("verb", ["train", "harden", "export"])
def test_without_the_option_it_is_refused_with_the_sentence_that_names_it(verb, bare, tmp_path):
    weights, stated = bare
    eight = {"adversary": {"method": "none"}, "quantize": {"bits": 8}}
    verbs = {
        "train": lambda: pipeline.train(recipe(), tmp_path / "m.pt"),
        "harden": lambda: pipeline.harden(weights, stated, eight, tmp_path / "out"),
        "export": lambda: pipeline.export(weights, stated, {}, tmp_path / "m.onnx"),
    }
    with pytest.raises(UserError, match=r"depends on the other inputs of its batch .*pass --batch-dependent: the file"):
        verbs[verb]()
    assert not list(tmp_path.iterdir())


def test_one_that_cannot_answer_a_single_input_is_not_sent_to_the_option(tmp_path, folder):
    with pytest.raises(UserError, match=r"in eval mode$") as refused:
        pipeline.train(recipe(args={"kind": "needs-two"}), tmp_path / "m.pt")
    assert "--batch-dependent" not in str(refused.value)
    with pytest.raises(UserError, match="cannot answer one input alone"):
        pipeline.train(recipe(args={"kind": "needs-two"}, batch_dependent=True), tmp_path / "m.pt")


def test_the_file_takes_one_input_and_says_so(shipped):
    path, told = shipped
    for file in (path, path.with_suffix(".fp32.onnx")):
        graph = onnx.load(file).graph
        sizes = [value.type.tensor_type.shape.dim[0].dim_value for value in (graph.input[0], graph.output[0])]
        assert sizes == [1, 1]
        assert manifest.read_beside(file).batch == 1
    assert (told["batch"], pipeline.show(path)["batch"]) == (1, 1)
    assert manifest.read_beside(path).recipe["model"]["batch_dependent"]


def test_accuracy_is_that_of_single_inputs_in_torch_and_in_the_file(shipped, trained):
    path, told = shipped
    found = checkpoint.load(trained, Model(name="coupled_net:make"))
    network = found.classifier().network
    rng = np.random.default_rng(0)
    x = rng.random((20, 1, 8, 8), dtype=np.float32)
    session = ort.InferenceSession(path.with_suffix(".fp32.onnx"))
    with torch.no_grad():
        fed = (torch.from_numpy(x) - 0.5) / 0.25
        alone = torch.cat([network(row[None]) for row in fed]).softmax(1).numpy()
        together = network(fed).softmax(1).numpy()
    answers = np.concatenate([session.run(None, {"input": row[None]})[0] for row in x])
    assert np.abs(answers - alone).max() < 1e-4 < np.abs(answers - together).max()
    rows = {row["model"]: row for row in told["accuracy"]["rows"]}
    twin = rows["float twin model.fp32.onnx"]
    dataset, split = project.recorded_data(found.data, None, "the model")
    fed = (torch.from_numpy(dataset.inputs(split.non_members)) - 0.5) / 0.25
    with torch.no_grad():
        labels = [int(network(row[None]).argmax()) for row in fed]
    assert twin["held_out"]["accuracy"] == np.mean(labels == dataset.y[split.non_members]) > 0.5


@pytest.mark.parametrize("profile", ["memory", "portable"])
def test_other_layouts_and_forms_ship_and_the_command_line_says_what_training_sees(profile, trained, tmp_path):
    command = [
        "export",
        trained,
        "--model",
        "coupled_net:make",
        "--batch-dependent",
        "--json",
        "--accept-accuracy-loss",
    ]
    form = ["--profile", profile, "--bits", 4, "--output", "label", "--input", "uint8", "-o", tmp_path / "m.onnx"]
    ended = CliRunner().invoke(app, list(map(str, [*command, *form])))
    told = json.loads(ended.stdout)
    assert (told["batch"], told["parity"]["labels_changed"]) == (1, 0)
    assert "the file takes one input at a time, and everything is measured so; training sees batches" in ended.stderr


def test_it_is_audited_timed_and_compared_one_input_at_a_time(shipped, tmp_path):
    path, _ = shipped
    changes = {"audit": recipe().audit.model_dump(), "adversary": {"eps": 0.02}}
    content = pipeline.audit(path, changes, float_twin=False, force=True)
    assert "model.onnx takes one input at a time: every input is run on its own" in content["said"]
    assert content["robustness"]["worst_case_accuracy"] is not None
    timed = pipeline.bench(path, Recipe(bench={"runs": 5, "rounds": 1}), force=True)
    assert {row["batch"] for row in timed["variants"]} == {1}
    assert timed["said"] == ["only a batch of 1 is timed: model takes 1 at a time, float takes 1 at a time"]
    ended = CliRunner().invoke(
        app, ["compare", str(path), str(path.with_suffix(".fp32.onnx")), "--runs", "5", "--rounds", "1"]
    )
    assert "model.onnx takes 1 input at a time" in ended.stdout


def test_the_option_on_a_network_that_does_not_need_it_is_remarked_on(tmp_path, folder, capsys):
    plain = recipe(args={"kind": "plain"}, batch_dependent=True).with_changes(train={"epochs": 1})
    pipeline.train(plain, tmp_path / "m.pt", accept_accuracy_loss=True)
    assert "note: the network's answers do not depend on the batch" in capsys.readouterr().err


def test_a_reference_model_is_asked_as_the_target_is(trained):
    found = checkpoint.load(trained, Model(name="coupled_net:make"))
    classifier = found.classifier()
    assert isinstance(classifier.network, nn.Module)
    x = torch.rand(6, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(classifier(x)[2], classifier(x[2:3])[0])
    classifier.train()
    assert not torch.allclose(classifier(x)[2], classifier(x.flip(0)[:3])[0])

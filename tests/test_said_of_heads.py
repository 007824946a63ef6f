"""What harden prints of a head, and above all of one that is not in the file."""

import pytest
from typer.testing import CliRunner

from edgepriv import pipeline
from edgepriv.cli import app
from edgepriv.recipe import Recipe

RECIPE = Recipe(
    data={"name": "digits", "members": 100, "non_members": 100, "reference": 0, "holdout": 100, "validation": 50},
    model={"name": "mlp", "args": {"widths": [16]}},
    train={"epochs": 2},
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.pt"
    pipeline.train(RECIPE, path, accept_accuracy_loss=True)
    return path


def printed(model, folder, *options):
    ended = CliRunner().invoke(
        app, ["harden", str(model), "-o", str(folder), "--ptq", "--adv", "none", "--accept-accuracy-loss", *options]
    )
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_memguard_is_said_to_be_outside_the_file(trained, tmp_path):
    said = printed(trained, tmp_path, "--baseline", "memguard")
    assert "warning: MemGuard is not in the .onnx" in said
    assert "model.memguard.npz" in said


def test_a_head_says_how_many_labels_it_changes(trained, tmp_path):
    said = printed(trained, tmp_path, "--regenerate", "rank")
    assert "head rank: it changes the label of 0.00% of the members and 0.00% of the holdout examples" in said
    assert "MemGuard" not in said

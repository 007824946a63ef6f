"""A verb that was interrupted goes on where it stopped when the same command is run again."""

import pytest
import torch

from edgepriv import pipeline
from edgepriv.errors import UserError
from edgepriv.pipeline import _harden
from edgepriv.recipe import Recipe
from edgepriv.training import stages

RECIPE = Recipe(
    data={"name": "digits", "members": 200, "non_members": 100, "reference": 50, "holdout": 0, "validation": 50},
    model={"name": "cnn", "args": {"width": 2}},
    train={"epochs": 2},
    robust={"epochs": 1},
    qat={"epochs": 2},
    adversary={"method": "fgsm"},
    quantize={"bits": 4},
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.pt"
    pipeline.train(RECIPE, path, accept_accuracy_loss=True)
    return path


def test_train(tmp_path, checkpoint, dies_after):
    def command():
        return pipeline.train(RECIPE, tmp_path / "model.pt", accept_accuracy_loss=True)

    dies_after(1, command)
    assert not (tmp_path / "model.pt").exists()
    assert [row["epoch"] for row in command()["history"]] == [1, 2]
    resumed, whole = (torch.load(path, weights_only=True)["state_dict"] for path in (tmp_path / "model.pt", checkpoint))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.fixture
def harden(tmp_path, checkpoint, monkeypatch):
    """Hardening with an export that costs nothing; Ctrl-C in it if asked."""

    def harden(interrupt_export=False):
        def export(trained, twin_of, shipped, *how):
            shipped.write_text("")
            if interrupt_export:
                raise KeyboardInterrupt
            return {}

        monkeypatch.setattr(_harden, "export_with_twin", export)
        monkeypatch.setattr(_harden, "write_kit", lambda *args, **options: None)
        return pipeline.harden(checkpoint, RECIPE, {}, tmp_path / "out", accept_accuracy_loss=True)

    return harden


@pytest.mark.parametrize("writes", [1, 2, 3, 5])
def test_harden_in_each_stage_between_two_and_at_the_end(tmp_path, harden, dies_after, writes):
    dies_after(writes, harden)
    result = harden()
    assert [row["stage"] for row in result["history"]] == ["robust", "qat", "qat"]
    assert not list((tmp_path / "out").glob("*.partial"))


def test_harden_in_the_export(harden, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        harden(interrupt_export=True)
    monkeypatch.setattr(stages, "fit", None)  # nothing is trained again
    assert len(harden()["history"]) == 3


def test_a_finished_hardening_is_not_replaced_unasked(harden):
    harden()
    with pytest.raises(UserError, match=r"exists already.*--force"):
        harden()

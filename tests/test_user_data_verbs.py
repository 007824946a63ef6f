"""The verbs on data of the user's own: what is said before training, what is kept, what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv import pipeline
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.random((300, 6)).astype(np.float32)
QUICK = Recipe(model={"name": "mlp", "args": {"widths": [8]}}, train={"epochs": 1})


@pytest.fixture
def saved(tmp_path):
    def save(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return save


def on(path, **data):
    return QUICK.with_changes(data={"name": f"npz:{path}"} | data)


def test_training_says_who_plays_which_role_first(saved, tmp_path, capsys):
    path = saved("d.npz", x=X, y=np.array([10, 20, 30])[np.arange(300) % 3])
    result = pipeline.train(on(path), tmp_path / "m.pt", accept_accuracy_loss=True)
    said = capsys.readouterr().err
    for line in result["said"]:
        assert f"note: {line}" in said
    assert "300 examples of 6 features; 3 classes: 10 (100), 20 (100), 30 (100)" in result["said"][0]
    assert "members 90, non-members 100, attacker's pool 80, holdout 15, validation 15" in result["said"]
    assert pipeline.show(tmp_path / "m.pt")["class_names"] == ["10", "20", "30"]


def test_how_a_table_was_read_is_kept(tmp_path):
    rows = "".join(f"{a:.3f},{b:.3f},{i % 2},{i % 3}\n" for i, (a, b) in enumerate(X[:120, :2]))
    (tmp_path / "t.csv").write_text("a,b,class,target\n" + rows.replace(",2\n", ",1\n"))
    recipe = QUICK.with_changes(data={"name": f"csv:{tmp_path / 't.csv'}"})
    with pytest.raises(UserError, match="may be column 'class' or 'target'"):
        pipeline.train(recipe, tmp_path / "m.pt")
    pipeline.train(recipe.with_changes(data={"label": "class"}), tmp_path / "m.pt", accept_accuracy_loss=True)
    exported = pipeline.export(tmp_path / "m.pt", None, {}, tmp_path / "m.onnx", accept_accuracy_loss=True)
    assert "3 features, label column 'class'" in exported["said"]
    asked = recipe.with_changes(data={"label": "target"})
    with pytest.raises(UserError, match="keeps how its data are read"):
        pipeline.export(tmp_path / "m.pt", asked, {}, tmp_path / "other.onnx")


@pytest.mark.parametrize(("outputs", "names"), [(3, ["0", "1", "3"]), (4, ["0", "1", "2", "3"])])
def test_weights_from_elsewhere_say_whether_a_label_without_examples_is_a_class(saved, tmp_path, outputs, names):
    path = saved("d.npz", x=X, y=np.array([0, 1, 3])[np.arange(300) % 3])
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))
    state = {
        name: value
        for name, value in zip(
            ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"),
            network.state_dict().values(),
            strict=True,
        )
    }
    torch.save(state, tmp_path / "w.pt")
    stated = on(path).with_changes(model={"mean": (0.0,), "std": (1.0,)})
    exported = pipeline.export(tmp_path / "w.pt", stated, {}, tmp_path / "m.onnx", accept_accuracy_loss=True)
    assert exported["said"][0].count("(100)") == 3
    assert pipeline.show(tmp_path / "m.onnx")["class_names"] == names


def test_options_of_member_files_need_member_files(tmp_path):
    with pytest.raises(UserError, match="--channels says how --members and --non-members are read"):
        pipeline.audit(tmp_path / "m.onnx", {"data": {"channels": 3}})

"""``edgepriv tune`` as it is called: it ends in a file and its recipe, and bad budgets are refused at once."""

import pytest

from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.models import checkpoint
from edgepriv.recipe import load


def test_the_recipe_makes_the_same_file_again(edgepriv, hardened, tmp_path, monkeypatch):
    from edgepriv.tuning import finalists

    monkeypatch.setattr(finalists, "VARIANTS", finalists.VARIANTS[:1])
    ran = edgepriv("tune", hardened / "float.pt", "--max-drop", 40, "--time", "1s", "-o", tmp_path / "t", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["budgets"][0]["met"]
    assert "tune: 1 of 40 candidates" in ran.err
    assert not any("differs from the one that was measured" in line for line in ran.json["said"])  # it was made twice
    trained, made = (checkpoint.load(path, None).recipe for path in (hardened / "float.pt", tmp_path / "t/model.pt"))
    assert hardening_recipe(trained, load(tmp_path / "t/recipe.toml"), {}, hardened / "float.pt") == made
    shown = edgepriv("tune", hardened / "float.pt", "--max-drop", 40, "--time", "1s", "-o", tmp_path / "t")
    assert shown.code == 0
    assert "this search is finished" in shown.err
    assert "within every budget" in shown.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "nothing to tune for"),
        (("--max-size", "0x"), "above 0x"),
        (("--max-size", "5"), "such as 0.15x"),
        (("--max-size", "100B"), "no file is smaller"),
        (("--max-drop", "-1"), "above 0"),
        (("--max-drop", "1", "--time", "0s"), "--time '0s'"),
        (("--max-drop", "1", "--candidates", "0"), "--candidates 0"),
    ],
)
def test_bad_budgets_are_refused_before_the_work(refused, hardened, tmp_path, options, sentence):
    assert sentence in refused("tune", hardened / "float.pt", *options, "-o", tmp_path / "t")
    assert not (tmp_path / "t/model.onnx").exists()


def test_what_cannot_be_tuned_is_refused(refused, hardened, tmp_path):
    (tmp_path / "other.toml").write_text('seed = 5\n[export]\ninput = "uint8"\n')
    other = refused(
        "tune", hardened / "float.pt", "--max-drop", 1, "--recipe", tmp_path / "other.toml", "-o", tmp_path / "t"
    )
    assert "the recipe is for model 'cnn', seed 5" in other
    assert "no candidate" not in other
    assert "has been hardened already" in refused("tune", hardened / "out/model.pt", "--max-drop", 1, "-o", tmp_path)
    assert "no such file" in refused("tune", tmp_path / "no.pt", "--max-drop", 1, "-o", tmp_path)

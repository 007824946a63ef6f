"""What hardening reports of the robustness of the file that it has just written."""

import pytest

from edgepriv import project
from edgepriv.errors import UserError
from edgepriv.pipeline import _robust
from edgepriv.recipe import Recipe, load

RECIPE = Recipe(
    train={"epochs": 2},
    adversary={"method": "fgsm", "eps": 0.1},
    robust={"epochs": 1},
)


@pytest.mark.parametrize(
    ("changes", "level", "expected"),
    [
        ({}, None, "autoattack"),
        ({"audit": {"robust": "quick"}}, None, "quick"),
        ({"adversary": {"method": "none"}, "robust": {"epochs": 0}}, None, "none"),
        ({"adversary": {"method": "none"}, "robust": {"epochs": 0}}, "quick", "quick"),
        ({}, "none", "none"),
    ],
)
def test_it_is_measured_by_default_where_perturbed_inputs_were_trained_on(changes, level, expected):
    assert _robust.asked_of(RECIPE.with_changes(**changes), level, None).audit.robust == expected


def test_it_takes_200_examples_or_the_recipes_fewer_or_as_many_as_asked_for():
    fewer = RECIPE.with_changes(audit={"robust_examples": 30})
    found = [_robust.asked_of(*given).audit.robust_examples for given in ((RECIPE, None, None), (fewer, None, None))]
    assert [*found, _robust.asked_of(fewer, None, 500).audit.robust_examples] == [200, 30, 500]
    with pytest.raises(UserError, match="--robust-examples: "):
        _robust.asked_of(RECIPE, None, 0)


def measured(folder, tmp_path):
    given = project.open_checkpoint(folder / "float.pt", None, None, False, accept=True)
    asked = _robust.asked_of(load(folder / "recipe.toml"), None, 20)
    return _robust.robustness_of(folder / "out" / "model.onnx", given, asked, tmp_path)


def test_it_is_the_audits_measurement_and_is_kept_for_the_next_who_asks(hardened, tmp_path, monkeypatch):
    found = measured(hardened, tmp_path)
    assert (found["n"], found["level"], found["eps"]) == (20, "quick", 0.1)
    assert 0 <= found["worst_case_accuracy"] <= found["clean_accuracy"]

    def again(*given, **options):
        raise AssertionError("an attack is run again")

    monkeypatch.setattr("edgepriv.audit.evasion.attacks.perturbed", again)
    assert measured(hardened, tmp_path) == found


def test_what_cannot_be_measured_is_said_and_an_interruption_leaves_the_files(hardened, tmp_path, monkeypatch, capsys):
    def refused(*given, **options):
        raise UserError("it takes bytes, and eps is less than a level")

    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_robust, "robustness_part", refused)
    assert measured(hardened, tmp_path) is None
    assert "robustness was not measured: it takes bytes" in capsys.readouterr().err
    monkeypatch.setattr(_robust, "robustness_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(hardened, tmp_path)
    assert "the files are written" in capsys.readouterr().err

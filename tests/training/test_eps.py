"""The radius of adversarial training: customary where there is a custom, else asked for with what it costs."""

import re
from dataclasses import replace

import numpy as np
import pytest

from edgepriv import progress
from edgepriv.data import load, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.eps import probed, refuse_guess, stated

RECIPE = Recipe(
    data={"name": "digits"},
    model={"name": "mlp", "args": {"widths": [32]}},
    train={"epochs": 30, "lr": 5e-3},
    robust={"epochs": 1},
    adversary={"method": "pgd"},
)
SIZES = Data(members=300, non_members=300, reference=0, holdout=0, validation=150)


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    """The digits under another name, of which nobody knows which radius is customary."""
    digits = load("digits")
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, x=digits.x, y=digits.y)
    dataset = load(f"npz:{path}")
    return dataset, make_split(dataset, SIZES, 0)


def test_the_suggested_radius_leaves_the_model_half_of_its_accuracy(unknown):
    dataset, split = unknown
    classifier = new_classifier(RECIPE, 10, dataset.input_shape)
    run_stages(classifier, RECIPE, ("train",), dataset, split, quiet=True)
    with pytest.raises(UserError, match=r"needs --eps.*Pass --eps") as refused:
        probed(RECIPE, ("robust",), dataset, split, classifier, asked=True)
    said = str(refused.value)
    suggested, kept, clean = re.search(r"Pass --eps ([\d.]+),.* keeps (\d+)% .* (\d+)% of which", said).groups()
    assert 0 < float(suggested) <= 0.1
    assert int(kept) >= int(clean) / 2 - 1
    chosen, why = probed(RECIPE, ("robust",), dataset, split, classifier, asked=False)
    assert chosen.adversary.eps == float(suggested)
    assert f"eps {suggested} was chosen" in why


def test_a_slow_network_is_not_probed_for_a_suggestion(unknown, monkeypatch, capsys):
    dataset, split = unknown
    classifier = new_classifier(RECIPE, 10, dataset.input_shape)
    monkeypatch.setattr("edgepriv.training.eps._PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"median distance .* start with --eps 0\.\d+"):
        probed(RECIPE, ("robust",), dataset, split, classifier, asked=True)
    with progress.told(True):
        probed(RECIPE, ("robust",), dataset, split, classifier, asked=False)
    assert "choosing --eps, which was not given" in capsys.readouterr().err


def test_before_there_is_a_model_the_distance_between_classes_is_the_scale(unknown):
    with pytest.raises(UserError, match=r"median distance .* start with --eps 0\.\d+"):
        refuse_guess(RECIPE.with_changes(train={"adversarial": True}), ("train",), *unknown)


def test_nothing_is_asked_where_nothing_is_perturbed_or_the_radius_is_customary(unknown):
    with pytest.raises(UserError, match="--eps"):
        refuse_guess(RECIPE, ("robust",), *unknown)  # what is asked otherwise
    assert refuse_guess(RECIPE, ("train",), *unknown) is None
    assert refuse_guess(RECIPE.with_changes(adversary={"method": "none"}), ("robust",), *unknown) is None
    digits = load("digits")
    assert refuse_guess(RECIPE, ("robust",), digits, make_split(digits, SIZES, 0)) is None


def test_who_has_said_which_radius_is_meant():
    shape, filled_in = (1, 8, 8), RECIPE.with_changes(adversary={"eps": 0.1})
    assert not stated({}, None, filled_in, shape)  # by the shape of the input: nobody
    assert stated({"adversary": {"eps": 0.02}}, None, filled_in, shape)
    assert stated({}, RECIPE.with_changes(adversary={"eps": 0.1}), filled_in, shape)
    assert stated({}, None, RECIPE.with_changes(adversary={"eps": 0.03}), shape)
    assert stated({}, None, filled_in.with_changes(train={"adversarial": True}), shape)
    assert not stated({"adversary": {"norm": "l2"}}, None, RECIPE.with_changes(adversary={"eps": 0.03}), shape)


def test_no_member_chooses_the_radius_of_a_private_model(unknown):
    dataset, split = unknown
    private = RECIPE.with_changes(dp={"epsilon": 8.0, "total": 10.0})
    classifier = new_classifier(private, 10, dataset.input_shape)
    few = replace(split, validation=split.validation[:5])
    _, why = probed(private, ("robust",), dataset, few, classifier, asked=False)
    assert "on 5 inputs" in why
    nobody = replace(split, validation=split.validation[:0])
    with pytest.raises(UserError, match=r"members alone.*pass --eps"):
        probed(private, ("robust",), dataset, nobody, classifier, asked=False)

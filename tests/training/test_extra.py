"""Extra data: a share of each batch, labelled by the file or by the model; exact under a seed, resumable, alike in stacks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgepriv.data import ExtraData
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences.extra import Extra as Asked
from edgepriv.training import new_classifier, run_stages, run_stages_stacked, stages
from edgepriv.training.extra import Extra, labels_by
from edgepriv.training.generators import Generators

RECIPE = Recipe(
    model={"name": "mlp", "args": {"widths": [16]}},
    train={"epochs": 1, "batch_size": 32, "lr": 0.01},
    robust={"epochs": 2, "batch_size": 32},
    adversary={"method": "pgd", "eps": 0.1, "steps": 2},
    extra={"file": "npz:extra.npz", "labels": "model", "sha256": "00", "stages": ("robust",)},
)


@pytest.fixture
def with_extra(toy):
    rng = np.random.default_rng(1)
    x = np.concatenate([toy.x[:0], rng.random((50, 1, 8, 8), np.float32)])
    return lambda y=None: replace(toy, extra=ExtraData(x, y))


def trained(dataset, split, recipe=RECIPE, **given):
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(classifier, recipe, tuple(recipe.stages()), dataset, split, quiet=True, **given)
    return classifier


def same(first, second):
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_they_take_their_share_of_each_models_batch_and_members_keep_the_rest(dtype):
    x = torch.full((7, 1, 2, 2), 255 if dtype == torch.uint8 else 1).to(dtype)
    extra = Extra(x, torch.stack([torch.full((7,), 8), torch.full((7,), 9)]), 0.4)
    generator = Generators([0, 1])
    mixed, labels = extra.mixed_into(torch.zeros(20, 1, 2, 2), torch.zeros(20, dtype=torch.int64), generator)
    assert labels.tolist() == [0] * 6 + [8] * 4 + [0] * 6 + [9] * 4
    assert mixed.amax(dim=(1, 2, 3)).tolist() == [0] * 6 + [1] * 4 + [0] * 6 + [1] * 4
    one = replace(extra, share=0.9).mixed_into(torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), generator)
    assert one[1].tolist() == [0, 0]  # a batch of one for each model


def test_the_model_labels_them_as_it_was_before_it_saw_them(with_extra, split):
    dataset = with_extra()
    before = trained(dataset, split, RECIPE.with_changes(robust={"epochs": 0}))
    labels = labels_by(before, torch.from_numpy(dataset.extra.x)).numpy()
    assert len(set(labels)) > 1
    told = RECIPE.with_changes(extra={"labels": "given"})
    assert same(trained(dataset, split), trained(with_extra(labels), split, told))
    assert not same(trained(dataset, split), trained(with_extra((labels + 1) % 4), split, told))
    assert not same(trained(dataset, split), trained(dataset, split, RECIPE.with_changes(extra={"share": 0.25})))


def test_a_killed_run_goes_on_with_the_same_labels_and_draws(with_extra, split, tmp_path, monkeypatch):
    dataset, later = with_extra(), RECIPE.with_changes(qat={"epochs": 1}, quantize={"bits": 4})
    later = later.with_changes(extra={"stages": ("robust", "qat")})
    whole = trained(dataset, split, later)
    write, written = stages.write_resume_state, []

    def dies(path, content):
        write(path, content)
        written.append(content["position"])
        if written.count(2) == 2:  # within the last stage, whose weights would label otherwise
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "write_resume_state", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(dataset, split, later, resume_file=tmp_path / "partial")
    monkeypatch.setattr(stages, "write_resume_state", write)
    assert same(trained(dataset, split, later, resume_file=tmp_path / "partial"), whole)


def test_stacked_models_are_what_they_are_alone(with_extra, split):
    dataset = with_extra()
    recipes = [RECIPE.with_changes(seed=seed) for seed in (0, 5)]
    stacked = [new_classifier(own, dataset.num_classes, dataset.input_shape) for own in recipes]
    run_stages_stacked(stacked, recipes, dataset, [split, split])
    for own, together in zip(recipes, stacked, strict=True):
        alone = trained(dataset, split, own)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dp": {"epsilon": 8.0}, "extra": {"stages": ("train",)}}, "its epsilon knows of no other"),
        ({"noise": {"method": "uniform"}, "noisy": {"epochs": 1}}, "a teacher for each member"),
        ({"pipeline": {"script": "mine.py:train", "code": "00", "hooks": ("loader",)}}, "your own loader"),
    ],
)
def test_what_does_not_go_with_them_is_refused(changes, reason):
    with pytest.raises(UserError, match=reason):
        refuse_impossible(RECIPE.with_changes(**changes))


def test_an_oblivious_attacker_knows_nothing_of_them():
    assert RECIPE.undefended().own(Asked).file is None

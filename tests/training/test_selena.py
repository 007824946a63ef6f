"""SELENA: who sees what, whose answers count, and what a killed run goes on from."""

import numpy as np
import pytest
import torch
from weights import weights_of

from edgepriv.audit.workers import Job, train_group
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences import cost_notes
from edgepriv.training import new_classifier, run_stages
from edgepriv.training import retraining as sub_model_training
from edgepriv.training import stages as training_stages
from edgepriv.training.objectives.selena import _warn_of_copies_apart, drawn, units_of

ALL = ("train", "distilled", "robust", "qat")
STAGE = {"epochs": 2, "batch_size": 32, "lr": 0.01}


@pytest.fixture
def recipe():
    return Recipe(
        model={"name": "mlp", "args": {"widths": [16]}},
        train=STAGE,
        distilled=STAGE,
        robust=STAGE,
        qat=STAGE,
        adversary={"method": "pgd", "steps": 1, "eps": 0.05},
        selena={"sub_models": 4, "unseen": 2},
        quantize={"bits": 4},
    )


@pytest.fixture
def run(toy, split):
    def run(recipe, stages=ALL, resume_file=None):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        done = run_stages(classifier, recipe, stages, toy, split, resume_file=resume_file, quiet=True)
        return weights_of(classifier), done

    return run


def test_each_record_is_kept_from_l_of_k_and_equal_records_from_the_same():
    x = torch.arange(40.0).view(20, 2)
    x[7] = x[3]
    kept_from = drawn(units_of(x, None), 25, 10, seed=0)
    assert (kept_from.sum(1) == 10).all()
    assert (kept_from[7] == kept_from[3]).all()
    assert len({row.tobytes() for row in kept_from}) == 19
    x = torch.arange(120.0).view(60, 2)
    x[7] = x[3]
    of_persons = drawn(units_of(x, np.arange(60) // 2), 25, 10, seed=0)
    assert (of_persons[::2] == of_persons[1::2]).all()
    assert (of_persons[[2, 3, 6, 7]] == of_persons[2]).all()  # records 3 and 7, equal, are of two persons
    assert len({row.tobytes() for row in of_persons}) == 29


def test_people_whom_few_different_records_chain_together_are_kept_apart_by_person(capsys):
    """Five blank forms of fifty people: as one unit, sub-models would see them all or none."""
    x = torch.arange(200.0).view(100, 2)
    x[::2] = x[0]
    persons = np.arange(100) // 2
    assert (units_of(x, persons) == persons).all()
    _warn_of_copies_apart(x, units_of(x, persons))
    assert "50 of the 100 members are equal to a record of another person" in capsys.readouterr().err
    _warn_of_copies_apart(x[1::2], units_of(x[1::2], persons[1::2]))
    assert capsys.readouterr().err == ""


def test_the_student_learns_what_the_sub_models_say_that_did_not_see_a_member(run, recipe, toy, split, monkeypatch):
    """Split-AI written again: the mean confidence vector of those sub-models, each asked by itself."""
    sub_models, students = [], []
    whole = training_stages.fit

    def of_sub_model(classifier, members, *rest, **options):
        sub_models.append((classifier, members))
        return whole(classifier, members, *rest, **options)

    monkeypatch.setattr(sub_model_training, "fit", of_sub_model)
    monkeypatch.setattr(
        training_stages, "fit", lambda c, members, *a, **o: students.append(members) or whole(c, members, *a, **o)
    )
    run(recipe)
    x = torch.from_numpy(toy.x[split.members])
    seen_by = [{row.numpy().tobytes() for row in members.x} for _, members in sub_models]
    assert len(sub_models) == 4
    for record, soft in zip(x, students[1].y, strict=True):
        unseen = [
            model for (model, _), seen in zip(sub_models, seen_by, strict=True) if record.numpy().tobytes() not in seen
        ]
        assert len(unseen) == 2
        with torch.no_grad():
            expected = torch.stack([model.eval()(record[None]).softmax(1)[0] for model in unseen]).mean(0)
        torch.testing.assert_close(soft, expected, rtol=0, atol=1e-5)
    assert not students[0].y.is_floating_point()  # of the stage train
    assert all(later is students[1] for later in students[2:])  # robust and qat see no label either


def test_what_was_measured_is_kept(run, recipe):
    facts = run(recipe, stages=("train", "distilled"))[1].defences["selena"]
    assert (facts["sub_models"], facts["unseen"], facts["records_each"]) == (4, 2, 65)
    assert 0.25 < facts["share_label_kept"] <= 1
    assert 0 < facts["mean_entropy"] < np.log(4)


@pytest.mark.parametrize("writes", [1, 4, 5, 9])
def test_killed_and_started_again_gives_the_same_bits_without_training_a_sub_model_twice(
    run, recipe, tmp_path, dies_after, monkeypatch, writes
):
    stages = ("train", "distilled", "robust")  # writes: 2 epochs and the end, 4 sub-models, ...
    whole, done = run(recipe, stages)
    trained = []
    fit = sub_model_training.fit
    monkeypatch.setattr(sub_model_training, "fit", lambda *a, **o: trained.append(0) or fit(*a, **o))
    dies_after(3 + writes, run, recipe, stages=stages, resume_file=tmp_path / "p")
    before = len(trained)
    weights, again = run(recipe, stages, resume_file=tmp_path / "p")
    assert torch.equal(weights, whole)
    assert again.history == done.history
    assert again.defences == done.defences
    assert len(trained) - before == max(0, 4 - writes)


def test_reference_models_repeat_all_of_it_and_say_so(recipe, toy, split, run):
    (content,) = train_group([Job("0.npz", recipe, split, split.non_members)], toy)
    assert content
    assert cost_notes(recipe, 16)[0].startswith("each reference model repeats SELENA: 4 sub-models")
    assert "64 more trainings" in cost_notes(recipe, 16)[0]
    assert cost_notes(recipe.undefended(), 16) == cost_notes(recipe, 0) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selena": {"unseen": 4}}, "--selena must be above --selena-unseen"),
        ({"distilled": {"epochs": 0}}, "needs epochs of distillation"),
        ({"selena": {"sub_models": 0}}, "nothing is distilled|has no effect without sub-models"),
        ({"noise": {"method": "uniform"}, "noisy": STAGE}, "SELENA and noise"),
        ({"robust": {"relax": 0.5}}, "--relax 0"),
        ({"hamp": {"entropy": 0.5}}, "HAMP need"),
        ({"adversary": {"method": "mart"}}, "MART"),
        ({"dp": {"epsilon": 8.0}}, "differentially private training"),
        ({"extra": {"file": "npz:x.npz"}}, "extra data have labels"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(recipe, changes, reason):
    with pytest.raises(UserError, match=reason):
        refuse_impossible(recipe.with_changes(**changes))


def test_more_sub_models_than_the_members_are_for_is_refused_before_training(run, recipe):
    with pytest.raises(UserError, match="too many for 130 members"):
        run(recipe.with_changes(selena={"sub_models": 66}))


@pytest.mark.parametrize("method", ["trades", "free", "pgd"])
def test_adversarial_training_goes_on_from_soft_labels(run, recipe, method):
    done = run(recipe.with_changes(adversary={"method": method}), stages=("train", "distilled", "robust"))[1]
    assert all(np.isfinite(row["loss"]) for row in done.history)

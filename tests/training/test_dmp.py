"""DMP: a student that never sees a member, and whose teacher's answers it learns."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from weights import weights_of

from edgepriv.data import ExtraData, make_split
from edgepriv.errors import UserError
from edgepriv.extra_data import few_steps, with_extra
from edgepriv.recipe import Data, Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences.dmp import DMP
from edgepriv.training import new_classifier, run_stages
from edgepriv.training import stages as training_stages
from edgepriv.training.copies import copied_in_holdout

ALL = ("train", "distilled", "robust", "qat")
STAGE = {"epochs": 2, "batch_size": 32, "lr": 0.01}


@pytest.fixture
def recipe():
    return Recipe(
        model={"name": "mlp", "args": {"widths": [16]}},
        train=STAGE | {"epochs": 6},
        distilled=STAGE,
        robust=STAGE,
        qat=STAGE,
        adversary={"method": "pgd", "steps": 1, "eps": 0.05},
        dmp={"share": 0.5},
        quantize={"bits": 4},
    )


@pytest.fixture
def seen(monkeypatch):
    """What each stage was trained on."""
    each = []
    whole = training_stages.fit
    monkeypatch.setattr(
        training_stages, "fit", lambda c, members, *a, **o: each.append(members) or whole(c, members, *a, **o)
    )
    return each


@pytest.fixture
def run(toy, split):
    def run(recipe, stages=ALL, resume_file=None, dataset=toy, split=split):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        done = run_stages(classifier, recipe, stages, dataset, split, resume_file=resume_file, quiet=True)
        return weights_of(classifier), done

    return run


def test_the_student_sees_the_holdouts_surest_half_under_the_teachers_answers(run, recipe, toy, split, seen):
    _, done = run(recipe)
    teacher = new_classifier(recipe, toy.num_classes, toy.input_shape)
    run_stages(teacher, recipe, ("train",), toy, split, quiet=True)
    x = torch.from_numpy(toy.x[split.holdout])
    with torch.no_grad():
        answers = teacher(x).softmax(1).numpy()
    surest = np.sort(np.argsort(entropy(answers, axis=1))[:30])
    assert torch.equal(seen[1].x, x[surest])
    np.testing.assert_allclose(seen[1].y.numpy(), answers[surest], atol=1e-5)
    assert all(later is seen[1] for later in seen[2:4])  # robust, qat
    facts = done.defences["dmp"]
    assert (facts["examples"], facts["used"], facts["origin"]) == (60, 30, "privacy holdout")
    assert facts["mean_entropy"] == pytest.approx(entropy(answers[surest], axis=1).mean(), abs=1e-4)


def test_copies_of_others_in_the_holdout_are_not_distilled_on(run, recipe, toy, split, seen, capsys):
    x = toy.x.copy()
    x[split.holdout[:3]], x[split.holdout[3:5]] = x[split.members[:3]], x[split.non_members[:2]]
    x[split.holdout[7]] = x[split.holdout[8]]  # a copy among themselves is of nobody else
    copies = dataclasses.replace(toy, x=x)
    assert list(copied_in_holdout(copies, split)) == [True] * 5 + [False] * 55
    whole = recipe.with_changes(dmp={"share": 1.0})
    with_extra(whole, copies, split)
    assert "DMP: 5 of the 60 examples of the privacy holdout are equal to members" in capsys.readouterr().err
    _, done = run(whole, dataset=copies, stages=("train", "distilled"))
    assert torch.equal(seen[1].x, torch.from_numpy(x[split.holdout[5:]]))
    facts = done.defences["dmp"]
    assert (facts["examples"], facts["left_out"]) == (55, 5)
    assert "no member was trained on again; 5 that are equal to others were left out" in DMP.terminal_lines(facts)[0]


def test_few_steps_are_told_with_the_epochs_that_are_as_many(recipe, toy, split):
    """The holdout has 60 examples, of which a half is taken."""
    [line] = few_steps(recipe.with_changes(distilled={"epochs": 1}), toy, split)
    had = len(split.members) * 6
    assert f"1 epochs on 30 examples are {30 / had:.0%} of what the training saw in 6 epochs" in line
    assert f"--distill-epochs {-(-had // 30)} are as many" in line
    assert few_steps(recipe.with_changes(distilled={"epochs": had}), toy, split) == []
    assert few_steps(recipe.with_changes(dmp={"share": 0.0}, distilled={"epochs": 0}), toy, split) == []


def test_a_holdout_of_copies_alone_is_refused_before_the_training(recipe, toy, split):
    x = toy.x.copy()
    x[split.holdout] = x[split.members[0]]
    with pytest.raises(UserError, match="are no copies of members"):
        with_extra(recipe, dataclasses.replace(toy, x=x), split)


def test_its_loss_is_the_divergence_of_the_students_answers_from_the_teachers(run, recipe, seen):
    """KL(teacher || student), but for the teacher's entropy, which no weight changes."""
    _, done = run(recipe.with_changes(distilled={"epochs": 1, "lr": 1e-9}), stages=("train", "distilled"))
    student = new_classifier(recipe, 4, (1, 8, 8)).eval()
    with torch.no_grad():
        log_probabilities = student(seen[1].x).log_softmax(1)
    divergence = torch.nn.functional.kl_div(log_probabilities, seen[1].y, reduction="batchmean")
    own = entropy(seen[1].y.numpy(), axis=1).mean()
    assert done.history[-1]["loss"] == pytest.approx(float(divergence) + own, rel=1e-4)


@pytest.mark.parametrize("writes", [7, 9, 11])
def test_killed_and_started_again_gives_the_same_bits(run, recipe, tmp_path, dies_after, writes):
    whole, done = run(recipe)
    dies_after(writes, run, recipe, resume_file=tmp_path / "p")
    weights, again = run(recipe, resume_file=tmp_path / "p")
    assert torch.equal(weights, whole)
    assert (again.history, again.defences) == (done.history, done.defences)


# --- a public file ---


@pytest.fixture
def public(toy, tmp_path):
    def written(x):
        np.savez(tmp_path / "public.npz", x=x)
        return f"npz:{tmp_path / 'public.npz'}"

    return written


def test_public_examples_stand_in_for_the_holdout(run, recipe, toy, split, seen, public):
    others = np.random.default_rng(5).random((40, 8, 8)).astype(np.float32)
    asked = recipe.with_changes(dmp={"share": 1.0, "file": public(others)})
    told, dataset = with_extra(asked, toy, split)
    assert len(told.dmp.sha256) == 64
    assert told.training_hash() != asked.training_hash() != recipe.training_hash()
    _, done = run(told, dataset=dataset, stages=("train", "distilled"))
    np.testing.assert_allclose(seen[1].x.numpy()[:, 0], others)
    assert done.defences["dmp"]["origin"] == "public file"
    public(others[:-1])
    with pytest.raises(UserError, match="has changed since the model was distilled"):
        with_extra(told, toy, split)


def test_public_examples_that_play_a_part_are_refused_and_counted(recipe, toy, split, public):
    shared = np.concatenate([toy.x[split.members[:3]], toy.x[split.non_members[:2]]])
    asked = recipe.with_changes(dmp={"file": public(shared)})
    with pytest.raises(UserError, match=r"3 members and 2 non-members are in it\. Public examples must be"):
        with_extra(asked, toy, split)


@pytest.mark.parametrize(
    ("x", "reason"),
    [(np.zeros((5, 9, 9)), "the model takes"), (np.full((1, 8, 8), 0.5), "too few to distil on")],
)
def test_public_examples_that_do_not_fit_are_refused(recipe, toy, split, public, x, reason):
    with pytest.raises(UserError, match=reason):
        with_extra(recipe.with_changes(dmp={"file": public(x.astype(np.float32))}), toy, split)


def test_without_a_holdout_it_is_refused_before_training(run, recipe, toy):
    split = make_split(toy, Data(members=130, non_members=100, reference=50, holdout=0, validation=60), seed=0)
    with pytest.raises(UserError, match=r"0\.5 of its 0 examples are too few.*--public"):
        run(recipe, split=split)
    dataset = dataclasses.replace(toy, public=ExtraData(toy.x[split.reference], None))
    named = recipe.with_changes(dmp={"file": "npz:public.npz"})
    assert run(named, stages=("train", "distilled"), dataset=dataset, split=split)[1].defences["dmp"]["examples"] == 50


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selena": {"sub_models": 25}}, "use one"),
        ({"qat": {"flatten": 0.5}}, "--flatten 0"),
        ({"qat": {"relax": 0.5}}, "--relax 0"),
        ({"head": {"method": "member"}}, "--regenerate rank"),
        ({"dmp": {"share": 0.0, "file": "npz:x.npz"}}, "pass --dmp"),
        ({"dmp": {"share": 0.0}}, "nothing is distilled"),
        ({"distilled": {"epochs": 0}}, "needs epochs"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(recipe, changes, reason):
    with pytest.raises(UserError, match=reason):
        refuse_impossible(recipe.with_changes(**changes))

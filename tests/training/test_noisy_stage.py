"""The stage that retrains on noisy members: what it sees, what it minimises, what it survives."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional
from weights import weights_of

from edgepriv.audit.workers import Job, train_group
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe, Stage
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training import stages as training_stages
from edgepriv.training.examples import Examples
from edgepriv.training.loop import fit
from edgepriv.training.loss import divergence_from
from edgepriv.training.objectives import Objective
from edgepriv.training.task import Task

ALL = ("train", "noisy", "robust", "qat")
STAGE = {"epochs": 2, "batch_size": 32, "lr": 0.01}
WRITES = 4 * 3  # of a whole run: two epochs and the end, for each stage


@pytest.fixture
def recipe():
    return Recipe(
        model={"name": "mlp", "args": {"widths": [24]}},
        train=STAGE | {"epochs": 8},
        noisy=STAGE | {"flatten": 0.5},
        robust=STAGE,
        qat=STAGE,
        adversary={"method": "pgd", "steps": 2, "eps": 0.05},
        noise={"method": "shapley"},
        quantize={"bits": 4},
    )


@pytest.fixture
def run(toy, split):
    def run(recipe, stages=ALL, resume_file=None):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        done = run_stages(classifier, recipe, stages, toy, split, resume_file=resume_file, quiet=True)
        return weights_of(classifier), done

    return run


def without_seconds(facts):
    return {name: value for name, value in facts.items() if "seconds" not in name}


# --- what it sees ---


@pytest.mark.parametrize("method", ["shapley", "uniform"])
def test_no_stage_sees_a_clean_member_once_they_have_noise(run, recipe, toy, split, monkeypatch, method):
    seen = {}
    whole = training_stages.fit

    def watching(classifier, members, task, **options):
        seen[len(seen)] = members
        return whole(classifier, members, task, **options)

    monkeypatch.setattr(training_stages, "fit", watching)
    run(recipe.with_changes(noise={"method": method, "tau": 1.0}))
    clean = torch.from_numpy(toy.x[split.members])
    assert torch.equal(seen[0].x, clean)
    assert seen[0].teacher is None
    assert all(after is seen[1] for after in (seen[2], seen[3]))
    touched = (seen[1].x != clean).flatten(1).any(1)
    assert touched.float().mean() > 0.9


def test_the_teacher_answers_to_the_noisy_members(run, recipe, toy, split, monkeypatch):
    seen = []
    whole = training_stages.fit
    monkeypatch.setattr(
        training_stages, "fit", lambda c, members, *a, **o: seen.append(members) or whole(c, members, *a, **o)
    )
    run(recipe, stages=("train", "noisy"))
    teacher = new_classifier(recipe, toy.num_classes, toy.input_shape)
    run_stages(teacher, recipe, ("train",), toy, split, quiet=True)
    with torch.no_grad():
        expected = teacher(seen[1].x).log_softmax(1)
    torch.testing.assert_close(seen[1].teacher, expected, rtol=0, atol=1e-4)


def test_it_starts_from_new_weights(run, recipe, toy):
    slow = recipe.with_changes(noisy={"lr": 1e-9})
    start = weights_of(new_classifier(recipe, toy.num_classes, toy.input_shape))
    after, _ = run(slow, stages=("train", "noisy"))
    torch.testing.assert_close(after, start, rtol=0, atol=1e-5)


def test_what_was_measured_is_kept(run, recipe):
    _, done = run(recipe, stages=("train", "noisy"))
    facts = done.defences["noise"]
    assert facts["method"] == "shapley"
    assert "GradientShap" in facts["estimator"]
    assert facts["mean_entropy_after"] > facts["mean_entropy_before"]
    assert [row["stage"] for row in done.history] == ["train"] * 8 + ["noisy"] * 2


# --- what it minimises ---


def test_the_divergence_is_that_of_the_student_from_the_teacher():
    """KL(f' || f), and not the other way round."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.4, 0.3]])
    student = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    teacher = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    expected = (student * np.log(student / teacher)).sum()
    found = float(divergence_from(torch.from_numpy(teacher).log().float(), logits))
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx((teacher * np.log(teacher / student)).sum(), rel=0.01)


@pytest.fixture
def trained(classifier, toy):
    """Weights after two epochs on noisy members with these labels and these answers of a teacher."""

    def trained(alpha, y=0, teacher=0):
        x = torch.from_numpy(toy.x[:96])
        labels = (torch.from_numpy(toy.y[:96]) + y) % 4
        answers = torch.randn(96, 4, generator=torch.Generator().manual_seed(teacher)).log_softmax(1)
        student = classifier("mlp", widths=[16])
        task = Task(Stage(**STAGE), (Objective(teacher_share=alpha),))
        rows = fit(student, Examples(x, labels, answers), task, seed=0)
        away = functional.kl_div(answers, student(x).log_softmax(1), reduction="batchmean", log_target=True)
        return weights_of(student), rows, away

    return trained


def test_alpha_0_forgets_the_teacher_and_alpha_1_the_labels(trained):
    assert torch.equal(trained(0.0)[0], trained(0.0, teacher=1)[0])
    assert not torch.equal(trained(0.0)[0], trained(0.0, y=1)[0])
    assert torch.equal(trained(1.0)[0], trained(1.0, y=1)[0])
    assert not torch.equal(trained(1.0)[0], trained(1.0, teacher=1)[0])
    assert not torch.equal(trained(0.5)[0], trained(0.5, y=1)[0])
    assert not torch.equal(trained(0.5)[0], trained(0.5, teacher=1)[0])


def test_alpha_0_is_training_without_a_teacher(trained, classifier, toy):
    student = classifier("mlp", widths=[16])
    members = Examples(torch.from_numpy(toy.x[:96]), torch.from_numpy(toy.y[:96]))
    rows = fit(student, members, Task(Stage(**STAGE)), seed=0)
    found = trained(0.0)
    assert rows == found[1]
    assert torch.equal(weights_of(student), found[0])


def test_more_alpha_follows_the_teacher_more(trained):
    assert trained(1.0)[2] < trained(0.5)[2] < trained(0.0)[2]


# --- what it survives ---


@pytest.mark.parametrize("writes", range(8, WRITES + 1))
def test_killed_and_started_again_gives_the_same_bits(run, recipe, tmp_path, dies_after, writes):
    recipe = recipe.with_changes(train={"epochs": 2})
    whole, done = run(recipe)
    dies_after(writes - 4, run, recipe, resume_file=tmp_path / "p")
    weights, again = run(recipe, resume_file=tmp_path / "p")
    assert torch.equal(weights, whole)
    assert again.history == done.history
    assert without_seconds(again.defences["noise"]) == without_seconds(done.defences["noise"])


def test_equal_seeds_give_equal_weights(run, recipe):
    assert torch.equal(run(recipe)[0], run(recipe)[0])


def test_an_entropy_above_that_of_any_answer_is_refused_before_training(run, recipe):
    with pytest.raises(UserError, match=r"over 4 classes is below 1\.39 nats"):
        run(recipe.with_changes(noise={"tau": 1.4}))


# --- reference models ---


def test_stacked_models_are_what_they_are_alone(recipe, toy, split):
    recipe = recipe.with_changes(noisy={"flatten": 0.0}, robust={"select": "last"}, qat={"select": "last"})
    recipes = [recipe.with_changes(seed=seed) for seed in (3, 5)]
    splits = [dataclasses.replace(split, members=split.members[own : 120 + own]) for own in (0, 9)]
    together, alone = ([new_classifier(own, toy.num_classes, toy.input_shape) for own in recipes] for _ in range(2))
    run_stages_stacked(together, recipes, toy, splits)
    for one, own, its in zip(alone, recipes, splits, strict=True):
        run_stages(one, own, ALL, toy, its, quiet=True)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weights_of(one), weights_of(other), rtol=0, atol=5e-3)
    assert (weights_of(together[0]) - weights_of(together[1])).abs().max() > 0.1


def test_reference_models_take_the_same_stages(recipe, toy, split, run):
    job = Job("0.npz", recipe, split, split.non_members)
    assert len(list(train_group([job], toy))) == 1
    two = [dataclasses.replace(job, recipe=recipe.with_changes(seed=seed, noisy={"flatten": 0})) for seed in (1, 2)]
    assert len(list(train_group(two, toy))) == 2

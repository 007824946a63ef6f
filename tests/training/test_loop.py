"""The one training loop: what it minimises, when it stops, which epoch it keeps."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from weights import weights_of

from edgepriv.data import load
from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Model, Quantize, Stage
from edgepriv.training import load_quantized, quantize_weights, simulation
from edgepriv.training import loop as loop_module
from edgepriv.training.augment import augmented
from edgepriv.training.examples import Examples
from edgepriv.training.loop import Hooks, fit, validate
from edgepriv.training.loss import setup_of
from edgepriv.training.objectives import adversarial
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.objectives.flattening import flattened
from edgepriv.training.objectives.quantization import rounded
from edgepriv.training.pgd import Budget
from edgepriv.training.task import Task

BUDGET = Budget("linf", 0.05, 0.02, 3)


def task(*, budget=None, quantize=None, bfloat16=False, flatten=0.0, **stage):
    stage = {"epochs": 3, "batch_size": 32, "lr": 0.01, "weight_decay": 0.0} | stage
    asked = [(rounded, quantize), (against, budget), (flattened, flatten)]
    objectives = tuple(objective(value) for objective, value in asked if value)
    return Task(Stage(**stage), objectives, bfloat16, channels_last=True, fold_norms=True)


def held_out(model, examples, task):
    """Held-out, as an epoch measures them."""
    return validate(setup_of(model, task, torch.Generator()), examples, 0)


def accuracy(classifier, examples):
    with torch.no_grad():
        return float((classifier(examples.x).argmax(1) == examples.y).float().mean())


@pytest.fixture
def members(examples, split):
    return examples(split.members)


@pytest.fixture
def others(examples, split):
    return examples(split.non_members)


# --- learning ---


@pytest.mark.parametrize(
    "asked",
    [
        task(epochs=8),
        task(epochs=8, optimizer="sgd", lr=0.1),
        task(epochs=8, budget=BUDGET),
        task(epochs=8, quantize=Quantize(bits=4)),
        task(epochs=8, bfloat16=True),
        task(epochs=8, schedule="cyclic"),
        task(epochs=8, schedule="constant"),
    ],
    ids=["clean", "sgd", "adversarial", "quantized", "bfloat16", "cyclic", "constant"],
)
def test_it_learns_the_toy(classifier, members, others, asked):
    model = classifier(width=8)
    history = fit(model, members, asked, seed=0)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < history[0]["loss"]
    assert accuracy(model, others) > 0.9
    assert not model.training
    assert all(p.is_contiguous() and p.dtype == torch.float32 and torch.isfinite(p).all() for p in model.parameters())


def test_one_seed_gives_the_same_bits(classifier, members):
    def trained(seed):
        model = classifier()
        fit(model, members, task(budget=BUDGET, augment="crop_flip", quantize=Quantize(bits=4)), seed=seed)
        return weights_of(model)

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_training_on_perturbed_inputs_buys_robustness(classifier, members, others):
    budget = Budget("linf", 0.1, 0.04, 5)
    clean, robust = classifier(), classifier()
    fit(clean, members, task(epochs=10), seed=0)
    fit(robust, members, task(epochs=10, budget=budget), seed=0)
    measured = task(budget=budget)
    accuracies = [held_out(model, others, measured)[0]["validation_robust_accuracy"] for model in (clean, robust)]
    assert accuracies[1] > accuracies[0] + 0.1


def test_quantized_training_makes_weights_that_survive_two_bits():
    """Rounding trained weights to two bits costs accuracy that training on the rounded weights wins back."""
    digits = load("digits")
    members, others = (
        Examples(torch.tensor(digits.x[i]), torch.tensor(digits.y[i])) for i in np.split(np.arange(800), 2)
    )
    rule = Quantize(bits=2, granularity="tensor")
    accuracies = []
    for last_epochs in (task(epochs=8), task(epochs=8, quantize=rule)):
        torch.manual_seed(0)
        model = build_classifier(Model(args={"width": 4}), 10, digits.input_shape)
        fit(model, members, task(epochs=8), seed=0)
        fit(model, members, last_epochs, seed=1)
        load_quantized(model.network, quantize_weights(model.network, rule))
        accuracies.append(accuracy(model, others))
    assert accuracies[1] > 0.7
    assert accuracies[1] > accuracies[0] + 0.05


def test_flattening_narrows_the_confidence_gap(classifier, examples, split):
    """Labels that can only be memorised: confidence on members then tells who they are."""
    generator = torch.Generator().manual_seed(0)

    def noise(count):
        x = torch.rand(count, 1, 8, 8, generator=generator)
        return Examples(x, torch.randint(4, (count,), generator=generator))

    members, holdout, unseen = noise(60), noise(200), noise(200)

    def gap(flatten):
        model = classifier(name="mlp", widths=[64])
        fit(model, members, task(epochs=60, flatten=flatten, schedule="constant"), seed=0, holdout=holdout)
        with torch.no_grad():
            inside, outside = (model(part.x).softmax(1).amax(1).mean() for part in (members, unseen))
        return float(inside - outside)

    assert gap(0.0) > 0.2
    assert gap(10.0) < 0.5 * gap(0.0)


def test_soft_labels_that_are_certain_train_like_labels(classifier, members, others):
    """Also when perturbing and when choosing the epoch."""
    asked = task(budget=BUDGET, select="best")

    def soft(part):
        return Examples(part.x, functional.one_hot(part.y, 4).float())

    hard_model, soft_model = classifier(), classifier()
    hard_rows = fit(hard_model, members, asked, seed=0, validation=others)
    soft_rows = fit(soft_model, soft(members), asked, seed=0, validation=soft(others))
    for hard_row, soft_row in zip(hard_rows, soft_rows, strict=True):
        assert soft_row == pytest.approx(hard_row, rel=1e-4)
    torch.testing.assert_close(weights_of(soft_model), weights_of(hard_model), rtol=1e-3, atol=1e-4)


def test_a_student_takes_its_teachers_probabilities(classifier, members):
    """Cross-entropy against probabilities is least where the student's softmax equals them."""
    teacher = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(len(members), 4)
    student = classifier()
    history = fit(student, Examples(members.x, teacher), task(epochs=20), seed=0)
    with torch.no_grad():
        torch.testing.assert_close(student(members.x).softmax(1), teacher, rtol=0, atol=0.03)
    assert history[-1]["accuracy"] == 1.0


def test_divergence_is_one_sentence(classifier, members):
    with pytest.raises(UserError, match=r"diverged in epoch \d+: lower the learning rate \(1e\+06\)"):
        fit(classifier(), members, task(lr=1e6, optimizer="sgd"), seed=0)


# --- batches ---


class Recorded(Examples):
    """Remembers which examples were asked for."""

    def batch(self, index):
        self.asked.append(index.tolist())
        return super().batch(index)


def recorded(members, count):
    found = Recorded(members.x[:count], members.y[:count])
    object.__setattr__(found, "asked", [])
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 8, 40, 100])
def test_an_epoch_is_every_member_once(classifier, members, batch_size):
    part = recorded(members, 40)
    fit(classifier(), part, task(epochs=2, batch_size=batch_size), seed=0)
    batches = math.ceil(40 / batch_size)
    first, second = part.asked[:batches], part.asked[batches:]
    assert sorted(itertools.chain(*first)) == sorted(itertools.chain(*second)) == list(range(40))
    assert batch_size >= 40 or first != second
    assert {len(batch) for batch in first} <= {batch_size, 40}


def test_a_last_batch_of_one_is_filled_up_for_batch_normalization(classifier, members):
    part = recorded(members, 33)
    fit(classifier(name="resnet20"), part, task(epochs=1), seed=0)
    assert [len(batch) for batch in part.asked] == [32, 2]
    assert set(itertools.chain(*part.asked)) == set(range(33))


def test_bytes_are_trained_on_as_fractions():
    pixels = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    x, y = Examples(pixels, torch.tensor([1])).batch(torch.tensor([0, 0]))
    torch.testing.assert_close(x, torch.tensor([[0, 0.2, 1.0]] * 2))
    assert y.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("schedule", "peak_at", "last"), [("cosine", 0, 0.01), ("cyclic", 12, 0.06), ("constant", 0, 1)]
)
def test_learning_rates_peak_and_end_as_scheduled(classifier, members, monkeypatch, schedule, peak_at, last):
    made, rates = [], []
    original = loop_module.optimizer_of
    monkeypatch.setattr(loop_module, "optimizer_of", lambda *args: made.append(original(*args)) or made[0])
    asked = task(epochs=6, lr=0.02, schedule=schedule)  # 5 batches an epoch, 30 steps
    fit(
        classifier(),
        members,
        asked,
        seed=0,
        hooks=Hooks(after_step=lambda: rates.append(made[0].param_groups[0]["lr"] / 0.02)),
    )
    assert len(rates) == 30
    assert rates.index(max(rates)) == peak_at
    assert max(rates) == pytest.approx(1)
    assert 0 < rates[-1] <= last


def test_attacks_see_running_statistics_and_updates_those_of_the_batch(classifier, members, monkeypatch):
    model, modes = classifier(name="resnet20"), []
    original = adversarial.perturbed

    def watched(logits_of, *args):
        before = {name: value.clone() for name, value in model.named_buffers()}
        modes.append(model.training)
        result = original(logits_of, *args)
        assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
        return result

    monkeypatch.setattr(adversarial, "perturbed", watched)
    start = model.network.bn1.running_mean.clone()
    fit(
        model,
        members,
        task(epochs=1, budget=BUDGET),
        seed=0,
        hooks=Hooks(after_step=lambda: modes.append(model.training)),
    )
    assert modes == [False, True] * 5
    assert not torch.equal(model.network.bn1.running_mean, start)


# --- augmentation ---


def windows(image, pad):
    """Every crop of the zero-padded image, [C, H, W] -> list."""
    _, height, width = image.shape
    padded = functional.pad(image, (pad,) * 4)
    return [padded[:, i : i + height, j : j + width] for i in range(2 * pad + 1) for j in range(2 * pad + 1)]


def where(image, candidates):
    return [position for position, candidate in enumerate(candidates) if torch.equal(image, candidate)]


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 16), (1, 4, 4)])
def test_crops_are_windows_of_the_padded_image(shape):
    x = torch.rand(400, *shape) + 0.1
    pad = max(1, shape[1] // 8)
    found = augmented(x, "crop", torch.Generator().manual_seed(0))
    assert found.shape == x.shape
    places = [where(new, windows(old, pad)) for old, new in zip(x, found, strict=True)]
    assert all(len(place) == 1 for place in places)
    assert {place[0] for place in places} == set(range((2 * pad + 1) ** 2))


def test_half_of_the_images_are_mirrored():
    x = torch.rand(400, 3, 8, 8) + 0.1
    found = augmented(x, "crop_flip", torch.Generator().manual_seed(0))
    plain = [bool(where(new, windows(old, 1))) for old, new in zip(x, found, strict=True)]
    mirrored = [bool(where(new.flip(2), windows(old, 1))) for old, new in zip(x, found, strict=True)]
    assert all(a != b for a, b in zip(plain, mirrored, strict=True))
    assert 150 < sum(mirrored) < 250


def test_tables_and_unaugmented_images_are_left_alone():
    table, images = torch.rand(5, 8), torch.rand(5, 1, 8, 8)
    assert augmented(table, "crop_flip", torch.Generator()) is table
    assert augmented(images, "none", torch.Generator()) is images


# --- choosing an epoch ---


@pytest.fixture
def scripted(monkeypatch):
    """Held-out scores as told, in place of measured ones."""

    def script(*scores, key="validation_accuracy"):
        left = iter(scores)
        monkeypatch.setattr(loop_module, "validate", lambda *args: [{"validation_accuracy": 1.0, key: next(left)}])

    return script


def fitted(model, members, asked):
    """The weights after each epoch, and at the end."""
    after = []
    history = fit(
        model,
        members,
        asked,
        seed=0,
        validation=members,
        hooks=Hooks(after_epoch=lambda _: after.append(weights_of(model))),
    )
    return after, weights_of(model), history


def test_the_best_epoch_is_kept_and_patience_ends_the_stage(classifier, members, scripted):
    scripted(0.3, 0.8, 0.7, 0.8, 0.1)
    after, final, history = fitted(classifier(), members, task(epochs=9, select="best", patience=3))
    assert len(history) == 5
    assert torch.equal(final, after[1])


def test_without_patience_every_epoch_runs(classifier, members, scripted):
    scripted(0.9, 0.1, 0.1, 0.1)
    after, final, history = fitted(classifier(), members, task(epochs=4, select="best"))
    assert len(history) == 4
    assert torch.equal(final, after[0])


def test_the_last_epoch_is_kept_when_asked(classifier, members, scripted):
    scripted()
    after, final, history = fitted(classifier(), members, task(epochs=4, select="last"))
    assert torch.equal(final, after[3])
    assert "validation_accuracy" not in history[0]


def test_robust_accuracy_decides_where_there_is_one(classifier, members, scripted):
    scripted(0.2, 0.5, 0.4, key="validation_robust_accuracy")
    after, final, _ = fitted(classifier(), members, task(epochs=3, select="best", budget=BUDGET))
    assert torch.equal(final, after[1])


def test_a_collapse_of_more_than_20_points_ends_the_stage(classifier, members, scripted):
    scripted(0.5, 0.6, 0.41, 0.39, 0.6, key="validation_robust_accuracy")
    after, final, history = fitted(classifier(), members, task(epochs=9, select="best", budget=BUDGET))
    assert len(history) == 4
    assert torch.equal(final, after[1])


def test_watching_the_validation_set_changes_nothing_in_the_training(classifier, members, others):
    losses = [
        [
            row["loss"]
            for row in fit(classifier(), members, task(select=select, budget=BUDGET), seed=0, validation=others)
        ]
        for select in ("last", "best")
    ]
    assert losses[0] == losses[1]


def test_validation_measures_clean_and_robust_accuracy(classifier, members, others):
    model = classifier()
    fit(model, members, task(epochs=6), seed=0)
    (clean,), (attacked,) = (held_out(model, others, asked) for asked in (task(), task(budget=BUDGET)))
    assert clean == {"validation_accuracy": pytest.approx(accuracy(model, others))}
    assert attacked["validation_accuracy"] == clean["validation_accuracy"]
    assert attacked["validation_robust_accuracy"] < clean["validation_accuracy"]
    assert [attacked] == held_out(model, others, task(budget=BUDGET))


def test_a_quantized_task_is_validated_with_the_weights_that_ship(classifier, members, others):
    rule = Quantize(bits=2, granularity="tensor")
    model = classifier()
    fit(model, members, task(epochs=6), seed=0)
    found = held_out(model, others, task(quantize=rule))[0]["validation_accuracy"]
    load_quantized(model.network, quantize_weights(model.network, rule))
    assert found == pytest.approx(accuracy(model, others))


def test_the_bits_of_each_layer_are_looked_up_once_for_all_steps(classifier, members, monkeypatch):
    looked_up = []
    original = simulation.widths
    monkeypatch.setattr(simulation, "widths", lambda *args: looked_up.append(args) or original(*args))
    fit(classifier(), members, task(epochs=2, budget=BUDGET, quantize=Quantize(bits=4)), seed=0)
    assert len(looked_up) == 1

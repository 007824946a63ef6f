"""Each way of adversarial training against its authors' formulas, written out a second time, and as a recipe asks for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from weights import weights_of

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.conflicts import reasons, refuse_impossible
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training.loss import backward, batch_of, loss_of, setup_of
from edgepriv.training.objectives import Asked, objectives_of
from edgepriv.training.objectives.adversarial import against, at_epoch
from edgepriv.training.objectives.awp import worsened
from edgepriv.training.objectives.free import replayed
from edgepriv.training.objectives.mart import mart_loss
from edgepriv.training.objectives.trades import traded
from edgepriv.training.pgd import Budget, noisy_fgsm
from edgepriv.training.task import Task

BUDGET = Budget("linf", 0.1, 0.05, 3)
STAGE = {"epochs": 2, "batch_size": 32, "lr": 0.01}
METHODS = ("fgsm", "nfgsm", "free", "pgd", "trades", "mart")


def network(classes=3):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))
    return Classifier(body, [0.5], [0.5])


@pytest.fixture
def examples():
    rng = torch.Generator().manual_seed(1)
    return torch.rand(16, 1, 3, 4, generator=rng), torch.randint(3, (16,), generator=rng)


def prepared(classifier, objective, examples, epoch=0):
    setup = setup_of(classifier.train(), Task(Stage(), (objective,)), torch.Generator().manual_seed(3))
    return batch_of(setup, *examples, None, epoch), setup


def test_trades_is_a_clean_loss_and_the_divergence_of_perturbed_answers(examples):
    batch, setup = prepared(network(), traded(BUDGET, 6.0), examples)
    loss, _ = loss_of(batch, setup.task)
    expected = network().train()
    expected.load_state_dict(setup.classifier.state_dict())
    perturbed, clean = expected(batch.x), expected(batch.clean)  # in this order: both move the running statistics
    divergence = nn.KLDivLoss(reduction="batchmean")(functional.log_softmax(perturbed, 1), functional.softmax(clean, 1))
    torch.testing.assert_close(loss, functional.cross_entropy(clean, examples[1]) + 6.0 * divergence)


def test_trades_attacks_the_divergence_and_not_the_label(examples):
    """Other labels make the same perturbations, within the budget, and they move the answers more than noise does."""
    batch, setup = prepared(network(), traded(BUDGET, 6.0), examples)
    other, _ = prepared(network(), traded(BUDGET, 6.0), (examples[0], (examples[1] + 1) % 3))
    assert torch.equal(batch.x, other.x)
    assert float((batch.x - examples[0]).abs().max()) <= BUDGET.eps + 1e-6
    classifier = setup.classifier.eval()

    @torch.no_grad()
    def moved(x):
        p, q = classifier(examples[0]).softmax(1), classifier(x).softmax(1)
        return float((p * (p / q).log()).sum())

    noise = 2 * BUDGET.eps * torch.rand(examples[0].shape, generator=torch.Generator().manual_seed(5)) - BUDGET.eps
    assert moved(batch.x) > 1.5 * moved((examples[0] + noise).clamp(0, 1))


def test_mart_is_the_authors_loss(examples):
    """Their program, line by line in numpy."""
    rng = np.random.default_rng(0)
    natural, adversarial = (torch.tensor(rng.normal(size=(16, 3))) for _ in range(2))
    y = examples[1]
    p, q = natural.softmax(1).numpy(), adversarial.softmax(1).numpy()
    rows = np.arange(16)
    top = np.argsort(q)
    wrong = np.where(top[:, -1] == y.numpy(), top[:, -2], top[:, -1])
    boosted = -np.log(q[rows, y]) - np.log(1.0001 - q[rows, wrong] + 1e-12)
    robust = (p * np.log(p / q)).sum(1) * (1.0000001 - p[rows, y])
    torch.testing.assert_close(mart_loss(natural, adversarial, y, 5.0), torch.tensor(boosted + 5.0 * robust))


def test_n_fgsm_steps_from_twice_the_ball_and_stays_outside(examples):
    """On a linear model every step is to a corner, so a perturbation is noise of up to 2 eps plus eps."""
    weight = torch.where(torch.rand(12, 1, generator=torch.Generator().manual_seed(0)) > 0.5, 1.0, -1.0)

    def logits_of(x):
        return torch.cat([x.flatten(1) @ weight, -x.flatten(1) @ weight], dim=1)

    x = torch.full((400, 12), 0.5)
    moved = noisy_fgsm(logits_of, x, torch.zeros(400, dtype=torch.long), Budget("linf", 0.1, 0.1, 1), torch.Generator())
    noise = (moved - x) + 0.1 * weight.T  # class 0 loses where its logit falls
    assert float(noise.abs().max()) == pytest.approx(0.2, abs=0.002)
    assert float(noise.std()) == pytest.approx(0.4 / 12**0.5, rel=0.03)  # uniform over 4 eps


def test_free_takes_the_next_perturbation_from_the_gradient_that_updates_the_weights(examples):
    classifier, objective = network(), replayed(BUDGET, 2)
    batches, deltas = [], []
    setup = setup_of(classifier.train(), Task(Stage(), (objective,)), torch.Generator().manual_seed(3))
    x, y = examples
    for _ in range(3):
        expected = network().train()
        expected.load_state_dict(classifier.state_dict())
        at = (x + (deltas[-1] if deltas else 0)).detach().requires_grad_(True)
        functional.cross_entropy(expected(at), y).backward()
        delta = (at.detach() + BUDGET.eps * at.grad.sign() - x).clamp(-BUDGET.eps, BUDGET.eps)
        deltas.append((x + delta).clamp(0, 1) - x)
        batches.append(at.detach())
        backward(setup, x, y, None, 0)
        for own, wanted in zip(classifier.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(own.grad, wanted.grad)
        classifier.zero_grad()
    assert float((batches[2] - x).abs().max()) == pytest.approx(BUDGET.eps, abs=1e-6)


def test_free_begins_every_epoch_without_a_perturbation(examples):
    objective = replayed(BUDGET, 2)
    setup = setup_of(network().train(), Task(Stage(), (objective,)), torch.Generator())
    backward(setup, *examples, None, 0)
    assert not torch.equal(batch_of(setup, *examples, None, 0).x, examples[0])
    assert torch.equal(batch_of(setup, *examples, None, 1).x, examples[0])


def test_awp_takes_the_gradient_where_the_weights_are_worse(examples):
    """One step of gamma times each layer's length along its gradient, biases aside; afterwards the weights are as before."""
    gamma, classifier = 0.05, network()
    before = {name: value.detach().clone() for name, value in classifier.named_parameters()}
    setup = setup_of(classifier.train(), Task(Stage(), (worsened(gamma),)), torch.Generator())
    backward(setup, *examples, None, 0)
    assert all(torch.equal(value, before[name]) for name, value in classifier.named_parameters())

    expected = network().train()
    functional.cross_entropy(expected(examples[0]), examples[1]).backward()
    with torch.no_grad():
        for weight in expected.parameters():
            if weight.ndim > 1:
                weight += gamma * weight.norm() * weight.grad / weight.grad.norm()
    expected.zero_grad()
    worse = functional.cross_entropy(expected(examples[0]), examples[1])
    worse.backward()
    for own, wanted in zip(classifier.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own.grad, wanted.grad, rtol=1e-4, atol=1e-6)


def test_eps_grows_over_the_epochs_of_the_warm_up(examples):
    shares = [at_epoch(BUDGET, 3, epoch).eps / BUDGET.eps for epoch in range(5)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert at_epoch(BUDGET, 0, 0) == BUDGET
    early, _ = prepared(network(), against(BUDGET, 3), examples)
    late, _ = prepared(network(), against(BUDGET, 3), examples, epoch=3)
    assert float((early.x - examples[0]).abs().max()) == pytest.approx(0.25 * BUDGET.eps, abs=1e-6)
    assert float((late.x - examples[0]).abs().max()) == pytest.approx(BUDGET.eps, abs=1e-6)


def recipe_of(method, **changes):
    sections = {
        "model": {"name": "mlp", "args": {"widths": [16]}},
        "train": STAGE,
        "robust": STAGE,
        "adversary": {"method": method, "eps": 0.05, "steps": 2},
    }
    return Recipe.model_validate(sections | changes)


def trained(recipe, toy, split):
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    history = run_stages(classifier, recipe, tuple(recipe.stages()), toy, split, quiet=True).history
    return weights_of(classifier), history


def test_each_method_trains_in_its_own_way_and_repeatably(toy, split):
    made = {method: trained(recipe_of(method), toy, split)[0] for method in METHODS}
    assert torch.equal(made["trades"], trained(recipe_of("trades"), toy, split)[0])
    for one in METHODS:
        for other in METHODS:
            assert (one == other) == torch.equal(made[one], made[other]), (one, other)
    assert not torch.equal(made["pgd"], trained(recipe_of("pgd", awp={"gamma": 0.01}), toy, split)[0])


@pytest.mark.parametrize("method", ["nfgsm", "free", "trades", "mart"])
def test_models_trained_at_once_become_what_each_becomes_alone(method, toy, split):
    recipe = recipe_of(method, awp={"gamma": 0.01} if method == "trades" else {}, precision="float32")
    recipes = [recipe.with_changes(seed=seed) for seed in (0, 1)]
    splits = [replace(split, members=np.roll(split.members, 7 * seed)) for seed in (0, 1)]
    alone = []
    for own, part in zip(recipes, splits, strict=True):
        classifier = new_classifier(own, toy.num_classes, toy.input_shape)
        run_stages(classifier, own, tuple(own.stages()), toy, part, quiet=True)
        alone.append(weights_of(classifier))
    together = [new_classifier(own, toy.num_classes, toy.input_shape) for own in recipes]
    run_stages_stacked(together, recipes, toy, splits)
    for classifier, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(weights_of(classifier), expected, rtol=1e-3, atol=1e-4)


def test_awp_leaves_one_trace_in_the_running_statistics(examples):
    """Of the pass where the weights are worse, as in the authors' program, whose first pass is through a copy."""
    classifier = network()
    setup = setup_of(classifier.train(), Task(Stage(), (worsened(0.05), traded(BUDGET, 1.0))), torch.Generator())
    backward(setup, *examples, None, 0)
    (counter,) = [int(value) for name, value in classifier.state_dict().items() if name.endswith("batches_tracked")]
    assert counter == 2  # perturbed and clean inputs


PRIVATE = {"robust": {"epochs": 0}, "train": STAGE | {"adversarial": True}, "dp": {"epsilon": 8.0}}


@pytest.mark.parametrize(
    ("method", "beside", "named"),
    [
        ("trades", {"robust": STAGE | {"relax": 0.5}}, "RelaxLoss"),
        ("free", {"robust": STAGE | {"relax": 0.5}}, "RelaxLoss"),
        ("mart", {"mixup": {"alpha": 0.4}}, "mixup"),
        ("free", {"mixup": {"alpha": 0.4}}, "mixup"),
        ("mart", {"smoothing": {"share": 0.1}}, "label smoothing"),
        ("free", {"awp": {"gamma": 0.01}}, "--awp"),
        ("free", {"noise": {"method": "uniform"}, "noisy": STAGE}, "teacher"),
        ("trades", PRIVATE, "trades"),
        ("pgd", PRIVATE | {"awp": {"gamma": 0.01}}, "weight perturbation"),
        ("pgd", {"adversary": {"method": "pgd", "beta": 3.0}}, "--adv-beta"),
        ("pgd", {"adversary": {"method": "pgd", "warmup": 2}}, "never be trained at the full radius"),
        ("none", {"adversary": {"method": "none", "warmup": 1}}, "no effect without adversarial training"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(method, beside, named):
    with pytest.raises(UserError, match=named):
        refuse_impossible(recipe_of(method, **beside))


@pytest.mark.parametrize("method", ["pgd", "fgsm", "trades", "mart"])
def test_eps_grows_in_the_first_stage_alone(method, examples):
    recipe = recipe_of(method, adversary={"method": method, "eps": 0.1, "warmup": 1}, qat=STAGE | {"epochs": 1})
    refuse_impossible(recipe)  # the one epoch of the rounded weights is at the full radius

    def radius(stage):
        (objective,) = objectives_of(Asked(recipe, stage, (1, 3, 4)))
        moved, _ = prepared(network(), objective, examples)
        return float((moved.x - examples[0]).abs().max())

    assert radius("robust") == pytest.approx(0.05, abs=1e-6)
    assert radius("qat") == pytest.approx(0.1, abs=1e-6)


def test_what_acts_in_another_stage_is_not_in_the_way():
    assert reasons(recipe_of("trades", train=STAGE | {"relax": 0.5})) == []
    assert reasons(recipe_of("mart", mixup={"alpha": 0.4, "stages": ["train"]})) == []

"""RelaxLoss against its algorithm, written out by hand."""

import torch
from torch.nn import functional

from edgepriv.recipe import Quantize, Recipe, Stage
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.loop import fit
from edgepriv.training.objectives.adversarial import against
from edgepriv.training.objectives.quantization import rounded
from edgepriv.training.objectives.relaxloss import flat_labels, relax_loss, relaxed
from edgepriv.training.pgd import Budget
from edgepriv.training.task import Task

Y = torch.tensor([0, 2, 1])


def logits():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()


def gradient(loss, of):
    return torch.autograd.grad(loss, of)[0]


def test_the_flat_label_keeps_the_confidence_and_spreads_the_rest():
    given = torch.tensor([[0.7, 0.2, 0.1]]).log()
    torch.testing.assert_close(flat_labels(given, torch.tensor([0])), torch.tensor([[0.7, 0.15, 0.15]]))


def test_above_alpha_the_gradient_is_that_of_the_cross_entropy():
    for epoch in (0, 1):
        z = logits()
        plain = gradient(functional.cross_entropy(z, Y), z)
        torch.testing.assert_close(gradient(relax_loss(z, Y, 0.01, epoch), z), plain)


def test_below_alpha_it_ascends_and_odd_epochs_flatten_what_is_misclassified():
    z = logits()
    wrong = z.argmax(1) != Y
    assert 0 < int(wrong.sum()) < len(Y)
    plain = gradient(functional.cross_entropy(z, Y), z)
    torch.testing.assert_close(gradient(relax_loss(z, Y, 50.0, 2), z), -plain)
    flat = gradient(functional.cross_entropy(z, flat_labels(z, Y), reduction="none")[wrong].sum() / len(Y), z)
    torch.testing.assert_close(gradient(relax_loss(z, Y, 50.0, 3), z), flat - plain)


def test_the_value_is_the_cross_entropy_whatever_the_gradient():
    z = logits()
    for epoch, alpha in ((0, 50.0), (1, 50.0), (1, 0.01)):
        torch.testing.assert_close(relax_loss(z, Y, alpha, epoch), functional.cross_entropy(z, Y))


def test_stacked_models_are_each_judged_by_their_own_mean():
    low = 10 * functional.one_hot(Y, 4).float()
    both = torch.cat([low, -low]).requires_grad_()  # one far below alpha, one far above
    found = gradient(relax_loss(both, Y.repeat(2), 1.0, 0, models=2), both)
    alone = [part.clone().detach().requires_grad_() for part in (low, -low)]
    expected = [gradient(relax_loss(part, Y, 1.0, 0), part) for part in alone]
    torch.testing.assert_close(found, torch.cat(expected))


def test_training_holds_the_loss_near_alpha(toy, split):
    recipe = Recipe(model={"name": "mlp", "args": {"widths": [24, 12]}}, train={"epochs": 30, "lr": 0.01})
    losses = {}
    for alpha in (0.0, 0.5):
        own = recipe.with_changes(train={"relax": alpha, "batch_size": 32, "schedule": "constant"})
        classifier = new_classifier(own, toy.num_classes, toy.input_shape)
        losses[alpha] = run_stages(classifier, own, ("train",), toy, split, quiet=True).history[-1]["loss"]
    assert losses[0.0] < 0.05
    assert 0.3 < losses[0.5] < 0.7


def test_it_composes_with_perturbed_inputs_and_rounded_weights(classifier, examples, split):
    task = Task(
        Stage(epochs=20, batch_size=32, lr=0.02),
        (against(Budget("linf", 0.02, 0.01, 2)), rounded(Quantize(bits=4)), relaxed(0.6)),
    )
    rows = fit(classifier(), examples(split.members), task, seed=0)
    assert 0.4 < rows[-1]["loss"] < 0.8
    assert rows[-1]["accuracy"] > 0.9

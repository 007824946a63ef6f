"""Where training is computed: chosen by name, refused where it is not there, and nothing left behind on the processor."""

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Recipe
from edgepriv.training import device, run_stages
from edgepriv.training.augment import augmented
from edgepriv.training.device import PROCESSOR, device_of, placed
from edgepriv.training.dp import add_clipped_gradients, add_noise
from edgepriv.training.dp_plan import plan_of
from edgepriv.training.examples import Examples
from edgepriv.training.generators import filled
from edgepriv.training.loss import backward, setup_of
from edgepriv.training.pgd import perturbed
from edgepriv.training.task import task_of

META = torch.device("meta")  # whose tensors refuse to be mixed with the processor's, as a GPU's do


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "unknown device 'gpu': choose auto, cpu, cuda, cuda:N, mps"),
        ("cpu:1", "unknown device 'cpu:1'"),
        ("cuda:x", "unknown device 'cuda:x'"),
    ],
)
def test_an_unknown_device_names_the_known(name, said):
    with pytest.raises(UserError, match=said):
        device_of(name)


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch finds no CUDA GPU on this machine; take cpu, or auto"):
        device_of("cuda")
    with pytest.raises(UserError, match="--device mps: torch finds no Metal GPU"):
        device_of("mps")
    assert device_of("auto") == PROCESSOR
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_of("auto") == torch.device("cuda")
    assert device_of("cuda:0") == torch.device("cuda:0")
    assert device_of("cpu") == PROCESSOR
    with pytest.raises(UserError, match=r"--device cuda:1: this machine has 1 CUDA GPU\(s\), counted from 0"):
        device_of("cuda:1")


def test_the_device_is_of_a_run_and_is_neither_stored_nor_hashed():
    recipe = Recipe(device="cuda:1")
    assert recipe.with_changes(seed=1).device == "cuda:1"
    assert "device" not in recipe.model_dump()
    assert recipe.training_hash() == Recipe().training_hash()


def test_every_device_sees_the_processors_numbers():
    drawn = []

    def fill(rows, own):
        drawn.append(rows.normal_(generator=own).clone())

    filled(torch.empty(4, 3, device=META), fill, torch.Generator().manual_seed(3))
    expected = filled(
        torch.empty(4, 3), lambda rows, own: rows.normal_(generator=own), torch.Generator().manual_seed(3)
    )
    assert drawn[0].device == PROCESSOR
    assert torch.equal(drawn[0], expected)


def test_a_step_of_every_kind_leaves_nothing_on_the_processor():
    recipe = Recipe(
        model={"name": "lenet"},
        adversary={"method": "pgd", "steps": 2, "norm": "l2"},
        quantize={"bits": 4},
        robust={"epochs": 1},
        qat={"epochs": 1, "flatten": 1.0},
        precision="float32",
    )
    classifier = build_classifier(recipe.model, 10, (1, 28, 28)).to(META).train()
    holdout = Examples(torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64)).on(META)
    members = Examples(torch.zeros(16, 1, 28, 28), torch.zeros(16, dtype=torch.int64), torch.zeros(16, 10)).on(META)
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(8)
    x, y = members.batch(index)
    x = augmented(x, "crop_flip", generator)
    task = task_of(classifier.network, recipe, "qat", (1, 28, 28))
    setup = setup_of(classifier, task, generator, members=16, holdout=holdout)
    backward(setup, x, y, members.taught(index), 0)
    assert {value.grad.device.type for value in classifier.parameters()} == {"meta"}
    assert perturbed(classifier, x, y, task.budget, generator).device == META


def test_a_private_gradient_is_computed_where_the_network_is():
    recipe = Recipe(dp={"epsilon": 8.0}, train={"epochs": 2, "batch_size": 8})
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).to(META)
    plan = plan_of(recipe.dp, recipe.train, 64)
    x, y = torch.zeros(8, 12, device=META), torch.zeros(8, dtype=torch.int64, device=META)
    add_clipped_gradients(network, {}, x, y, plan)
    add_noise(network, plan, torch.Generator().manual_seed(0))
    assert {value.grad.device.type for value in network.parameters()} == {"meta"}


def test_training_moves_there_and_comes_back(toy, split, monkeypatch):
    """Every stage asks for the task's device, and what follows training finds the classifier on the processor."""
    asked = []
    monkeypatch.setattr(device.nn.Module, "to", lambda module, *args, **more: asked.append(args) or module)
    recipe = Recipe(model={"name": "mlp", "args": {"widths": [8]}}, train={"epochs": 1})
    classifier = build_classifier(recipe.model, toy.num_classes, toy.input_shape)
    run_stages(classifier, recipe, ("train",), toy, split, quiet=True)
    assert asked == [(PROCESSOR,), (), (PROCESSOR,)]


def test_a_module_comes_back_even_from_a_failure():
    class Moved(nn.Module):
        def to(self, device):
            where.append(device)
            return self

    def fails():
        with placed(Moved(), META):
            raise RuntimeError("out of memory")

    where = []
    with pytest.raises(RuntimeError, match="out of memory"):
        fails()
    assert where == [META, PROCESSOR]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_trains_to_what_the_processor_does(toy, split):
    recipe = Recipe(
        model={"name": "cnn", "args": {"width": 4}},
        train={"epochs": 2, "optimizer": "sgd", "lr": 1e-3},
        precision="float32",
    )
    weights = []
    for name in ("cpu", "cuda"):
        torch.manual_seed(0)
        classifier = build_classifier(recipe.model, toy.num_classes, toy.input_shape)
        run_stages(classifier, recipe.with_changes(device=name), ("train",), toy, split, quiet=True)
        weights.append(classifier.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-3)

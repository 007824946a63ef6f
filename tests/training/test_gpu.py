"""What only a GPU shows: every way of training gives there what it gives on the processor, and goes on where it was cut off.

EDGEPRIV_TEST_GPU=1 python -m pytest tests/training/test_gpu.py
"""

import pytest
import torch
from torch import nn

from edgepriv.models import Classifier, build_classifier
from edgepriv.recipe import Model, Recipe
from edgepriv.training import run_stages
from edgepriv.training.loop import Hooks, State, fit
from edgepriv.training.loss import frozen_logits, setup_of
from edgepriv.training.pgd import cross_entropy, gradient, perturbed, pgd_budget
from edgepriv.training.quantization import attach_steps
from edgepriv.training.recorded import SEEN_BEFORE
from edgepriv.training.task import task_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

SMALL = {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "lr": 1e-3}
NONE = {"method": "none"}
WAYS = {
    "clean": {"train": SMALL | {"augment": "crop_flip"}},
    "fgsm": {"robust": SMALL, "adversary": {"method": "fgsm", "eps": 0.05}},
    "nfgsm": {"robust": SMALL, "adversary": {"method": "nfgsm", "eps": 0.05}},
    "free": {"robust": SMALL, "adversary": {"method": "free", "eps": 0.05, "steps": 2}},
    "pgd": {"robust": SMALL, "adversary": {"method": "pgd", "eps": 0.05, "steps": 2}},
    "pgd-l2": {"robust": SMALL, "adversary": {"method": "pgd", "norm": "l2", "eps": 0.5, "steps": 2}},
    "trades": {"robust": SMALL, "adversary": {"method": "trades", "eps": 0.05, "steps": 2}},
    "mart": {"robust": SMALL, "adversary": {"method": "mart", "eps": 0.05, "steps": 2}},
    "qat": {"qat": SMALL | {"adversarial": False}, "quantize": {"bits": 4}, "adversary": NONE},
    "lsq": {"qat": SMALL | {"adversarial": False}, "quantize": {"bits": 3, "quantizer": "lsq"}, "adversary": NONE},
    "flatten": {"train": SMALL | {"flatten": 0.5}},
    "relax": {"train": SMALL | {"relax": 1.0}},
    "ema": {"train": SMALL | {"ema": 0.9}},
    "mixup": {"train": SMALL, "mixup": {"alpha": 0.4}},
    "hamp": {"train": SMALL, "hamp": {"entropy": 0.5}},
}  # fmt: skip


def _recipe(way: str) -> Recipe:
    base = {"model": {"name": "cnn", "args": {"width": 4}}, "train": {"epochs": 0}, "robust": {"epochs": 0}}
    return Recipe(**(base | {"qat": {"epochs": 0}, "precision": "float32"} | WAYS[way]))


def _trained(recipe, toy, split, device):
    torch.manual_seed(0)
    classifier = build_classifier(recipe.model, toy.num_classes, toy.input_shape)
    names = tuple(name for name in ("train", "robust", "qat") if getattr(recipe, name).epochs)
    run_stages(classifier, recipe.with_changes(device=device), names, toy, split, quiet=True)
    return classifier.state_dict()


@pytest.mark.parametrize("way", WAYS)
def test_a_gpu_trains_to_what_the_processor_does(way, toy, split):
    here, there = (_trained(_recipe(way), toy, split, device) for device in ("cpu", "cuda"))
    for name, value in here.items():
        assert there[name].device.type == "cpu"
        torch.testing.assert_close(there[name], value, rtol=1e-3, atol=2e-3)


def test_a_gpu_goes_on_where_it_was_cut_off(toy, split, recipe, examples, classifier):
    members, validation = examples(split.members), examples(split.validation)
    recipe = recipe.with_changes(device="cuda", precision="float32")

    def run(stop_after=None, state=None):
        model, kept = classifier(), []

        def keep(state: State) -> None:
            kept.append(State(**{name: _copied(value) for name, value in vars(state).items()}))
            if state.epoch == stop_after:
                raise KeyboardInterrupt

        task = task_of(model.network, recipe, "robust", (1, 8, 8))
        try:
            fit(model, members, task, seed=0, validation=validation, state=state, hooks=Hooks(after_epoch=keep))
        except KeyboardInterrupt:
            return kept[-1]
        return model.state_dict()

    whole, resumed = run(), run(state=run(stop_after=1))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-3)


def _copied(value):
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def test_an_attack_moves_a_gpus_inputs_as_the_processors(toy, classifier):
    model, generator = classifier().eval(), torch.Generator()
    x, y = torch.from_numpy(toy.x[:32]), torch.from_numpy(toy.y[:32])
    moved = {}
    for device in ("cpu", "cuda"):
        model.to(device)
        for norm, eps in (("linf", 0.05), ("l2", 0.5)):
            there = perturbed(
                model, x.to(device), y.to(device), pgd_budget(norm, eps, 4), generator.manual_seed(1), keep_best=True
            )
            moved[norm, device] = there.cpu()
    for norm in ("linf", "l2"):
        torch.testing.assert_close(moved[norm, "cuda"], moved[norm, "cpu"], rtol=0, atol=5e-3)


CUDA = torch.device("cuda")


def _setup(classifier, shape, stage, **changes):
    classifier.to(CUDA).eval()
    recipe = Recipe(adversary={"method": "pgd", "eps": 0.05}, device="cuda", precision="float32").with_changes(
        **changes
    )
    task = task_of(classifier.network, recipe, stage, shape)
    attach_steps(classifier.network, task.quantize)
    return setup_of(classifier, task, torch.Generator())


def _batches(shape, count):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        x = torch.rand(16, *shape, generator=generator)
        yield x.to(CUDA), torch.randint(10, (16,), generator=generator).to(CUDA)


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize(("stage", "quantizer"), [("robust", "minmax"), ("qat", "minmax"), ("qat", "lsq")])
@pytest.mark.parametrize(("name", "shape"), [("resnet20", (3, 32, 32)), ("lenet", (1, 28, 28)), ("mlp", (20,))])
def test_replayed_passes_are_plain_ones_whatever_becomes_of_the_weights(name, shape, stage, quantizer, precision):
    torch.manual_seed(0)
    classifier = build_classifier(Model(name=name), 10, shape)
    rounding = {"bits": 4, "quantizer": quantizer} if stage == "qat" else {"bits": 32}
    setup = _setup(classifier, shape, stage, quantize=rounding, precision=precision)
    for x, y in _batches(shape, SEEN_BEFORE + 6):
        logits_of = frozen_logits(setup)
        for ours, expected in zip(
            gradient(logits_of, x, y, cross_entropy), gradient(logits_of.plain, x, y, cross_entropy), strict=True
        ):
            assert (ours - expected).norm() <= 0.02 * expected.norm()
            assert expected.norm() > 0
        with torch.no_grad():
            for value in [*classifier.parameters(), *classifier.buffers()]:
                if value.is_floating_point():
                    value.mul_(1 + 0.1 * torch.rand_like(value))
    assert setup.recorder.recordings, setup.recorder.refused


class Waits(nn.Module):
    """Asks the GPU for a number in the middle of a pass, which no recording allows."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(20, 10)

    def forward(self, x):
        return self.linear(x) * (1.0 if float(x.detach().sum()) > 0 else 2.0)


class Draws(nn.Module):
    """Answers at random."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(20, 10)

    def forward(self, x):
        return self.linear(x) + torch.randn(len(x), 10, device=x.device)


@pytest.mark.parametrize(("network", "reason"), [(Waits, "captur"), (Draws, "differs")])
def test_what_cannot_be_recorded_is_asked_pass_by_pass(network, reason):
    setup = _setup(Classifier(network(), [0.0], [1.0]), (20,), "robust")
    for x, y in _batches((20,), SEEN_BEFORE + 3):
        slope, logits = gradient(frozen_logits(setup), x, y, cross_entropy)
        assert slope.isfinite().all()
        assert logits.shape == (16, 10)
    assert not setup.recorder.recordings
    assert reason in setup.recorder.refused

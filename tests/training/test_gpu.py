"""What only a GPU shows: every way of training gives there what it gives on the processor, and goes on where it was cut off.

EDGEPRIV_TEST_GPU=1 python -m pytest tests/training/test_gpu.py
"""

import pytest
import torch

from edgepriv.models import build_classifier
from edgepriv.recipe import Recipe
from edgepriv.training import run_stages
from edgepriv.training.loop import Hooks, State, fit
from edgepriv.training.pgd import perturbed, pgd_budget
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

"""The training hash against training itself: small models tell for every field of a recipe whether weights depend on it."""

from dataclasses import replace

import numpy as np
import pytest
from every_field import HOW_A_STAGE_TRAINS, SHARED, everywhere, of_stages

from edgepriv.artifact.activation_places import activation_places
from edgepriv.data import ExtraData, checked, make_split
from edgepriv.heads import trained_head
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import reasons
from edgepriv.recipe.defences.extra import Extra
from edgepriv.training import load_quantized, new_classifier, quantize_weights, run_stages

STAGE = {"epochs": 1, "batch_size": 12, "lr": 0.1, "optimizer": "sgd", "select": "last"}
COMMON = {
    "data": {"members": 30, "non_members": 20, "reference": 10, "holdout": 20, "validation": 20},
    "model": {"name": "mlp", "args": {"widths": [8, 6]}, "mean": [0.5], "std": [0.5]},
    "train": STAGE,
}
BEST, MEMGUARD, SELENA = "best epoch", "MemGuard", "SELENA"
RECIPES = {
    BEST: {"train": STAGE | {"optimizer": "adamw", "lr": 0.3, "epochs": 6, "select": "best"}},
    "dropout and flattening": {
        "model": COMMON["model"] | {"dropout": 0.5},
        "train": STAGE | {"flatten": 0.5, "dropout": 0.3},
        "robust": STAGE,
        "adversary": {"method": "fgsm", "eps": 0.1},
    },
    "every stage, uniform noise": {
        "noisy": STAGE,
        "robust": STAGE,
        "qat": STAGE,
        "adversary": {"method": "pgd", "eps": 0.1, "steps": 2},
        "noise": {"method": "uniform"},
        "quantize": {"bits": 4},
        "head": {"method": "rank"},
    },
    "RelaxLoss, quantized, member mask": {
        "train": STAGE | {"epochs": 2, "relax": 0.9, "quantized": True},
        "quantize": {"bits": 3},
        "head": {"method": "member", "epochs": 1, "batch_size": 25},
    },
    "defences of several stages": {
        "train": STAGE,
        "robust": STAGE,
        "adversary": {"method": "trades", "eps": 0.1, "steps": 1},
        "smoothing": {"share": 0.2, "stages": ["robust"]},
        "awp": {"gamma": 0.05},
    },
    "mixup": {
        "train": STAGE,
        "robust": STAGE,
        "adversary": {"method": "nfgsm", "eps": 0.1},
        "mixup": {"alpha": 0.5},
    },
    "HAMP": {"train": STAGE, "hamp": {"entropy": 0.6, "regularizer": 0.01}},
    SELENA: {"train": STAGE, "distilled": STAGE, "selena": {"sub_models": 4, "unseen": 2}},
    "DMP": {"train": STAGE, "distilled": STAGE, "dmp": {"share": 0.5}},
    "extra data": {
        "train": STAGE,
        "robust": STAGE,
        "adversary": {"method": "fgsm", "eps": 0.1},
        "extra": {"file": "npz:extra.npz", "sha256": "00", "share": 0.4},
    },
    MEMGUARD: {"head": {"method": "memguard", "epochs": 1, "batch_size": 25}},
}
CAUTIOUS = {
    "model.name": "another network, which is not what is tried here",
    "model.norm": "a perceptron has no batch normalization that it could replace",
    "model.features": "another network, of larger images than are at hand here",
    "start.sha256": "public weights, which are not at hand here",
    "data.name": "what was read is told by its digest, which stands beside the hash",
    "data.non_members": "where the split has room for both",
    "data.reference": "where the split has room for both",
    "data.holdout": "where nothing reads the holdout",
    "data.validation": "where nothing reads it",
    "model.batch_dependent": "where the network's answers do not depend on the batch",
    "precision": "where the processor or the network has no use for bfloat16",
}
"""Fields that count although they may change nothing: whether they do is not for the recipe to tell."""
OF_THE_BEST_EPOCH = of_stages("select", "patience")
"""Nor whether the best epoch is the last: that is tried where it is not."""


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = 0.4 * rng.random((3, 4, 4))[labels] + 0.6 * rng.random((120, 4, 4))
    return checked("pictures", images.astype(np.float32), labels)


def extra_of(recipe):
    """What a file of that digest might hold."""
    asked = recipe.own(Extra)
    rng = np.random.default_rng(int(asked.sha256 or "0", 16))
    labels = None if asked.labels == "model" else rng.integers(3, size=20)
    return ExtraData(rng.random((20, 1, 4, 4), np.float32), labels)


@pytest.fixture(scope="module")
def weights(images):
    """Recipe -> the bytes of what ships: the quantized weights and those of the head."""

    def trained(recipe: Recipe) -> bytes:
        pictures = replace(images, extra=extra_of(recipe))
        split = make_split(pictures, recipe.data, recipe.seed)
        classifier = new_classifier(recipe, pictures.num_classes, pictures.input_shape)
        stages = tuple(recipe.stages())
        run_stages(classifier, recipe, stages, pictures, split, quiet=True, places=activation_places)
        load_quantized(classifier.network, quantize_weights(classifier.network, recipe.quantize))
        head = trained_head(recipe, classifier, pictures, split)
        state = {**classifier.state_dict(), **(head["state_dict"] if head else {})}
        return b"".join(value.numpy().tobytes() for value in state.values())

    return trained


def _with_field_of(recipe, path, other):
    section, _, name = path.rpartition(".")
    if not section:
        return recipe.model_copy(update={name: getattr(other, name)})
    value = getattr(getattr(other, section), name)
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update={name: value})})


@pytest.mark.parametrize("name", RECIPES)
def test_the_hash_moves_exactly_when_the_weights_do(name, weights):
    recipe = Recipe.model_validate(COMMON | RECIPES[name])
    skipped = set(CAUTIOUS) if name == BEST else set(CAUTIOUS) | OF_THE_BEST_EPOCH
    if name not in (BEST, MEMGUARD):  # how a stage trains is tried there, and there is one loop for every stage
        skipped |= SHARED | of_stages(*HOW_A_STAGE_TRAINS) - of_stages("epochs")
    if name == SELENA:  # whose sub-models start anew: the stage train counts, although it is their teacher in nothing
        skipped |= {f"train.{field}" for field in type(recipe.train).model_fields}
    counted, shipped = recipe.training_hash(), weights(recipe)
    without_effect, wrong = recipe, {}
    for path, changed in everywhere(recipe).items():
        if (
            path in skipped or reasons(changed) or path == "bench.rounds"
        ):  # which excludes bench.time, tried with it below
            continue
        together = _with_field_of(without_effect, path, changed)
        counts = changed.training_hash() != counted
        if not counts and together.training_hash() == counted:
            without_effect = together  # all such fields at once, below
        elif counts != (weights(changed) != shipped):
            wrong[path] = "counts" if counts else "does not count"
    assert wrong == {}
    assert weights(without_effect) == shipped

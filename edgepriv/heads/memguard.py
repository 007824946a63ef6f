"""MemGuard (Jia et al. 2019), trained at home: the attack classifier that the device kit's ``guarded`` misleads."""

from typing import Any

import numpy as np
import torch
from torch import nn

from edgepriv.data import Dataset, Split
from edgepriv.device.memguard import MemGuard, guarded, member_logit, of_arrays
from edgepriv.heads.masks import FORMAT_VERSION
from edgepriv.heads.regenerate import SEED, refuse_without_holdout
from edgepriv.models import Classifier
from edgepriv.models.small import MLP
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.defences.heads import MEMGUARD_METHOD
from edgepriv.training.answers import probabilities_of
from edgepriv.training.device import device_of
from edgepriv.training.examples import Examples
from edgepriv.training.loop import fit
from edgepriv.training.task import Task

WIDTHS = (64, 32)
"""Hidden layers of the attack classifier."""


def memguard_record(recipe: Recipe, classifier: Classifier, dataset: Dataset, split: Split) -> dict[str, Any]:
    """Train a perceptron to tell members from the privacy holdout by sorted probabilities, as many of each.

    Two logits are trained with cross-entropy; their difference is the one logit that is kept.

    Args:
        recipe: settings of the head, and its seed.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        What checkpoints hold of it.

    Raises:
        UserError: without a privacy holdout.
    """
    refuse_without_holdout(recipe, split)
    seed, classes = recipe.seed + SEED, dataset.num_classes
    count = min(len(split.members), len(split.holdout))
    drawn = np.random.default_rng([seed, 1])
    index = np.concatenate([np.sort(drawn.permutation(side)[:count]) for side in (split.members, split.holdout)])
    seen = -np.sort(-probabilities_of(classifier, dataset, index), axis=1)
    member = (np.arange(2 * count) < count).astype(np.int64)
    torch.manual_seed(seed)
    network = MLP(2, (classes,), WIDTHS)
    stage = Stage(epochs=recipe.head.epochs, batch_size=recipe.head.batch_size, lr=recipe.head.lr)
    task = Task(stage, device=device_of(recipe.device))
    trained = Classifier(network, [0.0] * classes, [1.0] * classes)
    fit(trained, Examples(torch.from_numpy(seen), torch.from_numpy(member)), task, seed=seed)
    state = {"epsilon": torch.tensor(recipe.head.epsilon, dtype=torch.float64)}
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    for position, layer in enumerate(layers):
        weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        if layer is layers[-1]:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        state |= {f"weight{position}": weight, f"bias{position}": bias}
    return {"format_version": FORMAT_VERSION, "method": MEMGUARD_METHOD, "classes": classes, "state_dict": state}


def guard_of(record: dict[str, Any]) -> MemGuard:
    """The guard that a record describes.

    Args:
        record: as ``memguard_record`` returns it.

    Returns:
        The guard, as the device kit uses it.
    """
    return of_arrays({name: value.numpy() for name, value in record["state_dict"].items()})


def guard_facts(record: dict[str, Any], classifier: Classifier, dataset: Dataset, split: Split) -> dict[str, Any]:
    """What checkpoint and manifest say of a guard: its classifier's accuracy on its own examples, without and with noise.

    Args:
        record: as ``memguard_record`` returns it.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout, of which at most 500 each are asked about.

    Returns:
        The facts, as JSON.
    """
    guard = guard_of(record)
    count = min(len(split.members), len(split.holdout), 500)
    index = np.concatenate([split.members[:count], split.holdout[:count]])
    plain = probabilities_of(classifier, dataset, index)
    shown = guarded(guard, plain, dataset.inputs(index))
    member = np.arange(2 * count) < count
    own, misled = (
        float(((member_logit(guard, each.astype(np.float64))[0] > 0) == member).mean()) for each in (plain, shown)
    )
    return {
        "method": MEMGUARD_METHOD,
        "served_by": "device/predict.py, which reads model.memguard.npz beside the model",
        "epsilon": guard.epsilon,
        "mean_l1_distance": float(np.abs(shown - plain).sum(axis=1).mean()),
        "attack_accuracy_plain": own,
        "attack_accuracy_guarded": misled,
    }

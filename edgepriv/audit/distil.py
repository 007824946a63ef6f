"""A copy of a model, distilled from its answers, and how the copy's losses fall (Liu et al. 2022)."""

from dataclasses import replace

import numpy as np
import torch

from edgepriv import progress
from edgepriv.audit.answers import Floats, log_odds
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe, Stage
from edgepriv.training import new_classifier
from edgepriv.training.answers import batches_of, softmax_of
from edgepriv.training.examples import Examples
from edgepriv.training.held import holding
from edgepriv.training.loop import Hooks, State, fit
from edgepriv.training.task import task_of

EPOCHS = 20
FEWEST, MOST = 50, 5_000
"""Examples to distil from: with fewer than the one a copy learns nothing, more than the other cost time."""
_PATIENCE = 3  # seconds before a bar appears


def loss_trajectories(
    soft_labels: np.ndarray, pool: np.ndarray, asked: np.ndarray, recipe: Recipe, dataset: Dataset
) -> Floats:
    """Train a copy of a model on its answers, and follow the copy's losses. Deterministic.

    The copy has the recipe's architecture, optimiser and batch size, and none of its defences.

    Args:
        soft_labels: float32 [m, K], the model's probabilities.
        pool: int64 [m], places of the examples that these are of.
        asked: int64 [n], places of the examples that are asked about.
        recipe: of the model.
        dataset: the examples.

    Returns:
        float64 [n, EPOCHS]: the copy's loss on the true labels after each epoch, in nats.
    """
    plain = recipe.undefended()
    copy = new_classifier(plain, dataset.num_classes, dataset.input_shape)
    train = plain.train
    stage = Stage(
        epochs=EPOCHS,
        batch_size=train.batch_size,
        optimizer=train.optimizer,
        lr=train.lr,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        freeze=train.freeze,
        train_last=train.train_last,
        layer_rates=train.layer_rates,
    )
    task = replace(task_of(copy.network, plain, "train", dataset.input_shape), stage=stage)
    examples = Examples(torch.from_numpy(dataset.x[pool]), torch.from_numpy(soft_labels))
    questions = Examples(torch.from_numpy(dataset.x[asked]), torch.from_numpy(dataset.y[asked])).on(task.device)
    losses: list[Floats] = []

    def after_epoch(state: State) -> None:
        losses.append(loss_of(softmax_of(copy, batches_of(questions)), dataset.y[asked]))
        bar.update()

    shown = progress.shown("distilled copy", unit="epoch", total=EPOCHS, delay=_PATIENCE, leave=False)
    with shown as bar, holding(copy, stage):
        fit(copy, examples, task, seed=recipe.seed, hooks=Hooks(after_epoch=after_epoch))
    return np.stack(losses, axis=1)


def loss_of(probabilities: np.ndarray, labels: np.ndarray) -> Floats:
    """Cross-entropy of the true labels.

    Args:
        probabilities: [n, K].
        labels: int64 [n].

    Returns:
        float64 [n], in nats.
    """
    return np.asarray(np.logaddexp(0.0, -log_odds(probabilities, labels)))

"""Fixed features of the examples, computed once: a stage that changes no input trains the layers behind them alone."""

import math
from dataclasses import replace

import torch

from edgepriv import progress
from edgepriv.models import Classifier
from edgepriv.models.features import Featured, TrainedLayers
from edgepriv.training.examples import Examples
from edgepriv.training.objectives import Objective
from edgepriv.training.task import Task

_MOST_BYTES = 2**31
"""Of all features; where there are more, those of each batch are computed as it is drawn."""
_AT_ONCE = 16
_FOR_UNCHANGED_INPUTS = {"dp", "quantization", "flattening", "relaxloss", "smoothing"}
"""Names of defences that act on weights and answers alone."""


def unchanged_inputs(classifier: Classifier, task: Task, *examples: Examples | None) -> bool:
    """Whether a stage may be trained on features that are computed once.

    Args:
        classifier: to be trained.
        task: what is minimised.
        examples: members, holdout, validation: whatever the stage reads.

    Returns:
        True if there are features, no input is changed, and all features fit into the memory that is set aside for them.
    """
    network = classifier.network
    if not isinstance(network, Featured) or classifier.alone:
        return False
    if task.stage.augment != "none" or task.pipeline is not None or task.extra is not None:
        return False
    count = sum(len(own) for own in examples if own is not None)
    fits = 4 * count * math.prod(network.features.shape) <= _MOST_BYTES
    return fits and all(_leaves_inputs(each) for each in task.objectives)


def _leaves_inputs(objective: Objective) -> bool:
    return objective.name in _FOR_UNCHANGED_INPUTS and objective.budget is None


def behind_features(classifier: Classifier) -> Classifier:
    """The layers behind the features, which share their parameters with the classifier and have the same names.

    Args:
        classifier: of a ``Featured`` network.

    Returns:
        A classifier of features, without normalisation.
    """
    assert isinstance(classifier.network, Featured)
    own = Classifier(TrainedLayers(classifier.network.head), [0.0], [1.0])
    own.still = classifier.still
    return own


@torch.no_grad()
def features_of(classifier: Classifier, examples: Examples, *, quiet: bool) -> Examples:
    """Examples as the layers behind the features see them.

    Args:
        classifier: of a ``Featured`` network.
        examples: inputs [N, ...].
        quiet: show no progress.

    Returns:
        The same with the features of its inputs, float32 [N, ...].
    """
    network = classifier.network
    assert isinstance(network, Featured)
    x = torch.empty(len(examples), *network.features.shape)
    with progress.shown("features", unit="image", total=len(examples), quiet=quiet) as bar:
        for start in range(0, len(examples), _AT_ONCE):
            rows = torch.arange(start, min(len(examples), start + _AT_ONCE))
            x[rows] = network.features(classifier.normalised(examples.batch(rows)[0]))
            bar.update(len(rows))
    return replace(examples, x=x)

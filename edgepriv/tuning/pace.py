"""How long the training of one more model by a checkpoint's recipe takes here, by a few of its epochs."""

import torch

from edgepriv.training import new_classifier, run_stages
from edgepriv.tuning.clock import now
from edgepriv.tuning.question import Question

_EPOCHS = (1, 3)
"""What comes once, such as fixed features, and what each epoch costs are told apart by two runs."""


def seconds_of_training(question: Question) -> float:
    """Seconds of the stage ``train`` of one reference model, which has one thread.

    Args:
        question: with the checkpoint and its data.

    Returns:
        An estimate for this machine; the checkpoint may have been trained on another one.

    Raises:
        UserError: where the training cannot be repeated.
    """
    made_by = question.given.checkpoint.recipe
    epochs = made_by.train.epochs
    if epochs == 0:
        return 0.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first, more = (_timed(question, min(each, epochs)) for each in _EPOCHS)
    finally:
        torch.set_num_threads(threads)
    each = max(0.0, more - first) / (_EPOCHS[1] - _EPOCHS[0])
    return max(first, more) + each * max(0, epochs - _EPOCHS[1])


def _timed(question: Question, epochs: int) -> float:
    given = question.given
    recipe = given.checkpoint.recipe.with_changes(train={"epochs": epochs})
    began = now()
    classifier = new_classifier(recipe, given.dataset.num_classes, given.dataset.input_shape)
    run_stages(classifier, recipe, ("train",), given.dataset, given.split, quiet=True)
    return now() - began

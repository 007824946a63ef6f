"""Whether a model that is being trained still tells its classes apart: said while there is time to stop.

The rule is that of ``edgepriv.accuracy``, which judges what ships. Nothing is stopped or changed: weights may recover.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgepriv.accuracy import Answers
from edgepriv.training.examples import Examples
from edgepriv.training.loss import laid_out
from edgepriv.training.pgd import Logits
from edgepriv.training.task import Task

MOST = 500
"""Held-out examples that are asked after an epoch where no selection asks them anyway."""
WARM_UP = 1
"""Epochs that say nothing."""
IN_A_ROW = 3
"""Epochs that must be bad one after another."""


@dataclass
class Watch:
    """Of one stage. ``examples``: held-out, what is asked after each epoch; ``bad``: epochs in a row until now."""

    task: Task
    examples: Examples
    bad: int = 0
    warned: bool = False

    def after(self, epoch: int, answered: Sequence[Tensor], logits_of: Logits) -> str | None:
        """Look at the model at the end of an epoch.

        Args:
            epoch: counted from 1.
            answered: its labels of all ``examples``, int64, in parts, where they are known.
            logits_of: is asked otherwise.

        Returns:
            A warning, once, where the model has gone astray; else None.
        """
        if self.warned or epoch <= WARM_UP:
            return None
        labels = torch.cat(list(answered)) if answered else self._labels(logits_of)
        wrong = _wrong_with(Answers(labels.numpy(), self.examples.y.numpy()))
        self.bad = self.bad + 1 if wrong else 0
        if self.bad < IN_A_ROW:
            return None
        self.warned = True
        return (
            f"epoch {epoch} of {self.task.stage.epochs}: for {self.bad} epochs in a row the model {wrong}. Unless that changes "
            f"it will not ship; the training goes on, and Ctrl-C stops it. What helps: {remedies(self.task)}"
        )

    @torch.no_grad()
    def _labels(self, logits_of: Logits) -> Tensor:
        parts = torch.arange(len(self.examples)).split(256)
        inputs = (laid_out(self.examples.batch(part)[0].to(self.task.device), self.task) for part in parts)
        return torch.cat([logits_of(x).argmax(1).cpu() for x in inputs])


def watch_of(task: Task, validation: Examples, holdout: Examples) -> Watch | None:
    """Who is watched in a stage.

    Args:
        task: what the stage minimises.
        validation: asked if there are any: all that selection asks, else at most MOST of them.
        holdout: asked otherwise.

    Returns:
        The watch; None where there are neither.
    """
    if task.stage.select == "best" and len(validation):
        return Watch(task, validation)
    asked = next((examples for examples in (validation, holdout) if len(examples)), None)
    return None if asked is None else Watch(task, Examples(asked.x[:MOST], asked.y[:MOST]))


def _wrong_with(answers: Answers) -> str:
    """What is wrong with such answers, as a clause that follows "the model"; empty where nothing is."""
    of = f"{len(answers.truth)} held-out inputs"
    if answers.is_one_class:
        label, share = answers.commonest
        return f"gives one class to {share:.0%} of {of} ({answers.share_of(label):.0%} are of it)"
    if answers.better() == "no":
        return f"is right for {answers.right.mean():.0%} of {of}, no better than always giving the largest class"
    return ""


def remedies(task: Task) -> str:
    """What to change where a training goes wrong.

    Args:
        task: what the stage minimises.

    Returns:
        The likeliest first, separated by commas.
    """
    stage = task.stage
    by_budget = sorted(task.objectives, key=lambda objective: objective.budget is None)  # perturbations before all else
    remedies = [objective.remedy for objective in by_budget if objective.remedy]
    remedies.append(f"another learning rate than {stage.lr:g}")
    return ", ".join([*remedies, *(["more epochs"] if stage.epochs < 10 else [])])

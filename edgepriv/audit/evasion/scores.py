"""What a search without gradients climbs on."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgepriv.audit.evasion.square import Scores
from edgepriv.audit.evasion.trial import Inputs, Predict

FEWEST = 0.99
"""Share of the answers that must tell more than a label."""
_FLOOR = 1e-38


def scores_of(
    twin: nn.Module, predict: Predict, few: Inputs, head: str | None, device: torch.device
) -> tuple[Scores, str]:
    """The file's own answers as logarithms, or the twin's logits where these tell too little; and what that is called.

    few: float32 [n, ...], inputs by whose answers that is judged. head: see ``Setting``.
    """
    if head is None and tells_more_than_labels(predict(few)):
        return logarithms(predict), "the file"

    @torch.no_grad()
    def logits(x: Inputs) -> npt.NDArray[np.floating]:
        scores: npt.NDArray[np.floating] = twin(torch.from_numpy(x).to(device)).cpu().numpy()
        return scores

    return (
        logits,
        "the logits, as answers of the file are all 0 and 1" if head is None else "the logits before the head",
    )


def tells_more_than_labels(answers: npt.NDArray[np.floating]) -> bool:
    """Whether nearly all rows of probabilities [n, K] hold one other than 0 beside the largest."""
    second = np.sort(answers, axis=1)[:, -2]
    return bool((second > _FLOOR).mean() >= FEWEST)


def averaged(predict: Predict, draws: int) -> Predict:
    """The mean of so many answers to each input."""
    if draws == 1:
        return predict

    def mean(x: Inputs) -> npt.NDArray[np.floating]:
        return np.asarray(sum(predict(x) for _ in range(draws)) / draws)

    return mean


def logarithms(predict: Predict) -> Scores:
    """Of probabilities: a margin between them is one between logits."""
    return lambda x: np.log(np.maximum(predict(x), _FLOOR))

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
THE_FILE = "the file"
"""What is climbed on where answers of the file tell enough."""


def scores_of(
    twin: nn.Module, predict: Predict, few: Inputs, head: str | None, device: torch.device
) -> tuple[Scores, str]:
    """What a search without gradients climbs on.

    Args:
        twin: float32 [n, ...] -> logits [n, K].
        predict: the file, float32 [n, ...] -> probabilities [n, K].
        few: float32 [n, ...], inputs by whose answers it is judged whether these tell enough.
        head: see ``Setting``.
        device: of the twin.

    Returns:
        The file's own answers as logarithms, or the twin's logits where these tell too little; and what that is called.
    """
    if head is None and tells_more_than_labels(predict(few)):
        return logarithms(predict), THE_FILE

    @torch.no_grad()
    def logits(x: Inputs) -> npt.NDArray[np.floating]:
        scores: npt.NDArray[np.floating] = twin(torch.from_numpy(x).to(device)).cpu().numpy()
        return scores

    return (
        logits,
        "the logits, as answers of the file are all 0 and 1" if head is None else "the logits before the head",
    )


def tells_more_than_labels(answers: npt.NDArray[np.floating]) -> bool:
    """Whether answers tell more than a label.

    Args:
        answers: probabilities [n, K].

    Returns:
        True where nearly all rows hold one other than 0 beside the largest.
    """
    second = np.sort(answers, axis=1)[:, -2]
    return bool((second > _FLOOR).mean() >= FEWEST)


def averaged(predict: Predict, draws: int) -> Predict:
    """The mean of several answers to each input.

    Args:
        predict: the file, float32 [n, ...] -> probabilities [n, K].
        draws: answers for each input, 1 or more.

    Returns:
        The mean; ``predict`` itself for one.
    """
    if draws == 1:
        return predict

    def mean(x: Inputs) -> npt.NDArray[np.floating]:
        return np.asarray(sum(predict(x) for _ in range(draws)) / draws)

    return mean


def logarithms(predict: Predict) -> Scores:
    """Logarithms of probabilities: a margin between them is one between logits.

    Args:
        predict: float32 [n, ...] -> probabilities [n, K].

    Returns:
        The same, to logarithms.
    """
    return lambda x: np.log(np.maximum(predict(x), _FLOOR))

"""Log-odds at other temperatures of the softmax: what an attack can read from probabilities beside the log-odds themselves.

Logits divided by T before the softmax give probabilities in proportion to p^(1/T), so the probabilities that a file
returns are enough. The higher T, the more of the answer is told by the classes that lost.
"""

import numpy as np
import numpy.typing as npt

# Probabilities below this are unknown, not zero: a float32 softmax underflows there. Log-odds stay within +-87.3.
FLOOR = float(np.finfo(np.float32).tiny)

TEMPERATURES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""The temperatures that an attack may choose from. Log-odds at the first, 1, are kept by themselves."""

HOTTER = TEMPERATURES[1:]

_ROWS = 1024

Tempered = npt.NDArray[np.float32]
"""Log-odds of the true labels at each of ``HOTTER``, float32 [len(HOTTER), ...]."""


def tempered_log_odds(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Tempered:
    """Log-odds of the true labels under softmax(logits / T), for each T of ``HOTTER``.

    Args:
        probabilities: float [n, K], rows in [0, 1] that sum to 1.
        labels: integer [n] in 0..K-1.

    Returns:
        float32 [len(HOTTER), n], finite: each probability is taken as at least ``FLOOR``.
    """
    odds = np.empty((len(HOTTER), len(labels)), dtype=np.float32)
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        logits, rows = np.log(np.maximum(probabilities[part].astype(np.float64), FLOOR)), labels[part]
        true = np.take_along_axis(logits, rows[:, None], axis=1)[:, 0]
        np.put_along_axis(logits, rows[:, None], -np.inf, axis=1)
        for t, temperature in enumerate(HOTTER):
            # The logits lie in -87.3..0, so nothing can overflow, and the sum of the others is never 0.
            odds[t, part] = true / temperature - np.log(np.exp(logits / temperature).sum(axis=1))
    return odds

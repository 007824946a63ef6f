"""Evasion of a file of which no differentiable twin can be made."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgepriv.artifact.batches import steadiness
from edgepriv.audit import blackbox
from edgepriv.audit.answers import Bools
from edgepriv.audit.evasion.attacks import LEVELS, SQUARE
from edgepriv.audit.evasion.grid import radius_on_bytes
from edgepriv.audit.evasion.kept import Kept
from edgepriv.audit.evasion.remarks import of_answers, of_radius
from edgepriv.audit.evasion.rows import interval, outcomes_of, row
from edgepriv.audit.evasion.scores import THE_FILE, averaged, logarithms, tells_more_than_labels
from edgepriv.audit.evasion.setting import Setting, check
from edgepriv.audit.evasion.square import QUERIES, square
from edgepriv.audit.evasion.trial import DRAWS, Inputs, Predict

_BATCH = 1024


# The settings of ``robustness`` that are left without gradients.
def without_gradients(
    predict: Predict,
    x: Inputs,
    y: npt.NDArray[np.int64],
    *,
    norm: str,
    eps: float,
    reason: str,
    level: str = "quick",
    seed: int = 0,
    setting: Setting | None = None,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """As ``robustness``, of a graph of which no twin can be made.

    Square is run where the level has it and the file returns more than labels, then an attack that needs labels alone.

    Args:
        predict: the artifact, float32 [n, ...] -> probabilities [n, K].
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the labels.
        norm: "linf" or "l2".
        eps: radius > 0 in input units.
        reason: why there is no twin.
        level: a key of ``LEVELS``.
        seed: of the searches.
        setting: what the file allows beside; None for everything.
        kept: outcomes of attacks that have ended already; those of this run are added.

    Returns:
        The JSON's ``robustness``: ``at_most`` is an upper bound, ``worst_case_accuracy`` None, and ``warnings`` say why and
        what was not possible.

    Raises:
        UserError: for bad arrays, radii or norm.
    """
    check(x, y, norm, eps, ())
    setting = setting or Setting()
    radius = radius_on_bytes(norm, eps) if setting.bytes_in else eps
    random = not np.array_equal(predict(x[:_BATCH]), predict(x[:_BATCH]))
    steady = steadiness(lambda asked: predict(np.ascontiguousarray(asked)), x, setting.tolerance)
    predict = averaged(predict, DRAWS if random else 1)
    clean = predict(x)
    right: Bools = clean.argmax(axis=1) == y
    worst, rows = right, []
    warnings = [f"the gradients of this graph cannot be computed: {reason}", *of_answers(random, steady)]
    warnings += of_radius(x, norm, eps)
    if SQUARE in LEVELS[level]:
        if tells_more_than_labels(clean):
            ended = (kept or Kept()).get(SQUARE)
            held = _after_square(predict, x, y, right, norm, radius, seed, setting) if ended is None else ended & right
            if kept is not None and ended is None:
                kept.keep(SQUARE, held)
            rows.append(row(SQUARE, worst, held, setting.groups))
            worst = held
        else:
            warnings.append("Square needs scores, and the answers of this file tell no more than a label")
    held, attacked = blackbox.withstands(
        lambda moved: predict(moved).argmax(axis=1),
        x,
        y,
        worst,
        norm=norm,
        eps=radius,
        seed=seed,
        free=setting.free,
        fed=lambda x, moved: setting.fed(x, moved, norm, radius),
    )
    rows.append(row(blackbox.NAME, attacked, held, setting.groups))
    return {
        "level": level,
        "head": setting.head,
        "square_asks": THE_FILE if rows[0]["name"] == SQUARE else None,
        "norm": norm,
        "eps": float(eps),
        "clean_accuracy": float(right.mean()),
        "clean_ci": interval(right, setting.groups)["ci"],
        "attacks": rows,
        "worst_case_accuracy": None,
        "ci": None,
        "at_most": float(held.mean()),
        "n": len(x),
        "curve": [],
        "outcomes": outcomes_of(right, held),
        "fixed_features": setting.fixed_features,
        "warnings": warnings,
    }


def _after_square(
    predict: Predict,
    x: Inputs,
    y: npt.NDArray[np.int64],
    right: Bools,
    norm: str,
    eps: float,
    seed: int,
    setting: Setting,
) -> Bools:
    held, rng = right.copy(), np.random.default_rng([seed, 9])
    index = np.flatnonzero(right)
    for start in range(0, len(index), _BATCH):
        part = index[start : start + _BATCH]
        moved = square(
            logarithms(predict), x[part], y[part], norm=norm, eps=eps, rng=rng, queries=QUERIES, free=setting.free
        )
        held[part] = predict(setting.fed(x[part], moved, norm, eps)).argmax(axis=1) == y[part]
    return held

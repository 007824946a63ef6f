"""Quantile regression (Bertran et al. 2023): how unusual is this confidence for an example that looks like this one?"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import TargetEncoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence

FEWEST, FOLDS, TREES, LEAF, LEARNING_RATE = 100, 3, 60, 20, 0.08
# A share of the residuals' variance: below it the regression's spread is not believed.
SMALLEST_VARIANCE = 1e-3


def quantile_regression(evidence: Evidence) -> Floats:
    """How many spreads the log-odds lie above what is usual for a non-member with these inputs.

    Section 3: regress the score s of non-members on the example, and call a member every example that exceeds the predicted
    quantile; with their Gaussian variant s ~ N(mean(x), spread(x)^2) all quantiles are one regression and
    (s - mean(x)) / spread(x) is the score. No model of the target's kind is trained.

    Theirs is a network on the raw example. Here it is gradient boosted trees on the features of ``Evidence.inputs``
    (principal components of the inputs, see ``audit/inputs.py``) and on the label, as its class's mean confidence:
    first mean(x), then the squared residuals, which are out of fold so that the trees' own fit does not shrink them.

    Args:
        evidence: with ``inputs``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without population examples with their inputs, or with fewer than 100 of them.
    """
    inputs = evidence.inputs
    if inputs is None:
        raise Unavailable("needs population examples with their inputs")
    if len(inputs.population) < FEWEST:
        raise Unavailable(f"needs {FEWEST} population examples or more, found {len(inputs.population)}")
    usual = inputs.answers.confidence
    folds = KFold(FOLDS, shuffle=True, random_state=evidence.seed)
    by_class = TargetEncoder(target_type="continuous", cv=folds)
    known = np.column_stack([inputs.population, by_class.fit_transform(inputs.answers.labels[:, None], usual)])
    asked = np.column_stack([inputs.candidates, by_class.transform(evidence.target.labels[:, None])])
    with threadpool_limits(1):
        out_of_fold = cross_val_predict(_trees("squared_error", evidence.seed), known, usual, cv=folds)
        squares = (usual - out_of_fold) ** 2
        least = max(SMALLEST_VARIANCE * float(squares.mean()), np.finfo(np.float64).tiny)
        mean = _trees("squared_error", evidence.seed).fit(known, usual).predict(asked)
        variance = _trees("gamma", evidence.seed).fit(known, np.maximum(squares, least)).predict(asked)
    return np.asarray((evidence.target.confidence - mean) / np.sqrt(np.maximum(variance, least)))


def _trees(loss: str, seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        loss=loss,
        max_iter=TREES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=LEAF,
        early_stopping=False,
        random_state=seed,
    )

"""What each layer of a checkpoint loses at each width, on examples that nobody trains on."""

from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data
from edgepriv.artifact.sensitivity import of_network, sensitivity
from edgepriv.errors import UserError
from edgepriv.models import Classifier, checkpoint
from edgepriv.models.reading import is_of_tensors, load_tensors
from edgepriv.pipeline._given import named
from edgepriv.project import Trained, open_checkpoint
from edgepriv.recipe import Quantize, Recipe

WIDTHS = (2, 3, 4, 6, 8)
"""Widths of the table, in bits."""
MOST = 10_000
"""Examples that each cell is measured on, where there are as many and time for them."""
SECONDS = 60.0
"""What the table may take."""


def sensitivity_of_file(path: Path, factory: str | None, data_dir: Path | None) -> dict[str, Any]:
    """The table of a checkpoint.

    Args:
        path: of the checkpoint.
        factory: the user's own ``package.module:factory``; None for a network that edgepriv knows.
        data_dir: folder with data sets; None for the user's cache folder.

    Returns:
        As ``sensitivity_of`` does.

    Raises:
        UserError: for an .onnx file, and for weights that do not say which data they were trained on.
    """
    if not is_of_tensors(path):
        raise UserError(
            f"{path}: --sensitivity is of float weights, so give it the checkpoint; edgepriv export prints the same table of a "
            "float .onnx from elsewhere (--data)"
        )
    if not checkpoint.is_checkpoint(load_tensors(path)):
        raise UserError(
            f"{path} is a bare state_dict, which does not say which examples are no members: --sensitivity is for checkpoints "
            "of edgepriv train"
        )
    own = named(factory)
    return sensitivity_of(open_checkpoint(path, None if own is None else Recipe(model=own), data_dir))


def sensitivity_of(given: Trained, rule: Quantize | None = None, seconds: float = SECONDS) -> dict[str, Any]:
    """What each layer loses at each width while the others keep 32 bits, by rounding alone.

    Measured on that half of the non-members by which things are chosen (``data.halves_of``): never on members.

    Args:
        given: a checkpoint with its data.
        rule: quantizer and granularity; None for the checkpoint's own.
        seconds: what the table may take, or ``SECONDS`` if those are fewer.

    Returns:
        As ``artifact.sensitivity.sensitivity`` does, the layer that loses least first; ``of``: whom it was measured on;
        ``quantizer`` and ``granularity``.
    """
    classifier: Classifier = given.checkpoint.classifier()
    rule = rule or given.checkpoint.recipe.quantize
    chosen = data.halves_of(given.dataset, given.split).choosing.non_members
    order = np.random.default_rng([given.split.seed, 18]).permutation(chosen)[:MOST]
    groups = given.dataset.groups
    table = sensitivity(
        of_network(classifier, classifier.network),
        given.dataset.inputs(order),
        given.dataset.y[order],
        rule,
        WIDTHS,
        groups=None if groups is None else groups[order],
        most=MOST,
        seconds=min(seconds, SECONDS),
    )
    table["rows"].reverse()
    return table | {"of": "non-members", "quantizer": rule.quantizer, "granularity": rule.granularity}

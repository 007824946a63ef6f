"""A search whose trainings are simulated: bytes follow the bits, and accuracy the bits and the epochs."""

import json
from pathlib import Path

import numpy as np

from edgepriv import pipeline
from edgepriv.models import checkpoint
from edgepriv.recipe import Recipe, bit_rules

FLOAT_BYTES, PARAMETERS = 100_000, 25_000
SHARE = {"layers.0": 0.9, "layers.1": 0.1, "*": 1.0}
"""Of the weights, by layer."""


def trained(folder: Path, network: dict | None = None) -> Path:
    """A checkpoint of a tiny MLP on digits, or of another ``network``."""
    model = folder / "tiny.pt"
    recipe = Recipe().with_changes(
        data={"name": "digits"},
        model=network or {"name": "mlp", "args": {"widths": [8]}},
        train={"epochs": 2, "lr": 0.01},
    )
    pipeline.train(recipe, model, accept_accuracy_loss=True)
    return model


class Simulated:
    """Stands in for training, export and onnxruntime; counts trainings. ``dies_at``: which one is interrupted."""

    def __init__(self, model: Path, dies_at: int | None = None) -> None:
        self.model, self.dies_at, self.trainings = model, dies_at, []

    def harden(self, model, recipe, changes, output, **options):
        if len(self.trainings) == self.dies_at:
            raise KeyboardInterrupt
        self.trainings.append(changes)
        bits = sum(SHARE[layer] * width for layer, width in bit_rules(changes["quantize"]["bits"]))
        output.mkdir(parents=True, exist_ok=True)
        lost = 0.3 * 2.0 ** (2 - bits) / changes["qat"]["epochs"] ** 0.5
        for name, share in (("model.onnx", lost), ("model.fp32.onnx", 0.0)):
            (output / name).write_text(json.dumps(share))
        saved = checkpoint.load(self.model, None if recipe is None else recipe.model)
        checkpoint.save(output / "model.pt", saved.with_recipe(saved.recipe.with_changes(**changes)))
        size = int(2_000 + PARAMETERS * bits / 8)
        return {"size_bytes": size, "float": {"size_bytes": FLOAT_BYTES}}

    def right_of(self, path, question, split):
        wrong = json.loads(path.read_text())
        return np.arange(len(split.non_members)) >= 10 + round(wrong * len(split.non_members))

    def patched(self, patch):
        from edgepriv.tuning import candidates, finalists, space, telling

        for module in (candidates, telling):
            patch.setattr(module.pipeline, "harden", self.harden)
            patch.setattr(module, "right_of", self.right_of)
        patch.setattr(space, "VARIANTS", space.VARIANTS[:1])
        patch.setattr(finalists, "VARIANTS", space.VARIANTS[:1])
        return self

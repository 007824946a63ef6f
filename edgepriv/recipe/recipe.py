"""The recipe as a whole: its sections, what is derived from them, its hash, and the check of what users write."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError

from edgepriv.errors import UserError
from edgepriv.recipe.section import Section
from edgepriv.recipe.sections import Adversary, Audit, Bench, Data, Dp, Export, Head, Model, Noise, Quantize
from edgepriv.recipe.stages import STAGES, Noisy, Qat, Robust, Stage, Train


class Recipe(Section):
    """The whole of a run. Two recipes with equal ``training_hash`` on equal data give the same model."""

    seed: int = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    noisy: Noisy = Noisy()
    robust: Robust = Robust()
    qat: Qat = Qat()
    adversary: Adversary = Adversary()
    noise: Noise = Noise()
    dp: Dp = Dp()
    head: Head = Head()
    quantize: Quantize = Quantize()
    export: Export = Export()
    audit: Audit = Audit()
    bench: Bench = Bench()

    def with_changes(self, **sections: Any) -> "Recipe":
        """Copy with changed fields: ``recipe.with_changes(seed=1, quantize={"bits": 4})``; ``None`` changes nothing.

        Another norm of the adversary forgets ``eps`` and ``step``: they were lengths in the old one.
        """
        content = self.model_dump()
        if (sections.get("adversary") or {}).get("norm") not in (None, self.adversary.norm):
            content["adversary"] |= {"eps": None, "step": None}
        for name, change in sections.items():
            if isinstance(change, dict):
                content[name] |= {key: value for key, value in change.items() if value is not None}
            elif change is not None:
                content[name] = change
        return parse(content, "the options")

    def undefended(self) -> "Recipe":
        """The same training without any defence: what an oblivious attacker's reference models are trained by."""
        plain = self.with_changes(
            model={"dropout": 0.0},
            train={"adversarial": False, "quantized": False, "flatten": 0.0, "relax": 0.0},
            noisy={"epochs": 0},
            robust={"epochs": 0},
            qat={"epochs": 0},
            adversary={"method": "none"},
        )
        train = plain.train.model_copy(update={"dropout": None})
        return plain.model_copy(
            update={"train": train, "noise": Noise(), "dp": Dp(), "head": Head(), "quantize": Quantize()}
        )

    def stages(self) -> dict[str, Stage]:
        """The stages that have epochs, by name, in order."""
        return {name: stage for name in STAGES if (stage := getattr(self, name)).epochs > 0}

    def dropout_in(self, stage: str) -> float:
        """The share of inputs that the stage of that name drops."""
        own: float | None = getattr(self, stage).dropout
        return self.model.dropout if own is None else own

    def as_run(self, stages: Iterable[str]) -> "Recipe":
        """The recipe without the stages that have not run: a checkpoint may stop short of what its recipe goes on to."""
        return self.with_changes(**{name: {"epochs": 0} for name in STAGES if name not in stages})

    def undefended_start(self) -> "Recipe | None":
        """``undefended()`` if that is how this recipe begins before it goes on to other stages, else None: training by
        either then makes the same weights up to the end of the stage ``train``."""
        if len(self.stages()) < 2 or self.train.epochs == 0:
            return None
        start = self.as_run(["train"]).model_copy(update={"noise": Noise(), "head": Head(), "quantize": Quantize()})
        if self.dropout_in("train") == 0:
            train = start.train.model_copy(update={"dropout": None})
            start = start.with_changes(model={"dropout": 0.0}).model_copy(update={"train": train})
        plain = self.undefended()
        return plain if start.training_hash() == plain.training_hash() else None

    def training_hash(self) -> str:
        """Hex sha256 of every field that the trained, quantized weights depend on; fields without effect do not count."""
        stages = self.stages()
        idle: set[str] = {"export", "audit", "bench"} | {name for name in STAGES if name not in stages}
        if self.adversary.method == "none" or not any(stage.adversarial for stage in stages.values()):
            idle.add("adversary")
        idle |= {
            name
            for name, used in {
                "quantize": self.quantize.active,
                "noise": self.noise.method != "none",
                "dp": self.dp.active,
                "head": self.head.method != "none",
            }.items()
            if not used
        }
        trained_by = self.model_dump(mode="json", exclude=idle)
        if self.model.input_range == Model().input_range:
            del trained_by["model"]["input_range"]  # models that were trained before it could be said keep their hash
        for name in ("label", "range", "image_size", "channels"):
            del trained_by["data"][name]  # what was read is in the digest of the data
        return hashlib.sha256(json.dumps(trained_by, sort_keys=True).encode()).hexdigest()


def parse(content: dict[str, Any], where: str) -> Recipe:
    """Validate a nested dictionary; ``where`` names its origin in the error message."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {field}: {reason[:1].lower()}{reason[1:]} (got {first['input']!r})") from error

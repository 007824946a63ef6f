"""Recipe: everything a run depends on, typed, read from TOML, with a stable hash."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgepriv.errors import UserError

FULL_WIDTH = 32
STAGES = ("train", "noisy", "robust", "qat")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Section):
    """Where the examples come from, how their file is read, and how many play which role.

    ``name``: no data set is assumed. ``label``: the label column of a table, a title or a position. ``range``: of the numbers
    in the file, where it is not [0, 1] (or 0 to 255 of bytes, 0 to 65535 of 16-bit pictures). ``image_size``: (height, width)
    to which pictures are resized. ``channels``: of the pictures as the model takes them. Sizes of the roles: ``None`` takes the
    default of the data set.
    """

    name: str | None = None
    label: str | None = None
    range: tuple[float, float] | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = Field(None, ge=1)
    members: int | None = Field(None, ge=2)
    non_members: int | None = Field(None, ge=2)
    reference: int | None = Field(None, ge=0)
    holdout: int | None = Field(None, ge=0)
    validation: int | None = Field(None, ge=0)

    @field_validator("range")
    @classmethod
    def _from_low_to_high(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("goes from its lowest to its highest value, such as 0 to 255")
        return value

    @field_validator("image_size")
    @classmethod
    def _some_pixels(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError("needs a height and a width of 1 pixel or more")
        return value

    def reading(self) -> dict[str, Any]:
        """How the file is read, without what is left open."""
        asked = self.model_dump(mode="json", include={"label", "range", "image_size", "channels"})
        return {name: value for name, value in asked.items() if value is not None}


class Model(_Section):
    """Architecture by name, its keyword arguments (``widths`` of an MLP, ...), and the normalisation put inside it.

    ``input_range``: in which the network expects its inputs before ``mean`` and ``std``: (0, 1), (0, 255) for bytes, ...
    ``mean``, ``std``: one number, or one for each channel (or feature), in the units of that range; left out, images take
    0.5 and 0.25 of it, which say nothing about the training data, and tables are not normalised. ``dropout``: share of the
    inputs of every Linear but the network's first layer that training sets to zero (a defence of Salem et al. 2019); no
    weight depends on it.
    """

    name: str = "cnn"
    args: dict[str, Any] = Field(default_factory=dict)
    dropout: float = Field(0.0, ge=0, lt=1)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_range: tuple[float, float] = (0.0, 1.0)

    @field_validator("mean", "std")
    @classmethod
    def _some_numbers(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value == ():
            raise ValueError("needs one number, or one for each channel")
        return value

    @field_validator("input_range")
    @classmethod
    def _from_low_to_high(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError("goes from its lowest to its highest value, such as 0 to 255")
        return value


class Stage(_Section):
    """One pass through the training loop. ``epochs = 0`` leaves the stage out.

    ``adversarial``: minimise the loss on perturbed inputs (see Adversary). ``quantized``: with fake-quantized weights (see
    Quantize). ``flatten``: weight lambda of posterior flattening (Drif & Berrabah 2025, eq. 8). ``relax``: the loss, in
    nats, that RelaxLoss (Chen et al. 2022) holds training at; 0 leaves it out. ``select = "best"`` keeps the epoch with the
    highest held-out accuracy (in an adversarial stage the mean of clean and robust accuracy), ``patience`` stops after so
    many epochs without a better one. ``dropout``: None for the model's.
    """

    epochs: int = Field(0, ge=0)
    batch_size: int = Field(128, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["cosine", "cyclic", "constant"] = "cosine"
    augment: Literal["none", "crop", "crop_flip"] = "none"
    adversarial: bool = False
    quantized: bool = False
    flatten: float = Field(0.0, ge=0)
    relax: float = Field(0.0, ge=0)
    select: Literal["last", "best"] = "last"
    patience: int | None = Field(None, ge=1)
    dropout: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _patience_compares_epochs(self) -> "Stage":
        if self.patience is not None and self.select != "best":
            raise ValueError("patience needs select = 'best': else no epoch is better than another")
        return self


class Train(Stage):
    """From random weights."""

    epochs: int = Field(20, ge=0)


class Noisy(Stage):
    """From new random weights, on members with noise (see Noise), the trained model as teacher."""


class Robust(Stage):
    """From trained weights, on perturbed inputs."""

    adversarial: bool = True
    select: Literal["last", "best"] = "best"


class Qat(Robust):
    """From robust weights, with fake-quantized ones."""

    quantized: bool = True
    lr: float = Field(2e-4, gt=0)


class Adversary(_Section):
    """The perturbations trained and measured against, in input units ([0, 1]); ``None`` resolves by input shape."""

    method: Literal["none", "fgsm", "pgd"] = "none"
    norm: Literal["linf", "l2"] = "linf"
    eps: float | None = Field(None, gt=0)
    step: float | None = Field(None, gt=0)
    steps: int = Field(7, ge=1)


class Noise(_Section):
    """Optimal noise on the members (Kassa, Adi & Bouhaddi, eq. 5-8 and section 5.1), or its baseline ``uniform``.

    ``tau``: entropy in nats that the teacher's answer to a noisy member should reach. ``eps``: budget of each feature, in
    input units; ``beta``: how much of it an important feature loses. ``alpha``: share of the teacher's answer in the loss of
    the noisy stage and the stages after it, which all see the members with their noise.
    """

    method: Literal["none", "shapley", "uniform"] = "none"
    tau: float = Field(0.5, ge=0)
    eps: float = Field(0.1, gt=0)
    beta: float = Field(0.8, ge=0, le=1)
    alpha: float = Field(0.5, ge=0, le=1)


class Dp(_Section):
    """Differentially private training (Abadi et al. 2016) of the stage ``train``. ``epsilon``: to spend, None for no DP.

    ``delta``: None for 1 / (10 x members). ``clip``: bound on the L2 norm of each example's gradient.
    """

    epsilon: float | None = Field(None, gt=0)
    delta: float | None = Field(None, gt=0, lt=1)
    clip: float = Field(1.0, gt=0)

    @property
    def active(self) -> bool:
        """Whether any budget is set."""
        return self.epsilon is not None


class Head(_Section):
    """What stands after the softmax, trained by the owner when the model is done.

    ``member``, ``nonmember``: the two masks of Ding et al. 2023; ``rank``: fixed values placed by rank; ``memguard``: Jia et
    al. 2019, an optimisation for each query that the device kit runs, not the graph. ``epsilon``: of MemGuard, the expected
    L1 distance of what is shown from what the model answers, at most 2.
    """

    method: Literal["none", "member", "nonmember", "rank", "memguard"] = "none"
    epsilon: float = Field(1.0, ge=0, le=2)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)


class Quantize(_Section):
    """Weight-only quantization.

    ``bits``: one width from 2 to 16, 32 for none, or rules such as ``"conv1=8,fc*=2,*=4"``. ``first_last``: the width of the
    first and of the last layer that would be quantized, whatever ``bits`` says of them; the two that hurt most when they are
    narrow. ``last_k``: quantize only so many layers, counted from the end. ``granularity``: one scale for each ``tensor``,
    output ``channel``, or ``block:N`` of N consecutive weights of an output channel, N a power of two from 16 to 256.
    """

    bits: int | str = FULL_WIDTH
    first_last: int | None = Field(None, ge=2, le=FULL_WIDTH)
    last_k: int | None = Field(None, ge=1)
    quantizer: str = "minmax"
    granularity: str = "channel"

    @field_validator("bits")
    @classmethod
    def _known_widths(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        bit_rules(value)
        return value

    def bits_of(self, layer: str) -> int:
        """Width in bits of the weights of ``layer`` (its dotted module name): the first rule that matches."""
        return next((bits for pattern, bits in bit_rules(self.bits) if fnmatchcase(layer, pattern)), FULL_WIDTH)

    @field_validator("first_last")
    @classmethod
    def _known_width(cls, value: int | None) -> int | None:
        return value if value is None else bit_rules(value)[0][1]

    @field_validator("granularity")
    @classmethod
    def _known_granularity(cls, value: str) -> str:
        block_size(value)
        return value

    @property
    def block(self) -> int | None:
        """Weights that share a scale, None for granularity tensor or channel."""
        return block_size(self.granularity)

    @property
    def active(self) -> bool:
        """Whether any rule asks for fewer than 32 bits."""
        return any(bits < FULL_WIDTH for _, bits in bit_rules(self.bits))


class Export(_Section):
    """How the integers are laid out for the runtime, and what the file takes and returns.

    ``compute = "int8"`` lets packed layers quantize their activations to 8 bits inside the kernel: faster, and no longer
    weight-only. ``input = "uint8"`` takes a camera's bytes. ``ort`` writes a ``.ort`` file beside the .onnx as well.
    """

    profile: Literal["latency", "memory", "portable"] = "latency"
    compute: Literal["float32", "int8"] = "float32"
    input: Literal["float32", "uint8"] = "float32"
    output: Literal["probabilities", "logits", "label"] = "probabilities"
    ort: bool = False


class Audit(_Section):
    """What the audit runs: which attacks, how many reference models, which perturbations; and how a file of others is read.

    ``queried_examples``: candidates, half of them members, on which the attacks that ask the model many times for each are
    run. ``engine``: where reference models are trained: ``local`` processes, or ``dask:tcp://HOST:PORT``. ``input_range``,
    ``mean``, ``std``: what a file of others is fed, ``(lo + u * (hi - lo) - mean) / std`` of bytes divided by 255 or of other
    numbers in [0, 1]. ``output_name``: its output that holds the scores of the classes. ``batch_dependent``: its answers depend
    on the rest of the batch, and it is asked for one input at a time. ``accept_weak_references``:
    go on where reference models do not behave like the target.
    """

    attacks: str = "all"
    references: int = Field(16, ge=0)
    threat_models: tuple[Literal["adaptive", "oblivious"], ...] = ("adaptive", "oblivious")
    robust_examples: int = Field(1000, ge=1)
    pgd_steps: int = Field(20, ge=1)
    queried_examples: int = Field(1000, ge=2)
    engine: str = "local"
    accept_weak_references: bool = False
    input_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output_name: str | None = None
    batch_dependent: bool = False


class Bench(_Section):
    """How the file is timed: ``runs`` inferences in each process, fewer where they would take longer than ``seconds``."""

    batches: tuple[int, ...] = (1, 32)
    threads: tuple[int, ...] = (1,)
    runs: int = Field(200, ge=1)
    seconds: float = Field(5.0, gt=0)
    rounds: int = Field(5, ge=1)


class Recipe(_Section):
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


def bit_rules(bits: int | str) -> list[tuple[str, int]]:
    """``4`` -> ``[("*", 4)]``; ``"conv1=8,*=4"`` -> ``[("conv1", 8), ("*", 4)]``. Raises ValueError on anything else."""
    if isinstance(bits, int):
        rules = [("*", bits)]
    else:
        rules = []
        for rule in bits.split(","):
            pattern, equals, width = (part.strip() for part in rule.partition("="))
            if not (pattern and equals and width.isdigit()):
                raise ValueError(f"bits {bits!r}: expected a number, or rules such as 'conv1=8,fc*=2,*=4'")
            rules.append((pattern, int(width)))
    for pattern, bits_asked in rules:
        if bits_asked not in {*range(2, 17), FULL_WIDTH}:
            raise ValueError(f"bits {bits_asked} for {pattern!r}: weights have 2 to 16 bits, or 32 (not quantized)")
    return rules


def block_size(granularity: str) -> int | None:
    """``"block:64"`` -> 64; None for ``"tensor"`` and ``"channel"``. Raises ValueError on anything else."""
    if granularity in ("tensor", "channel"):
        return None
    kind, _, size = granularity.partition(":")
    if kind != "block" or size not in {"16", "32", "64", "128", "256"}:
        raise ValueError(f"granularity {granularity!r}: tensor, channel, or block:N with N of 16, 32, 64, 128, 256")
    return int(size)


def parse(content: dict[str, Any], where: str) -> Recipe:
    """Validate a nested dictionary; ``where`` names its origin in the error message."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {field}: {reason[:1].lower()}{reason[1:]} (got {first['input']!r})") from error


def load(path: Path) -> Recipe:
    """Read a recipe from a TOML file; fields that it leaves out keep their defaults."""
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no such recipe: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"recipe {path} is not readable TOML: {error}") from error
    return parse(content, f"recipe {path}")


def eps_for(input_shape: tuple[int, ...], norm: str) -> float:
    """The customary budget in input units: 0.1 for grey images, 8/255 for colour, 0.05 for tables; 0.5 in L2."""
    if norm == "l2":
        return 0.5
    if len(input_shape) != 3:
        return 0.05
    return 0.1 if input_shape[0] == 1 else 8 / 255


def differences(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dumped recipe that are not at their default."""
    defaults = Recipe().model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, value in content.items():
        default = defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict):
            value = {key: entry for key, entry in value.items() if entry != default.get(key)}
        if value not in (default, {}):
            found[name] = value
    return found

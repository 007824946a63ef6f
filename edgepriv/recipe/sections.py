"""The sections of a recipe but for the stages of training: what each says, within which bounds."""

from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from edgepriv.recipe.bits import FULL_WIDTH, bit_rules, block_size
from edgepriv.recipe.section import Section


class Data(Section):
    """Where the examples come from, how their file is read, and how many play which role.

    ``name``: no data set is assumed. ``label``: the label column of a table, a title or a position. ``range``: of the numbers
    in the file, where it is not [0, 1] (or 0 to 255 of bytes, 0 to 65535 of 16-bit pictures). ``image_size``: (height, width)
    to which pictures are resized. ``channels``: of the pictures as the model takes them. Sizes of the roles: ``None`` takes the
    default of the data set.
    """

    READING: ClassVar[tuple[str, ...]] = ("label", "range", "image_size", "channels")
    """The fields that say how the file is read."""

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
        asked = self.model_dump(mode="json", include=set(self.READING))
        return {name: value for name, value in asked.items() if value is not None}


class Model(Section):
    """Architecture by name, its keyword arguments (``widths`` of an MLP, ...), and the normalisation put inside it.

    ``input_range``: in which the network expects its inputs before ``mean`` and ``std``: (0, 1), (0, 255) for bytes, ...
    ``mean``, ``std``: one number, or one for each channel (or feature), in the units of that range; left out, images take
    0.5 and 0.25 of it, which say nothing about the training data, and tables are not normalised. ``dropout``: share of the
    inputs of every Linear but the network's first layer that training sets to zero (a defence of Salem et al. 2019); no
    weight depends on it. ``batch_dependent``: an answer depends on the rest of its batch, so the network is trained on
    batches, and asked and shipped with one input at a time.
    """

    name: str = "cnn"
    args: dict[str, Any] = Field(default_factory=dict)
    dropout: float = Field(0.0, ge=0, lt=1)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_range: tuple[float, float] = (0.0, 1.0)
    batch_dependent: bool = False

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


class Adversary(Section):
    """The perturbations trained and measured against, in input units ([0, 1]); ``None`` resolves by input shape."""

    method: Literal["none", "fgsm", "pgd"] = "none"
    norm: Literal["linf", "l2"] = "linf"
    eps: float | None = Field(None, gt=0)
    step: float | None = Field(None, gt=0)
    steps: int = Field(7, ge=1)


class Noise(Section):
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


class Dp(Section):
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


class Head(Section):
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


class Quantize(Section):
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


class Export(Section):
    """How the integers are laid out for the runtime, and what the file takes and returns.

    ``compute = "int8"`` lets packed layers quantize their activations to 8 bits inside the kernel: faster, and no longer
    weight-only. ``input = "uint8"`` takes a camera's bytes. ``ort`` writes a ``.ort`` file beside the .onnx as well.
    """

    profile: Literal["latency", "memory", "portable"] = "latency"
    compute: Literal["float32", "int8"] = "float32"
    input: Literal["float32", "uint8"] = "float32"
    output: Literal["probabilities", "logits", "label"] = "probabilities"
    ort: bool = False


class Audit(Section):
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


class Bench(Section):
    """How the file is timed: ``runs`` inferences in each process, fewer where they would take longer than ``seconds``."""

    batches: tuple[int, ...] = (1, 32)
    threads: tuple[int, ...] = (1,)
    runs: int = Field(200, ge=1)
    seconds: float = Field(5.0, gt=0)
    rounds: int = Field(5, ge=1)

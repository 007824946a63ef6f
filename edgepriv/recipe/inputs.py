"""What is learnt from and by what: the data, the model, and how the one is fed to the other."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from edgepriv.recipe import written
from edgepriv.recipe.canaries import planted
from edgepriv.recipe.option import BUILDING, Option
from edgepriv.recipe.section import Section

DROPOUT = 0.5
"""The share that ``--baseline dropout`` asks for."""

# How examples are read and fed, by one option each for all the sections that keep it.
_READING = (*BUILDING, "audit")
_FED = {command: ("model",) for command in BUILDING} | {"audit": ("audit",)}
_OWN = {"harden": "the checkpoint's", "export": "the checkpoint's", "audit": "none: the file takes [0, 1]"}
MEAN = Option(
    "Subtracted from the network's inputs: one number, or one per channel.",
    "Model",
    _FED,
    kind=float | str | Sequence[float],
    default=_OWN | {"train": "0.5 of the input range for images, 0 for tables"},
    reads=partial(written.numbers, "mean"),
)
STD = Option(
    "What they are then divided by: one number, or one per channel.",
    "Model",
    _FED,
    kind=float | str | Sequence[float],
    default=_OWN | {"train": "0.25 of the input range for images, 1 for tables"},
    reads=partial(written.numbers, "std"),
)
BATCH_DEPENDENT = Option(
    "Answers depend on the rest of the batch: the model is shipped, asked and measured with one input at a time.",
    "Model",
    _FED,
)
INPUT_RANGE = Option(
    "Range of the network's inputs before mean and std, which are in its units: 0:1, 0:255, ...",
    "Model",
    {command: ("data", "model") for command in BUILDING} | {"audit": ("audit",)},
    name="input_range",
    metavar="LO:HI",
    kind=str | tuple[float, float],
    reads=partial(written.ends, "input-range"),
    default="0:1",
)


class Data(Section):
    """Where the examples come from, how their file is read, and how many play which role.

    ``name``: no data set is assumed. ``label``: the label column of a table, a title or a position. ``groups``: whose record
    each is, ``split_column``: of which official part: a column, a key of an .npz, or what ``edgepriv.data.beside`` says of
    folders. ``subgroups``: the same of whom figures are reported for apart, and never a feature. ``range``: of the numbers
    in the file, where it is not [0, 1] (or 0 to 255 of bytes, 0 to 65535 of 16-bit pictures). ``drop``: columns of a table that
    are no features; ``keep``: columns that are, although they look like identifiers. ``decimal``: the decimal sign of its
    numbers, ``date_order``: of its dates, where the file leaves it open. ``image_size``: (height, width) to which pictures are
    resized. ``channels``: of the pictures as the model takes them. ``canaries``: audit records that take the place of others
    (see ``recipe.canaries``). Sizes of the roles: ``None`` takes the default of the data set.
    """

    READING: ClassVar[tuple[str, ...]] = (
        "label", "range", "drop", "keep", "decimal", "date_order", "image_size", "channels", "groups", "split_column",
        "subgroups",
    )  # fmt: skip
    """The fields that say how the file is read."""

    name: Annotated[
        str | None,
        Option(
            "Training data: digits, fashion_mnist, ..., npz:FILE, csv:FILE, folder:DIR.",
            "Data",
            BUILDING,
            name="data",
            complete="data",
            default={"train": "none is assumed", "harden": "the checkpoint's", "export": "the checkpoint's"},
        ),
    ] = None
    label: Annotated[
        str | None,
        Option(
            "Label column of a table: its title, or its position from 0 (-1: the last).",
            "Data",
            _READING,
            kind=str | int,
            default="asked for where several could be meant",
            reads=str,
        ),
    ] = None
    groups: Annotated[
        str | None,
        Option(
            "Whose records: a column, an .npz key; of a folder, a column of metadata.csv or level:N of the path.",
            "Data",
            _READING,
            kind=str | int,
            default="patient_id, subject, ... where there is one",
            reads=str,
        ),
    ] = None
    split_column: Annotated[
        str | None,
        Option(
            "Column or key that names the official part of each record: train, validation, test.",
            "Data",
            _READING,
            kind=str | int,
            default="split, ... where it names parts",
            reads=str,
        ),
    ] = None
    subgroups: Annotated[
        str | None,
        Option(
            "Column or key, such as sex, by which the classifier is reported on apart; no feature.",
            "Data",
            _READING,
            kind=str | int,
            default="none",
            reads=str,
        ),
    ] = None
    range: Annotated[
        tuple[float, float] | None,
        INPUT_RANGE,
    ] = None
    drop: Annotated[
        tuple[str, ...] | None,
        Option(
            "Column of a table that is no feature, by title or position (repeatable).",
            "Data",
            _READING,
            repeatable=True,
            kind=Sequence[str],
            default="none",
            reads=written.titles,
        ),
    ] = None
    keep: Annotated[
        tuple[str, ...] | None,
        Option(
            "Column of a table that is a feature, although each row has a number of its own there (repeatable).",
            "Data",
            _READING,
            repeatable=True,
            kind=Sequence[str],
            default="none",
            reads=written.titles,
        ),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Option(
            "Decimal sign of the numbers in a table: . or a comma.",
            "Data",
            _READING,
            default="as the numbers show it",
        ),
    ] = None
    date_order: Annotated[
        Literal["YMD", "DMY", "MDY"] | None,
        Option(
            "Order of year, month and day in the dates of a table: YMD, DMY or MDY.",
            "Data",
            _READING,
            default="as the dates show it",
        ),
    ] = None
    image_size: Annotated[
        tuple[int, int] | None,
        Option(
            "Resize pictures to so many pixels.",
            "Data",
            _READING,
            kind=int | str | tuple[int, int],
            metavar="N|HxW",
            default="as they are",
            reads=written.size_of,
        ),
    ] = None
    channels: Annotated[
        int | None,
        Option(
            "Channels of the pictures: 1 (grey), 3 (colour), or as many as they have.",
            "Data",
            _READING,
            default="as they are",
        ),
    ] = Field(None, ge=1)
    canaries: Annotated[
        str | None,
        Option(
            "Audit records among the examples, half of them trained on: mislabelled:N, rare:N, near-duplicate:N, FILE.",
            "Data",
            ("train", "harden"),
            default={"train": "none", "harden": "the checkpoint's"},
            metavar="KIND:N|FILE",
            reads=written.canaries,
        ),
    ] = None
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

    @field_validator("canaries")
    @classmethod
    def _as_written(cls, value: str | None) -> str | None:
        return None if value is None else str(planted(value))

    def reading(self) -> dict[str, Any]:
        """How the file is read, without what is left open."""
        asked = self.model_dump(mode="json", include=set(self.READING))
        return {name: value for name, value in asked.items() if value is not None}


class Pipeline(Section):
    """What the user's own script does in the stages after ``train``.

    ``script``: as it was named; ``code``: hex sha256 of it and of what it imports, None without one; ``hooks``: those
    of ``loader`` and ``loss`` that it defines.
    """

    HOOKS: ClassVar[tuple[str, ...]] = ("loader", "loss")

    script: str | None = None
    code: str | None = None
    hooks: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether there is one."""
        return self.code is not None


class Model(Section):
    """Architecture by name, its keyword arguments (``widths`` of an MLP, ...), and the normalisation put inside it.

    ``input_range``: in which the network expects its inputs before ``mean`` and ``std``: (0, 1), (0, 255) for bytes, ...
    ``mean``, ``std``: one number, or one for each channel (or feature), in the units of that range; left out, images take
    0.5 and 0.25 of it, which say nothing about the training data, and tables are not normalised. ``dropout``: share of the
    inputs of every Linear but the network's first layer that training sets to zero (a defence of Salem et al. 2019); no
    weight depends on it. ``features``: fixed ones in front of the network, which sees them instead of the inputs; no data had
    a part in them, so they cost no privacy. ``norm``: "group" puts group normalization in place of each batch normalization.
    ``batch_dependent``: an answer depends on the rest of its batch, so the network
    is trained on batches, and asked and shipped with one input at a time.
    """

    name: Annotated[
        str,
        Option(
            "lenet, resnet20, mlp, cnn, linear, a torchvision classifier, pkg.mod:factory.",
            "Model",
            BUILDING,
            name="model",
            complete="model",
            default={"harden": "the checkpoint's", "export": "the checkpoint's"},
        ),
    ] = "cnn"
    args: Annotated[
        dict[str, Any],
        Option(
            "Hidden widths of an mlp, such as 512,256.",
            "Model",
            BUILDING,
            name="widths",
            kind=str | Sequence[int],
            default="the architecture's",
            sets=lambda value: {"args": {"widths": written.whole_numbers("widths", value)}},
        ),
        Option(
            "An argument of the model, NAME=VALUE (repeatable), such as stem=plain for torchvision's own stem.",
            "Model",
            BUILDING,
            name="model_arg",
            repeatable=True,
            kind=Sequence[str] | Mapping[str, Any],
            default="none",
            sets=lambda value: {"args": written.arguments(value)},
        ),
    ] = Field(default_factory=dict)
    features: Annotated[
        Literal["none", "scattering"],
        Option(
            "Fixed features of images in front of the model, inside the file: scattering (wavelets), or none.",
            "Model",
            BUILDING,
            default={"harden": "the checkpoint's", "export": "the checkpoint's"},
        ),
    ] = "none"
    norm: Annotated[
        Literal["own", "group"],
        Option(
            "Normalization of a network that is trained from random weights: its own, or group in place of batch.",
            "Model",
            ("train",),
            default="own; group with --dp-epsilon and --dp-noise",
        ),
    ] = "own"
    dropout: Annotated[
        float,
        Option(
            "A known defence to compare with.",
            "Defences",
            ("train", "harden"),
            name="baseline",
            kind=str,
            choices={"train": ("dropout",), "harden": ("dropout", "memguard")},
            default="none",
            sets=lambda value: {"dropout": DROPOUT if value == "dropout" else None},
        ),
    ] = Field(0.0, ge=0, lt=1)
    mean: Annotated[
        tuple[float, ...] | None,
        MEAN,
    ] = None
    std: Annotated[
        tuple[float, ...] | None,
        STD,
    ] = None
    input_range: Annotated[
        tuple[float, float],
        INPUT_RANGE,
    ] = (0.0, 1.0)
    batch_dependent: Annotated[bool, BATCH_DEPENDENT] = False

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

"""Sections of what is measured of a file: the audit and the bench."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgepriv.recipe import written
from edgepriv.recipe.inputs import BATCH_DEPENDENT, INPUT_RANGE, MEAN, STD
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


class Audit(Section):
    """What the audit runs: which attacks, how many reference models, which perturbations; and how a third-party file is read.

    ``robust``: which attacks perturb inputs (``edgepriv.audit.evasion``); ``perturb``: which columns of a table they change.
    ``queried_examples``: candidates, half of them members, on which the attacks that ask the model many times for each are
    run. ``sensitive``: a column that the attacker does not know.
    ``engine``: where reference models are trained: ``local`` processes, or ``dask:tcp://HOST:PORT``. ``input_range``,
    ``mean``, ``std``: what a third-party file is fed, ``(lo + u * (hi - lo) - mean) / std`` of bytes divided by 255 or of other
    numbers in [0, 1]. ``output_name``: its output that holds the scores of the classes. ``batch_dependent``: its answers depend
    on the rest of the batch, and it is asked for one input at a time. ``accept_weak_references``:
    go on where reference models do not behave like the target. ``prior``: share of members among the records that an attacker
    may meet (``edgepriv.audit.prior``).
    """

    attacks: Annotated[
        str,
        Option(
            "all, quick, or names separated by commas (edgepriv attacks lists them).",
            "Audit",
            ("audit",),
            kind=str | Sequence[str],
            complete="attack",
            reads=written.names,
        ),
    ] = "all"
    references: Annotated[
        int,
        Option("Reference models to train.", "Audit", ("audit",)),
    ] = Field(16, ge=0)
    threat_models: Annotated[
        tuple[Literal["adaptive", "oblivious"], ...],
        Option(
            "What the attacker knows of the defence: adaptive, oblivious or both.",
            "Audit",
            ("audit",),
            name="threat_model",
            kind=Literal["adaptive", "oblivious", "both"],
            default="both",
            reads=written.threat_models,
        ),
    ] = ("adaptive", "oblivious")
    robust: Annotated[
        Literal["autoattack", "quick", "none"],
        Option(
            "Attacks by perturbed inputs: autoattack (200 inputs of LeNet-5 on one core: a minute), quick (4 s; reads a little "
            "high), or none.",
            "Audit",
            ("audit",),
        ),
    ] = "autoattack"
    perturb: Annotated[
        Literal["all", "continuous"],
        Option(
            "Columns of a table to perturb: all, or continuous, which leaves alone those of 0 and 1. Of rows as they are, "
            "numbers and dates alone.",
            "Audit",
            ("audit",),
        ),
    ] = "all"
    robust_examples: Annotated[
        int,
        Option("Non-members to perturb.", "Audit", ("audit",)),
    ] = Field(1000, ge=1)
    pgd_steps: Annotated[
        int,
        Option("Gradient steps of PGD in the audit.", "Audit", ("audit",), name="steps"),
    ] = Field(20, ge=1)
    queried_examples: Annotated[
        int,
        Option("Candidates for the attacks that ask the model many times for each.", "Audit", ("audit",)),
    ] = Field(1000, ge=2)
    sensitive: Annotated[
        str | None,
        Option(
            "Column of a table that is guessed of members and of others (attribute inference).",
            "Audit",
            ("audit",),
            default="none",
        ),
    ] = None
    engine: Annotated[
        str,
        Option("Where reference models are trained: local, or dask:tcp://HOST:PORT.", "Audit", ("audit",)),
    ] = "local"
    accept_weak_references: Annotated[
        bool,
        Option("Go on though reference models do not behave like the model.", "Audit", ("audit",)),
    ] = False
    input_range: Annotated[
        tuple[float, float] | None,
        INPUT_RANGE,
    ] = None
    mean: Annotated[
        tuple[float, ...] | None,
        MEAN,
    ] = None
    std: Annotated[
        tuple[float, ...] | None,
        STD,
    ] = None
    output_name: Annotated[
        str | None,
        Option(
            "Output of a third-party file that holds the class scores.",
            "Model",
            ("audit",),
            default="the one that can be meant",
        ),
    ] = None
    batch_dependent: Annotated[bool, BATCH_DEPENDENT] = False
    prior: Annotated[
        float | None,
        Option(
            "Share of members among the records that an attacker may meet, such as 0.01: the precision of each attack is told "
            "for it.",
            "Audit",
            ("audit",),
            default="not stated",
            reads=written.prior,
        ),
    ] = Field(None, gt=0, lt=1)


class Bench(Section):
    """How the file is timed: in processes of ``runs`` inferences, fewer where they would take longer than ``seconds``, until
    the ratio is known to ``precision`` or ``time`` is spent; or exactly ``rounds`` processes for each file."""

    batches: Annotated[
        tuple[int, ...],
        Option(
            "Batch size (repeatable).",
            "Timing",
            ("bench",),
            name="batch",
            repeatable=True,
            kind=int | Sequence[int],
            reads=written.counts,
        ),
    ] = (1, 32)
    threads: Annotated[
        tuple[int, ...],
        Option(
            "Threads, 0 for all (repeatable).",
            "Timing",
            ("bench",),
            repeatable=True,
            kind=int | Sequence[int],
            reads=written.counts,
        ),
    ] = (1,)
    runs: Annotated[
        int,
        Option("Inferences timed in each process, at most.", "Timing", ("bench", "compare")),
    ] = Field(200, ge=1)
    seconds: Annotated[
        float | None,
        Option(
            "Seconds after which a process times no more inferences (it times 2 at least).",
            "Timing",
            ("bench", "compare"),
            default="a tenth of --time for each batch size and number of threads",
        ),
    ] = Field(None, gt=0)
    time: Annotated[
        float | None,
        Option(
            "Time for each file, such as 30s or 2m; it ends before once --precision is reached.",
            "Timing",
            ("bench", "compare"),
            kind=str | float,
            default="30s",
            reads=written.duration,
        ),
    ] = Field(None, gt=0)
    precision: Annotated[
        float,
        Option(
            "To how much the ratio of latencies is to be known, 0.05 for 5% (half of its 95% interval).",
            "Timing",
            ("bench", "compare"),
        ),
    ] = Field(0.05, gt=0, lt=1)
    rounds: Annotated[
        int | None,
        Option(
            "Processes for each file: exactly so many, whatever time they take.",
            "Timing",
            ("bench", "compare"),
            default="as many as --precision needs and --time allows",
        ),
    ] = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.time is not None and self.rounds is not None:
            raise ValueError(
                f"rounds {self.rounds} and a time of {self.time:g} s contradict each other: rounds are exactly so many, "
                "however long they take; drop one of them"
            )
        return self

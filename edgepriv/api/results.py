"""What the verbs return: frozen, with fields, as JSON, and readable on a terminal and in a notebook."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from edgepriv.recipe import Recipe

Row = Mapping[str, Any]


@dataclass(frozen=True, repr=False, kw_only=True)
class Result(ABC):
    """What every result has.

    ``remarks``: assumptions and findings that came up on the way, one line each.
    """

    remarks: tuple[str, ...] = ()
    _content: Any = field(default=None, compare=False)

    _named: ClassVar[Mapping[str, str]] = {}
    """Fields whose name in the JSON is another one."""

    @classmethod
    def of(cls, content: Any, **more: Any) -> Self:
        """A result from what a command prints as JSON.

        Args:
            content: what the command prints: a dictionary with the fields by name, or by ``_named``.
            more: fields that are not in it.

        Returns:
            The result; ``json()`` gives ``content`` back.
        """
        values = dict(more)
        for each in fields(cls):
            key = cls._named.get(each.name, each.name)
            if each.name not in values and isinstance(content, Mapping) and key in content:
                value = content[key]
                values[each.name] = _TYPED.get(each.type if isinstance(each.type, type) else object, _as_it_is)(value)
        return cls(**values, _content=content)

    def with_remarks(self, remarks: Sequence[str]) -> Self:
        """The same result with other remarks.

        Args:
            remarks: one line each.

        Returns:
            A copy.
        """
        return replace(self, remarks=tuple(remarks))

    def json(self) -> str:
        """What the command prints with ``--json``, one line."""
        return json.dumps(self._content, allow_nan=False)

    @abstractmethod
    def readable(self) -> list[Any]:
        """What the command prints without: strings and tables of rich."""

    def _repr_html_(self) -> str:
        import io

        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=110, highlight=False)
        for part in (*(f"note: {remark}" for remark in self.remarks), *self.readable()):
            console.print(part, soft_wrap=isinstance(part, str), markup=False)
        return console.export_html(inline_styles=True, code_format='<pre style="line-height: 1.2">{code}</pre>')

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{each.name}={str(value) if isinstance(value, Path) else value!r}"
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), (str, int, float, Path)) and not each.name.startswith("_")
        )
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, repr=False, kw_only=True)
class Trained(Result):
    """A checkpoint.

    ``history``: a row for each epoch; ``split``: sizes and digests of the roles; ``accuracy``: on members and on held-out
    data; ``defences``: what they did; ``normalisation``: mean and std inside the model; ``said``: what was understood of
    the data; ``audited``: the same of the twin with canaries, None without ``audit_twin``.
    """

    checkpoint: Path
    recipe: Recipe
    history: Sequence[Row]
    split: Row
    accuracy: Row
    defences: Row
    normalisation: Row
    said: Sequence[str]
    audited: Row | None = None

    def readable(self) -> list[Any]:
        """Settings and figures of the training, then accuracy."""
        from edgepriv.report.terminal import trained
        from edgepriv.report.utility import accuracy_lines

        return [trained(self._content), *accuracy_lines(self.accuracy)]


@dataclass(frozen=True, repr=False, kw_only=True)
class Exported(Result):
    """A file that ships.

    ``parity``: how close its answers are to the torch model's; ``ops``: operators that run, with their number;
    ``left_float``: layers that are not quantized, with the reason; ``export``: its layout; ``float_twin``: file, size and
    agreement of the twin that was not quantized, None where there is none; ``ort``: the same of a .ort file.

    Of a float .onnx from elsewhere ``accuracy`` is None: ``change`` says what quantization changed, ``sensitivity`` what each
    layer loses at each width.
    """

    _named: ClassVar[Mapping[str, str]] = {"float_twin": "float"}

    model: Path
    size_bytes: int
    accuracy: Row | None
    parity: Row
    ops: Row
    left_float: Mapping[str, str]
    notes: Sequence[str]
    export: Row
    said: Sequence[str]
    float_twin: Row | None = None
    ort: Row | None = None
    change: Row | None = None
    sensitivity: Row | None = None

    def readable(self) -> list[Any]:
        """Layout and proofs of the file, then accuracy."""
        from edgepriv.report.foreign import packed_lines
        from edgepriv.report.terminal import exported
        from edgepriv.report.utility import accuracy_lines

        if self.accuracy is None:
            return packed_lines(self._content)

        return [exported(self._content), *accuracy_lines(self.accuracy)]


@dataclass(frozen=True, repr=False, kw_only=True)
class Hardened(Exported):
    """A file that ships, with the checkpoint that it was made from and the device kit.

    ``history``: a row for each epoch of hardening; ``defences``: what they did; ``head``: the head behind the softmax.
    ``robustness``: accuracy under perturbations on some non-members, None where it was not measured.
    """

    checkpoint: Path
    kit: Path
    history: Sequence[Row]
    defences: Row
    head: Row | None = None
    audited: Row | None = None
    robustness: Row | None = None

    def readable(self) -> list[Any]:
        """Layout and proofs of the file, then accuracy, then accuracy under perturbations."""
        from edgepriv.report.not_measured import notes
        from edgepriv.report.tables import robustness_table

        if self.robustness is None:
            return super().readable()
        return [*super().readable(), robustness_table(self.robustness), *notes({"robustness": self.robustness})]


@dataclass(frozen=True, repr=False, kw_only=True)
class Audited(Result):
    """What attacks found; the strongest attack comes first.

    ``file``, ``report``, ``scores``: the .json, .html and .npz that were written. ``limits``: how ``fail_if`` was judged;
    ``robustness``: accuracy under perturbations, None where it was not asked for; ``utility``: accuracy and sizes;
    ``left_out``: attacks that were not run, with the reason; ``float_twin``: the same of the twin that was not hardened;
    ``persons``: the attacks by person, None where the data do not say whose records they are; ``canaries``: what attacks find
    of the canaries alone, beside the average record, None without canaries; ``statement``: the risk statement;
    ``attribute_inference`` and ``class_inversion``: the two screens, or why they were not run.
    """

    _named: ClassVar[Mapping[str, str]] = {"float_twin": "float"}

    file: Path
    model: str
    attacks: Sequence[Row]
    robustness: Row | None
    utility: Row
    accuracy: Row
    limits: Sequence[Row]
    warnings: Sequence[str]
    left_out: Sequence[Row]
    settings: Row
    references: int
    seed: int
    threat_model: str
    said: Sequence[str]
    float_twin: Row | None = None
    dp: Row | None = None
    persons: Row | None = None
    canaries: Row | None = None
    classifier: Row | None = None
    statement: Row | None = None
    attribute_inference: Row | None = None
    class_inversion: Row | None = None

    @property
    def report(self) -> Path:
        """The HTML page beside ``file``."""
        return self.file.with_suffix(".html")

    @property
    def scores(self) -> Path:
        """The .npz beside ``file``: every attack's scores."""
        return self.file.with_suffix(".npz")

    def readable(self) -> list[Any]:
        """Accuracy, attacks, robustness, then warnings and findings."""
        from edgepriv.report import tables
        from edgepriv.report.attack_tables import attack_tables
        from edgepriv.report.canaries import canary_tables
        from edgepriv.report.classifier import classifier_table
        from edgepriv.report.epsilon import shown_epsilon
        from edgepriv.report.not_measured import notes
        from edgepriv.report.persons import persons_table
        from edgepriv.report.statement import statement_lines
        from edgepriv.report.summary import proven
        from edgepriv.report.utility import accuracy_table, cost_in_accuracy

        cost = cost_in_accuracy(self.accuracy)
        return [
            accuracy_table(self.accuracy["rows"]),
            *([f"at export, {cost}"] if cost else []),
            *(classifier_table(self.classifier, (self.float_twin or {}).get("classifier")) if self.classifier else []),
            *canary_tables(self._content),
            *attack_tables(self._content, self.file.name),
            *(persons_table(self.persons) if self.persons else []),
            *([tables.robustness_table(self.robustness)] if self.robustness else []),
            *notes(self._content),
            *(f"warning: {line}" for line in self.warnings),
            *(finding.sentence for finding in (*proven(self._content), *shown_epsilon(self._content))),
            *statement_lines(self._content),
        ]


@dataclass(frozen=True, repr=False, kw_only=True)
class Rows(Result):
    """A table, whose rows can be gone through."""

    rows: Sequence[Row]

    @classmethod
    def of(cls, content: Any, **more: Any) -> Self:
        """A table from what a command prints as JSON.

        Args:
            content: the rows.
            more: fields that are not in them.

        Returns:
            The result; ``json()`` gives ``content`` back.
        """
        return cls(rows=tuple(content), _content=content, **more)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, repr=False, kw_only=True)
class Attacks(Rows):
    """The attacks that are known: name, title, paper, needs, queries, what they read."""

    def readable(self) -> list[Any]:
        """The attacks as tables."""
        from edgepriv.report import tables

        return tables.known_attacks_tables(self.rows)


@dataclass(frozen=True, repr=False, kw_only=True)
class Defences(Rows):
    """The defences that are known: name, title, option, what they do, paper, fields of the recipe, conflicts."""

    def readable(self) -> list[Any]:
        """The defences as a table."""
        from edgepriv.report.defences import known_defences

        return known_defences(self.rows)


@dataclass(frozen=True, repr=False, kw_only=True)
class Benched(Result):
    """Size, latency and memory: a row in ``variants`` for each file, threads and batch size.

    ``file``: the JSON that was written. ``ratios``: to the variant ``reference``, with the rounds' range; ``devices``: what
    was measured elsewhere; ``said``: batches that could not be timed.
    """

    file: Path
    model: str
    variants: Sequence[Row]
    ratios: Sequence[Row]
    reference: str
    machine: Row
    files: Row
    devices: Sequence[Row] = ()
    said: Sequence[str] = ()

    def readable(self) -> list[Any]:
        """Size, latency and memory as tables."""
        from edgepriv.report import tables

        return list(tables.bench_tables(self._content))


@dataclass(frozen=True, repr=False, kw_only=True)
class Compared(Rows):
    """A row for each file: size, latency, memory, accuracy, robust accuracy, strongest attack with its ``roc``; and ``change``,
    what became better or worse against the first file, None for that one.

    ``file``: the JSON that was written, None without ``out``.
    """

    file: Path | None = None

    @property
    def report(self) -> Path | None:
        """The HTML page beside ``file``."""
        return self.file.with_suffix(".html") if self.file else None

    def readable(self) -> list[Any]:
        """The table, both ROC curves, what became better or worse, then what makes figures doubtful."""
        from edgepriv.report import side_by_side

        return [
            side_by_side.compare_table(self.rows),
            *side_by_side.change_parts(self.rows),
            *side_by_side.stale_audits(self.rows),
            *side_by_side.altered_audits(self.rows),
            *side_by_side.compare_notes(self.rows),
        ]


@dataclass(frozen=True, repr=False, kw_only=True)
class Shown(Result):
    """What a file is; fields that its kind does not have, or that are not known of it, are None.

    ``sensitivity``: a row for each layer, that which loses least first: points of accuracy lost and their interval by width.
    """

    size_bytes: int
    layers: Sequence[Row]
    profile: str | None = None
    bits: str | None = None
    class_names: Sequence[str] | None = None
    input_shape: Sequence[int] | None = None
    inputs: Sequence[Row] | None = None
    outputs: Sequence[Row] | None = None
    ops: Row | None = None
    stages: Sequence[str] | None = None
    defences: Row | None = None
    recipe: Row | None = None
    data: Row | None = None
    kind: str | None = None
    sensitivity: Row | None = None
    diagnosis: Row | None = None

    def readable(self) -> list[Any]:
        """What is known of the file, its layers, and what each loses where that was measured."""
        from edgepriv.report import diagnosis, sensitivity, tables

        measured = [] if self.sensitivity is None else sensitivity.accuracy_lost(self.sensitivity)
        compared = [] if self.diagnosis is None else diagnosis.diagnosis_parts(self.diagnosis)
        return [*tables.show_tables(self._content), *measured, *compared]


@dataclass(frozen=True, repr=False, kw_only=True)
class Tuned(Result):
    """The file that a search ended with.

    ``recipe``: makes it again; ``figures``: of the file, on records that chose nothing; ``budgets``: each with ``met`` and
    its ``sentence``; ``candidates``: all that were measured, the smallest first, with ``on_frontier``; ``winner``: name of the
    one that was chosen; ``ties``: those that were as good within noise; ``sensitivity``: what each layer loses at each width.
    """

    model: Path
    recipe: Recipe
    figures: Row
    budgets: Sequence[Row]
    candidates: Sequence[Row]
    winner: str
    ties: Sequence[str]
    sensitivity: Row

    @property
    def report(self) -> Path:
        """The HTML page beside the file."""
        return self.model.with_name("tune.html")

    def readable(self) -> list[Any]:
        """The verdict, then the frontier."""
        from edgepriv.report import tuned

        return ["\n".join(tuned.lines(self._content)), tuned.frontier_table(self._content)]


def _as_it_is(value: Any) -> Any:
    return value


_TYPED: Mapping[type, Any] = {Path: Path, Recipe: Recipe.model_validate}
"""How what JSON holds becomes what a field is."""

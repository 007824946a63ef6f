"""Results of the verbs that look at files: audit, attacks, defences, bench, compare, show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgepriv.api.results.base import Result, Row, Rows


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

"""Results of the verbs that make models: train, harden, export, tune."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgepriv.api.results.base import Result, Row
from edgepriv.recipe import Recipe


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

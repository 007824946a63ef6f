"""How a network computes: with float activations, or on 8 bits in one of two ways. Decided by measuring."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from edgepriv.artifact.build import Built
from edgepriv.artifact.calibration import METHOD, TrainedRanges
from edgepriv.artifact.contract import as_fed
from edgepriv.artifact.session import check_contract, open_session
from edgepriv.device.machine import machine
from edgepriv.errors import UserError
from edgepriv.recipe import Export
from edgepriv.training.quantization import QuantizedTensor

FLOAT, STATIC, DYNAMIC = "float32", "int8-static", "int8-dynamic"
MEASURED = ("int8", "auto")
"""Settings of ``compute`` that leave the choice to a measurement."""
NO_SLOWER = 1.05
"""Ratio of a candidate's median time to that with float activations, up to which ``int8`` takes it all the same."""
FASTER = 0.95
"""The same up to which ``auto`` takes it: rounding activations must gain something."""
SECONDS, ROUNDS = 2.0, 200
"""A comparison ends after either."""
_LONGEST_TURN = 1e-3
"""Seconds that the repetitions of a fast network take in its turn, so that the clock does not count."""


@dataclass(frozen=True)
class Calibration:
    """``inputs``: float32 [n >= 1, ...] in [0, 1], from which the ranges of activations come; nobody's training data.
    ``role``: what they are in the split. ``trained``: ranges that training has seen on them; None to see them after it."""

    inputs: np.ndarray
    role: str
    trained: TrainedRanges | None = None

    @property
    def source(self) -> np.ndarray | TrainedRanges:
        """What the ranges are read from."""
        return self.inputs if self.trained is None else self.trained


@dataclass(frozen=True)
class Candidate:
    """A file that was built. ``ratio``: of its time to that of the first candidate; None where it was not compared."""

    compute: str
    built: Built
    ratio: float | None = None


def choices_of(settings: Export, weights: Mapping[str, QuantizedTensor], calibration: Calibration | None) -> list[str]:
    """The ways that may be meant, the one with float activations first where the choice is left to a measurement.

    Args:
        settings: of the export.
        weights: integers by name.
        calibration: what fixed grids come from; None for none.

    Returns:
        Values of ``compute``.

    Raises:
        UserError: for a candidate that there is not.
    """
    compute = settings.compute
    static = settings.profile == "latency" and calibration is not None
    if compute == STATIC and not static:
        raise UserError(
            f"--compute {STATIC} takes the ranges of activations from the privacy holdout or the validation part, never from "
            f"members, and these data have neither: train with data.holdout or data.validation above 0 in a recipe, or take "
            f"--compute {DYNAMIC}"
            if settings.profile == "latency"
            else f"--compute {STATIC} is a layout of the profile latency: leave out --profile {settings.profile}"
        )
    if compute not in MEASURED:
        return [compute]
    if not weights or settings.profile == "portable":
        return [FLOAT] if compute == "auto" else [compute]
    return [FLOAT, *([STATIC] if static else []), DYNAMIC]


def compared(built: Mapping[str, Built], x: np.ndarray) -> list[Candidate]:
    """Time candidates of one network against the first of them, in turns, on this machine: one input at a time, one thread.

    Args:
        built: by value of ``compute``, two or more.
        x: float32 [n >= 1, ...], of which one is fed.

    Returns:
        The candidates with the median over turns of the ratio of their times.
    """
    turns = [_turn(open_session(candidate.content), x) for candidate in built.values()]
    times: list[list[float]] = []
    begun = time.monotonic()
    while len(times) < 3 or (len(times) < ROUNDS and time.monotonic() - begun < SECONDS):
        times.append([turn() for turn in turns])
    ratios = np.median([[own / row[0] for own in row] for row in times], axis=0)
    return [
        Candidate(name, candidate, float(ratio)) for (name, candidate), ratio in zip(built.items(), ratios, strict=True)
    ]


def _turn(session: ort.InferenceSession, x: np.ndarray) -> Callable[[], float]:
    """Runs a session for about ``_LONGEST_TURN``, and returns the seconds of one inference."""
    contract = check_contract(session, x)
    feed = {
        contract.input_name: as_fed(
            np.ascontiguousarray(x[: contract.fixed_batch or 1], np.float32), contract.input_dtype
        )
    }

    def run(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            session.run(list(contract.outputs), feed)
        return (time.perf_counter() - start) / times

    run(3)
    often = max(1, int(_LONGEST_TURN / run(3)))
    return lambda: run(often)


def in_order(candidates: list[Candidate], asked: str) -> list[Candidate]:
    """The candidates that ``asked`` may take, best first; the one with float activations ends the list.

    Args:
        candidates: of ``compared``, the one with float activations first.
        asked: "int8" or "auto".

    Returns:
        Those that are fast enough.
    """
    limit = FASTER if asked == "auto" else NO_SLOWER
    floating, *rounding = candidates
    fast = [candidate for candidate in rounding if candidate.ratio is not None and candidate.ratio <= limit]
    return [*sorted(fast, key=lambda candidate: candidate.ratio or 0.0), floating]


def record_of(
    asked: str,
    taken: Candidate,
    candidates: list[Candidate],
    refused: Mapping[str, str],
    calibration: Calibration | None,
) -> dict[str, Any]:
    """What the manifest holds about the choice.

    Args:
        asked: for ``compute``.
        taken: the candidate that ships.
        candidates: that were compared; empty where there was no choice.
        refused: value of ``compute`` -> why it was not taken, whatever its speed.
        calibration: what fixed grids came from.

    Returns:
        ``asked``, ``taken``; ``p50_ratios`` to float activations with the machine, None without a comparison; ``activations``,
        ``float_operators``, ``float_weights`` of a file on fixed grids; ``notes``, sentences.
    """
    static = taken.built.static
    record: dict[str, Any] = {
        "asked": asked,
        "taken": taken.compute,
        "p50_ratios": {
            candidate.compute: round(candidate.ratio, 3) for candidate in candidates if candidate.ratio is not None
        }
        or None,
        "machine": machine() if candidates else None,
        "refused": dict(refused),
    }
    if static is not None:
        assert calibration is not None
        record["activations"] = {
            "bits": 8,
            "ranges_from": calibration.role,
            "trained": calibration.trained is not None,
            "examples": static.examples,
            "method": METHOD,
        }
        record["products"] = {"convolutions": static.convolutions, "matrices": static.matrices}
        record["float_operators"] = dict(static.float_operators)
        record["float_weights"] = dict(static.float_weights)
        record["coarsened_channels"] = static.regridded
    return record | {"notes": _notes(record, calibration)}


def _notes(record: Mapping[str, Any], calibration: Calibration | None) -> list[str]:
    asked, taken, ratios = record["asked"], record["taken"], record["p50_ratios"]
    lines = []
    if ratios:
        each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        lines.append(f"compute {asked}: {taken} is taken (time of one inference here, float32 activations = 1: {each})")
        if asked == "int8" and taken == FLOAT and not record["refused"]:
            lines[-1] += f"; no candidate with 8-bit activations is within {NO_SLOWER} of it"
    lines += [f"{name} was not taken: {why}" for name, why in record["refused"].items()]
    if asked in MEASURED and calibration is None and ratios:
        lines.append(
            f"{STATIC} was not tried: its ranges come from the privacy holdout or the validation part, and there is neither"
        )
    if "activations" in record:
        own = record["activations"]
        seen = "seen by quantization-aware training on" if own["trained"] else "from"
        lines.append(
            f"activations on fixed grids of 8 bits, ranges {seen} {own['examples']} examples of the {own['ranges_from']} "
            f"({own['method']}), none of them members"
        )
        left = {name: count for name, count in record["float_operators"].items() if name != "Softmax"}
        if left:
            each = ", ".join(f"{count} {name}" for name, count in left.items())
            lines.append(f"left in floating point among them: {each}")
        lines += [f"multiplied in float: {name} ({why})" for name, why in record["float_weights"].items()]
        if record["coarsened_channels"]:
            count = record["coarsened_channels"]
            lines.append(f"{count} channels whose bias dwarfs their weights have coarser integers than in other files")
    return lines

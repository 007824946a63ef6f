"""How long to measure: round after round, until the ratio of latencies is known as exactly as wanted or the time is spent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

FEWEST_ROUNDS = 3
"""Rounds without which no interval is believed, however narrow: two agree by chance."""
OUTER = 0.2
"""Share of the rounds that is left out at either end, so that a machine that was busy for a while decides nothing."""
MARGIN = 1.2
"""A round is begun only where one so much longer than the last would still fit."""
INFERENCES = 2
"""Inferences that a process makes at least: the first one, and one that is timed. Where an inference takes seconds, rounds
differ more than the inferences within them, so the time is better spent on another round."""
STARTING = 0.5
"""Seconds in which a process starts, beside loading its model."""
ROUNDS_SHARE = 0.95
"""Of the budget; the rest is for the command's own start and for what it writes."""


@dataclass(frozen=True)
class Setting:
    """One way of running a model."""

    threads: int
    batch: int

    def __str__(self) -> str:
        threads = "all threads" if self.threads == 0 else f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"batch {self.batch}, {threads}"


@dataclass(frozen=True)
class Round:
    """One process for each model: how many seconds it took, and what each measured, by name of the model."""

    seconds: float
    results: Mapping[str, Mapping[str, Any]]

    def p50(self, name: str) -> float:
        """Median latency of a model in this round.

        Args:
            name: of the model.

        Returns:
            Milliseconds.
        """
        return float(self.results[name]["latency_ms"]["p50"])


@dataclass(frozen=True)
class Budget:
    """``seconds`` for each model; rounds end before, once every ratio is known to ``precision`` (0.05: within 5%)."""

    seconds: float = 30.0
    precision: float = 0.05


@dataclass(frozen=True)
class Interval:
    """A ratio, or a latency, with its 95% interval."""

    centre: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The larger distance to an end, as a share of the centre."""
        return max(self.high / self.centre, self.centre / self.low) - 1


def interval_over_rounds(values: Sequence[float]) -> Interval | None:
    """Mean and 95% interval of positive values of which each round gives one.

    The mean is taken of the logarithms, without the outer fifth of the rounds at either end (from five rounds on), and the
    interval is Student's with the variance of the values drawn in to those that stayed (Tukey and McLaughlin, 1963): rounds
    are what varies, since the inferences of one process have its luck in common. Of normal logarithms it covers the truth
    in 93 to 95 of 100 cases (3 to 15 rounds).

    Args:
        values: above 0, one for each round.

    Returns:
        The interval; None for a single round, which does not tell how much rounds differ.
    """
    if len(values) < 2:
        return None
    logarithms = np.sort(np.log(values))
    cut = int(OUTER * len(values))
    stayed = logarithms[cut : len(values) - cut]
    spread = np.std(np.clip(logarithms, stayed[0], stayed[-1]), ddof=1) / (1 - 2 * cut / len(values))
    error = float(t.ppf(0.975, len(stayed) - 1) * spread / math.sqrt(len(values)))
    centre = float(stayed.mean())
    return Interval(math.exp(centre), math.exp(centre - error), math.exp(centre + error))


def known_to(rounds: Sequence[Round], reference: str) -> float | None:
    """How exactly the ratios of a setting are known.

    Args:
        rounds: of the setting, one at least.
        reference: model that the others are compared with.

    Returns:
        Half the width of the widest interval, as a share; of the latency itself where nothing is compared. None for a single
        round.
    """
    others = [name for name in rounds[0].results if name != reference]
    series = [[each.p50(name) / each.p50(reference) for each in rounds] for name in others]
    intervals = [interval_over_rounds(values) for values in series or [[each.p50(reference) for each in rounds]]]
    widths = [interval.half_width for interval in intervals if interval is not None]
    return max(widths) if widths else None


def next_setting(
    measured: Mapping[Setting, Sequence[Round]], reference: str, left: float, precision: float
) -> Setting | None:
    """The setting whose ratios need another round.

    Args:
        measured: rounds of every setting, none where none was measured yet.
        reference: model that the others are compared with.
        left: seconds.
        precision: to which the ratios are to be known, as a share.

    Returns:
        One that has no round yet and is not too long for the time left, though something is measured in any case; then, of
        those whose last round would fit, one with too few rounds for an interval, the one that has had the least time first;
        then the one that is furthest from the precision for the time that a round of it takes. None where nothing is left to
        do.
    """
    for setting, rounds in measured.items():
        if not rounds and least_seconds(setting, measured) <= left:
            return setting
    fitting = {
        setting: rounds for setting, rounds in measured.items() if rounds and MARGIN * rounds[-1].seconds <= left
    }
    few = [setting for setting, rounds in fitting.items() if len(rounds) < FEWEST_ROUNDS]
    if few:
        return min(few, key=lambda setting: sum(each.seconds for each in fitting[setting]))
    missing = {
        setting: ((known_to(rounds, reference) or 0.0) - precision) / rounds[-1].seconds
        for setting, rounds in fitting.items()
    }
    worst = max(missing, key=lambda setting: missing[setting], default=None)
    return worst if worst is not None and missing[worst] > 0 else None


def least_seconds(setting: Setting, measured: Mapping[Setting, Sequence[Round]]) -> float:
    """Seconds that a first round takes at least.

    Args:
        setting: that was not measured yet.
        measured: rounds of every setting.

    Returns:
        A guess from the setting measured whose batch is the nearest: its processes started and loaded, and so many inferences,
        as much longer as the batch is larger. 0 where nothing was measured.
    """
    known = [
        (abs(other.batch - setting.batch), other.batch, rounds[-1]) for other, rounds in measured.items() if rounds
    ]
    if not known:
        return 0.0
    _, batch, last = min(known, key=lambda each: each[0])
    inference = sum(last.p50(name) for name in last.results) / 1e3
    loading = sum(float(result.get("load_ms", 0.0)) / 1e3 + STARTING for result in last.results.values())
    return loading + INFERENCES * inference * setting.batch / batch


def remarks(measured: Mapping[Setting, Sequence[Round]], reference: str, budget: Budget) -> list[str]:
    """What was not measured as exactly as wanted.

    Args:
        measured: rounds of every setting.
        reference: model that the others are compared with.
        budget: that ended the measurement.

    Returns:
        A sentence for each such setting.
    """
    sentences = []
    compared = any(len(rounds[0].results) > 1 for rounds in measured.values() if rounds)
    figure = "the ratio" if compared else "the latency"
    for setting, rounds in measured.items():
        if not rounds:
            needed = least_seconds(setting, measured)
            sentences.append(
                f"{setting}: not timed, since one round would take about {needed:.0f} s; a longer --time leaves room for it"
            )
            continue
        width = known_to(rounds, reference)
        if width is None:
            sentences.append(
                f"{setting}: there was time for one round alone, so how exact {figure} is is not known; pass a longer --time"
            )
        elif width > budget.precision:
            sentences.append(
                f"{setting}: {figure} is known to ±{100 * width:.2g}%, after {len(rounds)} rounds; a longer --time or a "
                "quieter machine narrows it"
            )
    return sentences

"""Paired statistics for two runs on the same samples. All functions take per-sample values in the same order.

Sources: McNemar, Psychometrika 12 (1947), in its exact binomial form; Tango, Statist. Med. 17 (1998), for the interval
beside it; Holm, Scand. J. Statist. 6 (1979); the percentile bootstrap of Efron and Tibshirani (1993), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lladav_eval.scoring.aggregate import cluster_sums

Test = Literal["mcnemar", "bootstrap"]

METHODS: dict[Test, str] = {
    "mcnemar": "McNemar's exact test with Tango's score interval",
    "bootstrap": "the paired bootstrap with its percentile interval",
}
"""How reports call a test and the interval beside it."""

RESAMPLES = 10_000
SEED = 20_250_522
_CHUNK = 250
"""Resamples drawn at once; bounds the memory for many distinct values."""


@dataclass(frozen=True)
class Paired:
    """A candidate (or second run) against a baseline (or first run) on the same samples."""

    n: int
    """Observations: samples, or clusters of them."""
    wins: int
    """Observations on which the second run has the higher value."""
    losses: int
    ties: int
    difference: float
    """Mean of second minus first, in the units of the values."""
    low: float
    """Lower end of the interval of the difference."""
    high: float
    p: float
    """Two-sided p-value, not corrected for the number of tests."""
    test: Test

    def smallest(self, alpha: float, tests: int) -> float | None:
        """The smallest difference on 0-100 that McNemar's test could ever show; None of another test, or if none."""
        share = smallest_effect(self.n, alpha, tests) if self.test == "mcnemar" else None
        return None if share is None else 100 * share


def changes(first: Sequence[float], second: Sequence[float]) -> tuple[int, int]:
    """How many values are higher in the second, and how many lower."""
    pairs = list(zip(first, second, strict=True))
    return sum(after > before for before, after in pairs), sum(after < before for before, after in pairs)


def is_binary(values: Sequence[float]) -> bool:
    """Whether every value is 0 or 1."""
    return all(value in (0, 1) for value in values)


def observations(values: Sequence[float], clusters: Sequence[object] | None = None) -> list[float]:
    """One number per cluster, with the same mean as ``values``: its sum as a multiple of a cluster's usual size."""
    sums, _ = cluster_sums(values, clusters)
    return [_snapped(total * len(sums) / len(values)) for total in sums]


def _snapped(value: float) -> float:
    """A whole number that sums missed by their last bits; else the value, without them."""
    return float(round(value, 12))


def compare_pairs(
    first: Sequence[float],
    second: Sequence[float],
    test: Test | None = None,
    alpha: float = 0.05,
    clusters: Sequence[object] | None = None,
) -> Paired:
    """All of it at once; ``test`` None takes McNemar's where both sides are 0 or 1 and the bootstrap elsewhere.

    ``alpha`` sets the interval's level, 1 - alpha. Samples of one cluster are one observation; None stands alone. Where
    nothing changed there is nothing to resample: then the interval is Tango's, as no values on 0..1 differ by more than
    right and wrong.

    Raises ValueError for no pairs, unequal lengths, or McNemar's test on other observations than 0 and 1.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"paired values are needed, at least one pair: got {len(first)} and {len(second)}")
    before, after = observations(first, clusters), observations(second, clusters)
    binary = is_binary(before) and is_binary(after)
    if test == "mcnemar" and not binary:
        raise ValueError("McNemar's test needs observations that are right or wrong (0 or 1)")
    differences = np.round(np.asarray(after) - np.asarray(before), 12)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    chosen: Test = test or ("mcnemar" if binary else "bootstrap")
    if chosen == "bootstrap" and wins + losses:
        low, high, p = bootstrap(differences, alpha)
    else:
        p = mcnemar_exact(wins, losses)
        low, high = score_interval(wins, losses, len(differences), alpha)
        if p > alpha:  # whether there is a difference at all, the exact test decides
            low, high = min(low, 0.0), max(high, 0.0)
    mean = math.fsum(differences) / len(differences)
    return Paired(len(differences), wins, losses, len(differences) - wins - losses, mean, low, high, p, chosen)


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided exact p-value: how likely so uneven a split of the changed samples is, were each a coin toss."""
    if wins + losses == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses, 0.5).pvalue)


def score_interval(wins: int, losses: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of (wins - losses) / n, a difference between two shares of the same n samples (Tango's).

    It holds every difference that the score test of paired shares doesn't reject. Where nothing changed it is as wide
    as n is small: of 10 samples from -0.28 to +0.28.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    limit, difference = float(norm.isf(alpha / 2)), (wins - losses) / n

    def score(delta: float) -> float:
        """Standard errors between the difference and ``delta``, were that the true one."""
        linear = (2 * n - wins + losses) * delta - wins - losses
        product = -losses * delta * (1 - delta)
        share_lost = (math.sqrt(max(0.0, linear**2 - 8 * n * product)) - linear) / (4 * n)  # the likeliest one
        variance = n * (2 * share_lost + delta * (1 - delta))
        distance = n * (difference - delta)
        if variance > 0:
            return distance / math.sqrt(variance)
        return math.copysign(1e9, distance) if distance else 0.0

    def end(far: float, wanted: float) -> float:
        if abs(difference - far) < 1e-9:
            return far
        return float(brentq(lambda delta: score(delta) - wanted, difference, far))

    return end(-1.0, limit), end(1.0, -limit)


def bootstrap(differences: Sequence[float] | np.ndarray, alpha: float = 0.05) -> tuple[float, float, float]:
    """Percentile interval of the mean and a two-sided p-value for "the mean is 0": (low, high, p). Same every time.

    Drawing n samples with replacement is drawing how often each distinct value comes up, which is a multinomial draw:
    the same distribution, and quick for 20,000 samples with few distinct values.

    With few changed samples the bootstrap claims too much (three of three worse would be certain). Its p-value is
    therefore never below that of all k changed samples having gone one way by chance, 2 * 0.5 ** k.
    """
    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    n = int(counts.sum())
    changed = n - int(counts[values == 0].sum())
    if len(values) == 1:
        means = np.full(RESAMPLES, values[0])
    else:
        generator = np.random.default_rng(SEED)
        sizes = [min(_CHUNK, RESAMPLES - start) for start in range(0, RESAMPLES, _CHUNK)]
        means = np.concatenate([generator.multinomial(n, counts / n, size) @ values / n for size in sizes])
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = max(2 * (beyond + 1) / (RESAMPLES + 1), 2.0 ** (1 - changed))
    return float(low), float(high), min(1.0, p)


def ratio_of_means(first: Sequence[float], second: Sequence[float], alpha: float = 0.05) -> tuple[float, float, float]:
    """Mean of second by mean of first, both above 0, and its paired percentile interval: (ratio, low, high)."""
    pairs, counts = np.unique(np.column_stack([first, second]).astype(float), axis=0, return_counts=True)
    n = int(counts.sum())
    generator = np.random.default_rng(SEED)
    sizes = [min(_CHUNK, RESAMPLES - start) for start in range(0, RESAMPLES, _CHUNK)]
    sums = np.concatenate([generator.multinomial(n, counts / n, size) @ pairs for size in sizes])
    low, high = np.quantile(sums[:, 1] / sums[:, 0], [alpha / 2, 1 - alpha / 2])
    return math.fsum(second) / math.fsum(first), float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several, in the order given."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def smallest_effect(n: int, alpha: float, tests: int) -> float | None:
    """The smallest change of accuracy, as a share of n, that McNemar's exact test could ever call real.

    That is k of n samples changing, all the same way, with 2 * 0.5 ** k <= alpha / tests. None where even all n
    changing would not do. ``tests`` is the number of tests the first of which Holm's method holds to alpha / tests.
    """
    needed = math.ceil(1 - math.log2(alpha / tests) - 1e-12)
    return needed / n if needed <= n else None

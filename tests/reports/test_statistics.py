"""Statistics against plain re-derivations, published examples and scipy's own."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from lladav_eval.reports.statistics import (
    bootstrap,
    compare_pairs,
    holm,
    is_binary,
    mcnemar_exact,
    ratio_of_means,
    score_interval,
    smallest_effect,
)


def two_sided_by_hand(wins: int, losses: int) -> float:
    """Twice the smaller tail of a fair coin, at most 1."""
    n, k = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial(wins: int, losses: int) -> None:
    assert mcnemar_exact(wins, losses) == pytest.approx(two_sided_by_hand(wins, losses), abs=1e-12)


def test_mcnemar_on_known_tables() -> None:
    # 121 and 59 discordant pairs, the example of the Wikipedia article on McNemar's test: p is about 4e-6.
    assert mcnemar_exact(121, 59) == pytest.approx(4.4349e-06, rel=1e-3)
    assert mcnemar_exact(6, 0) == 2 / 64
    assert mcnemar_exact(0, 5) == 2 / 32
    assert mcnemar_exact(0, 0) == 1.0


def holm_by_hand(values: list[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


@settings(max_examples=15)  # the library collects garbage at every call, which takes a fifth of a second
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(values: list[float]) -> None:
    assert holm(values) == pytest.approx(holm_by_hand(values))


def test_holm_on_a_known_table() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_bootstrap_is_the_plain_one() -> None:
    """Drawing whole samples one by one gives the same interval, within the noise of 10,000 draws."""
    differences = [1] * 9 + [-1] * 21 + [0] * 70
    generator = random.Random(1)
    means = sorted(sum(generator.choices(differences, k=100)) / 100 for _ in range(4000))
    low, high, p = bootstrap(differences)
    assert low == pytest.approx(means[100], abs=0.011)
    assert high == pytest.approx(means[3899], abs=0.011)
    assert p == pytest.approx(2 * sum(mean >= 0 for mean in means) / 4000, abs=0.012)


def test_the_bootstrap_agrees_with_scipy() -> None:
    from scipy import stats

    differences = np.random.default_rng(0).normal(0.05, 0.3, 200)
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    low, high, _ = bootstrap(differences)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_bootstrap_is_the_same_every_time_and_in_every_order() -> None:
    differences = [0.5, -0.25, 0.0, 1.0, 0.125] * 7
    assert bootstrap(differences) == bootstrap(differences[::-1])


@pytest.mark.parametrize("changed", [1, 2, 3, 4, 5, 6])
def test_few_changed_samples_prove_nothing_by_the_bootstrap_either(changed: int) -> None:
    _, _, p = bootstrap([-1.0] * changed)
    assert p == min(1.0, 2 * 0.5**changed)
    _, _, with_ties = bootstrap([-1.0] * changed + [0.0] * 20)
    assert with_ties >= 2 * 0.5**changed
    assert bootstrap([-1.0, 1.0] * changed)[2] == 1.0


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), min_size=1, max_size=40))
def test_pairs_add_up_and_swap(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = compare_pairs(first, second), compare_pairs(second, first)
    assert there.wins + there.losses + there.ties == there.n == len(pairs)
    assert (there.wins, there.losses, there.p) == (back.losses, back.wins, back.p)
    assert there.difference == pytest.approx(-back.difference)
    assert there.low <= there.difference + 1e-9
    assert there.difference <= there.high + 1e-9
    assert there.test == "mcnemar"


def test_the_test_follows_the_values() -> None:
    assert compare_pairs([0.5, 1, 0], [0.25, 1, 0]).test == "bootstrap"
    assert compare_pairs([0, 1], [1, 1], "bootstrap").test == "bootstrap"
    assert is_binary([0, 1.0, True])
    assert not is_binary([0.5])


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="right or wrong"):
        compare_pairs([0.5], [1], "mcnemar")
    with pytest.raises(ValueError, match="at least one pair"):
        compare_pairs([], [])
    with pytest.raises(ValueError, match="2 and 1"):
        compare_pairs([1, 0], [1])


@pytest.mark.parametrize("tests", [1, 2, 7])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.0625])
@pytest.mark.parametrize("n", [1, 4, 5, 6, 7, 50, 900])
def test_the_smallest_effect_is_just_enough(n: int, alpha: float, tests: int) -> None:
    enough = [k for k in range(1, n + 1) if mcnemar_exact(0, k) <= alpha / tests]
    assert smallest_effect(n, alpha, tests) == (enough[0] / n if enough else None)


def test_the_smallest_difference_is_on_0_to_100_and_of_mcnemars_test_alone() -> None:
    values = [1.0] * 10
    assert compare_pairs(values, values).smallest(0.05, 1) == 60
    assert compare_pairs(values, values).smallest(0.05, 4) == 80
    assert compare_pairs(values[:5], values[:5]).smallest(0.05, 1) is None
    assert compare_pairs(values, values, "bootstrap").smallest(0.05, 1) is None


def test_nothing_changed() -> None:
    """That says little of three samples, and more of three thousand, whatever the values are."""
    z = 1.959964
    for n in (3, 10, 3000):
        for value, test in ((1, None), (1, "bootstrap"), (0.5, None)):
            result = compare_pairs([value] * n, [value] * n, test)
            assert (result.p, result.ties) == (1.0, n)
            assert (-result.low, result.high) == pytest.approx([z**2 / (n + z**2)] * 2)


def likeliest_score(delta: float, wins: int, losses: int, n: int) -> float:
    """The score of a difference, with the other parameter found by search instead of by formula."""
    ties = n - wins - losses

    def unlikely(lost: float) -> float:
        shares = (lost + delta, lost, 1 - 2 * lost - delta)
        return -sum(xlogy(count, share) for count, share in zip((wins, losses, ties), shares, strict=True))

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    lost = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (wins - losses - n * delta) / math.sqrt(n * (2 * lost + delta - delta**2))


@pytest.mark.parametrize(
    ("wins", "losses", "n"), [(4, 0, 30), (12, 2, 50), (1, 1, 10), (0, 7, 8), (45, 4, 250), (3, 3, 6)]
)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_score_interval_ends_where_the_score_test_rejects(wins: int, losses: int, n: int, alpha: float) -> None:
    low, high = score_interval(wins, losses, n, alpha)
    assert -1 < low < (wins - losses) / n < high < 1
    limit = NormalDist().inv_cdf(1 - alpha / 2)
    assert likeliest_score(low, wins, losses, n) == pytest.approx(limit, abs=1e-3)
    assert likeliest_score(high, wins, losses, n) == pytest.approx(-limit, abs=1e-3)
    assert score_interval(losses, wins, n, alpha) == pytest.approx((-high, -low))


def test_the_score_interval_of_any_level() -> None:
    low, high = score_interval(3, 2, 50, 1e-30)
    assert -1 < low < -0.5 < 0.5 < high < 1


def test_the_score_interval_reaches_the_ends_of_the_range() -> None:
    assert score_interval(5, 0, 5)[1] == 1
    assert score_interval(0, 5, 5)[0] == -1
    assert 0 < score_interval(5, 0, 5)[0] < 0.6


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 200))
def test_an_interval_without_0_is_one_that_the_exact_test_confirms(wins: int, losses: int, ties: int) -> None:
    first = [0] * wins + [1] * losses + [1] * ties
    second = [1] * wins + [0] * losses + [1] * ties
    result = compare_pairs(first, second)
    assert result.low <= 0 <= result.high or result.p <= 0.05


def test_a_p_value_of_just_the_level_is_significant_and_its_interval_without_0() -> None:
    found = compare_pairs([0] * 5 + [1] * 5, [1] * 10, alpha=1 / 16)
    assert found.p == 1 / 16
    assert found.low > 0
    assert compare_pairs([0] * 5 + [1] * 5, [1] * 10, alpha=0.0624).low == 0


def test_ratio_of_means_is_paired() -> None:
    first, second = [2.0, 4.0, 8.0, 2.0] * 25, [1.0, 2.0, 4.0, 1.0] * 25
    assert ratio_of_means(first, second) == pytest.approx((0.5, 0.5, 0.5))  # each pair has it: nothing is uncertain
    ratio, low, high = ratio_of_means(first, second[::-1])
    assert ratio == pytest.approx(0.5)
    assert low < 0.5 < high
    assert ratio_of_means(first, second[::-1]) == (ratio, low, high)
    assert ratio_of_means([2.0], [3.0]) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_the_interval_of_a_ratio_to_a_constant_is_that_of_the_mean(alpha: float) -> None:
    values = [0.5, 2.0, 3.5] * 20
    assert ratio_of_means([1.0] * 60, values, alpha)[1:] == pytest.approx(bootstrap(values, alpha)[:2])

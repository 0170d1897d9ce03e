from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_sampler import find_stop

from lladav_eval.sampling.stopping import first_occurrence, updated_stop

MASK = 9


@pytest.mark.parametrize(
    ("answer", "sequence", "expected"),
    [
        ([1, 2, 3], (1,), 0),
        ([1, 2, 3, 2], (2,), 1),
        ([1, 1, 2], (1, 2), 1),
        ([1, MASK, 2], (1, 2), None),
        ([1, 2], (1, 2, 3), None),
        ([], (1,), None),
    ],
)
def test_first_occurrence(answer: list[int], sequence: tuple[int, ...], expected: int | None) -> None:
    assert first_occurrence(answer, sequence) == expected


def test_before_any_stop_the_list_order_decides_not_the_position() -> None:
    answer = [5, 3, 5, 4]
    assert updated_stop(answer, ((4,), (3,)), None) == 3
    assert updated_stop(answer, ((3,), (4,)), None) == 1


def test_after_a_stop_only_the_first_sequence_can_move_it() -> None:
    answer = [5, 3, 5, 4]
    assert updated_stop(answer, ((4,), (3,)), 3) == 3, "the second of the list is not looked at again"
    assert updated_stop([5, 3, 5, 5], ((4,), (3,)), 3) == 3, "nor where the first is gone"
    assert updated_stop(answer, ((3,), (4,)), 3) == 1


def test_a_stop_never_moves_back_nor_goes_away() -> None:
    assert updated_stop([5, 5, 3], ((3,),), 1) == 1
    assert updated_stop([5, 5, 5], ((3,),), 1) == 1
    assert updated_stop([5, 5, 5], ((3,),), None) is None
    assert updated_stop([5, 5, 5], (), None) is None


IDS = st.integers(0, 3)


@given(
    st.lists(IDS, max_size=12),
    st.lists(st.lists(IDS, min_size=1, max_size=3), max_size=3),
    st.none() | st.integers(0, 11),
)
def test_equals_the_plain_search(answer: list[int], sequences: list[list[int]], stop: int | None) -> None:
    assert updated_stop(answer, sequences, stop) == find_stop(answer, sequences, stop)

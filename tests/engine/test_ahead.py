"""Items made in a thread: order, bounds, errors, and nothing left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from operator import length_hint

import pytest
from crew_models import wait_for

from lladav_eval.engine import ahead
from lladav_eval.engine.ahead import Ahead


def made_by(numbers: int, made: list[int]) -> Iterator[int]:
    for number in range(numbers):
        made.append(number)
        yield number


def test_all_items_come_in_order() -> None:
    with Ahead(made_by(50, []), 3) as items:
        assert list(items) == list(range(50))
        assert list(items) == []


def test_items_are_made_while_the_reader_works_but_never_far_ahead() -> None:
    made: list[int] = []
    with Ahead(made_by(50, made), 3) as items:
        assert next(items) == 0
        wait_for(lambda: len(made) >= 5)
        time.sleep(0.2)
        assert len(made) == 5  # one read, three waiting, one in the maker's hands


def test_about_as_many_are_left_as_have_not_been_read() -> None:
    total = 3
    with Ahead(made_by(5, []), 8, lambda: total) as items:
        assert length_hint(items, -1) == 3
        next(items)
        assert length_hint(items, -1) == 2
        total = 1  # fewer than thought: others were answered before
        assert length_hint(items, -1) == 0


def test_fewer_large_items_wait_but_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST_BYTES", 250)
    sizes = [100, 100, 100, 100, 9999, 1, 1]
    made: list[int] = []
    with Ahead(made_by(len(sizes), made), 64, size=lambda number: sizes[number]) as items:
        assert next(items) == 0
        wait_for(lambda: len(made) >= 4)
        time.sleep(0.2)
        assert len(made) == 4  # one read, two waiting, one in the maker's hands
        assert list(items) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [ValueError("row 2"), KeyboardInterrupt()])
def test_an_error_comes_after_the_items_before_it(error: BaseException) -> None:
    def failing() -> Iterator[int]:
        yield from (0, 1)
        raise error

    with Ahead(failing(), 8) as items:
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(type(error)):
            next(items)
        assert list(items) == []


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    made: list[int] = []
    with Ahead(made_by(1000, made), 2) as items:
        next(items)
    assert threading.active_count() == before
    assert len(made) <= 5
    assert list(items) == []


def test_after_an_interrupt_nobody_waits_for_an_item() -> None:
    begun, free = threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        begun.set()
        free.wait(20)
        yield from ()

    with contextlib.suppress(KeyboardInterrupt), Ahead(slow(), 2) as items:
        begun.wait()
        raise KeyboardInterrupt
    assert items._thread.is_alive()
    free.set()
    items.close()


def test_closing_wakes_a_reader_in_another_thread() -> None:
    asked = threading.Event()
    go_on = threading.Event()

    def slow() -> Iterator[int]:
        asked.set()
        go_on.wait(60)
        yield from ()

    items = Ahead(slow(), 2)
    got: list[list[int]] = []
    reader = threading.Thread(target=lambda: got.append(list(items)))
    reader.start()
    asked.wait(60)
    threading.Timer(0.2, go_on.set).start()
    items.close()
    reader.join(60)
    assert got == [[]]

"""How batches are dealt, with workers of one's own making."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import pytest
from crew_models import items

from lladav_eval.engine.ahead import Ahead
from lladav_eval.engine.base import Item
from lladav_eval.engine.crew import Answered, CrewEngine, Lost
from lladav_eval.engine.worker import Facts
from lladav_eval.records import Generation, Question


class Dealt:
    """Two workers that answer in turn; worker 0 dies once, over its second batch."""

    facts = Facts("dealt", "dealt-1", {}, "here", False)

    def __init__(self, deaths: int = 0) -> None:
        self.deaths = deaths
        self.waiting: dict[int, deque[list[int]]] = {0: deque(), 1: deque()}
        self.asked: list[list[int]] = []
        self.most = 0
        self.turn = 0

    def __len__(self) -> int:
        return 2

    def ready(self) -> Iterator[int]:
        return iter(self.waiting)

    def ask(self, worker: int, questions: Sequence[Question]) -> None:
        self.waiting[worker].append([question.doc_id for question in questions])
        self.asked.append(self.waiting[worker][-1])
        self.most = max(self.most, len(self.waiting[worker]))

    def wait(self) -> Answered | Lost:
        self.turn += 1
        worker = next(worker for worker in (self.turn % 2, 1 - self.turn % 2) if self.waiting[worker])
        if worker == 0 and self.deaths and self.turn > 3:
            self.deaths -= 1
            self.waiting[worker].clear()
            return Lost(worker, "worker 0 died")
        batch = self.waiting[worker].popleft()
        return Answered(worker, [(place, Generation(str(row))) for place, row in enumerate(batch)])

    def close(self) -> None:
        """There is nothing to end."""


def deal(crew: Dealt, source: Iterator[Item], size: int) -> tuple[dict[int, str], list[str]]:
    said: list[str] = []
    given: dict[int, str] = {}
    for group in CrewEngine(crew, size, said.append).answer(source):
        for item, answer in group:
            assert item.doc_id not in given
            given[item.doc_id] = answer.text
    return given, said


def test_a_worker_has_the_next_batch_beforehand_and_no_more() -> None:
    crew = Dealt()
    given, _ = deal(crew, iter(items(20)), 4)
    assert given == {row: str(row) for row in range(20)}
    assert crew.most == 2


def test_nobody_gets_a_second_batch_while_a_worker_still_loads() -> None:
    class Loading(Dealt):
        def __len__(self) -> int:
            return 3

    crew = Loading()
    given, _ = deal(crew, iter(items(20)), 4)
    assert sorted(given) == list(range(20))
    assert crew.most == 1


def test_batches_get_smaller_towards_the_end_where_the_number_of_items_is_known() -> None:
    crew = Dealt()
    with Ahead(iter(items(100)), 8, lambda: 100) as source:
        given, _ = deal(crew, source, 32)
    assert sorted(given) == list(range(100))
    sizes = [len(batch) for batch in crew.asked]
    assert sizes[0] < 32
    assert sizes[-2:] != [32, 32]
    assert max(sizes[-3:]) <= 8
    assert sizes == sorted(sizes, reverse=True)


def test_batches_of_large_media_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lladav_eval.engine.crew.MOST_BYTES", 2 * 500)  # a picture has 256
    crew = Dealt()
    given, _ = deal(crew, iter(items(9)), 4)
    assert sorted(given) == list(range(9))
    assert [len(batch) for batch in crew.asked] == [2, 2, 2, 2, 1]


def test_what_lay_behind_a_dead_workers_batch_is_asked_again_as_it_was() -> None:
    crew = Dealt(deaths=1)
    given, said = deal(crew, iter(items(24, unreadable=[2, 9, 13])), 4)
    assert sorted(given) == list(range(24))
    (death,) = said
    lost = [batch for number, batch in enumerate(crew.asked) if batch in crew.asked[:number]]
    singles = [batch for batch in crew.asked if len(batch) == 1]
    assert len(lost) == 1, "the batch behind, whole"
    assert singles, "the batch it died over, one by one"
    assert death == f"worker 0 died; its {len(lost[0]) + len(singles)} samples are asked again"

"""How batches are dealt, with workers of one's own making."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from crew_models import PARAMS, items
from PIL import Image

from lladav_eval.engine.ahead import Ahead
from lladav_eval.engine.base import Item
from lladav_eval.engine.crew import Answered, CrewEngine, Lost
from lladav_eval.engine.worker import Facts
from lladav_eval.records import Generation, Question, Request, VideoClip


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

    def replace(self, worker: int, reason: str) -> Lost:
        raise AssertionError

    def close(self) -> None:
        """There is nothing to end."""


class Hanging(Dealt):
    """Worker 1 says nothing once it has been given a certain row, until it has been replaced so often."""

    def __init__(self, row: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.row = row
        self.times = times
        self.clock = 0.0
        self.ended: list[float] = []
        monkeypatch.setattr("lladav_eval.engine.crew.monotonic", lambda: self.clock)

    def hangs(self, worker: int) -> bool:
        batches = self.waiting[worker]
        return bool(batches) and self.row in batches[0] and len(self.ended) < self.times

    def wait(self) -> Answered | Lost | None:  # type: ignore[override]
        able = [worker for worker in (0, 1) if self.waiting[worker] and not self.hangs(worker)]
        if not able:
            self.clock += 1.0
            return None
        self.clock += 0.01
        batch = self.waiting[able[0]].popleft()
        return Answered(able[0], [(place, Generation(str(row))) for place, row in enumerate(batch)])

    def replace(self, worker: int, reason: str) -> Lost:
        assert self.hangs(worker)
        self.ended.append(self.clock)
        self.waiting[worker].clear()
        return Lost(worker, reason)


def deal(
    crew: Dealt, source: Iterator[Item], size: int, time_limit: float | None = None
) -> tuple[dict[int, str], list[str]]:
    said: list[str] = []
    given: dict[int, str] = {}
    for group in CrewEngine(crew, size, said.append, time_limit).answer(source):
        for item, answer in group:
            assert item.doc_id not in given
            given[item.doc_id] = answer.text or str(answer.error)
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


def test_a_worker_that_is_silent_past_its_samples_time_limits_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Hanging(5, 1, monkeypatch)
    given, said = deal(crew, iter(items(20)), 4, time_limit=10)
    assert given == {row: str(row) for row in range(20)}
    assert crew.ended == [pytest.approx(60 + 4 * 10, abs=2)]
    quiet, hung = said
    assert re.fullmatch(r"worker \d has been silent for 60 s over 4 samples; it is ended after 100 s", quiet)
    assert re.fullmatch(r"worker \d hung: it was silent for 10[01] s; its [48] samples are asked again", hung)


def test_workers_that_answer_slowly_are_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Hanging):
        def wait(self) -> Answered | Lost:
            self.clock += 25.0
            return Dealt.wait(self)

    given, said = deal(Slow(0, 0, monkeypatch), iter(items(40)), 4, time_limit=1)
    assert sorted(given) == list(range(40))
    assert said == []


def test_a_sample_over_which_workers_hang_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Hanging(5, 99, monkeypatch)
    given, _ = deal(crew, iter(items(20)), 4, time_limit=10)
    assert [row for row, text in given.items() if text != str(row)] == [5]
    assert re.match(r"3 workers died over this sample, the last one: worker \d hung: it was silent for 7", given[5])
    assert len(crew.ended) == 3


@pytest.mark.parametrize(
    ("video", "longer"),
    [
        ("clip.mp4", 900),
        (Path("clip.mp4"), 900),
        (VideoClip("clip.mp4"), 900),
        ((Image.new("RGB", (8, 8)),), 0),
    ],
)
def test_a_video_file_may_be_decoded_for_longer(
    monkeypatch: pytest.MonkeyPatch, video: str | Path | VideoClip | tuple[Image.Image, ...], longer: int
) -> None:
    crew = Hanging(0, 1, monkeypatch)
    question = Question("a", 0, Request("?", video=video), PARAMS)
    deal(crew, iter([Item("a", 0, "key", "?", question)]), 4, time_limit=10)
    assert crew.ended == [pytest.approx(60 + longer + 10, abs=2)]


def test_without_a_time_limit_silent_workers_are_named_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Hanging(5, 1, monkeypatch)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            crew.times = 0  # it comes back by itself

    assert sum(len(group) for group in CrewEngine(crew, 4, say).answer(iter(items(20)))) == 20
    assert [int(text.split(" for ")[1].split()[0]) for text in said] == pytest.approx([60, 120, 240], abs=4)
    assert all(text.endswith("4 samples; --time-limit would tell whether it hangs") for text in said)
    assert crew.ended == []


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


class Alone(Dealt):
    """One worker, which isn't ready at first and dies over any of some rows."""

    def __init__(self, deadly: set[int]) -> None:
        super().__init__()
        self.deadly = deadly
        self.waiting = {0: deque()}
        self.loaded = False
        self.closed = False

    def __len__(self) -> int:
        return 1

    def ready(self) -> Iterator[int]:
        return iter(self.waiting if self.loaded else ())

    def wait(self) -> Answered | Lost | None:  # type: ignore[override]
        if not self.loaded:
            self.loaded = True
            return None
        batch = self.waiting[0].popleft()
        if self.deadly.isdisjoint(batch):
            return Answered(0, [(place, Generation(str(row))) for place, row in enumerate(batch)])
        self.waiting[0].clear()
        return Lost(0, "worker 0 died")

    def close(self) -> None:
        self.closed = True


def test_a_sample_behind_anothers_death_keeps_the_deaths_it_has_caused() -> None:
    crew = Alone({0, 1})
    given, said = deal(crew, iter(items(8)), 4)
    assert sorted(given) == list(range(8))
    assert {row for row, text in given.items() if text != str(row)} == {0, 1}
    assert all(given[row].startswith("3 workers died over this sample") for row in (0, 1))
    assert len(said) == 1 + 2 + 2, "one over the batch of both, two over each"


def test_the_crew_is_closed_whatever_happened() -> None:
    crew = Alone(set())
    with pytest.raises(ValueError, match="a bug"), CrewEngine(crew, 4, print):
        raise ValueError("a bug")
    assert crew.closed

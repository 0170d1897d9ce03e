"""The local engine: batches of one task, or one stream; every item once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from PIL import Image

from lladav_eval.engine import local
from lladav_eval.engine.base import Item
from lladav_eval.engine.local import LocalEngine
from lladav_eval.records import Generation, Question, Request, SamplingParams

PARAMS = SamplingParams(gen_length=4, block_length=4, steps=4)


class Upper:
    """Answers with the question in capitals."""

    name = "upper"
    fingerprint = "upper-1"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def description(self) -> dict[str, Any]:
        return {}

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        self.batches.append([question.doc_id for question in questions])
        return [Generation(question.request.text.upper()) for question in questions]


class Streaming(Upper):
    """Keeps ``slots`` questions at once and finishes the last one first."""

    def __init__(self, slots: int, lose: int | None = None) -> None:
        super().__init__()
        self.slots = slots
        self.lose = lose
        self.most = 0

    def stream(self, questions: Iterator[Question]) -> Iterator[list[tuple[int, Generation]]]:
        working: list[tuple[int, Question]] = []
        for position, question in enumerate(questions):
            working.append((position, question))
            self.most = max(self.most, len(working))
            if len(working) == self.slots:
                yield from self.finish(working)
        while working:
            yield from self.finish(working)

    def finish(self, working: list[tuple[int, Question]]) -> Iterator[list[tuple[int, Generation]]]:
        position, question = working.pop()
        if position != self.lose:
            yield [(position, self.answer([question])[0])]


def item(task: str, doc_id: int, readable: bool = True) -> Item:
    question = Question(task, doc_id, Request(f"{task} {doc_id}"), PARAMS)
    return Item(task, doc_id, "key", f"{task} {doc_id}", question if readable else None, None if readable else "torn")


ITEMS = [item("a", number, readable=number not in (1, 4)) for number in range(5)] + [item("b", 0), item("b", 1)]


def run(model: Upper, size: int = 2) -> list[list[tuple[str, int, str, str | None]]]:
    with LocalEngine(lambda: model, size) as engine:
        groups = list(engine.answer(iter(ITEMS)))
    return [[(item.task, item.doc_id, answer.text, answer.error) for item, answer in group] for group in groups]


EXPECTED = [
    (item.task, item.doc_id, item.prompt.upper() if item.question else "", None if item.question else "torn")
    for item in ITEMS
]


def test_batches_stay_within_a_task_and_unreadable_items_fail_without_the_model() -> None:
    model = Upper()
    groups = run(model)
    assert [row for group in groups for row in group] == EXPECTED
    assert [len(group) for group in groups] == [2, 2, 1, 2]
    assert model.batches == [[0], [2, 3], [0, 1]]


def test_a_stream_takes_new_questions_as_others_leave() -> None:
    model = Streaming(3)
    groups = run(model)
    assert sorted(row for group in groups for row in group) == sorted(EXPECTED)
    assert [row for group in groups for row in group] != EXPECTED
    assert model.most == 3


@pytest.mark.parametrize("asked", [[item("a", 0), item("a", 1, readable=False)], [item("a", 0, readable=False)]])
def test_what_is_unreadable_at_the_end_of_a_stream_is_told_too(asked: list[Item]) -> None:
    with LocalEngine(lambda: Streaming(2), 8) as engine:
        found = [(item.doc_id, answer.error) for group in engine.answer(iter(asked)) for item, answer in group]
    assert sorted(found) == [(item.doc_id, None if item.question else "torn") for item in asked]


def test_answers_that_are_missing_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="upper left 1 questions without an answer"):
        run(Streaming(2, lose=2))

    class Short(Upper):
        def answer(self, questions: Sequence[Question]) -> list[Generation]:
            return super().answer(questions)[:-1]

    with pytest.raises(RuntimeError, match="upper gave 0 answers to 1 questions"):
        run(Short())


def with_picture(number: int, task: str = "a") -> Item:
    """8 x 8 pixels: 256 bytes."""
    request = Request(f"{task} {number}", (Image.new("RGB", (8, 8)),))
    return Item(task, number, "key", "", Question(task, number, request, PARAMS))


def test_batches_of_large_media_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MOST_BYTES", 512)
    model = Upper()
    with LocalEngine(lambda: model, 8) as engine:
        list(engine.answer(with_picture(number, "aaabbb"[number]) for number in range(6)))
    assert model.batches == [[0, 1], [2], [3, 4], [5]]


def test_media_of_a_stream_are_the_models_alone() -> None:
    pictures: list[weakref.ref[Image.Image]] = []

    def items() -> Iterator[Item]:
        for number in range(9):
            item = with_picture(number)
            assert item.question is not None
            pictures.append(weakref.ref(item.question.request.images[0]))
            yield item

    class Forgetful(Upper):
        def stream(self, questions: Iterator[Question]) -> Iterator[list[tuple[int, Generation]]]:
            count = sum(1 for _ in questions)
            assert sum(picture() is not None for picture in pictures) == 0
            yield [(position, Generation("")) for position in range(count)]

    with LocalEngine(lambda: Forgetful(), 8) as engine:
        assert [len(group) for group in engine.answer(items())] == [9]


def test_a_batch_is_answered_without_waiting_for_the_next_one() -> None:
    read: list[int] = []

    def items() -> Iterator[Item]:
        for number in range(6):
            read.append(number)
            yield item("a", number)

    with LocalEngine(Upper, 2) as engine:
        next(engine.answer(items()))
    assert read == [0, 1]

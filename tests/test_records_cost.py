"""Cost of an answer: additive fields, so that journals written before them are still read."""

from __future__ import annotations

import dataclasses
import json

from lladav_eval.records import Generation, answer_text
from lladav_eval.runs import journal
from lladav_eval.runs.journal import Record

COST = ("prompt_tokens", "output_tokens", "prefill_seconds", "decode_seconds", "media_seconds", "flops", "peak_memory")


def test_a_journal_line_keeps_the_cost() -> None:
    generation = Generation("a", prompt_tokens=7, output_tokens=3, prefill_seconds=0.25, flops=1e15, peak_memory=5)
    record = Record("t", 0, "k", "q", generation)
    assert journal.decode(journal.encode(record)) == record


def test_a_line_written_before_there_was_a_cost_is_read() -> None:
    record = Record("t", 0, "k", "q", Generation("a", (1, 2), forward_passes=4))
    fields = json.loads(journal.encode(record))["record"]
    assert set(COST) <= set(fields)
    body = json.dumps({name: fields[name] for name in fields if name not in COST}, separators=(",", ":")).encode()
    line = b'{"sum":"' + journal._checksum(body) + b'","record":' + body + b"}\n"
    assert journal.decode(line) == record


def test_unknown_costs_are_none_not_zero() -> None:
    assert {field.default for field in dataclasses.fields(Generation) if field.name in COST} == {None}


def test_a_failure_says_why() -> None:
    failure = Generation.failure("no such file")
    assert (failure.status, failure.error, failure.text, failure.stop_reason) == (
        "failed",
        "no such file",
        "",
        "failed",
    )


def test_one_trailing_period_goes_and_then_the_space() -> None:
    assert [answer_text(text) for text in ("Yes.", " A ", "3.5.", "no..", "a. ", "")] == [
        "Yes",
        "A",
        "3.5",
        "no.",
        "a.",
        "",
    ]

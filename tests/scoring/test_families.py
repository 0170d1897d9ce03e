"""What holds for every family: right, wrong and empty answers, bad rows, and texts that nobody foresaw."""

from __future__ import annotations

from typing import Any

import pytest
from example_rows import JUDGED, RIGHT, ROWS, WRONG
from hypothesis import given, settings
from hypothesis import strategies as st

from lladav_eval.errors import TaskError
from lladav_eval.records import Score
from lladav_eval.scoring import registry
from lladav_eval.scoring.registry import FAMILIES, get_scorer
from lladav_eval.scoring.rows import Protocol

PROTOCOLS: tuple[Protocol, ...] = ("official", "strict")
RAW = {"docvqa", "infovqa", "chartqa", "pope", "mmmu", "mmmu_pro_standard", "mmmu_pro_vision", "muirbench"}
"""Families whose official scripts see surrounding white space (ANLS divides by its length)."""
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="ABCDabcd().:, \n*-0123456789%=+'\"$yesnoYN[]{}\\^/", max_size=40),
    st.lists(
        st.sampled_from(
            ["Answer:", " ", "(", "B", ")", ".", "the answer is ", "12%", "1,234", "No", "yes", "\\frac{", "}", "**"]
        ),
        max_size=8,
    ).map("".join),
)


def judged(family: str, text: str, protocol: Protocol) -> Score:
    return get_scorer(family).score(ROWS[family], text, protocol, 0)


def test_every_family_has_a_row_here() -> None:
    assert set(ROWS) == set(FAMILIES)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_right_and_wrong(family: str, protocol: Protocol) -> None:
    if protocol == "official" and family in JUDGED:
        pytest.skip("a judge decides; see test_judging.py")
    right, wrong = judged(family, RIGHT[family], protocol), judged(family, WRONG[family], protocol)
    assert (right.value, right.status) == (1.0, "scored")
    assert right.extracted is not None
    assert (wrong.value, wrong.status) == (0.0, "scored")


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u00a0"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_answer_is_wrong_and_counted(family: str, protocol: Protocol, text: str) -> None:
    score = judged(family, text, protocol)
    assert (score.value, score.extracted, score.status) == (0.0, None, "empty")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_aggregation_counts_every_sample(family: str, protocol: Protocol) -> None:
    scorer = get_scorer(family)
    if family == "mme":
        metrics = scorer.aggregate([judged(family, RIGHT[family], protocol), judged(family, "", protocol)])
        assert metrics[scorer.headline[protocol]] == 50.0
        return
    texts = [RIGHT[family], WRONG[family], "", "\ufffd"]
    metrics = scorer.aggregate([judged(family, text, protocol) for text in texts])
    headline = metrics[scorer.headline[protocol]]
    if family == "pope":  # one hit, three misses
        assert headline == pytest.approx(40.0) or headline == pytest.approx(200 / 3)
    elif family.startswith("mmbench"):
        assert headline == 0.0
        assert metrics["accuracy"] == 25.0
    elif not (protocol == "official" and family in JUDGED | {"mathvista", "mmmu", "muirbench"}) and "pro" not in family:
        assert headline == 25.0


@pytest.mark.parametrize("family", FAMILIES)
def test_no_sample_is_an_error(family: str) -> None:
    if family == "mme":
        assert get_scorer(family).aggregate([])["total"] == 0  # its sums; the count of samples raises (aggregate.count)
        return
    with pytest.raises((TaskError, ZeroDivisionError)):
        get_scorer(family).aggregate([])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_column_is_named(family: str, protocol: Protocol) -> None:
    scorer = get_scorer(family)
    for column in scorer.columns:
        if family.startswith("mmbench") and column in "ABCD":
            continue  # an option may be missing
        row = {name: value for name, value in ROWS[family].items() if name != column}
        if family in ("mathvista", "videomme") and column in ("choices", "precision", "options", "question_id"):
            continue  # read only where the kind of question, or the protocol, wants it
        if family == "mathverse" and column == "question":
            continue
        with pytest.raises(TaskError, match=column):
            scorer.score(row, "B", protocol, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_named_columns_are_all_that_is_read(family: str, protocol: Protocol) -> None:
    """Answers are scored again from these alone (runs/score.py)."""
    scorer = get_scorer(family)
    row = {name: ROWS[family][name] for name in (*scorer.columns, *scorer.optional) if name in ROWS[family]}
    for text in (RIGHT[family], WRONG[family], "dark blue", "The answer is B.", "C. a cat"):
        assert scorer.score(row, text, protocol, 0) == judged(family, text, protocol)


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("mmmu", {"answer": "E"}, "outside the options ABCD"),
        ("mmmu", {"options": "['a', 'b'"}, "doesn't parse as a list"),
        ("mmmu", {"options": "__import__('os').getcwd()"}, "doesn't parse as a list"),
        ("mmmu", {"options": "3"}, "must be a list"),
        ("mmmu", {"options": "[]"}, "1 to 26 options"),
        ("mmmu", {"question_type": "essay"}, "multiple-choice"),
        ("mmmu_pro_vision", {"answer": "Z"}, "outside"),
        ("muirbench", {"answer": "F"}, "outside"),
        ("mmstar", {"answer": "E"}, "outside"),
        ("mmstar", {"answer": ""}, "outside"),
        ("mmstar", {"answer": "AB"}, "outside"),
        ("mme", {"answer": "maybe"}, "yes or no"),
        ("mme", {"category": "taste"}, "taste"),
        ("seedbench", {"answer": "E"}, "outside"),
        ("seedbench", {"answer": 3}, "outside"),
        ("seedbench", {"answer": None}, "answer"),
        ("seedbench", {"answer": ["A"]}, "answer"),
        ("seedbench", {"data_type": "sound"}, "data_type"),
        ("mmbench", {"answer": "D", "D": "nan"}, "outside"),
        ("mmbench", {"index": "x"}, "index"),
        ("mathvista", {"answer_type": "poem"}, "answer_type"),
        ("mathvista", {"question_type": "multi_choice", "choices": ["1", "2"]}, "outside"),
        ("ai2d", {"answer": "4"}, "outside"),
        ("ai2d", {"answer": "-1"}, "outside"),
        ("mlvu", {"answer": "E"}, "outside"),
        ("mlvu", {"task_type": "sub_scene"}, "task_type"),
        ("videomme", {"answer": "E"}, "outside"),
        ("mvbench", {"answer": "green"}, "outside"),
        ("pope", {"answer": "maybe"}, "yes or no"),
        ("pope", {"answer": None}, "answer"),
        ("pope", {"category": "random,popular"}, "none of POPE's: adversarial, popular, random"),
        ("docvqa", {"answers": []}, "at least one"),
        ("docvqa", {"answers": None}, "must be a list"),
        ("ocrbench", {"answer": []}, "at least one"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("text", ["B", ""])
def test_a_bad_row_is_one_line(
    family: str, change: dict[str, Any], message: str, protocol: Protocol, text: str
) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        get_scorer(family).score({**ROWS[family], **change}, text, protocol, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(text=TEXTS, padding=st.text(alphabet=" \n\t", max_size=3))
def test_no_text_crashes_and_white_space_around_changes_nothing(family: str, text: str, padding: str) -> None:
    for protocol in PROTOCOLS:
        score = judged(family, text, protocol)
        assert 0.0 <= score.value <= 1.0
        assert score.status in ("scored", "unparsed", "empty")
        if not text.strip():
            assert (score.value, score.status) == (0.0, "empty")
        if protocol == "strict":
            assert score.status == "scored" or score.value == 0
            assert (score.extracted is None) == (score.status != "scored")
        if protocol == "strict" or family not in RAW:
            padded = judged(family, padding + text + padding, protocol)
            assert (padded.value, padded.status) == (score.value, score.status)


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(TaskError, match=r"mmmu, .*pope"):
        get_scorer("gqa")


def test_a_family_without_its_module_or_its_scorer_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._MODULES, "gqa", "gqa")
    with pytest.raises(TaskError, match=r"can't be imported .*: add lladav_eval\.scoring\.families\.gqa"):
        get_scorer("gqa")
    monkeypatch.setitem(registry._MODULES, "gqa", "pope")
    with pytest.raises(TaskError, match=r"families\.pope has no SCORERS\['gqa'\]: add it"):
        get_scorer("gqa")


@pytest.mark.parametrize("family", ["mmmu", "mmmu_pro_standard", "muirbench"])
def test_a_guess_depends_on_nothing_but_the_row(family: str) -> None:
    rows = [{**ROWS[family], "id": f"validation_Art_{number}", "idx": str(number)} for number in range(400)]
    score = get_scorer(family).score
    forward = [score(row, "Because", "official", 0) for row in rows]
    backward = [score(row, "Because", "official", 99) for row in reversed(rows)][::-1]
    assert forward == backward
    assert {item.status for item in forward} == {"unparsed"}
    assert {item.details["guess"] for item in forward} == set("ABCD")
    assert 0.15 < sum(item.value for item in forward) / len(forward) < 0.35
    assert all(score(row, "Because", "strict", 0).value == 0 for row in rows)

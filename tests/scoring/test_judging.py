"""What a judge is asked, and what its stored replies are worth."""

from __future__ import annotations

import pytest
from example_rows import ROWS

from lladav_eval.scoring.judging import Judge, is_unsettled
from lladav_eval.scoring.registry import FAMILIES, get_scorer
from lladav_eval.scoring.rows import seeded_guess


def judge_of(family: str) -> Judge:
    judge = get_scorer(family).judge
    assert judge is not None
    return judge


def test_which_families_have_a_judge() -> None:
    assert {name for name in FAMILIES if get_scorer(name).judge} == {
        "mmbench",
        "mmbench_circular",
        "mathvista",
        "mathverse",
    }


def test_the_judges_of_the_authors_evaluation() -> None:
    assert judge_of("mathvista").model == "gpt-4o"
    assert judge_of("mathverse").model == "gpt-4o"
    assert judge_of("mmbench").model == "gpt-3.5-turbo-0613"


def test_mathvista_asks_once_and_only_where_needed() -> None:
    judge, row = judge_of("mathvista"), ROWS["mathvista"]
    assert judge.next_call(row, "14", ()) is None
    call = judge.next_call(row, "There are 14 of them.", ())
    assert call is not None
    assert call.purpose == "extract"
    assert call.prompt.startswith("Please read the following example.")
    assert call.prompt.endswith("How many?\n\nThere are 14 of them.\n\nExtracted answer: ")
    assert is_unsettled(judge.score(row, "There are 14 of them.", (), 0))
    assert judge.next_call(row, "There are 14 of them.", ("14",)) is None
    assert judge.score(row, "There are 14 of them.", ("14",), 0).value == 1
    assert judge.score(row, "There are 14 of them.", ("15",), 0).value == 0
    assert judge.score(row, "There are 14 of them.", ("",), 0).status == "empty"
    assert judge.score(row, "", ("14",), 0).status == "empty"
    assert is_unsettled(get_scorer("mathvista").score(row, "There are 14 of them.", "official", 0))


def test_mathverse_extracts_then_compares_until_it_is_0_or_1() -> None:
    judge, row = judge_of("mathverse"), ROWS["mathverse"]
    response = " ".join(f"w{number}" for number in range(40)) + " so 3"
    first = judge.next_call(row, response, ())
    assert first is not None
    assert first.purpose == "extract"
    assert "w10 " not in first.prompt
    assert "w12 " in first.prompt
    second = judge.next_call(row, response, ("Extracted Answer: 3",))
    assert second is not None
    assert second.purpose == "match"
    assert second.prompt.endswith("[Standard Answer]: 2\\sqrt{3}\n[Model_answer] : 3\nJudgement:")
    assert judge.next_call(row, response, ("3", "hm")) is not None
    assert judge.next_call(row, response, ("3", "hm", "Judgement: 1")) is None
    assert judge.score(row, response, ("3", "hm", "1"), 0).value == 1
    assert judge.score(row, response, ("3", "0"), 0).status == "scored"
    assert judge.score(row, response, ("3", "0"), 0).value == 0
    assert is_unsettled(judge.score(row, response, ("3", "hm"), 0))
    assert judge.score(row, " ", (), 0).status == "empty"
    assert judge.next_call(row, " ", ()) is None
    assert judge.next_call(row, response, ("3", *["hm"] * 4)) is not None
    assert is_unsettled(judge.score(row, response, ("3", *["hm"] * 4), 0))
    assert judge.next_call(row, response, ("3", *["hm"] * 5)) is None
    assert judge.score(row, response, ("3", *["hm"] * 5), 0).status == "unparsed"


def test_mmbench_asks_up_to_three_times_then_draws() -> None:
    judge, row = judge_of("mmbench"), ROWS["mmbench"]
    assert judge.next_call(row, "B", ()) is None
    call = judge.next_call(row, "somewhat blueish", ())
    assert call is not None
    assert call.purpose == "choose"
    assert "Options: There are several options: \nA. red\nB. dark blue\n" in call.prompt
    assert call.prompt.endswith("Answer: somewhat blueish\nYour output: ")
    assert judge.score(row, "somewhat blueish", ("B",), 0).value == 1
    assert judge.score(row, "somewhat blueish", ("hm", "A."), 0).value == 0
    assert judge.next_call(row, "somewhat blueish", ("hm", "hm")) is not None
    assert is_unsettled(judge.score(row, "somewhat blueish", ("hm", "hm"), 0))
    assert judge.next_call(row, "somewhat blueish", ("hm",) * 3) is None
    drawn = judge.score(row, "somewhat blueish", ("hm",) * 3, 0)
    assert drawn.status == "unparsed"
    assert drawn.details["guess"] in "ABCDE"
    assert drawn == judge.score(row, "somewhat blueish", ("hm",) * 3, 5)
    many = [judge.score({**row, "index": index}, "somewhat blueish", ("hm",) * 3, 0) for index in range(100)]
    assert {each.details["guess"] for each in many} == set("ABCDE")
    assert [each.details["guess"] for each in many] == [
        seeded_guess("mmbench", str(index), "ABCDE") for index in range(100)
    ]
    assert [each.value for each in many] == [float(each.details["guess"] == row["answer"]) for each in many]


@pytest.mark.parametrize("text", ["{}", "{question}", "{0}", "%s", "'"])
def test_braces_in_an_answer_are_only_text(text: str) -> None:
    call = judge_of("mmbench").next_call(ROWS["mmbench"], text, ())
    assert call is not None
    assert text in call.prompt
    call = judge_of("mathverse").next_call({**ROWS["mathverse"], "question": text}, "x", (text,))
    assert call is not None
    assert text in call.prompt

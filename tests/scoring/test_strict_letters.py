"""Hard lettered answers under ``strict``: read without a guess, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from example_rows import OPTIONS, ROWS

from lladav_eval.scoring.choice import extract_choice
from lladav_eval.scoring.registry import get_scorer

LETTERED = ("mmmu", "mmmu_pro_standard", "muirbench", "mmbench", "ai2d", "realworldqa", "mlvu", "videomme", "mvbench")
RIGHT = (
    "B", "b", "B.", "(B)", "[B]", "**B**", "B) dark blue", "B: dark blue", "Answer: B", "Answer:B", "answer = b",
    "Answer: **B**", "The answer is B", "The answer is B because A is wrong", "The correct option is B.",
    "The answer is option B because A is wrong", "（Ｂ）", "Ｂ", "“B”", "\u200bB", "dark blue", "Dark Blue.",
    "First A, then C. Final answer: (B)", "I think it is option B here",
)  # fmt: skip
UNREAD = (
    "Because...", "Because", "A cat sits on dark blue", "A or B", "A, B", "option A or option B", "neither", "E", "(E)",
    "I don't know", "?", "...", "（", "The answer is", "Answer:", "–", "B-52", "Bb", "12%", "5.0", "yes.",
)  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
@pytest.mark.parametrize("family", LETTERED)
def test_what_is_read_as_the_right_letter(family: str, text: str) -> None:
    score = get_scorer(family).score(ROWS[family], text, "strict", 0)
    assert (score.value, score.status) == (1.0, "scored")


@pytest.mark.parametrize("text", UNREAD)
@pytest.mark.parametrize("family", LETTERED)
def test_what_is_not_read_is_wrong_and_counted(family: str, text: str) -> None:
    score = get_scorer(family).score(ROWS[family], text, "strict", 0)
    assert (score.value, score.extracted, score.status) == (0.0, None, "unparsed")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is A cat", None),
        ("The answer is A because", "A"),
        ("The answer is A, since B fails", "A"),
        ("The answer is I think B", "B"),
        ("Answer: A, B", None),
        ("the choice is: D", "D"),
        ("The answer is B-52", None),
        ("a", "A"),
        ("A.", "A"),
    ],
)
def test_articles_are_no_letters(text: str, letter: str | None) -> None:
    assert extract_choice(text, "ABCD") == letter


STATED = (
    "{}", "({})", "{}.", "**{}**", "{}\n\nThe picture shows it.", "**{}**\n\nThe picture shows it.", "Answer: {}",
    "**Answer: {}**", "**Answer:** {}", "The answer is {}!", "Answer: {} (cat)", "Answer: {} - cat", "{}) cat",
    "Answer: {}\n\nThe picture shows it.", "It is so.\n\n**Answer: {}**", "It is so.\n\n**Answer:** **{}**",
    "Rate = k[H].\n\nAnswer: {}", "Consider (H). Answer: {} because it fits.", "So the answer is ({}), not (H).",
    "({}) because (H) and (J) are wrong", "({}) because (H) is wrong", "({}); (H) and (J) are wrong", "({}) P/(H)",
    "The answer is not (H) but ({})", "The answer is the longest one ({}), since it fits.",
    "({}) red, and (H) is too bright", "({}) red because the slope and (H) differ", "The one that is not right is ({})",
    "(H), (G) and (J) are wrong, so ({})", "It is not certain. ({}) fits", "\\boxed{{H}}\nso \\boxed{{{}}}",
    "The answer is: **({})**.", "Option H is wrong. The answer is option {}.",
)  # fmt: skip
UNCLEAR = (
    "Answer: {}, H", "The answer is {} or H.", "Answer: {} and H", "({}) or (H)", "It is not option {}",
    "The answer is not ({}).", "({}) is incorrect", "option {} isn't right", "Answer: {}/H", "{}. H. G.",
    "It can't be ({}).", "Either ({}) or (H).", "options {} and H", "Rate = k[{}]",
    "The answer is either ({}) or (H)", "The answer is both ({}) and (H).", "The answer is none of ({}), (H), (J)",
    "The answer is not in the options ({}), (H), (J)", "Answer: all but ({})", "The answer is not the last one ({})",
    "Answer: None of them is exact. As it is near, I suggest ({}) here", "Answer: all except the last one ({})",
    "({0}) seems plausible. The answer is not ({0}).", "I don't think the answer is ({}).", "all but ({})",
    "\\boxed{{{}}} and \\boxed{{H}}", "Answer: {}; H", "The answer is {} or maybe H", "The answer is {} (or H)",
    "The answer is {} and also H", "The answer is {} as well as H", "({}) red and (H) light blue", "{}. red, H. blue",
    "({}) is excluded", "I rule out ({})", "({}) is impossible", "I don't think it is ({})", "({}) can be ruled out",
    "The answer is unlikely to be ({})", "({}) isn't possible", "({}) cannot be right", "({}) doesn't fit",
    "({}) and (H) are wrong", "I rule out option {}", "option {} is clearly wrong",
)  # fmt: skip


@pytest.mark.parametrize("letter", "ABI")
@pytest.mark.parametrize("text", STATED)
def test_every_letter_is_read_alike(text: str, letter: str) -> None:
    assert extract_choice(text.format(letter), "ABCDEFGHIJ") == letter


@pytest.mark.parametrize("letter", "ABI")
@pytest.mark.parametrize("text", UNCLEAR)
def test_several_letters_and_denied_ones_are_no_answer(text: str, letter: str) -> None:
    assert extract_choice(text.format(letter), "ABCDEFGHIJ") is None


@pytest.mark.parametrize("label", ["({}) ", "[{}] ", "{}. ", "{}) ", "**{}.** ", "{} - "])
@pytest.mark.parametrize("case", [str.upper, str.lower])
@pytest.mark.parametrize("between", ["\n", " ", "\n\n"])
@pytest.mark.parametrize("letters", ["AB", "ABCD", "ABCDEF"])
def test_an_echoed_list_of_options_is_no_answer(
    label: str, case: Callable[[str], str], between: str, letters: str
) -> None:
    contents = dict(zip(letters, ("red", "red car", "light blue", "none"), strict=False))
    listed = between.join(label.format(case(letter)) + content for letter, content in contents.items())
    assert extract_choice(listed, letters) is None
    assert extract_choice(listed, contents) is None
    assert extract_choice(f"{listed}\n\nThe answer is ({letters[1]}).", contents) == letters[1]


@pytest.mark.parametrize(
    "text",
    ["Solution: B", "**Solution:** (B)", "The solution is B.", "Result = b", "Response - B", "Final: B",
     "### Solution: B. dark blue", "# B", "#B", "## (B)", "# B. dark blue", "# B\n\nThe picture shows it.",
     "It is blue.\n\n# B"],
)  # fmt: skip
def test_a_letter_behind_the_word_solution_or_as_a_heading(text: str) -> None:
    assert extract_choice(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text", ["# A\n# B", "# A\n# B\n# C\n# D", "C#", "# B-52", "Solution: B or C", "Solution: A cat"]
)
def test_headings_that_list_and_words_that_go_on(text: str) -> None:
    assert extract_choice(text, OPTIONS) is None


def test_a_list_may_hold_other_labels() -> None:
    assert extract_choice("A. C to B - on it\nB. C to D - on it\nC. A to E - off it\nD. A to B - on it", "ABCD") is None


def test_several_options_with_their_contents() -> None:
    for text in ("(A) red and (C) a cat", "(A) red, (C) a cat", "A. red; C. a cat", "Answer: (A) red or (B) dark blue"):
        assert extract_choice(text, OPTIONS) is None
    options = {"A": "red", "B": "blue", "C": "(A) and (B)", "D": "none of (A), (B)"}
    assert extract_choice("(C) (A) and (B)", options) == "C"
    assert extract_choice("(D) none of (A), (B)", options) == "D"


def test_what_only_looks_like_a_label() -> None:
    for text in ("I, as an AI language model, cannot", "i.e. the third", "e.g. cat", "A. cat\nB. dog\nC. bird\nD. ox"):
        assert extract_choice(text, "ABCD" if text.startswith("A") else "ABCDEFGHIJ") is None


def test_an_option_s_own_text_comes_first() -> None:
    options = {"A": "(c)(a)(b)", "B": "A: 4.76%; B: 7.30%", "C": "$k[A]^1$", "D": "B"}
    for letter in "ABC":
        assert extract_choice(options[letter], options) == letter
        assert extract_choice(f"The answer is {options[letter]}.", options) == letter
    assert extract_choice("B", options) == "B"
    assert extract_choice("D. B", options) == "D"


def test_ten_letters_and_one() -> None:
    assert extract_choice("J", "ABCDEFGHIJ") == "J"
    assert extract_choice("I", "ABCDEFGHIJ") == "I"
    assert extract_choice("I think so", "ABCDEFGHIJ") is None
    assert extract_choice("B", {"A": "only"}) is None
    assert extract_choice("only", {"A": "only"}) == "A"


def test_mathverse_reads_options_where_the_question_is_in_the_picture() -> None:
    row = {
        "question": "", "question_for_eval": "Find x.\nChoices:\nA:100°\nB:140°", "answer": "B",
        "question_type": "multi-choice", "problem_version": "Vision Only", "sample_index": "1",
    }  # fmt: skip
    assert get_scorer("mathverse").score(row, "140°", "strict", 0).value == 1
    assert get_scorer("mathverse").score({**row, "question_for_eval": None}, "140°", "strict", 0).status == "unparsed"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is B because x", "B"),
        ("Answer: B because it fits", "B"),
        ("B\nbecause the angle equals 30", "B"),
        ("**B**\n\nThe picture shows it.", "B"),
        ("B\n\nIt is larger than in (C).", "B"),
        ("So 2x = 280°.\n\\boxed{B}", "B"),
        ("The answer is not (B).", None),
    ],
)
@pytest.mark.parametrize("question", ["Find x.\nChoices:\nA:100°\nB:140°\nC:120°", ""])
def test_mathverse_s_choices_are_read_as_any_others(text: str, letter: str | None, question: str) -> None:
    row = {
        "question": question, "answer": "B", "question_type": "multi-choice", "problem_version": "Vision Only",
        "sample_index": "1",
    }  # fmt: skip
    assert get_scorer("mathverse").score(row, text, "strict", 0).extracted == letter


@pytest.mark.parametrize(
    ("options", "text", "letter"),
    [
        ("1|2|3|Cannot be determined", "D. Cannot be determined", "D"),
        ("1|2|3|Cannot be determined", "The answer is D) Cannot be determined since it is dark.", "D"),
        ("1|2|3|Cannot be determined", "**D. Cannot be determined**\n\nIt is dark.", "D"),
        ("1|Isn't visible|3", "B. Isn't visible", "B"),
        ("red|dark blue|a cat|7", "**B. dark blue**\n\nThe sky shows it.", "B"),
        ("red|dark blue|a cat|7", "**B.** dark blue", "B"),
        ("red|dark blue|a cat|7", "dark blue\n\nThe sky shows it.", "B"),
        ("red|dark blue|a cat|7", "B. dark blue. The answer is clear because option A is too bright.", "B"),
        ("red|dark blue|a cat|7", "Answer: B.\n\nThe answer is correct because it fits.", "B"),
        ("red|dark blue|a cat|7", "B) dark blue\n\nA) red: wrong.\nC) a cat: wrong.\nD) 7: wrong.", "B"),
        ("red|dark blue|a cat|7", "The answer is B; A and C are wrong.", "B"),
        ("red|dark blue|a cat|7", "The answer is (B), (A) is wrong.", "B"),
        ("red|dark blue|a cat|7", "The correct option is (B).", "B"),
        ("red|dark blue|a cat|7", "The answer is:\n\\[\n\\boxed{B}\n\\]", "B"),
        ("red|dark blue|a cat|7", "A. red\nB. dark blue\nC. a cat\nD. 7", None),
        ("red|dark blue|a cat|7", "A. red\nB. dark blue\nC. a cat\nD. 7\n\nThe correct option is (B).", "B"),
        ("red|dark blue|a cat|7", "Choose (A). The answer is clearly none of them.", None),
        ("X|Y|Z|W", "The answer is Y.", "B"),
        ("G|D|A|F", "G", "A"),
        ("G|D|A|F", "A", "A"),
        ("G|D|A|F", "D", "D"),
        ("x|y|z", "$y$", "B"),
    ],
)
def test_what_options_stand_for(options: str, text: str, letter: str | None) -> None:
    assert extract_choice(text, dict(zip("ABCD", options.split("|"), strict=False))) == letter


@pytest.mark.parametrize("text", ["The answer is I, because it fits.", "I, because it fits.", "Answer: I, not B."])
def test_i_before_a_comma(text: str) -> None:
    assert extract_choice(text, "ABCDEFGHIJ") == "I"


UNITS = (
    "_", "*", "`", "option A, ", "(A), ", "answer ", "A. ", "Answer: ", "not ", "(A) red and ", "A; ", "not (A) ",
    "n't think the answer is ", "\\boxed{A} ",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts_take_no_time(unit: str) -> None:
    begin = time.process_time()
    extract_choice("Name: " + unit * (60_000 // len(unit)), "ABCDEFGHIJ")
    assert time.process_time() - begin < 5


def test_a_letter_set_as_a_formula() -> None:
    for text in (
        r"Answer: \( \text{B} \)",
        "Answer: $B$",
        r"\[ \text{Answer: B} \]",
        r"so \boxed{B}",
        r"\boxed{\text{Answer: } B}",
    ):
        assert extract_choice(text, "ABCD") == "B"
    assert extract_choice("Choose (A).\nAnswer: none of them", "ABCD") is None


def test_content_of_the_row_s_own_options_counts() -> None:
    seedbench = {**ROWS["seedbench"], "choice_a": "red", "choice_b": "dark blue", "choice_c": "a cat", "choice_d": "7"}
    assert get_scorer("seedbench").score(seedbench, "dark blue", "strict", 0).value == 1
    assert get_scorer("seedbench").score(ROWS["seedbench"], "dark blue", "strict", 0).status == "unparsed"
    uphill = {"question": "Which way?\n\nA. Uphill\nB. Downhill\nPlease answer.", "answer": "Uphill"}
    assert get_scorer("realworldqa").score(uphill, "A", "strict", 0).value == 1
    assert get_scorer("realworldqa").score(uphill, "uphill", "strict", 0).value == 1
    assert list(OPTIONS) == list("ABCD")

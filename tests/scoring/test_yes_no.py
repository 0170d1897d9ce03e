from __future__ import annotations

import time

import pytest

from lladav_eval.scoring.yes_no import extract_yes_no


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("NO", "no"),
        ("Yes, there is no doubt.", "yes"),
        ("**No**, it isn't.", "no"),
        ("The answer is yes.", "yes"),
        ("I would say no", "no"),
        ("Answer: No", "no"),
        ("", None),
        ("Not sure", None),
        ("Nothing", None),
        ("yesterday", None),
        ("maybe yes, maybe no", None),
        ("7", None),
        ("Yes and no.", None),
        ("Answer: yes, or no", None),
        ("Yes, or rather no", None),
        ("Yes, and no dog is there", "yes"),
        ("No, and no cat either", "no"),
        ("The answer isn't yes.", None),
        ("The answer is not yes.", None),
        ("The answer is no longer yes.", None),
        ("I don't think the answer is yes.", None),
        ("I wouldn't say yes", None),
        ("It is not a yes or no question", None),
        ("not yes but no", "no"),
        ("No idea.", None),
        ("I have no idea", None),
        ("No answer.", None),
        ("There is no dog", "no"),
        ('The wall has a sign that says "no smoking."', None),
        ('I would answer "no", as there is none', "no"),
        ("yes|no", None),
        ("<yes>", "yes"),
        ("<think>No dog so far.</think> Yes", "yes"),
        ("No one is there", "no"),
        ("No, I can't tell.", None),
        ("No, I cannot determine that.", None),
        ("No, it's not possible to determine from the image.", None),
        ("No, it can't be determined.", None),
        ("No, I'm not sure.", None),
        ("No, I can't see a dog.", "no"),
        ("No, I cannot find one.", "no"),
        ("No problem! Yes, there is a dog.", "yes"),
        ("No image was provided, so I cannot answer.", None),
        ("Yes. Wait, actually no.", "no"),
        ("Yes, wait, no.", "no"),
        ("Yes... no, there isn't one.", "no"),
        ("No. On second thought, yes.", "yes"),
        ("Yes. Actually, it is a large one.", "yes"),
        ("Actually, yes", "yes"),
        ("The wall has no windows.\nThe roof is", None),
        ("The wall has no windows.\nSo I would say yes.", "yes"),
        ("There is no image.", None),
        ("There is no image to look at.", None),
        ("No photos here", None),
        ("There is no picture to the left of the door.", "no"),
        ("There is no image of a dog.", "no"),
        ("There is no picture on the wall.", "no"),
        ("No. 5 is on the shirt", None),
        ("It is bus No. 12.", None),
        ("No.7", None),
        ("Yes, No. 5 is on the shirt.", "yes"),
        ("No. 3 people are there.", "no"),
        ("No. 65 is not the answer.", "no"),
        ("No. 65 is incorrect.", "no"),
        ("No. There are 5 dogs.", "no"),
        ("No more than two people", None),
        ("A no-parking sign", None),
        ("Yes.\nNo.", None),
        ("Yes,no", None),
        ("no no", "no"),
        ("Yes. No dog is there.", "yes"),
        ("Is it a dog, yes or no?\nNo.", "no"),
        ("是", "yes"),
        ("否。", "no"),
        ("是的，有一只狗。", "yes"),  # yes, there is a dog
        ("不，图中没有狗。", "no"),
        ("**对**", "yes"),
        ("错误", "no"),
        ("有。", "yes"),
        ("没有", "no"),
        ("答案是：否", "no"),  # the answer is: no
        ("はい、あります。", "yes"),
        ("いいえ", "no"),
        ("是否", None),  # whether
        ("是/否", None),
        ("是、否", None),
        ("没有图片", None),  # no picture
        ("对不起，我看不到", None),  # sorry, I see nothing
        ("不知道", None),
    ],
)
def test_extract_yes_no(text: str, answer: str | None) -> None:
    assert extract_yes_no(text) == answer


def test_a_long_word_takes_no_time() -> None:
    begin = time.process_time()
    assert extract_yes_no("a" * 60_000) is None
    assert time.process_time() - begin < 2

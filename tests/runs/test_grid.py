"""Points of a sweep: every combination, the impossible ones with their reason, nothing silently left out."""

from __future__ import annotations

import pytest

from lladav_eval.errors import SettingError
from lladav_eval.runs.grid import Point, file_name, plan_grid, read_axis, read_caches

DIGITS, COUNTS = "lladav_pocket_digits", "lladav_pocket_counts"  # 8 positions, 16 positions


def test_numbers_of_an_axis() -> None:
    assert read_axis("--steps", None) == (None,)
    assert read_axis("--steps", "1, 2,4,2") == (1, 2, 4)


@pytest.mark.parametrize("text", ["", "0", "1,,2", "two", "1.5", "-1", "²"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(SettingError, match=r"--steps .*such as 1,2,4"):
        read_axis("--steps", text)


def test_caches_may_have_numbers_with_commas() -> None:
    assert read_caches(None) == read_caches([]) == (None,)
    assert read_caches(["none,prefix,dllm:25,7,0.25", "dual:16"]) == ("none", "prefix:32", "dllm:25,7,0.25", "dual:16")
    assert read_caches(["dllm", "dllm:25,7"]) == ("dllm:25,7,0.25",)
    with pytest.raises(SettingError, match="choose prefix, dual, dllm"):
        read_caches(["fast"])


def test_every_combination_is_a_point() -> None:
    points, skipped = plan_grid([COUNTS], (), (4, 8), (8, 16), ("none", "dual:32"))
    assert [(point.steps, point.block_length, point.cache) for point in points] == [
        (4, 8, "none"), (4, 8, "dual:32"), (4, 16, "none"), (4, 16, "dual:32"),
        (8, 8, "none"), (8, 8, "dual:32"), (8, 16, "none"), (8, 16, "dual:32"),
    ]  # fmt: skip
    assert skipped == []
    assert len({point.folder for point in points}) == 8


def test_impossible_ones_are_kept_with_their_reason() -> None:
    points, skipped = plan_grid([DIGITS, COUNTS], (), (1, 2), (8, 16), (None,))
    assert [(point.label, point.tasks) for point in points] == [
        ("steps=1, block_length=8", (DIGITS,)),
        ("steps=1, block_length=16", (COUNTS,)),
        ("steps=2, block_length=8", (DIGITS, COUNTS)),
        ("steps=2, block_length=16", (COUNTS,)),
    ]
    assert [(left.task, left.point.label) for left in skipped] == [
        (COUNTS, "steps=1, block_length=8"),
        (DIGITS, "steps=1, block_length=16"),
        (DIGITS, "steps=2, block_length=16"),
    ]
    assert "steps=1 is not divisible by the number of blocks 2" in skipped[0].reason
    assert "gen_length=8 is not divisible by block_length=16" in skipped[1].reason


def test_settings_of_all_points_count_too() -> None:
    points, skipped = plan_grid([DIGITS], (("gen_length", "16"),), (4,), (16,), (None,))
    assert [point.tasks for point in points] == [(DIGITS,)]
    assert skipped == []


def test_an_empty_sweep_is_an_error() -> None:
    with pytest.raises(SettingError, match=r"no combination is possible.*block_length=3: gen_length=8"):
        plan_grid([DIGITS], (), (None,), (3,), (None,))
    with pytest.raises(SettingError, match="nothing to vary"):
        plan_grid([DIGITS], (), (None,), (None,), (None,))


@pytest.mark.parametrize("name", ["steps", "gen_steps"])
def test_one_setting_is_not_given_twice(name: str) -> None:
    with pytest.raises(SettingError, match=f"--gen {name}=3 contradicts --steps"):
        plan_grid([DIGITS], ((name, "3"),), (4,), (None,), (None,))


def test_a_folder_has_a_plain_name() -> None:
    assert Point(4, None, "dllm:25,7,0.25").folder == "steps_4-cache_dllm_25_7_0.25"
    assert Point(4, None, "dllm:25,7,0.25").overrides == (("steps", "4"), ("cache", "dllm:25,7,0.25"))
    assert file_name("hf:Qwen/Qwen2-VL") == "hf_Qwen_Qwen2-VL"

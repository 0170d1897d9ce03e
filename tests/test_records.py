from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lladav_eval.errors import SettingError, UsageError
from lladav_eval.records import Request, SamplingParams

VALID = {"gen_length": 32, "block_length": 8, "steps": 16}


def test_blocks_and_steps_per_block() -> None:
    params = SamplingParams(**VALID)
    assert (params.num_blocks, params.steps_per_block) == (4, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"block_length": 12}, "gen_length=32 is not divisible by block_length=12"),
        ({"block_length": 64}, "gen_length=32 is not divisible by block_length=64"),
        ({"steps": 6}, "steps=6 is not divisible by the number of blocks 4"),
        ({"steps": 2}, "steps=2 is not divisible by the number of blocks 4"),
        ({"gen_length": 0}, "gen_length=0"),
        ({"steps": 4 * 10**20}, "must be a whole number from 1 to 1,000,000"),
        ({"block_length": -8}, "block_length=-8"),
        ({"steps": 16.0}, "steps=16.0"),
        ({"steps": True}, "steps=True"),
        ({"gen_length": "32"}, "gen_length='32'"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": "hot"}, "temperature='hot'"),
        ({"cfg_scale": -1}, "cfg_scale=-1"),
        ({"cfg_scale": None}, "cfg_scale=None"),
        ({"remasking": "entropy"}, "remasking='entropy': choose 'low_confidence' or 'random'"),
        ({"stop": ("\n", "")}, "none of them empty"),
        ({"stop": (5,)}, "must be strings"),
        ({"suffix": 5}, "suffix=5"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"cache": "lru"}, "cache='lru'"),
    ],
)
def test_invalid_settings_are_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=r"\A[^\n]+\Z") as raised:
        SamplingParams(**{**VALID, **changed})
    assert message in str(raised.value)
    assert isinstance(raised.value, UsageError)
    assert raised.value.exit_code == 2


def test_unknown_names_are_refused() -> None:
    with pytest.raises(TypeError, match="cfg"):
        SamplingParams(**VALID, cfg=1.0)  # type: ignore[call-arg]


def test_one_stop_string_needs_no_tuple() -> None:
    assert SamplingParams(**VALID, stop="\n").stop == ("\n",)
    assert SamplingParams(**VALID, stop=["\n", "<|eot_id|>"]).stop == ("\n", "<|eot_id|>")  # type: ignore[arg-type]


def test_replacing_a_setting_checks_it_again() -> None:
    with pytest.raises(SettingError, match="steps=3"):
        dataclasses.replace(SamplingParams(**VALID), steps=3)


def test_a_misspelt_mode_and_media_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(SettingError, match="'p' is no PIL image: open files with"):
        Request("hi", images="picture.png")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="None is no PIL image"):
        Request("hi", video=(None,))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="mode='no-think': choose one of think, no_think, or None"):
        Request("x", mode="no-think")  # type: ignore[arg-type]

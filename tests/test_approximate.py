from __future__ import annotations

import dataclasses
import json

import pytest

from lladav_eval.approximate import DllmCache, DualCache, PrefixCache, Prophet, parse_cache, parse_early_commit
from lladav_eval.errors import SettingError
from lladav_eval.records import SamplingParams
from lladav_eval.runs.keys import sample_key
from lladav_eval.settings import parse_overrides, translate


@pytest.mark.parametrize(
    ("text", "meaning", "spelled"),
    [
        ("prefix", PrefixCache(32), "prefix:32"),
        ("prefix:8", PrefixCache(8), "prefix:8"),
        ("dual", DualCache(32), "dual:32"),
        ("dllm", DllmCache(25, 7, 0.25), "dllm:25,7,0.25"),
        ("dllm:5", DllmCache(5, 7, 0.25), "dllm:5,7,0.25"),
        ("dllm:25, 7, 0", DllmCache(25, 7, 0), "dllm:25,7,0"),
        ("dllm:1000000,7,1", DllmCache(1000000, 7, 1), "dllm:1000000,7,1"),
    ],
)
def test_a_cache_is_read_and_spelled_out(text: str, meaning: object, spelled: str) -> None:
    assert parse_cache(text) == meaning
    assert SamplingParams(2, 2, 2, cache=text).cache == spelled
    assert parse_cache(spelled) == meaning


def test_early_commit_is_read_and_spelled_out() -> None:
    assert parse_early_commit("prophet") == Prophet(7.5, 5.0, 2.5)
    assert SamplingParams(2, 2, 2, early_commit="prophet:8").early_commit == "prophet:8,5,2.5"


@pytest.mark.parametrize(
    "text",
    ["", "none", "Prefix", "dllm:", "dllm:0", "dllm:1.5", "dllm:5,3,1.01", "dllm:5,3,-0.1", "dllm:5,3,0.5,1",
     "dllm:true", "dllm:5,,1", "prefix:x", "prefix:-1", "prefix:1,2", "dllm:5,3,NaN", "dllm:5,3,[1]", "dllm:Infinity",
     7],
)  # fmt: skip
def test_an_unusable_cache_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="cache="):
        SamplingParams(2, 2, 2, cache=text)


@pytest.mark.parametrize("text", ["", "prophet:", "prophet:-1", "prophet:1,2,3,4", "prophet:Infinity", 3.0])
def test_an_unusable_early_commit_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="early_commit="):
        SamplingParams(2, 2, 2, early_commit=text)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, True, "0.9", float("nan")])
def test_an_unusable_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(SettingError, match="threshold="):
        SamplingParams(2, 2, 2, threshold=threshold)


def test_a_threshold_needs_confidences() -> None:
    with pytest.raises(SettingError, match="low_confidence"):
        SamplingParams(2, 2, 2, threshold=0.9, remasking="random")


def test_every_mode_says_that_it_is_approximate_and_changes_the_key() -> None:
    exact = SamplingParams(2, 2, 2)
    modes = [
        dataclasses.replace(exact, cache="dllm"),
        dataclasses.replace(exact, cache="dllm:25,7,0.5"),
        dataclasses.replace(exact, cache="prefix"),
        dataclasses.replace(exact, threshold=0.9),
        dataclasses.replace(exact, threshold=0.8),
        dataclasses.replace(exact, early_commit="prophet"),
    ]
    assert not exact.approximate
    assert all(mode.approximate for mode in modes)
    assert len({sample_key("model", None, params, "question")[0] for params in (exact, *modes)}) == len(modes) + 1
    assert sample_key("model", None, modes[0]) == sample_key("model", None, SamplingParams(2, 2, 2, cache="dllm:25"))


def test_settings_reach_the_sampler_from_tasks_and_from_the_command_line() -> None:
    task = translate({"gen_length": 4, "cache": "dual", "threshold": 0.9})
    assert (task.params.cache, task.params.threshold) == ("dual:32", 0.9)
    pairs = parse_overrides(["cache=dllm:5,3,0.5", "threshold=0.8", "early_commit=prophet"])
    params = translate({"gen_length": 4}, pairs).params
    assert (params.cache, params.threshold, params.early_commit) == ("dllm:5,3,0.5", 0.8, "prophet:7.5,5,2.5")
    task_kwargs = {"gen_length": 4, "cache": "dual", "threshold": 0.9}
    assert not translate(task_kwargs, parse_overrides(["cache=none", "threshold=none"])).params.approximate
    for text in ("cache=lru", "threshold=high", "early_commit=yes"):
        with pytest.raises(SettingError):
            parse_overrides([text])
    assert json.dumps(dataclasses.asdict(params))

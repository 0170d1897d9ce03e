"""Generation settings go through one table; nothing unknown passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lladav_eval.errors import MediaError, SettingError
from lladav_eval.records import SamplingParams, VideoClip
from lladav_eval.settings import TABLE, parse_overrides, request_from, translate

AUTHORS_CHARTQA = {
    "temperature": 0,
    "cfg": 0,
    "remasking": "low_confidence",
    "gen_length": 16,
    "block_length": 16,
    "gen_steps": 16,
    "stopping_criteria": ["\n"],
    "think_mode": "no_think",
}


def test_the_authors_settings_are_read_whole() -> None:
    settings = translate(AUTHORS_CHARTQA)
    assert settings.params == SamplingParams(16, 16, 16, 0.0, 0.0, "low_confidence", ("\n",))
    assert settings.mode == "no_think"
    assert settings.num_frames == 32


def test_the_authors_cfg_reaches_the_sampler() -> None:
    assert translate({**AUTHORS_CHARTQA, "cfg": 1.5}).params.cfg_scale == 1.5


def test_the_stop_string_that_lmms_eval_injects_is_none() -> None:
    assert translate({"gen_length": 4, "until": ["\n\n"], "do_sample": False}).params.stop == ()
    assert translate({"gen_length": 4, "until": ["\n\n"], "stop": ["\n"]}).params.stop == ("\n",)
    assert translate({"gen_length": 4, "stop": ["\n\n"]}).params.stop == ("\n\n",)
    assert translate({"gen_length": 4, "until": ["###"]}).params.stop == ("###",)


def test_block_length_and_steps_follow_gen_length() -> None:
    params = translate({"gen_length": 8}).params
    assert (params.block_length, params.steps) == (8, 8)


def test_other_names_mean_the_same() -> None:
    """Those of the authors' script and of lmms-eval."""
    ours = {"steps": 4, "cfg_scale": 0.5, "stop": ["x"], "suffix": "y", "num_frames": 8}
    theirs = {"gen_steps": 4, "cfg": 0.5, "stopping_criteria": ["x"], "generation_suffix": "y", "max_frames_num": 8}
    assert translate({"gen_length": 8, **ours}) == translate({"gen_length": 8, **theirs})
    assert translate({"gen_length": 8, **ours}).num_frames == 8


def test_overrides_replace_the_tasks_setting_whatever_its_name() -> None:
    overrides = parse_overrides(["steps=4", "cfg_scale=2", 'stop=["a", "b"]', "think_mode=think", "suffix=5"])
    settings = translate(AUTHORS_CHARTQA, overrides)
    assert settings.params == SamplingParams(16, 16, 4, 0.0, 2.0, "low_confidence", ("a", "b"), "5")
    assert settings.mode == "think"
    assert translate(AUTHORS_CHARTQA, {"steps": 2, "seed": 7}).params.seed == 7
    assert translate(AUTHORS_CHARTQA, {"think_mode": "none"}).mode is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gen_length": 4, "step": 4}, r"unknown setting 'step'; did you mean steps"),
        ({"gen_length": 4, "zzz": 4}, r"unknown setting 'zzz'; known: block_length"),
        ({"gen_length": "four"}, "gen_length='four' must be a whole number"),
        ({"gen_length": 4.0}, "must be a whole number"),
        ({"gen_length": True}, "must be a whole number"),
        ({"gen_length": 4, "temperature": "warm"}, "must be a number"),
        ({"gen_length": 4, "temperature": True}, "must be a number"),
        ({"gen_length": 4, "temperature": [1]}, "must be a number"),
        ({"gen_length": 4, "temperature": -1}, "temperature=-1.0: must be a number"),
        ({"gen_length": 4, "stop": [1]}, "must be text, or a JSON list"),
        ({"gen_length": 4, "remasking": "best"}, "must be low_confidence or random"),
        ({"gen_length": 4, "think_mode": "deep"}, "must be think or no_think or none"),
        ({"gen_length": 4, "steps": 4, "gen_steps": 2}, "steps=4 and gen_steps=2 contradict each other"),
        ({"gen_length": 4, "num_frames": 0}, "num_frames=0: must be at least 1"),
        ({"gen_length": 4, "do_sample": True}, "do_sample=True has no meaning"),
        ({"gen_length": 4, "num_beams": 3}, "num_beams=3 has no meaning"),
        ({"gen_length": 4, "top_p": 0.5}, "top_p=0.5 has no meaning"),
        ({"gen_length": 4, "top_k": 2}, "top_k=2 has no meaning"),
        ({"gen_length": 4, "num_return_sequences": 2}, "num_return_sequences=2 has no meaning"),
        ({"gen_length": 4, "repetition_penalty": 1.5}, "repetition_penalty=1.5 has no meaning"),
        ({"gen_length": 4, "image_aspect_ratio": "pad"}, "image_aspect_ratio='pad' has no meaning"),
        ({"max_new_tokens": 16}, r"names no gen_length: .*--gen gen_length=32"),
        ({}, "names no gen_length"),
    ],
)
def test_what_cant_be_read_raises_and_names_the_setting(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        translate(kwargs)


@pytest.mark.parametrize(
    "asked",
    [
        {"do_sample": False, "num_beams": 1, "top_p": 1.0, "top_k": 1, "num_return_sequences": 1},
        {"do_sample": None, "num_beams": None, "top_p": 0, "top_k": -1, "repetition_penalty": 1.0},
        {"max_new_tokens": 16, "top_p": None, "top_k": None, "image_aspect_ratio": "original"},
    ],
)
def test_what_asks_for_nothing_changes_nothing(asked: dict[str, object]) -> None:
    assert translate({"gen_length": 4, **asked}) == translate({"gen_length": 4})


@pytest.mark.parametrize("text", ["steps", "=4"])
def test_an_override_without_name_or_value_is_told_how_to_write_it(text: str) -> None:
    with pytest.raises(SettingError, match="write KEY=VALUE, for example --gen steps=16"):
        parse_overrides([text])


DEEP = "[" * 100_000
WRONG = ["stepz=4", "steps=many", "stop=[1]", "gen_length=1e3", f"stop={DEEP}", f"cache=dllm:{DEEP}"]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
def test_a_wrong_override_raises_at_once(text: str) -> None:
    with pytest.raises(SettingError):
        parse_overrides([text])


@pytest.mark.parametrize("text", ["max_new_tokens=512", "do_sample=False", "num_beams=1"])
def test_an_override_without_effect_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=f"--gen '{text}' would change nothing: an answer's length is gen_length"):
        parse_overrides([text])


def test_every_setting_of_the_sampler_can_be_set() -> None:
    meant = {setting for setting, _ in TABLE.values()}
    assert meant >= set(SamplingParams.__dataclass_fields__)


def test_media_become_images_or_one_video(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2))
    image.save(tmp_path / "a.png")
    (tmp_path / "v.mp4").write_bytes(b"x")
    settings = translate({"gen_length": 2, "think_mode": "think", "num_frames": 4})
    request = request_from("Q", [image, str(tmp_path / "a.png")], settings)
    assert [picture.size for picture in request.images] == [(2, 2), (2, 2)]
    assert (request.mode, request.num_frames, request.video) == ("think", 4, None)
    assert request_from("Q", [str(tmp_path / "v.mp4")], settings).video == str(tmp_path / "v.mp4")
    assert request_from("Q", [[image, image]], settings).video == (image, image)
    clip = VideoClip(tmp_path / "v.mp4", 1.0, 2.0)
    assert request_from("Q", [clip], settings).video == clip
    assert request_from("Q", None, None).images == ()
    assert request_from("Q", image, settings).images == (image,)
    assert request_from("Q", str(tmp_path / "v.mp4"), settings).video == str(tmp_path / "v.mp4")


@pytest.mark.parametrize(
    ("visuals", "message"),
    [
        ([None], "gave NoneType"),
        (["gone.mp4"], "the video gone.mp4 is missing"),
        (["/dev/null"], "the video null is neither a file nor a folder of frames"),
        (["gone.png"], "gone.png: no such image file"),
        ([{"type": "audio"}], "gave dict"),
        ({"type": "video", "url": "x.mp4"}, "gave dict"),
        ("gone.mp4", "the video gone.mp4 is missing"),
        (b"x", "gave bytes"),
        (3, "gave int"),
        ([[]], "gave list"),
        ([VideoClip("gone.mp4")], "the video gone.mp4 is missing"),
        ([[Image.new("L", (1, 1))]] * 2, "2 videos and 0 images"),
        ([Image.new("L", (1, 1)), [Image.new("L", (1, 1))]], "1 videos and 1 images"),
    ],
)
def test_other_media_are_refused_with_a_reason(visuals: object, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        request_from("Q", visuals, None)

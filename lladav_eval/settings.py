"""What a task asks, in our records: generation settings through one table, and a question with its media.

The names are those of task YAML files (``generation_kwargs``), of the authors' script (eval/scripts/evaluate.sh) and of
lmms-eval. A name that is not in the table raises: lmms-eval passes unknown names on in silence, and so the authors'
``cfg`` never reached their sampler.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lladav_eval.approximate import parse_cache, parse_early_commit, spelled_out
from lladav_eval.errors import MediaError, SettingError, TaskError, one_line
from lladav_eval.records import Remasking, Request, SamplingParams, ThinkMode, VideoClip

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}

LMMS_EVAL_UNTIL = ["\n\n"]
"""What lmms-eval writes into ``until`` when a task names none (TaskConfig.__post_init__ of lmms_eval/api/task.py)."""


@dataclass(frozen=True)
class GenerationSettings:
    """Everything about one generation besides the question itself."""

    params: SamplingParams
    mode: ThinkMode | None
    """None appends neither ``/think`` nor ``/no_think``."""
    num_frames: int


def _whole(value: Any) -> int:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.startswith("["):
        value = json.loads(value)
    if value is None:
        return ()
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, (list, tuple)) or not all(isinstance(item, str) for item in strings):
        raise ValueError("text, or a JSON list of texts")
    return tuple(strings)


def _remasking(value: Any) -> str:
    if value not in get_args(Remasking):
        raise ValueError(" or ".join(get_args(Remasking)))
    return str(value)


def _mode(value: Any) -> str | None:
    if value in (None, "", "none"):
        return None
    if value not in get_args(ThinkMode):
        raise ValueError(" or ".join((*get_args(ThinkMode), "none")))
    return str(value)


def _or_off(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``read``, but ``none`` switches an approximate mode of the task off."""
    return lambda value: None if value in (None, "none") else read(value)


_cache = _or_off(lambda value: spelled_out(parse_cache(value)))
_early_commit = _or_off(lambda value: spelled_out(parse_early_commit(value)))
_threshold = _or_off(_number)

_Convert = Callable[[Any], Any]
_EXPECTED: dict[_Convert, str] = {
    _whole: "a whole number",
    _number: "a number",
    _text: "text",
    _strings: "text, or a JSON list of texts",
    _remasking: " or ".join(get_args(Remasking)),
    _mode: " or ".join((*get_args(ThinkMode), "none")),
    _threshold: "a number, or none",
}

TABLE: dict[str, tuple[str, _Convert]] = {
    "gen_length": ("gen_length", _whole),
    "block_length": ("block_length", _whole),
    "steps": ("steps", _whole),
    "gen_steps": ("steps", _whole),
    "temperature": ("temperature", _number),
    "cfg_scale": ("cfg_scale", _number),
    "cfg": ("cfg_scale", _number),
    "remasking": ("remasking", _remasking),
    "stop": ("stop", _strings),
    "stopping_criteria": ("stop", _strings),
    "until": ("stop", _strings),
    "suffix": ("suffix", _text),
    "generation_suffix": ("suffix", _text),
    "seed": ("seed", _whole),
    "cache": ("cache", _cache),
    "threshold": ("threshold", _threshold),
    "early_commit": ("early_commit", _early_commit),
    "think_mode": ("mode", _mode),
    "num_frames": ("num_frames", _whole),
    "max_frames_num": ("num_frames", _whole),
}
"""Accepted name -> (the setting it means, how its value is read)."""

IGNORED: dict[str, Callable[[Any], bool]] = {
    "max_new_tokens": lambda value: True,  # the length of a diffusion answer is gen_length
    "do_sample": lambda value: value in (False, None),
    "num_beams": lambda value: value in (1, None),
    "top_p": lambda value: value in (0, 0.0, 1, 1.0, None),
    "top_k": lambda value: value in (0, 1, -1, None),
    "num_return_sequences": lambda value: value in (1, None),
    "repetition_penalty": lambda value: value in (1, 1.0, None),
    "image_aspect_ratio": lambda value: value in ("original", None),
}
"""Settings of autoregressive decoding found in lmms-eval tasks, with the values that ask for nothing here."""


def translate(
    generation_kwargs: Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    where: str = "generation_kwargs",
) -> GenerationSettings:
    """Read a task's generation settings, then the overrides on top; check everything.

    ``block_length`` and ``steps`` default to ``gen_length``; ``gen_length`` itself must be given by one of the two.
    ``until`` equal to ``["\\n\\n"]`` is what lmms-eval injects into tasks that name no stop string, so it means none;
    to stop at an empty line write ``stop: ["\\n\\n"]``.

    Raises SettingError for an unknown name, an unusable value, or two names that contradict each other.
    """
    kwargs = dict(generation_kwargs or {})
    if kwargs.get("until") == LMMS_EVAL_UNTIL:
        del kwargs["until"]
    settings = _read(kwargs.items(), where)
    settings.update(_read(overrides.items() if isinstance(overrides, Mapping) else overrides, "override"))
    if "gen_length" not in settings:
        raise SettingError(f"{where} names no gen_length: add it there, or give it by --gen gen_length=32")
    settings.setdefault("block_length", settings["gen_length"])
    settings.setdefault("steps", settings["gen_length"])
    mode = settings.pop("mode", None)
    num_frames = settings.pop("num_frames", 32)
    if num_frames < 1:
        raise SettingError(f"num_frames={num_frames}: must be at least 1")
    return GenerationSettings(SamplingParams(**settings), mode, num_frames)


def _read(items: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Canonical name -> value."""
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in items:
        if name in IGNORED:
            if not IGNORED[name](value):
                raise SettingError(f"{where}: {name}={value!r} has no meaning for a diffusion model: remove it")
            continue
        if name not in TABLE:
            close = get_close_matches(name, TABLE, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(TABLE))}"
            raise SettingError(f"{where}: unknown setting {name!r}; {hint}")
        setting, convert = TABLE[name]
        try:
            read = convert(value)
        except (ValueError, TypeError, RecursionError):
            raise SettingError(f"{where}: {name}={value!r} must be {_EXPECTED[convert]}") from None
        written = f"{name}={value}"
        if setting in found and found[setting] != read:
            raise SettingError(f"{where}: {sources[setting]} and {written} contradict each other; keep one")
        found[setting], sources[setting] = read, written
    return found


def parse_overrides(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``KEY=VALUE`` texts of ``--gen`` -> (name, value) pairs; names and values are checked at once."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingError(f"--gen {text!r}: write KEY=VALUE, for example --gen steps=16")
        if name.strip() in IGNORED:  # passed over in tasks, but whoever asks for it here expects something of it
            raise SettingError(
                f"--gen {text!r} would change nothing: an answer's length is gen_length, and temperature=0 is greedy"
            )
        pairs.append((name.strip(), value))
    _read(pairs, "--gen")
    return tuple(pairs)


def shown(doc_to_visual: Callable[[Any], Any], doc: Any) -> Any:
    """What a task shows of a row. Raises MediaError where its function fails; TaskError passes."""
    try:
        found = doc_to_visual(doc)
        return list(found) if isinstance(found, Iterator) else found
    except (TaskError, MediaError):
        raise
    except (Exception, SystemExit) as error:  # functions of tasks, decoders; lmms-eval's exit where a video is missing
        raise MediaError(f"doc_to_visual failed: {one_line(error)}") from error


def request_from(text: str, visuals: Any, settings: GenerationSettings | None) -> Request:
    """A question from what a task's ``doc_to_text`` and ``doc_to_visual`` give.

    ``visuals`` may hold PIL images, paths of image files, one video (path of a file or of a folder of frames, or a
    VideoClip), or one list of frames; or be a single one of them; None is a question without media. Think mode and
    number of frames come from ``settings``. Raises MediaError for anything else.
    """
    images: list[Image] = []
    videos: list[str | VideoClip | tuple[Image, ...]] = []
    if visuals is None:
        visuals = ()
    elif isinstance(visuals, (str, bytes, Mapping)) or not isinstance(visuals, Iterable):
        visuals = (visuals,)
    for visual in visuals:
        medium = _medium(visual)
        if isinstance(medium, (str, VideoClip, tuple)):
            videos.append(medium)
        else:
            images.append(medium)
    if len(videos) > 1 or (videos and images):
        raise MediaError(f"{len(videos)} videos and {len(images)} images in one question: only one video, alone, works")
    video = videos[0] if videos else None
    if settings is None:
        return Request(text, tuple(images), video)
    return Request(text, tuple(images), video, settings.mode, settings.num_frames)


def _medium(visual: Any) -> Image | str | VideoClip | tuple[Image, ...]:
    """An image, decoded; the path of a video or a part of one; or the frames of one."""
    from PIL.Image import Image

    from lladav_eval.media import open_image

    if isinstance(visual, Image):
        return open_image(visual)
    if isinstance(visual, (str, Path)):
        path = Path(visual)
        if path.suffix.lower() in _IMAGE_ENDINGS:
            return open_image(path, path.name)
        _require(path)
        return str(path)
    if isinstance(visual, VideoClip):
        _require(Path(visual.path))
        return visual
    if isinstance(visual, (list, tuple)) and visual and all(isinstance(frame, Image) for frame in visual):
        return tuple(open_image(frame, "video frame") for frame in visual)
    raise MediaError(f"doc_to_visual gave {type(visual).__name__}: expected images or the path of a video")


def _require(path: Path) -> None:
    if not path.is_file() and not path.is_dir():  # reading a pipe or a device may never end
        odd = "is neither a file nor a folder of frames" if path.exists() else "is missing"
        raise MediaError(f"the video {path.name} {odd}")

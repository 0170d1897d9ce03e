"""MVBench: twenty kinds of question on short clips from eleven sources, each with a layout of its own.

Source of the prompt and of the folders of cut clips: tasks/mvbench of lmms-eval 0.7.3 (branch ``video`` of the data
set); the authors' script doesn't run it. Source of the folders of whole videos: MVBench's own code (video_chat2 in
OpenGVLab/Ask-Anything): there, clips of Charades, STA and TVQA are given by ``start`` and ``end``, and TVQA has folders
of frames, three a second, instead of files.
"""

from __future__ import annotations

from lladav_eval.errors import TaskError
from lladav_eval.prompts.rows import Row, Settings, options, text, with_letters
from lladav_eval.prompts.videos import VideoStore, any_container, bounds, file_name, number, specific
from lladav_eval.records import VideoClip

STORE = VideoStore("OpenGVLab/MVBench", "mvbench_video")
POST_PROMPT = "Only give the best option.\n"

_CHARADES = ("star/Charades_segment", "star/Charades_v1_480")
_CLEVRER = ("clevrer/video_validation",)
_PERCEPTION = ("perception/videos",)
FOLDERS: dict[str, tuple[str, ...]] = {
    "action_antonym": ("ssv2_video_mp4", "ssv2_video"),
    "action_count": _PERCEPTION,
    "action_localization": ("sta/sta_video_segment", "sta/sta_video"),
    "action_prediction": _CHARADES,
    "action_sequence": _CHARADES,
    "character_order": _PERCEPTION,
    "counterfactual_inference": _CLEVRER,
    "egocentric_navigation": ("vlnqa",),
    "episodic_reasoning": ("tvqa/video_fps3_hq_segment", "tvqa/frames_fps3_hq"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos",),
    "fine_grained_pose": ("nturgbd_convert", "nturgbd"),
    "moving_attribute": _CLEVRER,
    "moving_count": _CLEVRER,
    "moving_direction": _CLEVRER,
    "object_existence": _CLEVRER,
    "object_interaction": _CHARADES,
    "object_shuffle": _PERCEPTION,
    "scene_transition": ("scene_qa/video",),
    "state_change": _PERCEPTION,
    "unexpected_action": ("FunQA_test/test",),
}
"""Subtask -> where its videos lie; of two folders, the first holds clips already cut, or converted to mp4."""

WHOLE = {"star/Charades_v1_480", "sta/sta_video", "tvqa/frames_fps3_hq"}
"""Folders of whole videos, in which a row's ``start`` and ``end`` say what to show."""

FRAMES_PER_SECOND = 3.0
"""Of TVQA's folders of frames, where the row's ``fps`` doesn't say."""

_PREFIXES = ("", "video/", "data0613/", "video/data0613/")
"""Folders above those: archives unpacked in place, and the supplement of 2024-06-13."""


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """Question, options with their letters in parentheses, and how to answer; a newline ends it."""
    choices = "".join(f"{line}\n" for line in with_letters(options(doc, "candidates"), "({}) {}"))
    return f"Question:{text(doc, 'question')}\nOption:\n{choices}{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[str | VideoClip]:
    """The clip: the path of its file, or a VideoClip where only a part of the video belongs to the question."""
    return [locate(doc, lmms_eval_specific_kwargs)]


def locate(doc: Row, settings: Settings = None) -> str | VideoClip:
    """Where the row's clip lies. Raises MediaError if it is missing, TaskError for an unknown subtask."""
    subtask = str(specific(settings, "sub_task"))
    if subtask not in FOLDERS:
        raise TaskError(f"MVBench has no subtask {subtask!r}; it has {', '.join(FOLDERS)}")
    names = {
        f"{prefix}{folder}/{name}": folder
        for folder in FOLDERS[subtask]
        for prefix in _PREFIXES
        for name in any_container(file_name(doc, "video"))
    }
    path, name = STORE.find(doc, list(names))
    start, end = bounds(doc) if names[name] in WHOLE else (None, None)
    fps = number(doc, "fps", FRAMES_PER_SECOND) if path.is_dir() else None
    return str(path) if start is end is fps is None else VideoClip(path, start, end, fps)

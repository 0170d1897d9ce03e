"""Video-MME: lettered questions on videos of seconds to an hour.

Source: tasks/videomme of the authors' fork; the prompt speaks of subtitles although none are shown. The archives unpack
to ``data/<videoID>.mp4``; lmms-eval also takes .MP4 and .mkv there.
"""

from __future__ import annotations

from lladav_eval.prompts.rows import Row, Settings, options, text
from lladav_eval.prompts.videos import VideoStore, any_container, file_name

STORE = VideoStore("lmms-eval/Video-MME", "videomme")

_INSTRUCTION = (
    "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)
POST_PROMPT = "\nAnswer with the option's letter from the given choices directly."


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """Instruction, question, the options (which carry their letters), and how to answer."""
    choices = "\n".join(str(option) for option in options(doc, "options"))
    return f"{_INSTRUCTION}\n{text(doc, 'question')}\n{choices}\n{POST_PROMPT}"


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[str]:
    """The path of the video."""
    return [locate(doc, lmms_eval_specific_kwargs)]


def locate(doc: Row, settings: Settings = None) -> str:
    """Where the row's video lies. Raises MediaError if it is missing."""
    names = any_container(file_name(doc, "videoID") + ".mp4")
    return str(STORE.find(doc, [f"data/{name}" for name in names] + names)[0])

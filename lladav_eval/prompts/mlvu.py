"""MLVU (dev, multiple choice): lettered questions on long videos; the options are part of the question.

Source: tasks/mlvu of the authors' fork. lmms-eval unpacks all videos into one folder; MLVU's own release has one folder
per kind of task (evaluation/models/videochat2/choice_bench.py of JUNJIE99/MLVU).
"""

from __future__ import annotations

from lladav_eval.prompts.rows import Row, Settings, text
from lladav_eval.prompts.videos import VideoStore, any_container, file_name

STORE = VideoStore("sy1998/MLVU_dev", "mlvu")
POST_PROMPT = "\nOnly give the best option.\nBest option: ("

_NUMBERED = {
    "plotQA": "1_plotQA",
    "needle": "2_needle",
    "ego": "3_ego",
    "count": "4_count",
    "order": "5_order",
    "anomaly_reco": "6_anomaly_reco",
    "topic_reasoning": "7_topic_reasoning",
}


def doc_to_text(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> str:
    """The question with its options, and how to answer."""
    return text(doc, "question") + POST_PROMPT


def doc_to_visual(doc: Row, lmms_eval_specific_kwargs: Settings = None) -> list[str]:
    """The path of the video."""
    return [locate(doc, lmms_eval_specific_kwargs)]


def locate(doc: Row, settings: Settings = None) -> str:
    """Where the row's video lies. Raises MediaError if it is missing."""
    kind = str(doc.get("task_type"))
    folders = ["", "video/"]
    if kind in _NUMBERED:
        folders += [f"{base}{name}/" for base in ("video/", "") for name in (_NUMBERED[kind], kind)]
    names = any_container(file_name(doc, "video_name"))
    return str(STORE.find(doc, [folder + name for folder in folders for name in names])[0])

"""Our task files in plain lmms-eval: rows of a local parquet file become requests, and answers become metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lladav_eval.records import VideoClip
from lladav_eval.runs.tasks import read_task
from lladav_eval.settings import request_from, translate

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.slow

FUNCTION = "!function "
_LETTER = "Answer with the option's letter from the given choices directly."


def picture(shade: int) -> Any:
    from PIL import Image

    return Image.new("RGB", (8, 6), (shade, 0, 0))


# Task -> (rows, prompts, pictures shown per row, right answers, targets)
CASES: dict[str, tuple[list[dict[str, Any]], list[str], list[int], list[str], list[Any]]] = {
    "lladav_mmmu": (
        [
            {
                "id": "validation_Art_1",
                "question": "<image 1> or <image 2>?",
                "options": "['x', 'y']",
                "question_type": "multiple-choice",
                "answer": "B",
                "image_1": picture(1),
                "image_2": picture(2),
            },
            {
                "id": "validation_Art_2",
                "question": "How many?",
                "options": "[]",
                "question_type": "open",
                "answer": "3",
                "image_1": None,
                "image_2": None,
            },
        ],
        [
            f"<image 1> or <image 2>?\nA. x\nB. y\n\n{_LETTER}",
            "How many?\n\nAnswer the question using a single word or phrase.",
        ],
        [2, 0],
        ["B", "3"],
        ["B", "3"],
    ),
    "lladav_seedbench_video": (
        [
            {
                "question_id": str(number),
                "data_type": kind,
                "question": kind,
                **{f"choice_{letter}": letter for letter in "abcd"},
                "answer": "C",
                "image": [picture(number)] * number,
            }
            for number, kind in enumerate(["image", "video", "image"], start=1)
        ],
        [f"video\nA. a\nB. b\nC. c\nD. d\n{_LETTER}"],
        [2],
        ["C"],
        ["C"],
    ),
    "lladav_ai2d": (
        [{"question": "Q", "options": ["x", "y"], "answer": "1", "image": picture(3)}],
        [f"Q\nA. x\nB. y\n{_LETTER}"],
        [1],
        ["B"],
        ["B"],
    ),
    "lladav_chartqa": (
        [{"type": "human_test", "question": "Q", "answer": "14", "image": picture(4)}],
        ["Q\nAnswer the question with a single word."],
        [1],
        ["14"],
        ["14"],
    ),
    "lladav_mvbench_action_sequence": (
        [
            {
                "video": "a.mp4",
                "question": "Q",
                "candidates": ["x", "y"],
                "answer": "y",
                "start": 1.0,
                "end": 2.5,
            }
        ],
        ["Question:Q\nOption:\n(A) x\n(B) y\nOnly give the best option.\n"],
        [1],
        ["(B) y"],
        ["y"],
    ),
}


class _Dumper(yaml.SafeDumper):
    """Writes ``!function`` back as it was read."""


class _Function(str):
    pass


_Dumper.add_representer(_Function, lambda dumper, value: dumper.represent_scalar("!function", str(value)))


def marked(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FUNCTION):
        return _Function(value.removeprefix(FUNCTION))
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    return [marked(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """lmms-eval's task objects, their data sets replaced by parquet files of ``CASES``."""
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMS_EVAL_DATASETS_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        from lmms_eval.tasks import TaskManager

        for name, (rows, *_) in CASES.items():
            data = datasets.Dataset.from_list(rows)
            data.to_parquet(str(folder / f"{name}.parquet"))
            content = read_task(name)
            content.pop("dataset_name", None)
            content["dataset_path"] = "parquet"
            content["dataset_kwargs"] = {"data_files": {content["test_split"]: str(folder / f"{name}.parquet")}}
            (folder / f"{name}.yaml").write_text(yaml.dump(marked(content), Dumper=_Dumper, sort_keys=False))
        manager = TaskManager(include_path=[str(folder)], include_defaults=False, model_name="lladav")
        yield {name: manager.load_task_or_group([name])[name] for name in CASES}


def requests_of(task: Any) -> list[Any]:
    task.build_all_requests()
    return list(task.instances)


@pytest.mark.parametrize("name", CASES)
def test_requests(tasks: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, prompts, shown, _, targets = CASES[name]
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path))
    video = tmp_path / "OpenGVLab/MVBench/star/Charades_v1_480/a.mp4"
    video.parent.mkdir(parents=True)
    video.touch()
    task = tasks[name]
    instances = requests_of(task)
    assert [instance.args[0] for instance in instances] == prompts
    settings = translate(instances[0].args[1])
    for position, instance in enumerate(instances):
        _, _, doc_to_visual, doc_id, task_name, split = instance.args
        assert (doc_id, task_name) == (position, name)
        doc = task.dataset[split][doc_id]
        request = request_from(prompts[position], doc_to_visual(doc), settings)
        if "mvbench" in name:
            assert request.video == VideoClip(video, 1.0, 2.5)
        else:
            assert [image.mode for image in request.images] == ["RGB"] * shown[position]
        assert request.mode == settings.mode
        assert task.doc_to_target(doc) == targets[position]


@pytest.mark.parametrize("name", CASES)
def test_answers(tasks: dict[str, Any], name: str) -> None:
    right = CASES[name][3]
    task = tasks[name]
    for answers, expected in ((right, 1.0), ([""] * len(right), 0.0)):
        results = [
            task.process_results(doc, [answer]) for doc, answer in zip(task.eval_docs_no_media, answers, strict=True)
        ]
        for metric, aggregate in task.aggregation().items():
            assert aggregate([result[metric] for result in results]) == expected, metric


def test_lmms_eval_injects_no_stop_string(tasks: dict[str, Any]) -> None:
    assert tasks["lladav_mmmu"].config.generation_kwargs["until"] == []
    assert tasks["lladav_chartqa"].config.generation_kwargs["until"] == ["\n"]

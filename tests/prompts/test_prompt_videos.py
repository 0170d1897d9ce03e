"""Where videos are looked for, what of them is shown, and the check before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lladav_eval.errors import EnvironmentError_, MediaError, TaskError
from lladav_eval.prompts import mlvu, mvbench, videomme
from lladav_eval.prompts.videos import any_container, check_layout
from lladav_eval.records import VideoClip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and an empty cache of lmms-eval beside it."""
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "data"


def put(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def sub(name: str) -> dict[str, Any]:
    return {"default": {"sub_task": name}}


@pytest.mark.parametrize("name", ["data/abc.mp4", "data/abc.MP4", "data/abc.mkv", "data/abc.webm", "abc.mp4"])
def test_videomme_layouts(data: Path, name: str) -> None:
    path = put(data / "lmms-eval/Video-MME", name)
    assert videomme.doc_to_visual({"videoID": "abc"}) == [str(path)]


def test_lmms_evals_own_folder_comes_second(data: Path) -> None:
    theirs = put(data.parent / "hf/videomme", "data/abc.mp4")
    assert videomme.locate({"videoID": "abc"}) == str(theirs)
    ours = put(data / "lmms-eval/Video-MME", "data/abc.mkv")
    assert videomme.locate({"videoID": "abc"}) == str(ours)


@pytest.mark.parametrize("name", ["ego_1.mp4", "video/ego_1.mp4", "video/3_ego/ego_1.mp4", "video/ego/ego_1.mp4"])
def test_mlvu_layouts(data: Path, name: str) -> None:
    path = put(data / "sy1998/MLVU_dev", name)
    assert mlvu.doc_to_visual({"video_name": "ego_1.mp4", "task_type": "ego"}) == [str(path)]


def test_every_subtask_of_mvbench_is_found_in_its_first_folder(data: Path) -> None:
    assert len(mvbench.FOLDERS) == 20
    for name, folders in mvbench.FOLDERS.items():
        row = {"video": f"{name}.mp4", "start": 1.0, "end": 2.0}
        path = put(data / "OpenGVLab/MVBench", f"{folders[0]}/{name}.mp4")
        # These are cut already (or whole by nature): the row's times are not applied again.
        assert mvbench.doc_to_visual(row, sub(name)) == [str(path)]


@pytest.mark.parametrize("prefix", ["", "video/", "data0613/", "video/data0613/"])
def test_mvbench_archives_in_place_and_the_supplement(data: Path, prefix: str) -> None:
    path = put(data / "OpenGVLab/MVBench", f"{prefix}star/Charades_segment/ZS9XR.mp4")
    assert mvbench.locate({"video": "ZS9XR.mp4"}, sub("action_sequence")) == str(path)


@pytest.mark.parametrize(
    ("subtask", "folder"),
    [
        ("action_sequence", "star/Charades_v1_480"),
        ("action_prediction", "star/Charades_v1_480"),
        ("object_interaction", "star/Charades_v1_480"),
        ("action_localization", "sta/sta_video"),
    ],
)
def test_whole_videos_are_cut_by_the_rows_times(data: Path, subtask: str, folder: str) -> None:
    path = put(data / "OpenGVLab/MVBench", f"video/{folder}/a.mp4")
    row = {"video": "a.mp4", "start": 1.5, "end": 17.1}
    assert mvbench.doc_to_visual(row, sub(subtask)) == [VideoClip(path, 1.5, 17.1)]
    cut = put(data / "OpenGVLab/MVBench", f"{mvbench.FOLDERS[subtask][0]}/a.mp4")
    assert mvbench.doc_to_visual(row, sub(subtask)) == [str(cut)]


def test_folders_of_frames_bring_their_rate_and_times(data: Path) -> None:
    frames = put(data / "OpenGVLab/MVBench", "tvqa/frames_fps3_hq/castle_clip_14/00001.jpg").parent
    row = {"video": "castle_clip_14", "start": 0.0, "end": 38.32, "fps": 3}
    assert mvbench.doc_to_visual(row, sub("episodic_reasoning")) == [VideoClip(frames, 0.0, 38.32, 3.0)]
    without = {"video": "castle_clip_14", "start": None, "end": float("nan")}
    assert mvbench.doc_to_visual(without, sub("episodic_reasoning")) == [VideoClip(frames, None, None, 3.0)]


def test_other_containers_of_the_same_video(data: Path) -> None:
    path = put(data / "OpenGVLab/MVBench", "ssv2_video/1234.webm")
    assert mvbench.locate({"video": "1234.mp4"}, sub("action_antonym")) == str(path)
    assert any_container("a.b.mp4")[:2] == ["a.b.mp4", "a.b.MP4"]
    assert any_container("clip.1")[:2] == ["clip.1", "clip.1.mp4"]


@pytest.mark.parametrize(
    "name",
    ["../secret.mp4", "/etc/passwd", "a/../../b.mp4", "c:\\x.mp4", "..\\x.mp4", "", "a\0b", "x" * 251, "é" * 126],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(data: Path, name: str) -> None:
    with pytest.raises(TaskError, match="no plain file name"):
        mlvu.locate({"video_name": name, "question": "Q"})


@pytest.mark.parametrize(
    ("times", "reason"),
    [({"start": 5.0, "end": 2.0}, "before it starts"), ({"start": "x", "end": 1}, "time"), ({"start": -1}, "time")],
)
def test_times_that_make_no_clip_are_errors(data: Path, times: dict[str, Any], reason: str) -> None:
    put(data / "OpenGVLab/MVBench", "sta/sta_video/a.mp4")
    with pytest.raises(TaskError, match=f"row with video 'a.mp4': .*{reason}"):
        mvbench.locate({"video": "a.mp4", **times}, sub("action_localization"))


def test_times_may_be_written_as_text(data: Path) -> None:
    path = put(data / "OpenGVLab/MVBench", "sta/sta_video/a.mp4")
    row = {"video": "a.mp4", "start": "1.5", "end": "17"}
    assert mvbench.locate(row, sub("action_localization")) == VideoClip(path, 1.5, 17.0)
    assert mvbench.locate({"video": "a.mp4", "start": "", "end": ""}, sub("action_localization")) == str(path)


def test_a_missing_video_says_what_was_looked_for(data: Path) -> None:
    with pytest.raises(MediaError, match=r"the video data/abc.mp4 is missing \(looked in .*Video-MME and .*videomme\)"):
        videomme.doc_to_visual({"question_id": "001-1", "videoID": "abc"})


def test_the_layout_is_checked_before_a_run(data: Path) -> None:
    rows = [{"video_name": f"{number}.mp4", "task_type": "ego"} for number in range(6)]
    for number in (0, 1, 2):
        put(data / "sy1998/MLVU_dev", f"{number}.mp4")
    assert check_layout("lladav_mlvu", rows[:3], mlvu.locate) == 3
    with pytest.raises(EnvironmentError_) as caught:
        check_layout("lladav_mlvu", rows, mlvu.locate, named=2)
    message = str(caught.value)
    assert "3 of 6 rows are missing" in message
    assert "3.mp4" in message
    assert "4.mp4" in message
    assert "5.mp4" not in message
    assert "lladav-eval data fetch --task mlvu" in message
    assert caught.value.exit_code == 3
    with pytest.raises(TaskError, match=r"^lladav_mlvu: row with .* no plain file name"):
        check_layout("lladav_mlvu", [{"video_name": "../a.mp4", "question": "Q"}], mlvu.locate)


def test_an_unknown_subtask_is_an_error(data: Path) -> None:
    with pytest.raises(TaskError, match="no subtask 'dancing'"):
        mvbench.locate({"video": "a.mp4"}, sub("dancing"))
    with pytest.raises(TaskError, match="sub_task"):
        mvbench.locate({"video": "a.mp4"}, None)

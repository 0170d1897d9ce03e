"""Published benchmarks in the run loop: rows from a local data folder, both protocols, judge, checks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmark_runs import Says, run, samples, write_rows

from lladav_eval.cli.main import invoke
from lladav_eval.errors import EnvironmentError_, SettingError, TaskError
from lladav_eval.records import RunSpec
from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import regress
from lladav_eval.runs.execute import execute
from lladav_eval.runs.store import RunDirectory
from lladav_eval.runs.tasks import tasks_dir


def test_a_local_folder_gives_prompt_picture_and_both_protocols(pope: Path, tmp_path: Path) -> None:
    model = Says(["Yes", "The dog isn't there, no", "no.", "purple"])
    task = run("lladav_pope", pope, model, tmp_path / "run").results["tasks"]["lladav_pope"]
    question = model.asked[0]
    assert question.request.text.startswith("Is there a dog in the image?")
    assert question.request.mode == "no_think"
    assert question.request.images[0].size == (12, 8)
    assert (task["n"], task["failed"], task["headline"]) == (4, 0, "strict")
    assert set(task["metrics"]) == {"official", "strict"}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["tasks"]["lladav_pope"]["data_revision"].startswith("local:")


def test_samples_have_the_benchmarks_category_even_where_they_failed(pope: Path, tmp_path: Path) -> None:
    file = pope / "lmms-lab-encoder" / "POPE" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1] |= {"category": "popular", "image": {"path": "gone.png"}}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("lladav_pope", pope, Says(["yes"] * 4), tmp_path / "run")
    found = [(row["category"], row["status"]) for row in samples(tmp_path / "run")]
    assert found == [("adversarial", "scored"), ("popular", "failed"), *[("adversarial", "scored")] * 2]


def test_sums_are_paired_picture_by_picture(tmp_path: Path) -> None:
    """MME's headline is no mean of samples; regress takes it apart into what each picture adds."""
    rows = [
        {"question_id": f"{kind}/{n // 2}.jpg", "question": "Is it? Please answer yes or no.", "answer": "Yes"}
        | {"category": kind, "image": {"path": "picture.png"}}
        for kind in ("OCR", "count")
        for n in range(20)
    ]
    data = write_rows(tmp_path / "data", "lmms-lab-encoder/MME", "test", rows)
    run("lladav_mme", data, Says(["Yes"] * 40), tmp_path / "base")
    run("lladav_mme", data, Says(["No"] * 20 + ["Yes"] * 20), tmp_path / "new")
    lines = samples(tmp_path / "new")
    assert [row["metrics"] for row in lines][19:21] == [
        {"official": 0.0, "strict": 0.0}, {"official": 1.0, "strict": 1.0},
    ]  # fmt: skip
    assert [row["cluster"] for row in lines[:3]] == ["OCR/OCR/0.jpg", "OCR/OCR/0.jpg", "OCR/OCR/1.jpg"]
    found = regress(load_run(tmp_path / "base"), load_run(tmp_path / "new"))
    assert [(row.name, row.verdict, row.n, row.observations, row.losses) for row in found.rows] == [
        ("mme", "worse", 40, 20, 20), ("mme / OCR", "worse", 20, 10, 20), ("mme / count", "same", 20, 10, 0),
    ]  # fmt: skip
    assert (found.rows[0].baseline, found.rows[0].candidate) == pytest.approx((100.0, 50.0))  # per cent of 400 points
    assert any("strict as reported 400.00 became 200.00" in note for note in found.notes)


def test_the_protocol_asked_for_is_the_headline(pope: Path, tmp_path: Path) -> None:
    result = run("lladav_pope", pope, Says(["yes"] * 4), tmp_path / "run", "official")
    assert result.results["tasks"]["lladav_pope"]["headline"] == "official"


def test_status_and_extraction_are_those_of_the_protocol(pope: Path, tmp_path: Path) -> None:
    # POPE's own rule reads everything but "no" as yes; the strict one can't read "purple".
    counted = {}
    for protocol in ("official", "strict"):
        out = tmp_path / protocol
        task = run("lladav_pope", pope, Says(["purple"] * 4), out, protocol).results["tasks"]["lladav_pope"]
        counted[protocol] = (task["scored"], task["unparsed"], samples(out)[0]["extracted"])
    assert counted == {"official": (4, 0, "yes"), "strict": (0, 4, None)}


def test_a_task_without_an_official_protocol_refuses_it(tmp_path: Path) -> None:
    spec = RunSpec(("lladav_pocket_yesno",), "says", protocol="official", limit=1)
    with pytest.raises(SettingError, match="no official protocol"):
        execute(spec, lambda: Says(["Yes"]), RunDirectory(tmp_path / "run"))


def test_a_malformed_row_ends_the_run_naming_file_and_row(pope: Path, tmp_path: Path) -> None:
    file = pope / "lmms-lab-encoder" / "POPE" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    del rows[2]["question"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TaskError, match=r"test\.jsonl, row 2 \(line 3\).*question"):
        run("lladav_pope", pope, Says(["yes"] * 4), tmp_path / "run")


def test_a_wording_that_no_prompt_reads_is_refused(pope: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name, wording in (("longer", "Think first."), ("same", "Answer the question using a single word or phrase.")):
        (tmp_path / "mine" / f"{name}.yaml").write_text(
            f"include: {tasks_dir()}/pope/lladav_pope.yaml\ntask: lladav_{name}\n"
            f'lmms_eval_specific_kwargs: {{default: {{pre_prompt: "", post_prompt: "\\n{wording}"}}}}\n'
        )
    spec = RunSpec(("lladav_longer",), "says", data=str(pope), include_path=(str(tmp_path / "mine"),))
    model = Says(["yes"] * 4)
    with pytest.raises(TaskError, match=r"lladav_longer: post_prompt .* isn't in any prompt, .* of its own"):
        execute(spec, lambda: model, RunDirectory(tmp_path / "run"))
    assert model.asked == []
    execute(replace(spec, tasks=("lladav_same",)), lambda: model, RunDirectory(tmp_path / "run"))
    assert len(model.asked) == 4


@pytest.mark.parametrize("when", ["doc['answer'] == 'no'", "doc['image'] is not None"])
def test_a_wording_of_some_rows_is_taken_with_or_without_pictures(pope: Path, tmp_path: Path, when: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wording.py").write_text(
        f"def asks(doc, lmms_eval_specific_kwargs):\n"
        f"    return doc['question'] + (lmms_eval_specific_kwargs['post_prompt'] if {when} else '')\n"
    )
    (tmp_path / "mine" / "some.yaml").write_text(
        f"include: {tasks_dir()}/pope/lladav_pope.yaml\ntask: lladav_some\ndoc_to_text: !function wording.asks\n"
        'lmms_eval_specific_kwargs: {default: {post_prompt: " Think first."}}\n'
    )
    model, spec = Says(["yes"] * 4), RunSpec(("lladav_some",), "says", data=str(pope))
    execute(replace(spec, include_path=(str(tmp_path / "mine"),)), lambda: model, RunDirectory(tmp_path / "run"))
    asked = sum("Think first." in str(question.request) for question in model.asked)
    assert (len(model.asked), asked) == (4, 4 if "image" in when else 2)


def test_a_first_row_that_is_anothers_names_task_and_file(mme: Path, tmp_path: Path) -> None:
    file = next(mme.rglob("test.jsonl"))
    other = mme / "lmms-lab-encoder" / "MMMU" / "validation.jsonl"
    other.parent.mkdir()
    other.write_text(file.read_text())
    with pytest.raises(TaskError, match=r"^lladav_mmmu, .*validation\.jsonl: row with .* 'question_type' is missing"):
        run("lladav_mmmu", mme, Says(["A"] * 4), tmp_path / "run")


def test_rows_may_lack_columns_that_only_others_use(mathvista: Path, tmp_path: Path) -> None:
    file = next(mathvista.rglob("testmini.jsonl"))
    first, second = map(json.loads, file.read_text().splitlines())
    first |= {"unit": "cm", "extra": 1}
    for column in ("unit", "precision", "choices", "query"):
        del second[column]
    rows = (first, second, {**second, "pid": "2", "decoded_image": None})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = Says(["14"] * 3)
    task = run("lladav_mathvista", mathvista, model, tmp_path / "run").results["tasks"]["lladav_mathvista"]
    assert (task["scored"], task["failed"]) == (2, 1)
    assert "(Unit: cm)" in model.asked[0].request.text
    assert "Unit" not in model.asked[1].request.text
    answers = ["score", "--task", "mathvista", "--predictions", str(tmp_path / "run" / "samples.jsonl")]
    assert invoke([*answers, "--data", str(mathvista), "--protocol", "strict"]) == 0


def test_an_unreadable_picture_is_a_failed_sample(pope: Path, tmp_path: Path) -> None:
    file = pope / "lmms-lab-encoder" / "POPE" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1]["image"] = {"path": "gone.png"}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("lladav_pope", pope, Says(["yes"] * 4), tmp_path / "run")
    assert result.failed == 1
    assert "gone.png" in samples(tmp_path / "run")[1]["error"]


def test_missing_videos_are_named_before_the_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["A. red", "B. blue", "C. green", "D. grey"]
    row = {"video_id": "1", "videoID": "clip_one", "question": "Which?", "options": options, "answer": "A"}
    more = {"question_id": "1-1", "duration": "short", "domain": "x", "sub_category": "y", "task_type": "z", "url": "u"}
    data = write_rows(tmp_path / "data", "lmms-lab/Video-MME", "test", [{**row, **more}])
    (data / "lmms-eval").mkdir()
    (data / "lmms-lab" / "Video-MME").rename(data / "lmms-eval" / "Video-MME")
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(data))
    spec = RunSpec(("lladav_videomme",), "says", data=str(data))

    def never() -> Says:
        raise AssertionError("the model was loaded")

    with pytest.raises(EnvironmentError_, match="clip_one"):
        execute(spec, never, RunDirectory(tmp_path / "run"))


@pytest.mark.parametrize("offline", [(), ("--offline",)])
def test_the_official_model_without_hub_and_gpu_is_one_line_before_any_download(
    offline: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLADAV_EVAL_DATA", str(tmp_path / "data"))
    command = ["run", "--task", "mmmu", "--model", "GSAI-ML/LLaDA-V", "--out", str(tmp_path / "run"), *offline]
    assert invoke(command) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    for part in ("16.9 GB", "0.34 GB", "MODEL=", "DATA=", "--offline"):
        assert part in line
    assert not (tmp_path / "run").exists()
    assert os.environ["LLADAV_EVAL_DATA"] == str(tmp_path / "data")


def test_recorded_answers_go_through_the_whole_run_loop(pope: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"doc_id": i, "prediction": "yes"}) + "\n" for i in range(3)))
    out = tmp_path / "run"
    command = ["run", "--task", "pope", "--model", f"replay:{file}", "--data", str(pope), "--out", str(out)]
    assert invoke(command) == 1  # the fourth row has no recorded answer
    rows = samples(out)
    assert [row["text"] for row in rows] == ["yes", "yes", "yes", ""]
    assert {row["status"] for row in rows[:3]} == {"scored"}
    assert rows[3]["status"] == "failed"
    assert "3" in rows[3]["error"]


def test_a_failed_sample_counts_as_wrong_where_the_figure_needs_pairs(mme: Path, tmp_path: Path) -> None:
    (mme / "lmms-lab-encoder" / "MME" / "broken.png").write_bytes(b"x")
    table = next(mme.rglob("test.jsonl"))
    table.write_text(table.read_text().replace("picture.png", "broken.png", 1))
    result = run("lladav_mme", mme, Says(["Yes", "No", "Yes", "No"]), tmp_path / "run")
    task = result.results["tasks"]["lladav_mme"]
    assert (task["failed"], task["scored"]) == (1, 3)
    assert task["metrics"]["strict"]["value"] == 75 + 50


def test_what_is_wrong_with_rows_shows_before_anything_is_answered(mme: Path, tmp_path: Path) -> None:
    model = Says(["Yes"] * 4)
    spec = RunSpec(("lladav_mme",), "says", data=str(mme), limit=3)
    with pytest.raises(TaskError, match=r"lladav_mme: MME asks two questions a picture; .*--limit 3 leaves out what"):
        execute(spec, lambda: model, RunDirectory(tmp_path / "run"))
    table = next(mme.rglob("test.jsonl"))
    table.write_text(table.read_text().replace('"No"', "null", 1))
    with pytest.raises(TaskError, match=r"lladav_mme, row 1: the column 'answer' must be text"):
        run("lladav_mme", mme, model, tmp_path / "run")
    assert model.asked == []


def test_every_figure_of_the_benchmark_is_there_by_protocol(pope: Path, tmp_path: Path) -> None:
    run("lladav_pope", pope, Says(["Yes", "no", "no.", "purple"]), tmp_path / "run")
    figures = load_run(tmp_path / "run").tasks["lladav_pope"].figures
    assert figures["strict"]["accuracy"] == 50.0
    assert figures["official"]["f1_mean"] == figures["official"]["f1_adversarial"]
    assert {"precision_adversarial", "yes_ratio_adversarial"} <= set(figures["official"])
    (line, *_) = samples(tmp_path / "run")
    assert line["items"]["strict"]["details"] == {"split": "adversarial", "gold": "yes"}
    assert line["cluster"] == "x"


def test_changed_settings_are_recorded_with_the_tasks_own(pope: Path, tmp_path: Path) -> None:
    def changed(name: str, **settings: Any) -> dict[str, Any]:
        spec = RunSpec(("lladav_pope",), "says", data=str(pope), **settings)
        execute(spec, lambda: Says(["yes"] * 4), RunDirectory(tmp_path / name))
        return dict(load_run(tmp_path / name).tasks["lladav_pope"].changed)

    assert changed("own", seed=3) == {}
    own = load_run(tmp_path / "own").tasks["lladav_pope"].settings
    assert changed("same", gen=(("steps", str(own["steps"])),)) == {}
    assert changed("cached", gen=(("cache", "dual"),)) == {}
    warm = changed("warm", gen=(("temperature", "0.6"), ("stop", "x"), ("steps", "1"), ("remasking", "random")))
    assert warm == {"temperature": 0.0, "stop": list(own["stop"])}, "steps mean nothing to this model"
    found = changed("longer", gen=(("gen_length", "32"), ("steps", "16"), ("block_length", "32")))
    assert found == {name: own[name] for name in ("gen_length", "block_length", "steps") if name in found}
    assert "gen_length" in found

"""Rows that don't fit, and the forms an image cell may have."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lladav_eval.errors import MediaError, TaskError
from lladav_eval.prompts import ai2d, mathverse, mathvista, mmbench, mmmu, mmmu_pro, muirbench, seedbench
from lladav_eval.prompts.rows import image, images, options, video


def picture(shade: int = 0, mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (4, 3), (shade, 10, 20)).convert(mode)


def encoded(shade: int) -> bytes:
    buffer = io.BytesIO()
    picture(shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"id": "v_1", "question": "Q", "question_type": "multiple-choice"},
            r"row with id 'v_1': .*'options' is missing",
        ),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": "['a', "}, "v_1.*options"),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": "exit()"}, "v_1.*options"),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": "{[]: 1}"}, "v_1.*options"),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": "'abc'"}, "v_1.*options"),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": None}, "v_1.*options"),
        ({"id": "v_1", "question": "Q", "question_type": "multiple-choice", "options": "[" * 9999}, "v_1.*options"),
        ({"id": "v_1", "question": None, "question_type": "open"}, "v_1.*'question' must be text"),
        ({"id": "v_1", "question_type": "open"}, "v_1.*'question' is missing"),
        ({"question": "Who are you?"}, r"row with question 'Who are you\?'.*question_type"),
    ],
)
def test_a_row_that_does_not_fit_is_named_in_one_line(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(TaskError, match=reason) as caught:
        mmmu.doc_to_text(row)
    assert "\n" not in str(caught.value)


def test_a_long_name_of_a_row_is_cut() -> None:
    with pytest.raises(TaskError, match=r"^row with id 'x{79}: the column 'question' is missing"):
        mmmu.doc_to_text({"id": "x" * 1_000_000, "question_type": "open"})


def test_more_options_than_letters_are_refused() -> None:
    assert len(options({"options": ["x"] * 26}, "options")) == 26
    with pytest.raises(TaskError, match="27 options"):
        options({"options": ["x"] * 27}, "options")


def test_options_are_read_as_text_and_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "written"
    row = {"options": f"[open({str(victim)!r}, 'w')]"}
    with pytest.raises(TaskError):
        options(row, "options")
    assert not victim.exists()


@pytest.mark.parametrize("answer_type", ["float", "text", "poem"])
def test_mathvista_refuses_a_kind_of_answer_without_a_prompt(answer_type: str) -> None:
    row = {
        "pid": "7",
        "question": "Q",
        "choices": None,
        "question_type": "free_form",
        "answer_type": answer_type,
        "precision": 3,
    }
    with pytest.raises(TaskError, match=f"pid '7'.*{answer_type}"):
        mathvista.doc_to_text(row)


@pytest.mark.parametrize("precision", [2, 2.0, "2", "2.0"])
def test_mathvista_reads_a_precision_written_as_text(precision: Any) -> None:
    kind = {"question_type": "free_form", "answer_type": "float", "precision": precision}
    assert "two decimal places" in mathvista.doc_to_text({"question": "Q", "choices": None, **kind})
    with pytest.raises(TaskError, match="precision 'two'"):
        mathvista.doc_to_text({"question": "Q", "choices": None, **kind, "precision": "two"})


def test_ai2d_target_is_a_letter() -> None:
    assert ai2d.doc_to_target({"options": ["a", "b", "c"], "answer": "2"}) == "C"
    assert ai2d.doc_to_target({"options": ["a", "b", "c"], "answer": 0}) == "A"
    for answer in ("3", "-1", "B", "", "1.0"):
        with pytest.raises(TaskError, match="answer"):
            ai2d.doc_to_target({"options": ["a", "b", "c"], "answer": answer})


def test_image_cells_of_all_forms_give_the_same_rgb_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(7))
    cells = [
        picture(7),
        picture(7, "RGBA"),
        {"bytes": encoded(7), "path": None},
        {"bytes": encoded(7), "path": "elsewhere.png"},
        {"bytes": None, "path": str(tmp_path / "a.png")},
        {"path": tmp_path / "a.png"},
        encoded(7),
    ]
    for cell in cells:
        opened = image({"image": cell}, "image")
        assert opened.mode == "RGB"
        assert np.array_equal(np.asarray(opened), np.asarray(picture(7)))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "there is no image"),
        ({"bytes": None, "path": None}, "there is no image"),
        ({"bytes": b"not a picture"}, "not an image"),
        ({"bytes": encoded(1)[:40]}, "damaged|truncated|not an image"),
        ({"path": "absent.png"}, "no such image file"),
        (3, "expected an image, found int"),
        ({"data": [1]}, "expected an image, found dict"),
        ({"bytes": "absent.png"}, "expected an image, found dict"),
        ("absent.png", "found the text 'absent.png'; name a file of the data folder as .* or give its content as"),
    ],
)
def test_an_unreadable_picture_says_which_row_has_it(cell: Any, reason: str) -> None:
    with pytest.raises(MediaError, match=rf"image of the row with id 'r9'( \(absent\.png\))?: .*({reason})"):
        image({"id": "r9", "image": cell}, "image")


@pytest.mark.parametrize("cell", [None, "a.mp4", b"x", {"bytes": b"x"}, {"path": None}, {"path": 3}, [{"path": "a"}]])
def test_a_video_is_a_path_that_the_table_has_checked(cell: Any) -> None:
    assert video({"clip": {"path": "/data/a.mp4"}}, "clip") == "/data/a.mp4"
    with pytest.raises(MediaError, match="clip of the row with id 'r9': no video; name one of the data folder"):
        video({"id": "r9", "clip": cell}, "clip")


def test_text_in_place_of_a_picture_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(7))
    monkeypatch.chdir(tmp_path)
    for cell in (str(tmp_path / "secret.png"), "secret.png", ["secret.png"], {"bytes": "secret.png"}):
        with pytest.raises(MediaError):
            images({"id": "r9", "image": cell}, "image")


def test_several_pictures_keep_their_order() -> None:
    shades = [
        int(np.asarray(item)[0, 0, 0]) for item in images({"image": [picture(3), {"bytes": encoded(9)}]}, "image")
    ]
    assert shades == [3, 9]
    assert len(images({"image": picture()}, "image")) == 1
    with pytest.raises(MediaError, match="image_list 2 of"):
        muirbench.doc_to_visual({"idx": 4, "image_list": [picture(), None]})


def test_mmmu_shows_the_images_its_text_names_sorted_and_once() -> None:
    row = {
        "id": "validation_Art_1",
        "question": "<image 3> or <image 1>, <image 1>?",
        "question_type": "multiple-choice",
        "options": "['<image 2>', 'no']",
        **{f"image_{number}": picture(number) for number in range(1, 8)},
    }
    shown = [int(np.asarray(item)[0, 0, 0]) for item in mmmu.doc_to_visual(row)]
    assert shown == [1, 2, 3]
    assert [int(np.asarray(item)[0, 0, 0]) for item in mmmu_pro.doc_to_visual(row)] == [1, 2, 3]
    assert mmmu.doc_to_visual({**row, "question": "Q", "options": "['a']"}) == []
    with pytest.raises(MediaError, match="image_2 of the row with id 'validation_Art_1': there is no image"):
        mmmu.doc_to_visual({**row, "image_2": None})
    with pytest.raises(MediaError, match="image_9, which is no column"):
        mmmu.doc_to_visual({**row, "question": "<image 9>"})


def test_a_text_only_mathverse_row_shows_nothing() -> None:
    assert mathverse.doc_to_visual({"image": " "}) == []
    assert len(mathverse.doc_to_visual({"image": picture()})) == 1
    with pytest.raises(MediaError):
        mathverse.doc_to_visual({"sample_index": "1", "image": None})


def test_mmmu_pro_vision_shows_the_screenshot_alone() -> None:
    row = {"question": "<image 1>", "options": "['a']", "image": picture(5)}
    assert mmmu_pro.vision_doc_to_text(row) == "Answer with the option letter from the given choices directly."
    assert len(mmmu_pro.vision_doc_to_visual(row)) == 1


def test_mmbench_needs_no_hint_column() -> None:
    row = {"index": 1, "question": "Q", "A": "a"}
    assert mmbench.doc_to_text(row) == mmbench.doc_to_text({**row, "hint": "nan"})


def test_seedbench_parts_are_the_rows_of_their_kind() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"data_type": ["image", "video", "image"], "question": ["a", "b", "c"]})
    assert seedbench.only_image(rows)["question"] == ["a", "c"]
    assert seedbench.only_video(rows)["question"] == ["b"]
    with pytest.raises(TaskError, match="data_type"):
        seedbench.only_image(rows.remove_columns("data_type"))


def test_every_family_has_the_functions_that_yaml_calls() -> None:
    from lladav_eval.scoring.registry import FAMILIES

    for family in {
        name.removesuffix("_standard").removesuffix("_vision").removesuffix("_circular") for name in FAMILIES
    }:
        module = import_module(f"lladav_eval.prompts.{family}")
        assert callable(module.doc_to_text)
        assert callable(module.doc_to_visual)

"""Every threat that issue 7 names, each tried. Where another file tries one in depth, its tests are named in ELSEWHERE,
and a test here fails when one of them is gone.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import toy
from chat_server import serve
from PIL import Image
from tiny_checkpoint import write_checkpoint
from tiny_hf import write_hf

from lladav_eval.adapters.autoregressive import load_hf
from lladav_eval.adapters.chat_client import ChatClient, Endpoint, Patience
from lladav_eval.adapters.chat_reply import NoUsableReply
from lladav_eval.adapters.models import resolve_model
from lladav_eval.errors import CheckpointError, MediaError, TaskError, UsageError
from lladav_eval.processing import decoding
from lladav_eval.processing.video import read_video
from lladav_eval.runs.predictions import read_predictions
from lladav_eval.runs.tasks import load_tasks

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lladav_eval"

ELSEWHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "pickle": {"model/test_checkpoint.py": ("test_pickled_weights_are_refused",)},
    "remote code": {"processing/test_chat.py": ("test_template_that_refuses_or_misbehaves_is_one_line",)},
    "YAML": {"runs/test_tasks.py": ("test_a_broken_or_hostile_yaml_is_named",)},
    "archives": {
        "data/test_archive.py": (
            "test_paths_out_of_the_folder_are_refused_before_anything_is_written",
            "test_links_and_special_files_are_refused",
            "test_a_link_that_lay_there_before_is_not_followed",
            "test_a_link_in_the_place_of_a_file_is_replaced",
            "test_bombs_are_refused",
        )
    },
    "media paths": {
        "data/test_tables.py": (
            "test_media_paths_that_leave_the_folder_are_refused",
            "test_whatever_names_a_file_is_held_inside_the_folder",
        ),
        "prompts/test_prompt_rows.py": ("test_text_in_place_of_a_picture_opens_no_file",),
        "prompts/test_prompt_videos.py": ("test_a_name_that_leads_out_of_the_folder_is_refused",),
        "model/test_checkpoint.py": ("test_shard_index_cannot_leave_the_directory",),
    },
    "bombs": {
        "test_media.py": (
            "test_enormous_is_refused_from_its_header_without_a_warning",
            "test_enormous_is_refused_before_decoding_whatever_pillow_allows",
        )
    },
    "injection": {
        "reports/test_escape.py": (
            "test_html_gives_back_the_text_and_no_tag",
            "test_printable_is_one_harmless_line",
            "test_csv_cells_come_back_and_start_no_formula",
            "test_markdown_shows_the_text_and_no_markup",
            "test_latex_has_no_active_character",
            "test_an_annotation_is_one_line_with_nothing_that_ends_it",
        ),
        "reports/test_html.py": (
            "test_hostile_text_in_the_data_files_stays_inside_its_string",
            "test_the_script_never_parses_html",
            "test_the_page_may_not_use_the_network",
        ),
        "reports/test_table.py": ("test_hostile_names_stay_text",),
        "test_hostile_text.py": ("test_hostile_text_does_nothing_in_any_output",),
    },
    "secrets": {
        "runs/test_manifest.py": ("test_secrets_are_removed",),
        "adapters/test_endpoint.py": (
            "test_the_key_goes_into_the_header_and_nowhere_else",
            "test_addresses_with_secrets_are_refused_without_repeating_them",
        ),
        "adapters/test_judge.py": ("test_what_does_not_pass_is_not_tried_again_and_the_key_stays_secret",),
        "reports/test_load.py": ("test_no_secret_reaches_a_report",),
        "test_secrets.py": (
            "test_keys_of_the_environment_reach_no_file_and_no_log",
            "test_a_key_in_the_models_name_is_refused_and_leaves_no_trace",
        ),
    },
}


@pytest.mark.parametrize("threat", ELSEWHERE)
def test_the_tests_named_elsewhere_are_there(threat: str) -> None:
    for file, names in ELSEWHERE[threat].items():
        text = (ROOT / "tests" / file).read_text()
        for name in names:
            assert f"def {name}(" in text, f"{file} lost {name}"


# Code that comes with data: pickles, a checkpoint's own Python files, YAML tags


FORBIDDEN = re.compile(
    r"pickle|marshal|shelve|dill|cloudpickle|joblib|torch\.load|read_pickle|allow_pickle|torch\.jit|torch\.package"
)


def names_in(path: Path) -> Iterator[str]:
    """Modules that a file imports, and the dotted names it calls or reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.keyword) and node.arg:
            yield f"{node.arg}={ast.unparse(node.value)}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_reads_pickles_or_runs_text(path: Path) -> None:
    names = set(names_in(path))
    found = {name for name in names if FORBIDDEN.search(name) or name == "trust_remote_code=True"}
    assert not found
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__"}
    assert not names & {"yaml.load", "yaml.full_load", "yaml.unsafe_load"} or "yaml.SafeLoader" in names
    assert "shell=True" not in names


@dataclass
class Bomb:
    """What a pickle would run: it leaves a file behind."""

    path: str

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["lladav", "hf"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_a_pickle_checkpoint_is_refused_and_never_opened(kind: str, name: str, tmp_path: Path) -> None:
    import pickle  # only to make one

    path = write_checkpoint(tmp_path / "model") if kind == "lladav" else write_hf("llava_next", tmp_path / "model")
    for weights in path.glob("*.safetensors*"):
        weights.unlink()
    (path / name).write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(CheckpointError) as caught:
        resolve_model(str(path) if kind == "lladav" else f"hf:{path}", "cpu")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["lladav", "hf", "hf without a class of its own"])
def test_code_beside_a_checkpoint_is_never_run(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model") if kind == "lladav" else write_hf("llava_next", tmp_path / "model")
    code = f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\nclass Model: pass\nclass Config: pass\n"
    for name in ("modeling_own.py", "configuration_own.py", "processing_own.py", "__init__.py"):
        (path / name).write_text(code)
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        if (path / name).exists():
            content = json.loads((path / name).read_text())
            content["auto_map"] = {
                "AutoConfig": "configuration_own.Config",
                "AutoModelForImageTextToText": "modeling_own.Model",
                "AutoProcessor": "processing_own.Model",
                "AutoTokenizer": ["processing_own.Model", None],
            }
            if "class" in kind and name == "config.json":
                content["model_type"] = "own"
            (path / name).write_text(json.dumps(content))
    if "class" in kind:
        with pytest.raises(CheckpointError, match="can't load it"):
            load_hf(str(path), "cpu", None, batch_size=1)
    else:
        assert resolve_model(str(path) if kind == "lladav" else f"hf:{path}", "cpu").fingerprint
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir [{path}]", "!!python/object/new:os.mkdir [{path}]", "!!python/name:os.mkdir"],
)
def test_yaml_makes_no_objects_not_even_inside_lmms_eval(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy.use_tasks(toy.write_tasks(tmp_path / "tasks", rows=2), monkeypatch)
    exploded = tmp_path / "exploded"
    path = folder / "lladav_toy_a.yaml"
    path.write_text(path.read_text() + "more: " + tag.format(path=json.dumps(str(exploded))) + "\n")
    with pytest.raises(TaskError, match=r"lladav_toy_a\.yaml can't be read"):
        load_tasks(["lladav_toy_a"])
    assert not exploded.exists()


# Things that grow


def test_a_spreadsheet_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("xl/worksheets/sheet1.xml", "w") as sheet:
        for _ in range(1040):
            sheet.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    with pytest.raises(UsageError, match=r"answers\.xlsx can't be read as a table: it unpacks to 1,090,519,040 bytes"):
        read_predictions(path, 4)


def test_a_reply_that_unpacks_to_gigabytes_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    body = gzip.compress(bytes(80 << 20)).decode("latin-1")

    class Latin(str):
        def encode(self, *_: object) -> bytes:
            return bytes(ord(char) for char in self)

    with serve(*[(200, {"Content-Encoding": "gzip"}, Latin(body))] * 2) as server:
        client = ChatClient(Endpoint("toy", server.url), patience=Patience(1, 0.01, 0.01, 20.0))
        with pytest.raises(NoUsableReply, match="more than 67,108,864 bytes"):
            client.complete({"messages": []})


def test_a_video_of_enormous_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 12000, 8000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((8000, 12000), np.uint8), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert path.stat().st_size < 1 << 20
    with pytest.raises(MediaError, match="frames of 12000 x 8000 pixels; scale the video down"):
        read_video(path, 4)
    monkeypatch.setattr(decoding, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1 << 30)
    with pytest.raises(MediaError, match="4 frames of 12000 x 8000 pixels are more than"):
        decoding.decode(decoding.VideoClip(path), 4, "av")


def test_frames_and_pictures_of_foreign_tasks_are_opened_as_strictly(tmp_path: Path) -> None:
    from lladav_eval.settings import request_from

    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"a\.png: truncated"):
        request_from("Q", [str(path)], None)
    lazy = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    for visuals in ([lazy], [[lazy]]):
        with pytest.raises(MediaError, match="truncated"):
            request_from("Q", visuals, None)

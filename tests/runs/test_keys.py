"""A key changes with whatever can change an answer, and with nothing else."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from lladav_eval.errors import MediaError
from lladav_eval.records import Request, SamplingParams, VideoClip
from lladav_eval.runs import keys
from lladav_eval.runs.keys import sample_key

PARAMS = SamplingParams(gen_length=8, block_length=4, steps=8)
PICTURE = Image.new("RGB", (4, 3), (1, 2, 3))
REQUEST = Request("What?", (PICTURE,), mode="no_think")


def key(fingerprint: str, request: Request | None, params: SamplingParams, text: str = "") -> str:
    return sample_key(fingerprint, request, params, text)[0]


def media(request: Request | None) -> str | None:
    return sample_key("w", request, PARAMS)[1]


def test_a_key_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that changes without need makes users compute their answers again."""
    monkeypatch.setattr(keys, "code_version", lambda: "0123")
    monkeypatch.setattr(keys, "package_versions", lambda: {"torch": "2"})
    params = replace(PARAMS, stop=("a", "b"), temperature=0.5, cache="dllm")
    facts = {
        "fingerprint": "w", "code": "0123", "packages": {"torch": "2"}, "text": "What?", "mode": None, "num_frames": 32,
        "images": [], "video": None, "params": asdict(params),
    }  # fmt: skip
    expected = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    assert key("w", Request("What?"), params) == expected


def changed_pixel() -> Image.Image:
    image = PICTURE.copy()
    image.putpixel((3, 2), (1, 2, 4))
    return image


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, text="What!"),
        replace(REQUEST, mode="think"),
        replace(REQUEST, mode=None),
        replace(REQUEST, num_frames=8),
        replace(REQUEST, images=()),
        replace(REQUEST, images=(PICTURE, PICTURE)),
        replace(REQUEST, images=(changed_pixel(),)),
        replace(REQUEST, images=(PICTURE.convert("RGBA"),)),
        replace(REQUEST, images=(PICTURE.resize((3, 4)),)),
        replace(REQUEST, images=(), video=(PICTURE,)),
    ],
)
def test_the_request_counts(other: Request) -> None:
    assert key("w", other, PARAMS) != key("w", REQUEST, PARAMS)


@pytest.mark.parametrize(
    "change",
    [
        {"gen_length": 4},
        {"block_length": 8},
        {"steps": 4},
        {"temperature": 0.5},
        {"cfg_scale": 1.0},
        {"remasking": "random"},
        {"stop": ("x",)},
        {"suffix": "x"},
        {"seed": 1},
    ],
)
def test_every_sampling_setting_counts(change: dict[str, object]) -> None:
    assert key("w", REQUEST, replace(PARAMS, **change)) != key("w", REQUEST, PARAMS)


def test_the_model_counts_and_equal_questions_have_equal_keys() -> None:
    assert key("other", REQUEST, PARAMS) != key("w", REQUEST, PARAMS)
    assert key("w", replace(REQUEST, images=(PICTURE.copy(),)), PARAMS) == key("w", REQUEST, PARAMS)


def test_a_video_counts_by_its_bytes_and_not_by_its_path(tmp_path: Path) -> None:
    keys = []
    for name, content in (("a.mp4", b"1"), ("b.mp4", b"1"), ("c.mp4", b"2")):
        (tmp_path / name).write_bytes(content)
        keys.append(key("w", Request("What?", video=tmp_path / name), PARAMS))
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(MediaError, match=r"the video gone.mp4 can't be read: No such file"):
        key("w", Request("What?", video=tmp_path / "gone.mp4"), PARAMS)


def test_a_clip_counts_by_its_part_and_a_folder_by_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")
    keys = {key("w", Request("Q", video=tmp_path / "a.mp4"), PARAMS)}
    for start, end in ((None, None), (1.0, None), (None, 1.0), (1.0, 2.0)):
        keys.add(key("w", Request("Q", video=VideoClip(tmp_path / "a.mp4", start, end)), PARAMS))
    assert len(keys) == 5
    folders = []
    for number, names in enumerate((("1", "2"), ("2", "1"), ("1", "3"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for content, name in zip((b"x", b"y"), names, strict=True):
            (folder / f"{name}.jpg").write_bytes(content)
        folders.append(key("w", Request("Q", video=VideoClip(folder, fps=3)), PARAMS))
    folders.append(key("w", Request("Q", video=VideoClip(folder, fps=4)), PARAMS))
    assert len(set(folders)) == 4


def test_what_a_question_shows_has_a_hash_of_its_own(tmp_path: Path) -> None:
    shown = media(REQUEST)
    assert shown is not None
    assert len(shown) == 16
    assert media(replace(REQUEST, text="Who?", mode=None, images=(PICTURE.copy(),))) == shown
    (tmp_path / "a.mp4").write_bytes(b"1")
    others = [
        replace(REQUEST, images=(changed_pixel(),)), replace(REQUEST, images=(PICTURE, PICTURE)),
        Request("Q", video=(PICTURE,)), Request("Q", video=tmp_path / "a.mp4"),
    ]  # fmt: skip
    assert len({shown, *map(media, others)}) == 5
    assert (media(Request("What?")), media(None)) == (None, None)


def test_an_unreadable_sample_has_a_key_of_its_own() -> None:
    assert key("w", None, PARAMS, "What?") != key("w", Request("What?"), PARAMS)
    assert key("w", None, PARAMS, "What?") != key("w", None, PARAMS, "Who?")


def test_the_palette_of_an_image_counts() -> None:
    images = []
    for colour in ((1, 2, 3), (9, 9, 9)):
        image = Image.new("P", (2, 2))
        image.putpalette(list(colour) * 256)
        images.append(image)
    keys = {key("w", replace(REQUEST, images=(image,)), PARAMS) for image in images}
    assert len(keys) == 2


def test_the_code_version_follows_the_files_that_make_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lladav_eval"
    for name in ("runs/keys.py", "sampling/loop.py", "reports/table.py", "pipeline.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(keys, "__file__", str(package / "runs" / "keys.py"))

    def version_after(name: str) -> str:
        (package / name).write_text("x = 2\n")
        return keys.code_version.__wrapped__()

    first = keys.code_version.__wrapped__()
    assert version_after("reports/table.py") == first
    second = version_after("sampling/loop.py")
    assert second != first
    third = version_after("model.py")
    assert third not in (first, second)
    (package / "model.py").rename(package / "other.py")
    assert keys.code_version.__wrapped__() != third


def test_versions_of_packages_leave_out_the_device_and_packages_that_are_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "decord":
            raise metadata.PackageNotFoundError
        return "2.1+cu126"

    monkeypatch.setattr(metadata, "version", version)
    found = keys.package_versions.__wrapped__()
    assert {"torch", "numpy", "pillow", "av", "tokenizers", "jinja2"} < found.keys()
    assert found == {name: None if name == "decord" else "2.1" for name in found}


def test_all_that_is_left_out_of_the_code_version_is_there() -> None:
    """A misspelt name would make users compute their answers again after every change of that code."""
    package = Path(keys.__file__).parents[1]
    absent = {name for name in keys._OTHER_CODE if not (package / name).exists()}
    assert absent <= {"tasks"}, "beside the package in a checkout"


def test_the_order_in_which_a_disk_lists_files_changes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    request = Request("Q", video=VideoClip(tmp_path, fps=3))
    found = set()
    for reverse in (False, True):
        with monkeypatch.context() as patched:
            for method in ("iterdir", "rglob"):
                listed = getattr(Path, method)
                patched.setattr(Path, method, lambda *a, listed=listed, r=reverse: sorted(listed(*a), reverse=r))
            found.add((key("w", request, PARAMS), keys.code_version.__wrapped__()))
    assert len(found) == 1


def test_an_image_that_cant_be_decoded_is_told() -> None:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(file, "PNG")
    cut = Image.open(io.BytesIO(file.getvalue()[:500]))
    with pytest.raises(MediaError, match=r"the image can't be decoded: .*truncated"):
        key("w", Request("What?", (cut,)), PARAMS)

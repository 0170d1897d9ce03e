"""Unpacking: everything arrives, nothing leaves the folder, a stopped one goes on."""

from __future__ import annotations

import random
import stat
import zipfile
from pathlib import Path

import pytest

from lladav_eval.data import archive as module
from lladav_eval.data.archive import PART, unpack
from lladav_eval.errors import UsageError


def make(path: Path, members: dict[str, bytes], kind: int = stat.S_IFREG, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            info.compress_type = method
            file.writestr(info, content)
    return path


def test_members_arrive_and_a_second_call_writes_nothing(tmp_path: Path) -> None:
    archive = make(tmp_path / "v.zip", {"data/1.mp4": b"one", "data/sub/2.mp4": b"two", "data/": b""})
    out = tmp_path / "out"
    assert unpack(archive, out) == 2
    assert (out / "data" / "1.mp4").read_bytes() == b"one"
    assert (out / "data" / "sub" / "2.mp4").read_bytes() == b"two"
    before = (out / "data" / "1.mp4").stat().st_mtime_ns
    assert unpack(archive, out) == 0
    assert (out / "data" / "1.mp4").stat().st_mtime_ns == before
    (out / "data" / "1.mp4").write_bytes(b"on")  # cut off
    (out / "data" / "sub" / f"2.mp4{PART}").write_bytes(b"left over")
    (out / "data" / "sub" / "2.mp4").unlink()
    assert unpack(archive, out) == 2
    assert (out / "data" / "1.mp4").read_bytes() == b"one"
    assert not list(out.rglob(f"*{PART}"))


def test_a_member_named_like_a_part_of_another_is_kept(tmp_path: Path) -> None:
    archive, out = make(tmp_path / "v.zip", {"x.part": b"one", "x": b"two"}), tmp_path / "out"
    assert unpack(archive, out) == 2
    (out / "x").unlink()
    assert unpack(archive, out) == 1
    assert ((out / "x.part").read_bytes(), (out / "x").read_bytes()) == (b"one", b"two")


def test_a_file_of_the_same_length_and_other_content_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unpack(make(tmp_path / "1.zip", {"1.mp4": b"old", "2.mp4": b"two"}), out) == 2
    assert unpack(make(tmp_path / "2.zip", {"1.mp4": b"new", "2.mp4": b"two"}), out) == 1
    assert (out / "1.mp4").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "a\\..\\evil", "C:/evil", "..", "a/../b"])
def test_paths_out_of_the_folder_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = make(tmp_path / "v.zip", {"fine": b"x", name: b"evil"})
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"v\.zip: the member .* is refused: its path leaves the folder; nothing"):
        unpack(archive, out)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["v.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(UsageError, match="it is a link or a special file"):
        unpack(make(tmp_path / "v.zip", {"link": b"/etc/passwd"}, kind), tmp_path / "out")


def test_a_link_that_lay_there_before_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of"):
        unpack(make(tmp_path / "v.zip", {"data/1.mp4": b"one"}), tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"two")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.mp4").symlink_to(tmp_path / "precious")
    assert unpack(make(tmp_path / "v.zip", {"1.mp4": b"one"}), tmp_path / "out") == 1
    assert (tmp_path / "precious").read_bytes() == b"two"
    assert not (tmp_path / "out" / "1.mp4").is_symlink()


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 1 << 20)
    archive = make(tmp_path / "v.zip", {"zeros": bytes(4 << 20)}, method=zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 1 << 14
    with pytest.raises(UsageError, match="look like a zip bomb; nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_that_compresses_well_is_no_bomb(tmp_path: Path) -> None:
    archive = make(tmp_path / "v.zip", {"a.json": b"subtitle " * 100_000}, method=zipfile.ZIP_DEFLATED)
    assert unpack(archive, tmp_path / "out") == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_members(tmp_path: Path, method: int) -> None:
    archive = make(tmp_path / "v.zip", {"1.mp4": random.Random(0).randbytes(3000) + b"a" * 30_000}, method=method)
    content = bytearray(archive.read_bytes())
    content[60:90] = b"\xff" * 30
    archive.write_bytes(content)
    with pytest.raises(UsageError, match=r"v\.zip is not a zip file that can be read"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "1.mp4").exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_damaged_archives(tmp_path: Path, damage: str) -> None:
    archive = make(tmp_path / "v.zip", {"1.mp4": b"frames" * 1000})
    content = archive.read_bytes()
    flipped = content.replace(b"framesframes", b"fXamesframes", 1)
    archive.write_bytes({"cut": content[:-40], "flip": flipped, "text": b"no zip"}[damage])
    with pytest.raises(UsageError, match=r"v\.zip is not a zip file that can be read"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "1.mp4").exists(), "only complete files get their name"

"""Report files: whole or not at all, and nothing that is no file is replaced by one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lladav_eval.errors import UsageError
from lladav_eval.reports.output import write_report


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_report(pipe, "text")
    reader.join(10)
    assert read == ["text"]
    assert pipe.is_fifo()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link.md").symlink_to(tmp_path / "real.md")
    write_report(tmp_path / "link.md", "text")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "text"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_device_that_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")  # the link: a failing test must not cost the machine its device
    with pytest.raises(UsageError, match="full can't be written"):
        write_report(tmp_path / "full", "text")
    assert Path("/dev/full").is_char_device()

"""Report files: whole or not at all, and nothing that is no file is replaced by one."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_standard_output_that_goes_to_a_file_keeps_what_is_in_it(tmp_path: Path) -> None:
    code = """from pathlib import Path
from lladav_eval.reports.output import write_report
print("table")
write_report(Path("/dev/stdout"), "report\\n")
print("the end")"""
    (tmp_path / "log").write_text("before\n")
    with (tmp_path / "log").open("a") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True)
    assert (tmp_path / "log").read_text().split("\n") == ["before", "table", "report", "the end", ""]


def test_links_in_a_circle_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UsageError, match="links lead in a circle"):
        write_report(tmp_path / "a", "text")

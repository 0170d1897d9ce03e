"""How wide tables are printed, and what becomes of a command whose output nobody takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lladav_eval.cli.console import UNBOUND, output


def test_no_screen_limits_tables_in_pipes_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output().width == UNBOUND
    monkeypatch.setenv("COLUMNS", "77")
    assert output().width == 77
    monkeypatch.setenv("COLUMNS", "0")
    assert output().width == UNBOUND


COMMAND = """
import typer
from lladav_eval.cli.console import output
from lladav_eval.cli.main import app, main

@app.command("show")
def show():
    for _ in range(3):
        typer.echo("table " * 99999)
        output().print("table " * 99999)
    typer.echo("some are worse", err=True)
    raise typer.Exit(1)

main(["show"])
"""


def shown(redirection: str) -> tuple[int, str]:
    """Exit code and standard error of a command that prints a lot and ends with 1."""
    words = ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, COMMAND]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("redirection", ["> >(exec true)", "| true; exit ${PIPESTATUS[0]}", ">&-", ">&- 2>&-"])
def test_a_command_whose_output_nobody_takes_ends_with_its_own_code(redirection: str) -> None:
    code, err = shown(redirection)
    assert code == 1
    assert err.strip() in ("some are worse", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "ascii:surrogateescape"])
def test_what_the_locale_cannot_write_ends_no_command(encoding: str) -> None:
    code = r"from lladav_eval.cli.console import keep_streams; keep_streams(); print('\u20ac\udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout in (rb"\u20ac\udcff" + b"\n", "€".encode() + rb"\udcff" + b"\n")


def test_messages_that_nobody_takes_change_nothing_either() -> None:
    assert shown("2>&-") == (1, "")
    assert shown("2>&1 | true; exit ${PIPESTATUS[0]}") == (1, "")
    if Path("/dev/full").exists():
        assert shown("2>/dev/full") == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_output_that_is_lost_is_an_error_of_the_environment() -> None:
    assert shown("> /dev/full") == (3, "error: standard output can't be written (No space left on device)\n")

"""How wide tables are printed."""

from __future__ import annotations

import pytest

from lladav_eval.cli.console import UNBOUND, output


def test_no_screen_limits_tables_in_pipes_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output().width == UNBOUND
    monkeypatch.setenv("COLUMNS", "77")
    assert output().width == 77

"""A finished run, or two side by side, as a folder with a page that opens from disk: no server, no network.

index.html, style.css, app.js      the page; app.js is put together from templates/app/
data/                              what it shows (reports/html_data.py)
media/                             pictures and video frames (reports/html_media.py)

Text of models and data sets reaches the page in two ways only: through Jinja2 with autoescape, after characters that
can't be seen were taken out, and as JSON strings that app.js shows by ``textContent``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lladav_eval.errors import UsageError
from lladav_eval.reports.comparison import Comparison, compare_runs
from lladav_eval.reports.escape import printable
from lladav_eval.reports.html_data import (
    PartWriter,
    Row,
    Side,
    TokenTable,
    index_value,
    join_runs,
    sample_value,
    script,
    traces_of,
)
from lladav_eval.reports.html_media import Media, MediaOf, MediaWriter
from lladav_eval.reports.html_views import TaskView, heads, pair_rows, task_views
from lladav_eval.reports.output import write_report
from lladav_eval.reports.pairing import run_facts

PAGE_FILES = ("index.html", "app.js", "style.css")
_FOLDERS = {
    "data": re.compile(r"(index|tokens|(samples|trace)-\d{4,})\.js(\.tmp)?"),
    "media": re.compile(r"[0-9a-f]{20}\.(png|jpg)"),
}
"""Folders of a report, and what the files in them are called."""
MAX_MEDIA = 500_000_000
"""Bytes of pictures that a report holds if nothing else is asked."""


def write_html(out: Path, sides: Sequence[Side], media_of: MediaOf | None = None, max_media: int = MAX_MEDIA) -> Path:
    """Write the report of one run, or of two to compare, and give the path of its page.

    Args:
        out: the report's folder: new, empty, or an earlier report, which is replaced.
        sides: one or two runs, with their traces and token texts where there are any.
        media_of: gives the pictures of a sample; None leaves them out.
        max_media: bytes of pictures at most; samples beyond say that theirs was left out.

    Raises:
        UsageError: the folder holds something else or can't be written, or the two runs can't be compared.
    """
    if len(sides) not in (1, 2):
        raise UsageError(f"a report shows one run or two, not {len(sides)}")
    runs = [side.run for side in sides]
    comparison = compare_runs(runs) if len(runs) == 2 else None
    _clear(out)
    rows = join_runs(runs)
    parts, traces = _write_samples(out, rows, sides, media_of, max_media)
    index = index_value(rows, sides, parts, traces)
    views = task_views(runs, index)
    index["heads"] = heads(views)
    write_report(out / "data" / "index.js", script("index", index))
    templates = _templates()
    write_report(out / "style.css", templates.get_template("style.css").render())
    write_report(out / "app.js", templates.get_template("app.js.j2").render())
    page = out / "index.html"
    write_report(page, templates.get_template("index.html.j2").render(_content(sides, views, comparison, len(rows))))
    return page


def _clear(out: Path) -> None:
    """Remove an earlier report, an unfinished one too. Raises UsageError where the folder holds anything else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder with --out")
    if any(out.iterdir()) and not _is_report(out):
        raise UsageError(f"{out} is not empty and holds no earlier report: choose another folder with --out")
    try:
        for name in PAGE_FILES:
            (out / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
    except OSError as error:
        raise UsageError(f"the earlier report in {out} can't be replaced ({error.strerror})") from error


def _is_report(out: Path) -> bool:
    """Whether every file in a folder is one that a report has, data files among them."""
    if not (out / "data").is_dir() or {path.name for path in out.iterdir()} - {*PAGE_FILES, *_FOLDERS}:
        return False
    return all(
        pattern.fullmatch(path.name) and path.is_file()
        for name, pattern in _FOLDERS.items()
        if (out / name).is_dir()
        for path in (out / name).iterdir()
    )


def _write_samples(
    out: Path, rows: Sequence[Row], sides: Sequence[Side], media_of: MediaOf | None, max_media: int
) -> tuple[list[int], list[int]]:
    """Write all samples and traces; give the first row of each part of both kinds."""
    store = MediaWriter(out / "media", max_media)
    samples = PartWriter(out / "data", "samples")
    traces = PartWriter(out / "data", "trace")
    tables = [TokenTable(side.token_text) for side in sides]
    for number, row in enumerate(rows):
        media = None if media_of is None else store.value(_media(media_of, row))
        found = list(traces_of(row, sides))
        if any(trace is not None for trace in found):
            steps = [None if trace is None else table.steps(trace) for trace, table in zip(found, tables, strict=True)]
            traces.add(number, steps)
        samples.add(number, sample_value(row, media, [trace is not None for trace in found]))
    samples.flush()
    traces.flush()
    if traces.starts:
        write_report(out / "data" / "tokens.js", script("tokens", [table.value() for table in tables]))
    return samples.starts, traces.starts


def _media(media_of: MediaOf, row: Row) -> Media:
    return media_of(row.task, row.doc_id, row.first.prompt)


def _visible(value: Any) -> Any:
    """Names as one line of visible characters; Jinja2 escapes them afterwards."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("lladav_eval.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["figure"] = lambda value: "-" if value is None else f"{value:.1f}"
    environment.filters["known"] = lambda value, form: "-" if value is None else form % value
    environment.filters["signed"] = lambda value: f"{value:+.1f}"
    return environment


def _content(
    sides: Sequence[Side], views: Sequence[TaskView], comparison: Comparison | None, count: int
) -> dict[str, Any]:
    """What index.html shows."""
    runs = [side.run for side in sides]
    return {
        "runs": [
            {**run_facts(run), "asked": run.asked, "label": label, "version": run.version, "letter": letter}
            for run, label, letter in zip(runs, _labels(runs, comparison), "AB", strict=False)
        ],
        "tasks": views,
        "pairs": pair_rows(comparison),
        "notes": () if comparison is None else comparison.notes,
        "count": count,
    }


def _labels(runs: Sequence[Any], comparison: Comparison | None) -> list[str]:
    return [runs[0].model] if comparison is None else list(comparison.labels)

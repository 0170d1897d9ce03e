"""Reports of small made-up runs for the tests of the HTML report, and a reader of its data files."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from reports.synthetic import HOSTILE, Sheet, write_run

from lladav_eval.records import TraceStep
from lladav_eval.reports.html import write_html
from lladav_eval.reports.html_data import Side
from lladav_eval.reports.html_media import Media
from lladav_eval.reports.load import load_run

WORDS = ("The", " bar", " is", " 42", "\n", HOSTILE)
LINE_ENDS = "one\u2028two\u2029three</script><script>window.hacked = 1</script><!--"


def trace(task: str, doc_id: int) -> tuple[TraceStep, ...] | None:
    """Two blocks of two positions, filled from the right; the prompt's mask first. No trace for odd samples."""
    if doc_id % 2:
        return None
    return (
        TraceStep(0, 0, (-3, 1), (2, 1), (0.5, 0.95)),
        TraceStep(1, 0, (0,), (0,), (0.25,)),
        TraceStep(2, 1, (3,), (5,), (float("-inf"),)),
        TraceStep(3, 1, (2,), (3,), (1.0,)),
    )


def picture(task: str, doc_id: int, prompt: str) -> Media:
    """A picture per sample, a video for every third one, and one that can't be read."""
    if doc_id == 1:
        return Media(note=f"can't be read: {HOSTILE}")
    image = Image.new("RGB", (40, 20), (doc_id * 7 % 256, 90, 160))
    return Media([image] * 12, video=True) if doc_id % 3 == 2 else Media([image])


def sheet(values: Sequence[float], **changes: Any) -> Sheet:
    """A task with categories, all statuses and hostile text everywhere."""
    given: dict[str, Any] = {
        "categories": [("shapes", "numbers", HOSTILE)[index % 3] for index in range(len(values))],
        "statuses": {3: "failed", 4: "unparsed", 5: "empty"},
        "texts": {1: HOSTILE, 2: LINE_ENDS, 5: "", 6: "A quick needle"},
        "prompts": {2: HOSTILE},
        "targets": {2: HOSTILE},
        "settings": {"gen_length": 4, "block_length": 2, "steps": 4, "remasking": "low_confidence", "stop": HOSTILE},
    }
    return Sheet(values, **{**given, **changes})


FIRST = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
SECOND = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def sides(folder: Path) -> list[Side]:
    """Two runs of two tasks; the first with texts of tokens, the second with ids only."""
    first = {"charts": sheet(FIRST), "digits": Sheet([1.0] * 5 + [0.0])}
    second = {"charts": sheet(SECOND, texts={1: "B", 6: "other"}), "digits": Sheet([1.0] * 6)}
    runs = [
        load_run(write_run(folder / "first", first, model=f"toy {HOSTILE}")),
        load_run(write_run(folder / "second", second, model="twin", kind="autoregressive")),
    ]
    return [Side(runs[0], trace, WORDS.__getitem__), Side(runs[1], trace, None, f"the tokenizer changed {HOSTILE}")]


def large_report(folder: Path, count: int) -> Path:
    """Two runs of ``count`` samples each, side by side; also for benchmarks/report_page.py."""
    draw = random.Random(0)
    runs = []
    for name in ("first", "second"):
        values = [float(draw.random() < 0.6) for _ in range(count)]
        texts = {n: f"The answer to number {n} is {draw.random()}, as the picture shows. " * 5 for n in range(count)}
        task = Sheet(values, texts=texts, categories=[f"category {n % 40}" for n in range(count)])
        runs.append(Side(load_run(write_run(folder / name, {"many": task}))))
    return write_html(folder / "report", runs).parent


def read_script(path: Path, function: str) -> list[Any]:
    """The JSON values that a data file hands to a function of the page."""
    text = path.read_text(encoding="ascii")
    start, end = f"lladavReport.{function}(", ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    values: list[Any] = json.loads(f"[{text[len(start) : -len(end)]}]")
    return values

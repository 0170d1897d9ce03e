"""How long a report page takes in headless Chromium: to load, to search all texts, to filter, to open a sample.

    python benchmarks/report_page.py [--samples 20000] [--repeats 5]

The page compares two made-up runs of so many samples and is opened from disk, each time in a fresh browser profile.
Load is the time from the request to a list that can be used; the aim is under two seconds. Needs playwright and a
Chromium on the machine. The median, least and most of the repeats are given in seconds; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COUNT = "text => document.getElementById('count').textContent === text"


def timed(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def measure(browser: Any, page_file: Path, samples: int) -> dict[str, float]:
    """One visit in a fresh profile."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    everything = f"{samples:,} samples"

    def load() -> None:
        page.goto(f"{page_file.as_uri()}#samples")
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_function(COUNT, arg=everything)

    def search() -> None:
        page.fill("#f-text", f"number {samples - 1} is")
        page.wait_for_function(COUNT, arg=f"1 of {everything}")

    def filter_rows() -> None:
        page.select_option("#f-change", "worse")
        page.wait_for_function(
            "text => document.getElementById('count').textContent.endsWith(text) && "
            "document.getElementById('count').textContent !== text.slice(4)",
            arg=f" of {everything}",
        )

    def open_sample() -> None:
        page.click("#rows a >> nth=0")
        page.wait_for_selector("#detail h3")

    found = {"load": timed(load)}
    found["open"] = timed(open_sample)
    found["filter"] = timed(filter_rows)
    page.click("#f-reset")
    page.wait_for_function(COUNT, arg=everything)
    found["search"] = timed(search)  # includes the 0.2 s that the page waits for more typing
    context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "reports")]
    from playwright.sync_api import sync_playwright
    from reports.report_pages import large_report
    from reports.viewer import start

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        begun = time.perf_counter()
        report = large_report(Path(folder), arguments.samples)
        written = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
        index = (report / "data" / "index.js").stat().st_size
        browser = start(playwright) or sys.exit("no chromium on this machine: apt-get install chromium")
        version = browser.version
        visits = [measure(browser, report / "index.html", arguments.samples) for _ in range(arguments.repeats)]
        browser.close()
    figures = {}
    for name in visits[0]:
        values = [visit[name] for visit in visits]
        figures[name] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
        print(f"{name:8} {figures[name]['median']:6.2f} s  ({min(values):.2f} to {max(values):.2f})")
    rounded = {name: {key: round(value, 3) for key, value in entry.items()} for name, entry in figures.items()}
    facts = {
        "samples": arguments.samples, "runs": 2, "repeats": arguments.repeats, "written_seconds": round(written, 1),
        "report_megabytes": round(size / 1e6, 1), "index_megabytes": round(index / 1e6, 1), "chromium": version,
        "machine": platform.machine(), "seconds": rounded,
    }  # fmt: skip
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

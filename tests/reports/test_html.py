"""The report's folder: what it holds, what it refuses, and that untrusted text is escaped in every file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports.report_pages import FIRST, LINE_ENDS, SECOND, picture, read_script, sides
from reports.synthetic import HOSTILE, Sheet, write_run

from lladav_eval.errors import UsageError
from lladav_eval.reports.html import write_html
from lladav_eval.reports.html_data import Side, index_value, join_runs
from lladav_eval.reports.html_views import task_views
from lladav_eval.reports.load import load_run

TEMPLATES = Path(__file__).resolve().parents[2] / "lladav_eval" / "reports" / "templates"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    return write_html(folder / "report", sides(folder), picture).parent


def test_the_folder_holds_everything_the_page_asks_for(both: Path) -> None:
    page = Page((both / "index.html").read_text(encoding="utf-8"))
    wanted = [value for tag, attrs in page.tags for key in ("src", "href") if (value := attrs.get(key)) is not None]
    files = [name for name in wanted if not name.startswith("#")]
    assert sorted(files) == ["app.js", "data/index.js", "style.css"]
    assert all((both / name).is_file() for name in files)
    assert {path.name for path in both.iterdir()} == {"index.html", "app.js", "style.css", "data", "media"}


def test_the_page_may_not_use_the_network(both: Path) -> None:
    page = Page((both / "index.html").read_text(encoding="utf-8"))
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for path in (both / "app.js", both / "style.css"):
        assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", path.read_text())


def test_the_script_never_parses_html(both: Path) -> None:
    code = (both / "app.js").read_text(encoding="utf-8")
    parts = sorted((TEMPLATES / "app").iterdir())
    assert all(part.read_text(encoding="utf-8").strip() in code for part in parts), "the script has all its parts"
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|eval\(|Function\("
    )
    assert not re.search(forbidden, code)
    assert "textContent" in code
    template = (TEMPLATES / "index.html.j2").read_text()
    assert "|safe" not in template.replace(" ", "")
    assert "autoescape" not in template


def test_hostile_names_stay_text_in_the_page(both: Path) -> None:
    source = (both / "index.html").read_text(encoding="utf-8")
    page = Page(source)
    assert [attrs.get("src") for tag, attrs in page.tags if tag == "script"] == ["app.js", "data/index.js"]
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert "<script>alert" in page.text  # the model, a category and a setting are called so
    assert not set(source) & {"\x1b", "\x00", "\u202e"}


def test_hostile_text_in_the_data_files_stays_inside_its_string(both: Path) -> None:
    for path in (both / "data").iterdir():
        text = path.read_text(encoding="ascii")
        assert "<" not in text
        assert text.count("\n") == 1
    _, _, rows = read_script(both / "data" / "samples-0000.js", "part")
    sample = dict(rows)[2]
    assert sample["runs"][0]["text"] == LINE_ENDS
    assert sample["prompt"] == HOSTILE
    assert sample["target"] == HOSTILE


def test_the_index_tells_every_sample_of_both_runs(both: Path) -> None:
    (index,) = read_script(both / "data" / "index.js", "index")
    assert [task["name"] for task in index["tasks"]] == ["charts", "digits"]
    assert index["tasks"][0]["categories"] == ["shapes", "numbers", HOSTILE]
    assert index["task"] == [0] * 12 + [1] * 6
    assert index["doc"] == [*range(12), *range(6)]
    assert index["category"][:4] == [0, 1, 2, 0]
    assert index["category"][12:] == [-1] * 6
    assert index["value"][0][:12] == FIRST
    assert index["value"][1][:12] == SECOND
    assert [index["statuses"][number] for number in index["status"][0][:7]] == [
        "scored", "scored", "scored", "failed", "unparsed", "empty", "scored",
    ]  # fmt: skip
    assert index["decoded"] == [True, False]
    assert index["parts"] == [0]
    assert index["traces"] == [0]


def test_samples_say_what_is_known_of_them(both: Path) -> None:
    _, _, rows = read_script(both / "data" / "samples-0000.js", "part")
    samples = [value for _, value in rows]
    assert len(samples) == 18
    failed = samples[3]["runs"][0]
    assert failed["error"] == "no picture"
    assert failed["extracted"] is None
    assert samples[0]["runs"][0]["metrics"] == [["accuracy", 1.0]]
    assert [samples[0]["runs"][0][key] for key in ("passes", "seconds", "tokens", "stop")] == [4, 0.5, 2, "length"]
    assert samples[1]["media"]["files"] == []
    assert samples[1]["media"]["note"].startswith("can't be read")
    assert samples[2]["media"]["video"] is True
    assert len(samples[2]["media"]["files"]) == 8
    for sample in samples:
        for name, _, _ in sample["media"]["files"]:
            assert (both / "media" / name).is_file()
    assert [sample["runs"][0]["traced"] for sample in samples[:3]] == [True, False, True]


def test_traces_and_their_tokens(both: Path) -> None:
    _, _, rows = read_script(both / "data" / "trace-0000.js", "part")
    assert [row for row, _ in rows] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    first, second = rows[0][1]
    assert first == second
    assert first[2] == [2, 1, [3], [5], [None]]
    tables = read_script(both / "data" / "tokens.js", "tokens")[0]
    assert [token for token, _ in tables[0]] == [0, 1, 2, 3, 5]
    assert dict(tables[0])[5] == HOSTILE
    assert tables[1] == []


def test_every_table_says_where_its_figures_come_from(both: Path) -> None:
    text = " ".join(Page((both / "index.html").read_text(encoding="utf-8")).text.split())
    assert "Tango's score interval beside McNemar's test" in text
    for caption in ("Scores with 95 % intervals", "Difference of the means", "accuracy, 95 % intervals"):
        after = text.split(caption)[1][:400]
        assert re.search(r"A: n \d+, protocol strict, commit 0123456789, \d{4}-\d\d-\d\d", after), caption
        assert re.search(r"B: n \d+, protocol strict, commit 0123456789, \d{4}-\d\d-\d\d", after), caption


def test_the_paired_figures(both: Path) -> None:
    text = " ".join(Page((both / "index.html").read_text(encoding="utf-8")).text.split())
    # charts: one sample better, two worse, nine the same; digits: one better, five the same
    assert re.search(r"charts 12 -8\.3 \S+ to \S+ 1 2 9 1 McNemar, exact", text)
    assert re.search(r"digits 6 \+16\.7 \S+ to \S+ 1 0 5 1 McNemar, exact", text)


def test_one_run_without_traces_pictures_or_categories(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", {"mme": Sheet([1.0, 2.0, 0.0], scale="points", metric="points")}))
    folder = write_html(tmp_path / "report", [Side(run)]).parent
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "index.html", "app.js", "style.css", "index.js", "samples-0000.js",
    }  # fmt: skip
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert not any(attrs.get("class", "").startswith("bar") for tag, attrs in page.tags if tag == "svg")
    _, _, rows = read_script(folder / "data" / "samples-0000.js", "part")
    assert rows[0][1]["media"] is None


def test_a_run_of_the_first_rows_says_of_how_many(tmp_path: Path) -> None:
    sheets = {"a": Sheet([1.0, 0.0], rows=900, more_metrics={"other": [1.0, 1.0]}), "b": Sheet([1.0])}
    text = Page(write_html(tmp_path / "page", [Side(load_run(write_run(tmp_path / "run", sheets)))]).read_text()).text
    words = " ".join(text.split())
    assert "Scores with 95 % intervals. n 3 of 901, protocol strict" in words
    assert "Samples 3 of 901" in words
    assert "accuracy 2 of 900 2 scored" in words
    assert "n 2 of 900, protocol strict" in words
    assert "n 1, protocol strict" in words


def test_categories_of_sums_are_shares_and_an_old_run_borrows_the_others(tmp_path: Path) -> None:
    values, kinds = [1.0, 0.0, 1.0, 1.0], ["x", "x", "y", "y"]
    new = load_run(write_run(tmp_path / "new", {"mme": Sheet(values, scale="points", categories=kinds)}))
    old = load_run(write_run(tmp_path / "old", {"mme": Sheet(values, scale="points")}))
    for run in (new, old):
        task = run.tasks["lladav_mme"]
        total = replace(task.metrics["accuracy"], value=300.0, low=None, high=None, is_mean=False)
        object.__setattr__(run, "tasks", {"lladav_mme": replace(task, metrics={"accuracy": total})})
    rows = join_runs([old, new])
    (view,) = task_views([old, new], index_value(rows, [Side(old), Side(new)], [0], []))
    assert [category.name for category in view.categories] == ["x", "y"]
    for category, share in zip(view.categories, (50.0, 100.0), strict=True):
        assert [figure and (figure.value, figure.n) for figure in category.figures] == [(share, 2)] * 2
    write_html(tmp_path / "page", [Side(old), Side(new)])
    text = " ".join(Page((tmp_path / "page" / "index.html").read_text()).text.split())
    assert "of the categories the share of right answers" in text


def test_costs_that_a_model_does_not_tell_are_dashes(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", {"a": Sheet([1.0, 0.0])})
    results = json.loads((path / "results.json").read_text())
    results["tasks"]["lladav_a"] |= {"forward_passes_per_sample": None, "seconds_per_sample": None}
    (path / "results.json").write_text(json.dumps(results))
    page = Page(write_html(tmp_path / "report", [Side(load_run(path))]).read_text(encoding="utf-8"))
    assert re.search(r"2 scored\s+-\s+-\s", page.text)


def test_an_earlier_report_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "report"
    write_html(out, sides(tmp_path), picture)
    small = load_run(write_run(tmp_path / "small", {"digits": Sheet([1.0])}))
    write_html(out, [Side(small)])
    assert {path.name for path in (out / "data").iterdir()} == {"index.js", "samples-0000.js"}
    assert not (out / "media").exists()


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", {"digits": Sheet([1.0])}))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("mine")
    with pytest.raises(UsageError, match=r"mine is not empty and holds no earlier report.*--out"):
        write_html(mine, [Side(run)])
    assert (mine / "index.html").read_text() == "mine"
    with pytest.raises(UsageError, match="is a file"):
        write_html(mine / "index.html", [Side(run)])
    (mine / "data").mkdir()
    (mine / "data" / "precious.parquet").write_text("rows")
    with pytest.raises(UsageError, match="holds no earlier report"):
        write_html(mine, [Side(run)])
    assert (mine / "data" / "precious.parquet").exists()


def test_runs_that_cannot_be_compared_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    one = load_run(write_run(tmp_path / "a", {"digits": Sheet([1.0])}))
    other = load_run(write_run(tmp_path / "b", {"digits": Sheet([1.0])}, protocol="official"))
    with pytest.raises(UsageError, match="protocol"):
        write_html(tmp_path / "report", [Side(one), Side(other)])
    with pytest.raises(UsageError, match="one run or two"):
        write_html(tmp_path / "report", [])
    assert not (tmp_path / "report").exists()

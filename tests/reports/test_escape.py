"""No text of a model or a data set does more than be shown, wherever it is shown."""

from __future__ import annotations

import csv
import html.parser
import io
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reports.synthetic import HOSTILE

from lladav_eval.reports import escape

ANY = st.text(st.characters()) | st.text("`|*_[]()<>&@:/\\$%=+-#\n\r\x1b\x00\u202e'\",.w")


@given(ANY)
def test_printable_is_one_harmless_line(text: str) -> None:
    shown = escape.printable(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f\ud800-\udfff]", shown)
    assert escape.printable(shown) == shown


@given(ANY)
def test_html_gives_back_the_text_and_no_tag(text: str) -> None:
    tags: list[str] = []
    found: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.append(tag)

        def handle_data(self, data: str) -> None:
            found.append(data)

        def handle_comment(self, data: str) -> None:
            tags.append("comment")

    reader = Reader(convert_charrefs=True)
    reader.feed(f'<p title="{escape.escape_html(text)}">{escape.escape_html(text)}</p>')
    reader.close()
    assert tags == ["p"]
    assert escape.printable("".join(found)) == escape.printable(text.replace("\r\n", "\n").replace("\r", "\n"))


@given(ANY)
def test_xml_can_be_read_back(text: str) -> None:
    element = ElementTree.Element("a", value=escape.escape_xml(text))
    element.text = escape.escape_xml(text)
    read = ElementTree.fromstring(ElementTree.tostring(element))
    assert (read.text or "").replace("\r", "\n") == escape.escape_xml(text).replace("\r\n", "\n").replace("\r", "\n")


@given(st.lists(ANY, min_size=1, max_size=4))
def test_csv_cells_come_back_and_start_no_formula(texts: list[str]) -> None:
    file = io.StringIO()
    csv.writer(file).writerow([escape.csv_cell(text) for text in texts])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    for cell, text in zip(row, texts, strict=True):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert cell.removeprefix("'") == escape.printable(text).removeprefix("'")


@given(ANY)
def test_an_annotation_is_one_line_with_nothing_that_ends_it(text: str) -> None:
    line = f"::error title={escape.annotation_property(text)}::{escape.annotation_message(text)}"
    assert "\n" not in line
    assert "\r" not in line
    head, title, _ = line.split("::", 2)
    assert head == ""
    assert "," not in title
    assert not re.search("%(?!25|0D|0A|3A|2C)", line)


@given(ANY)
def test_latex_has_no_active_character(text: str) -> None:
    shown = escape.escape_latex(text)
    for command in (
        "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl",
        "textasciigrave",
    ):  # fmt: skip
        shown = shown.replace(f"\\{command}{{}}", "")
    shown = re.sub(r"\\[{}$&#_%]", "", shown)
    shown = re.sub(r"\{[\[\]]\}|\{\}", "", shown)
    assert not re.search(r"[\\{}$&#_%^~<>|\"`]", shown)


def shown_by_markdown(source: str) -> str:
    """What a reader sees of a table cell, by a Markdown program; fails if the cell holds any element but code."""
    page = MARKDOWN.render(f"| a |\n| --- |\n| x{source}x |\n")
    (cell,) = re.findall("<td>(.*)</td>", page, re.DOTALL)
    cell = cell.replace("<!-- -->", "")
    assert not re.search("<(?!/?code>)", cell), cell
    return html.unescape(re.sub("</?code>", "", cell))


MARKDOWN = MarkdownIt("commonmark").enable("table")


@given(ANY)
def test_markdown_shows_the_text_and_no_markup(text: str) -> None:
    assert shown_by_markdown(escape.escape_markdown(text)) == f"x{escape.printable(text)}x"


@given(ANY)
def test_markdown_code_shows_the_text(text: str) -> None:
    span = escape.markdown_code(text)
    if escape.printable(text).strip():
        assert shown_by_markdown(span) == f"x{escape.printable(text)}x"
    else:
        assert span == "*(empty)*"


@given(ANY)
def test_markdown_has_nothing_that_github_reads(text: str) -> None:
    shown = escape.escape_markdown(text)
    assert "://" not in shown
    assert not re.search("@(?!<!-- -->)", shown)


def test_cases_by_hand() -> None:
    assert escape.escape_markdown("a|b_c&d") == "a\\|b\\_c&amp;d"
    assert escape.escape_markdown("@team www.x.org https://x") == "@<!-- -->team www&#46;x.org https&#58;//x"
    assert escape.markdown_code("a`b|c") == "``a`b\\|c``"
    assert escape.markdown_code("`") == "`` ` ``"
    assert escape.annotation_message("50% a\r\nb") == "50%25 a%0D%0Ab"
    assert escape.annotation_property("a: b, c") == "a%3A b%2C c"
    assert escape.csv_cell("=1+1") == "'=1+1"
    assert escape.csv_cell(" @x") == "' @x"
    assert escape.csv_cell("5 - 3") == "5 - 3"
    assert escape.escape_latex(r"50% \a_b--c") == r"50\% \textbackslash{}a\_b-{}-c"
    assert escape.escape_xml("a\x00b\ud800c") == "a\ufffdb\ufffdc"
    assert escape.shorten("abcdef", 4) == "abc…"
    assert "\x1b" not in escape.printable(HOSTILE)

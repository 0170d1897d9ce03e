"""Text of models and data sets made harmless wherever a report shows it: one function per place.

Every report goes through here, so that no answer of a model can steer a terminal, close a tag, ping a person,
start a formula or end an annotation. The text that a reader sees stays the same, but for characters that can't be seen.
"""

from __future__ import annotations

import html
import re
import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",
}  # fmt: skip


def printable(text: str) -> str:
    """One line without control and format characters, so that no text can steer a terminal."""
    return "".join(" " if char in "\n\r\t" else char for char in text if char in "\n\r\t" or _visible(char))


def _visible(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def shorten(text: str, limit: int = 80) -> str:
    """The first ``limit`` characters, with an ellipsis where something is left out. Shorten before escaping."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape_markdown(text: str) -> str:
    """Plain text as Markdown shows it unchanged, inside a table cell too.

    Also keeps GitHub from making a link of an address and from notifying whoever stands behind an ``@``.
    """
    text = re.sub(r"([\\`*_{}\[\]<>()#|~!$])", r"\\\1", printable(text)).replace("&", "&amp;")
    text = text.replace("://", "&#58;//").replace("@", "@<!-- -->")
    return re.sub(r"(?i)(www)\.", r"\1&#46;", text)


def markdown_code(text: str) -> str:
    """Text as a code span, for answers of models: nothing in it is read as Markdown, inside a table cell too."""
    text = printable(text)
    if not text.strip():
        return "*(empty)*"
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    # In a table a pipe ends the cell even inside code, unless it has a backslash, which is then taken away.
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def escape_html(text: str) -> str:
    """For HTML text and quoted attributes. Line ends stay; other invisible characters go."""
    kept = "".join(char for char in text.replace("\r\n", "\n").replace("\r", "\n") if char in "\n\t" or _visible(char))
    return html.escape(kept, quote=True)


def escape_xml(text: str) -> str:
    """Text that XML 1.0 can hold, for a library that writes the entities itself; what it can't hold becomes U+FFFD,
    and what it can but nobody sees goes."""
    held = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return "".join(char for char in held if char in "\t\n\r" or _visible(char))


def escape_latex(text: str) -> str:
    """For LaTeX text; hyphens don't join to dashes, nor apostrophes or commas to quotes."""
    return re.sub(r"([-',])(?=\1)", r"\1{}", "".join(_LATEX.get(char, char) for char in printable(text)))


def csv_cell(text: str) -> str:
    """One line that no spreadsheet takes for a formula; quoting is the csv module's work."""
    text = printable(text)
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def annotation_message(text: str) -> str:
    """The message of a workflow command of GitHub Actions; it may have several lines."""
    kept = "".join(char for char in text if char in "\n\r\t" or _visible(char))
    return kept.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def annotation_property(text: str) -> str:
    """A property (such as the title) of a workflow command of GitHub Actions."""
    return annotation_message(printable(text)).replace(":", "%3A").replace(",", "%2C")

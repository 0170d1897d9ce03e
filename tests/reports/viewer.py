"""The report in headless Chromium, driven by Playwright: a page that remembers what went wrong in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 30_000
LUMINANCES = """element => {
  const luminance = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  let back = element;
  const clear = () => /, 0\\)$|transparent/.test(getComputedStyle(back).backgroundColor);
  while (back.parentElement && clear()) back = back.parentElement;
  return [luminance(getComputedStyle(element).color), luminance(getComputedStyle(back).backgroundColor)];
}"""
"""Relative luminance (WCAG 2) of an element's text and of the nearest opaque background behind it."""


def start(playwright: Any) -> Any:
    """The browser, or None where this machine has none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    return program and playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)


class Viewer:
    """A page that remembers what it asked for and what went wrong in it."""

    def __init__(self, browser: Any, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: (self.errors.append("a dialog opened"), dialog.dismiss()))

    def open(self, path: Path, address: str = "") -> Any:
        self.page.goto(f"{(path / 'index.html').as_uri()}{address}")
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    def count(self, text: str) -> None:
        """Wait until the line above the list says this."""
        self.page.wait_for_function("text => document.getElementById('count').textContent === text", arg=text)

    def docs(self) -> list[str]:
        """The samples listed, as task:doc."""
        names = self.page.locator("#rows .task").all_text_contents()
        numbers = self.page.locator("#rows th").all_text_contents()
        return [f"{name}:{number}" for name, number in zip(names, numbers, strict=True)]

    def opened(self, name: str) -> None:
        """Wait until a sample is shown."""
        self.page.wait_for_function("name => document.querySelector('#detail h3')?.firstChild.data === name", arg=name)

    def contrast(self, place: str) -> tuple[float, float]:
        """How much an element's text stands out, and the luminance of what is behind it."""
        text, back = self.page.eval_on_selector(place, LUMINANCES)
        lighter, darker = max(text, back), min(text, back)
        return (lighter + 0.05) / (darker + 0.05), back

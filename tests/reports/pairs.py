"""Two made-up runs compared, for the tests of the regression and of what it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lxml import etree
from reports.synthetic import HOSTILE, Sheet, write_run

from lladav_eval.reports.load import load_run
from lladav_eval.reports.regression import Regression, Settings, regress

GOOD = [1.0] * 60 + [0.0] * 40
SETTINGS = ("test", "alpha", "tolerance", "metric", "fail_on_unclear")
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))


def pair(tmp_path: Path, before: dict[str, Sheet], after: dict[str, Sheet], **options: Any) -> Regression:
    """Write both and compare them; options go to the comparison or, of another name, to the second run."""
    settings = Settings(**{k: options.pop(k) for k in SETTINGS if k in options})
    baseline = load_run(write_run(tmp_path / "base", before))
    return regress(baseline, load_run(write_run(tmp_path / "new", after, **options)), settings)


def flipped(values: list[float], *indices: int) -> list[float]:
    """Values of right or wrong, the other way round at these places."""
    return [1 - value if index in indices else value for index, value in enumerate(values)]


def hostile_pair(tmp_path: Path) -> Regression:
    """Ten lost samples, with the worst texts in every place that a report shows."""
    kinds = [HOSTILE] * 50 + ["plain"] * 50
    before = {"a": Sheet(GOOD, categories=kinds, targets={0: HOSTILE}), "b": Sheet(GOOD)}
    texts = dict.fromkeys(range(10), HOSTILE)
    after = {"a": replace(before["a"], values=flipped(GOOD, *range(10)), texts=texts), "b": Sheet([0.0, *GOOD[1:]])}
    return pair(tmp_path, before, after, model=HOSTILE)

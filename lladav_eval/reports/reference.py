"""Published scores, from the CSV files of results/reference (its README says what the columns mean)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lladav_eval.errors import EnvironmentError_, UsageError

COLUMNS = (
    "model", "kind", "benchmark", "metric", "value", "scale", "protocol", "source", "confidence", "note",
)  # fmt: skip
KINDS = ("autoregressive", "diffusion", "hybrid")
METRICS = ("accuracy", "relaxed_accuracy", "anls", "perception", "cognition", "total")
SCALES = ("percent", "points", "of_1000")
CONFIDENCES = ("F", "2nd")
OUR_PROTOCOLS = ("official", "strict")
"""Reserved for our own runs: no published number was made with them."""


@dataclass(frozen=True)
class Reference:
    """One published number."""

    model: str
    kind: str
    benchmark: str
    metric: str
    value: float | None
    """As the source prints it; None where the source lists the benchmark without a number."""
    scale: str
    protocol: str
    source: str
    confidence: str
    note: str
    printed: str = ""
    """The digits to show: the source's own, or a tenth where it counts of 1000."""

    @property
    def approximate(self) -> bool:
        """Whether it was made with approximate decoding, as its protocol says."""
        return self.protocol.startswith("approximate")

    @property
    def shown(self) -> float | None:
        """On 0-100, but for MME's points."""
        return self.value / 10 if self.value is not None and self.scale == "of_1000" else self.value


def reference_dir() -> Path:
    """The folder of published scores: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "reference", package.parent / "results" / "reference"):
        if path.is_dir():
            return path
    raise EnvironmentError_(f"the published scores are missing ({package / 'reference'}): install lladav_eval again")


def load_references(folder: Path | None = None) -> list[Reference]:
    """Every published score. Raises UsageError naming file and line of a row that breaks the rules."""
    found: list[Reference] = []
    seen: dict[tuple[str, ...], str] = {}
    for path in sorted((folder or reference_dir()).glob("*.csv")):
        for where, reference in _read(path):
            identity = (
                reference.model, reference.benchmark, reference.metric, reference.protocol, reference.source,
            )  # fmt: skip
            if identity in seen:
                raise UsageError(f"{where}: {' / '.join(identity)} is there already ({seen[identity]})")
            seen[identity] = where
            found.append(reference)
    return found


def _read(path: Path) -> Iterator[tuple[str, Reference]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UsageError(f"{path.name}: the columns must be {', '.join(COLUMNS)}")
        try:
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                yield where, _checked(row, where)
        except csv.Error as error:
            raise UsageError(f"{path.name}, line {reader.line_num}: {error}") from error


def _checked(row: dict[str, str], where: str) -> Reference:
    if None in row or None in row.values():
        raise UsageError(f"{where}: must have {len(COLUMNS)} cells")
    for name, allowed in (("kind", KINDS), ("metric", METRICS), ("scale", SCALES), ("confidence", CONFIDENCES)):
        if row[name] not in allowed:
            raise UsageError(f"{where}: {name} is {row[name]!r}; choose one of {', '.join(allowed)}")
    for name in ("model", "benchmark", "protocol", "source"):
        if not row[name] or row[name] != row[name].strip():
            raise UsageError(f"{where}: {name} is empty or has white space around it")
    if row["protocol"] in OUR_PROTOCOLS:
        raise UsageError(f"{where}: the protocol {row['protocol']!r} is reserved for our own runs")
    texts = {name: text for name, text in row.items() if name != "value"}
    value = _value(row, where)
    printed = f"{value / 10:g}" if value is not None and row["scale"] == "of_1000" else row["value"]
    return Reference(value=value, printed=printed, **texts)


def _value(row: dict[str, str], where: str) -> float | None:
    if not row["value"]:
        if not row["note"]:
            raise UsageError(f"{where}: a row without a value needs a note that says why")
        return None
    try:
        value = float(row["value"])
    except ValueError:
        value = math.nan
    highest = {"percent": 100, "points": 2800, "of_1000": 1000}[row["scale"]]
    if not 0 <= value <= highest:
        raise UsageError(f"{where}: value is {row['value']!r}; expected a number from 0 to {highest}")
    return value

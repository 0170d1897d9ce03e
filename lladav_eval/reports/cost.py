"""What answers cost, as cells of a table: the same columns for a run and for a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lladav_eval.scoring.cost import CostSummary

COST = ("prompt tokens", "answer tokens", "FLOP", "first step s", "later steps s", "s with media", "peak memory")
"""All but the last are means per answered sample."""
EXPLAINED = (
    "Cost per answered sample. First step: until the first token (autoregressive) or the end of the first denoising "
    "step, the reading of prompt and media included. Seconds are shares of a batch, of an endpoint latencies of "
    "requests, from which no rate follows. FLOP are counted from the config, of hf: models estimated. Peak memory is "
    "the device's, on the CPU that of the whole process. '-': the model doesn't tell."
)


def cost_cells(cost: CostSummary) -> tuple[str, ...]:
    """In the order of COST; a dash where nothing is known."""
    return (
        figure(cost.mean("prompt_tokens"), ".1f"),
        figure(cost.mean("output_tokens"), ".1f"),
        _flop(cost.mean("flops")),
        figure(cost.mean("prefill_seconds")),
        figure(cost.mean("decode_seconds")),
        figure(cost.seconds_with_media),
        _bytes(cost.peak_memory),
    )


def figure(value: float | None, form: str = ".3g") -> str:
    """A number, or a dash."""
    return "-" if value is None else format(value, form)


def run_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Task and its COST, from the content of results.json; none for runs of versions that didn't record it."""
    return [
        (name.removeprefix("lladav_"), *cost_cells(CostSummary.from_json(task["cost"])))
        for name, task in results["tasks"].items()
        if "cost" in task
    ]


def _flop(value: float | None) -> str:
    """With a unit: 12.3 G."""
    if value is None:
        return "-"
    unit = next((unit for unit in ("P", "T", "G", "M", "k") if value >= _UNITS[unit]), "")
    return f"{value / _UNITS[unit]:.3g} {unit}".rstrip()


_UNITS = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}


def _bytes(value: float | None) -> str:
    from rich.filesize import decimal

    return "-" if value is None else decimal(int(value))

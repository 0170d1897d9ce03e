"""What ``--model`` may name, and how a name becomes something the run loop can ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lladav_eval.errors import UsageError
from lladav_eval.records import Generation, Question, SamplingParams

if TYPE_CHECKING:
    from lladav_eval.pipeline import LladaV

AVAILABLE = {
    "pocket": "embedded LLaDA-V of a few million parameters; runs anywhere, for trying out and for CI",
    "pocket-ar": "its autoregressive twin: same data, same size, causal attention",
    "DIR": "a local directory with a LLaDA-V checkpoint (config.json, *.safetensors, tokenizer.json)",
    "GSAI-ML/LLaDA-V": "the authors' 8B checkpoint, fetched from the hub (16.9 GB)",
}

PLANNED_PREFIXES = ("hf", "openai", "lmms", "replay")
"""Kinds that the public surface reserves; asking for one is an error that says so."""


class LladavAnswerer:
    """A LLaDA-V checkpoint, diffusion or autoregressive twin, as the run loop sees it."""

    def __init__(self, model: LladaV, batch_size: int, trace: bool = False) -> None:
        self.model = model
        self.name = model.name
        self.batch_size = batch_size
        self.trace = trace

    @property
    def fingerprint(self) -> str:
        """Weights and number type: what an answer depends on besides its question. Device and batch don't count."""
        kind = "autoregressive" if self.model.config.causal else "diffusion"
        return f"lladav/{kind}/{self.model.weights_hash}/{self.model.model.dtype}".replace("torch.", "")

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        parameters = sum(weight.numel() for weight in self.model.model.parameters())
        return {
            "name": self.name,
            "kind": "autoregressive" if self.model.config.causal else "diffusion",
            "weights": self.model.weights_hash,
            "parameters": parameters,
            "dtype": str(self.model.model.dtype).removeprefix("torch."),
            "device": str(self.model.model.device),
        }

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One Generation per question, in order; questions of equal settings share batches."""
        by_params: dict[SamplingParams, list[int]] = {}
        for index, question in enumerate(questions):
            by_params.setdefault(question.params, []).append(index)
        answers: dict[int, Generation] = {}
        for params, members in by_params.items():
            requests = [questions[index].request for index in members]
            generated = self.model.generate(requests, params, batch_size=self.batch_size, trace=self.trace)
            answers.update(zip(members, generated, strict=True))
        return [answers[index] for index in range(len(questions))]


def resolve_model(
    name: str,
    device: str | None = None,
    dtype: str | None = None,
    *,
    batch_size: int = 32,
    offline: bool = False,
    trace: bool = False,
) -> LladavAnswerer:
    """Load what ``name`` stands for.

    Raises:
        UsageError: if the name means nothing, or a kind of model that is not available yet.
    """
    prefix = name.split(":", 1)[0]
    if ":" in name and prefix in PLANNED_PREFIXES:
        raise UsageError(f"--model {name}: {prefix}: models are not available yet; try {', '.join(AVAILABLE)}")
    from lladav_eval.pipeline import load

    return LladavAnswerer(load(name, device, dtype, offline=offline), batch_size, trace)

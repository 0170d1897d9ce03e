"""What ``--model`` may name, and how a name becomes something the run loop can ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lladav_eval.errors import SettingError, UsageError
from lladav_eval.records import DEFAULT_BATCH_SIZE, Answerer, Generation, Question

if TYPE_CHECKING:
    from pathlib import Path

    from lladav_eval.pipeline import LladaV

AVAILABLE = {
    "pocket": "embedded LLaDA-V of 0.7 million parameters; runs anywhere, for trying out and for CI",
    "pocket-ar": "its autoregressive twin: same data, same size, causal attention",
    "DIR": "a local directory with a LLaDA-V checkpoint (config.json, *.safetensors, tokenizer.json)",
    "GSAI-ML/LLaDA-V": "the authors' 8B checkpoint, fetched from the hub (16.9 GB)",
    "GSAI-ML/LLaDA-8B-Instruct": "text-only LLaDA in its own parameter names; tried: random weights in that naming",
    "hf:NAME_OR_DIR": (
        "image-text-to-text model of transformers; tried on tiny random weights with real processors: Qwen2-VL, "
        "Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision, LLaVA-NeXT (LLaMA-3), SmolVLM, Gemma 3; not tried: published weights, "
        "every other family"
    ),
    "hf:google/diffusiongemma-26B-A4B-it": (
        "DiffusionGemma, a diffusion model, by its own generate; tried: a tiny random one; not tried: these weights"
    ),
    "openai:MODEL@URL": "OpenAI-compatible endpoint (vLLM, hosted...), key from $OPENAI_API_KEY; tried: a toy server",
    "lmms:NAME[,key=value...]": (
        "model registered by lmms-eval 0.7; tried: dummy, from_log, lladav, a small chat model, and on tiny random "
        "weights qwen2_vl, qwen2_5_vl, qwen3_vl, gemma3, llava_hf; not tried: published weights, every other"
    ),
    "lmms:mmada": (
        "MMaDA, the one diffusion model of lmms-eval 0.7 that answers questions; tried: that it says what it lacks; "
        "not tried: answering, which needs its authors' repository and 8B weights"
    ),
    "replay:FILE": "recorded answers, one JSON object a line: doc_id, prediction, and task if there are several",
}
"""What ``lladav-eval models`` lists: how to name it, what it is, what was tried."""

PREFIXES = ("hf", "openai", "lmms", "replay")
"""Kinds of models that aren't a LLaDA-V checkpoint."""


TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def tokenizer_hash(directory: Path) -> str:
    """Hex digest of the files that give token ids their texts, so that a report can tell whether they are the run's."""
    from lladav_eval.model.checkpoint import checkpoint_hash

    return checkpoint_hash(directory, TOKENIZER_FILES)


class LladavAnswerer:
    """A LLaDA-V checkpoint, diffusion or autoregressive twin, as the run loop sees it."""

    def __init__(
        self, model: LladaV, batch_size: int | None, trace: bool = False, time_limit: float | None = None
    ) -> None:
        self.model = model
        self.name = model.name
        self.batch_size = batch_size
        self.trace = trace
        self.time_limit = time_limit

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
            "tokenizer": tokenizer_hash(self.model.directory),
            "parameters": parameters,
            "dtype": str(self.model.model.dtype).removeprefix("torch."),
            "device": str(self.model.model.device),
        }

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One Generation per question, in order; questions of equal settings share batches."""
        order = sorted(range(len(questions)), key=lambda index: repr(questions[index].params))
        answers: dict[int, Generation] = {}
        for finished in self.stream(questions[index] for index in order):
            answers.update((order[position], generation) for position, generation in finished)
        return [answers[index] for index in range(len(questions))]

    def stream(self, questions: Iterable[Question]) -> Iterator[list[tuple[int, Generation]]]:
        """Answers as they are finished, each with its question's position: continuous batching (LladaV.stream)."""
        asked = ((question.request, question.params) for question in questions)
        return self.model.stream(asked, batch_size=self.batch_size, trace=self.trace, time_limit=self.time_limit)


def resolve_model(
    name: str,
    device: str | None = None,
    dtype: str | None = None,
    *,
    accelerate: Sequence[str] = (),
    batch_size: int | None = None,
    offline: bool = False,
    trace: bool = False,
    time_limit: float | None = None,
) -> Answerer:
    """Load what ``name`` stands for; its prefix says which kind of model it is.

    Args:
        name: an entry of ``AVAILABLE``.
        device, dtype: as in ``lladav_eval.load``; kinds that have none refuse them.
        accelerate: of ``compile`` and ``cuda-graphs``, as in ``lladav_eval.load``; of LLaDA-V only.
        batch_size: questions answered together; for an endpoint, requests in flight at once. None fills the memory of
            a GPU where the model's needs are known (LLaDA-V), and is 32 elsewhere.
        offline: never use the network.
        trace: record the denoising steps; of LLaDA-V only.
        time_limit: most seconds from the start of a sample's batch to its answer; None is no limit. Refused where
            answers are recorded, or a model of lmms-eval can't be stopped in between.

    Raises:
        UsageError: if the name means nothing.
        SettingError: if an option has no meaning for this kind of model.
    """
    prefix, colon, rest = name.partition(":")
    if not colon or prefix not in PREFIXES:
        from lladav_eval.loading import load

        compiled, graphs = ("compile" in accelerate, "cuda-graphs" in accelerate)
        model = load(name, device, dtype, offline=offline, compile_layers=compiled, cuda_graphs=graphs)
        if time_limit is not None and model.config.causal:
            raise SettingError(f"--time-limit: {name}, an autoregressive model, can't be stopped in the middle")
        return LladavAnswerer(model, batch_size, trace, time_limit)
    batch_size = batch_size or DEFAULT_BATCH_SIZE
    if not rest:
        raise UsageError(f"--model {name}: say which; {prefix} models are named like {_example(prefix)}")
    if trace:
        raise SettingError(f"--trace records denoising steps, which {prefix}: models don't have; leave it out")
    if accelerate:
        raise SettingError(f"--accelerate is for LLaDA-V's own layers, not for {prefix}: models; leave it out")
    if prefix == "hf":
        from lladav_eval.adapters.autoregressive import load_hf

        return load_hf(rest, device, dtype, batch_size=batch_size, offline=offline, time_limit=time_limit)
    if dtype is not None or (device is not None and prefix != "lmms"):
        raise SettingError(f"--device and --dtype can't be chosen for {prefix}: models; leave them out")
    if time_limit is not None and prefix != "openai":
        raise SettingError(f"--time-limit: {prefix}: models can't be stopped in the middle of an answer; leave it out")
    if prefix == "lmms":
        from lladav_eval.adapters.registered import load_registered

        return load_registered(rest, device, batch_size=batch_size)
    if prefix == "replay":
        from lladav_eval.adapters.replay import ReplayAnswerer

        return ReplayAnswerer(rest)
    if offline:
        raise SettingError("--offline: an endpoint can't be asked without the network")
    from lladav_eval.adapters.chat_client import Endpoint
    from lladav_eval.adapters.endpoint import EndpointAnswerer

    return EndpointAnswerer(Endpoint.parse(rest), concurrency=batch_size, time_limit=time_limit)


def _example(prefix: str) -> str:
    return next(name for name in AVAILABLE if name.startswith(f"{prefix}:"))

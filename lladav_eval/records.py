"""The records that travel between rooms, and the protocols the rooms agree on.

This module imports nothing but the standard library at run time, so that everything else may import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from lladav_eval.approximate import parse_cache, parse_early_commit, spelled_out
from lladav_eval.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from PIL.Image import Image

ThinkMode = Literal["think", "no_think"]
Remasking = Literal["low_confidence", "random"]
Layout = Literal["none", "anyres", "pad", "video"]
StopReason = Literal["length", "stop", "failed"]

DEFAULT_BATCH_SIZE = 32
"""Samples answered together where nothing says how many fit."""
MOST_AT_ONCE = 128
"""Samples a batch is filled with at most by itself, however much memory there is."""

IMAGE_PLACEHOLDER_ID = -200
"""Token id standing for an image before and after expansion (llava/constants.py of the authors)."""


@dataclass(frozen=True)
class VideoClip:
    """A part of a video file, or of a folder that holds a video's frames as image files."""

    path: str | Path
    start: float | None = None
    """Seconds into the video at which the clip begins; None is its beginning."""
    end: float | None = None
    """Seconds into the video at which the clip ends; None is its end."""
    fps: float | None = None
    """Frames per second of a folder; a file knows its own."""


@dataclass(frozen=True)
class Request:
    """One question as a task asks it."""

    text: str
    """The question, without chat template; ``<image>`` may mark where images go."""
    images: tuple[Image, ...] = ()
    """PIL images, in the order of their placeholders."""
    video: str | Path | VideoClip | tuple[Image, ...] | None = None
    """A video file or a folder of frames, a part of one, or frames already decoded."""
    mode: ThinkMode | None = None
    """Appends `` /think`` or `` /no_think`` to questions with media, as the authors' evaluation does."""
    num_frames: int = 32
    """Frames taken uniformly from the video."""

    def __post_init__(self) -> None:
        if self.mode not in (None, *get_args(ThinkMode)):
            raise SettingError(f"mode={self.mode!r}: choose one of {', '.join(get_args(ThinkMode))}, or None")
        frames = self.video if isinstance(self.video, tuple) else ()
        for image in (*self.images, *frames):
            if not hasattr(image, "convert"):
                raise SettingError(f"{image!r:.80} is no PIL image: open files with PIL.Image.open, and give a tuple")

    @property
    def media_bytes(self) -> int:
        """Memory that its images and frames take: Pillow stores most kinds of pixels in four bytes."""
        frames = self.video if isinstance(self.video, tuple) else ()
        return sum(4 * image.width * image.height for image in (*self.images, *frames))


MOST_STEPS = 1_000_000
"""Far more steps or tokens than any answer has; plans of that many are lists in memory."""


@dataclass(frozen=True)
class SamplingParams:
    """Settings of one diffusion generation; checked on creation.

    Source: ``generate_with_embeds`` of the authors' modeling_llada.py; names follow it.
    """

    gen_length: int
    """Number of answer positions, all [MASK] at the start."""
    block_length: int
    """Positions per semi-autoregressive block; must divide ``gen_length``."""
    steps: int
    """Denoising steps over all blocks; the number of blocks must divide it."""
    temperature: float = 0.0
    """Gumbel temperature; 0 is greedy."""
    cfg_scale: float = 0.0
    """Classifier-free guidance scale; 0 is off (one forward pass a step instead of two)."""
    remasking: Remasking = "low_confidence"
    """Which predictions stay at a step: the most confident, or random ones."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer, in order (the order matters, see sampling/stopping.py)."""
    suffix: str = ""
    """Text placed after the answer positions and kept there while they are filled."""
    seed: int = 0
    """Seed of the sample's own generator; used by temperature and random remasking."""
    cache: str | None = None
    """Approximate: ``prefix``, ``dual`` or ``dllm``, with numbers if wanted (approximate.py); None is exact."""
    threshold: float | None = None
    """Approximate: each step fills all positions of at least this probability, and ``steps`` means nothing."""
    early_commit: str | None = None
    """Approximate: ``prophet`` fills the rest of a block as soon as the model is sure (approximate.py)."""

    def __post_init__(self) -> None:
        stop: Any = self.stop
        object.__setattr__(self, "stop", (stop,) if isinstance(stop, str) else tuple(stop))
        for name in ("gen_length", "block_length", "steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_STEPS:
                raise SettingError(f"{name}={value!r}: must be a whole number from 1 to {MOST_STEPS:,}")
        if self.gen_length % self.block_length:
            raise SettingError(
                f"gen_length={self.gen_length} is not divisible by block_length={self.block_length}: "
                "make gen_length a multiple of block_length"
            )
        if self.steps % self.num_blocks:
            raise SettingError(
                f"steps={self.steps} is not divisible by the number of blocks {self.num_blocks} "
                f"(gen_length/block_length): make steps a multiple of {self.num_blocks}"
            )
        for name, off in (("temperature", "greedy"), ("cfg_scale", "off")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise SettingError(f"{name}={value!r}: must be a number, 0 ({off}) or more")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise SettingError(f"seed={self.seed!r}: must be a whole number")
        if self.remasking not in ("low_confidence", "random"):
            raise SettingError(f"remasking={self.remasking!r}: choose 'low_confidence' or 'random'")
        if any(not isinstance(text, str) or not text for text in self.stop):
            raise SettingError(f"stop={self.stop!r}: must be strings, none of them empty")
        if not isinstance(self.suffix, str):
            raise SettingError(f"suffix={self.suffix!r}: must be a string")
        self._check_approximations()

    def _check_approximations(self) -> None:
        if self.cache is not None:
            object.__setattr__(self, "cache", spelled_out(parse_cache(self.cache)))
        if self.early_commit is not None:
            object.__setattr__(self, "early_commit", spelled_out(parse_early_commit(self.early_commit)))
        if self.threshold is None:
            return
        value: Any = self.threshold
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise SettingError(
                f"threshold={value!r}: must be a probability above 0, at most 1; leave it out (--gen: none) to be exact"
            )
        if self.remasking == "random":
            raise SettingError("threshold needs remasking='low_confidence': random remasking has no probabilities")

    @property
    def approximate(self) -> bool:
        """True if answers may differ from exact decoding."""
        return self.cache is not None or self.threshold is not None or self.early_commit is not None

    @property
    def num_blocks(self) -> int:
        """Number of semi-autoregressive blocks."""
        return self.gen_length // self.block_length

    @property
    def steps_per_block(self) -> int:
        """Denoising steps spent on each block."""
        return self.steps // self.num_blocks


@dataclass(frozen=True)
class Prompt:
    """A request made ready for the model: ids with one placeholder per image, and pixels."""

    text: str
    """The rendered chat prompt."""
    token_ids: tuple[int, ...]
    """Token ids; each medium is one ``IMAGE_PLACEHOLDER_ID``."""
    pixels: tuple[torch.Tensor, ...] = ()
    """One float tensor (tiles or frames, 3, height, width) per placeholder, normalized."""
    image_sizes: tuple[tuple[int, int], ...] = ()
    """Original (width, height) of each image; empty for video."""
    layout: Layout = "none"
    """How features of the pixels become tokens (model/connector.py)."""


@dataclass(frozen=True)
class Reuse:
    """What an approximate cache computes of a query; keys and values of all other positions are those stored before."""

    fresh: torch.Tensor
    """(m,) int64, ascending: positions computed in every layer. The first query of a sequence has all of them."""
    held: torch.Tensor
    """(h,) int64, ascending: positions whose attention and feed-forward outputs are stored too. One that isn't fresh
    goes through the layers with its stored outputs."""
    transfers: int = 0
    """In each layer, so many held positions that aren't fresh are computed anew: those whose values changed most. There
    must be as many."""
    unconditional: bool = False
    """The sequence without its prompt (guidance), which has a cache of its own."""


@dataclass(frozen=True)
class Query:
    """One sequence the sampler asks the model about."""

    sample: int
    """Which bound prompt the sequence belongs to."""
    token_ids: torch.Tensor
    """(length,) int64: expanded prompt (image positions hold ``IMAGE_PLACEHOLDER_ID``), answer, suffix."""
    positions: torch.Tensor
    """(n,) int64: the positions whose logits are wanted."""
    reuse: Reuse | None = None
    """None computes every position (exact)."""


class Denoise(Protocol):
    """The model as the sampler sees it: logits at the asked positions, one tensor (n, vocabulary) per query."""

    def __call__(self, queries: Sequence[Query]) -> list[torch.Tensor]: ...


@dataclass(frozen=True)
class TraceStep:
    """What one denoising step filled in."""

    step: int
    """0-based over all blocks."""
    block: int
    positions: tuple[int, ...]
    """Answer positions filled (0 = first answer token); prompt positions are negative."""
    token_ids: tuple[int, ...]
    confidences: tuple[float, ...]


@dataclass(frozen=True)
class Generation:
    """The answer to one request, and what it cost.

    Passes, seconds and operations are those that made this answer: what ran out of memory and was done again isn't in
    them. So passes are the same whatever the batch, and operations but for what is computed once for its long prompts
    (model/first_layer.py) or beside what is asked about (model/graphs.py), which depends on the batch's size.
    """

    text: str
    """Decoded answer: special tokens skipped, one trailing period removed, white space trimmed."""
    token_ids: tuple[int, ...] = ()
    """Answer ids up to the stop position, then the suffix."""
    forward_passes: int = 0
    """Number of function evaluations (NFE) of the language model for this sample."""
    stop_reason: StopReason = "length"
    seconds: float = 0.0
    """Wall time of the sample's share of its batch, media decoding excluded."""
    status: Literal["ok", "failed"] = "ok"
    error: str | None = None
    """Why the sample failed; None when ``status`` is ok."""
    trace: tuple[TraceStep, ...] | None = None
    """Step by step record, if asked for."""
    prompt_tokens: int | None = None
    """Positions of the prompt, media included; None where the model doesn't tell."""
    output_tokens: int | None = None
    """Answer positions the model filled, the end of the turn and what a stop string cuts off included."""
    prefill_seconds: float | None = None
    """Share of ``seconds`` up to the first token (autoregressive) or the end of the first step (diffusion)."""
    decode_seconds: float | None = None
    """Share of ``seconds`` for everything later."""
    media_seconds: float | None = None
    """Wall time of decoding and preparing the sample's media; not part of ``seconds``."""
    flops: float | None = None
    """Floating-point operations of this sample, a multiplication and an addition being two (model/flops.py)."""
    peak_memory: int | None = None
    """Bytes in use at the worst moment of the sample's batch: on CUDA of the device, on the CPU of the whole process;
    None where the system doesn't tell (lladav_eval/batching.py)."""
    served_model: str | None = None
    """What an endpoint calls the model that answered, often with a date; None of a model that runs here."""

    @classmethod
    def failure(cls, reason: str) -> Generation:
        """The answer that couldn't be given, and why."""
        return cls(text="", stop_reason="failed", status="failed", error=reason)


def answer_text(decoded: str) -> str:
    """The text that is scored: one trailing period dropped, then trimmed, the same for every model.

    Source: the authors' adapter (llava_onevision_llada.py).
    """
    return decoded.removesuffix(".").strip()


@dataclass(frozen=True)
class Score:
    """One sample's verdict under one protocol."""

    value: float
    """The metric of this sample; 0 when failed, empty or unparsed (but an official scorer's guess may be right)."""
    extracted: str | None
    """The answer read out of the text; None when nothing could be read."""
    status: Literal["scored", "unparsed", "empty", "failed"]
    details: dict[str, Any] = field(default_factory=dict)
    """What aggregation needs besides the value: category, pair id, ..."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that was asked of one run; made of plain values, so that it can be written as JSON."""

    tasks: tuple[str, ...]
    """Full task names (``lladav_*``), groups resolved, in order."""
    model: str
    """The model as named by the user."""
    limit: int | None = None
    """First rows of every task only; None is all."""
    batch_size: int | None = None
    """Samples given to the model at once; None lets the run choose."""
    gen: tuple[tuple[str, str], ...] = ()
    """Generation settings that override the task's, as (name, value) text."""
    protocol: Literal["official", "strict"] = "strict"
    """Which answer rule is the headline; benchmarks are scored under both from the same answers."""
    include_path: tuple[str, ...] = ()
    """Folders with tasks beside the project's own."""
    data: str | None = None
    """Local data folder of the benchmarks instead of the hub."""
    judge: str | None = None
    """``MODEL@URL`` of the judge that some official protocols ask; never holds a key."""
    seed: int | None = None
    """Overrides the seed of every task; None keeps the task's own (0 if it names none)."""
    device: str | None = None
    dtype: str | None = None
    accelerate: tuple[str, ...] = ()
    """Of ``compile`` and ``cuda-graphs``: how the kernels of LLaDA-V's layers are launched (``lladav_eval.load``)."""
    offline: bool = False
    trace: bool = False
    """Record which position was filled at which step."""
    max_failures: str | None = None
    """A number of samples ("5") or a share ("1%"); None is the default rule of runs/execute.py."""
    time_limit: float | None = None
    """Most seconds from the start of a sample's batch to its answer; past them it has failed. None is no limit."""
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    """Processes that answer; None is this one, with Ray one for every GPU."""
    ray_address: str | None = None
    """Of a Ray cluster that runs already; None starts one here."""


@dataclass(frozen=True)
class Question:
    """One sample made ready for a model."""

    task: str
    doc_id: int
    """0-based position of the row in its split."""
    request: Request
    params: SamplingParams


class Answerer(Protocol):
    """A model as the run loop sees it."""

    @property
    def name(self) -> str:
        """How the model is called in tables."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever of the model can change an answer: weights, tokenizer and template files, dtype."""
        ...

    def description(self) -> dict[str, Any]:
        """JSON-able facts for the manifest: config, dtype, device, parameter count."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One generation per question, in order; a question that fails gets ``status="failed"`` and a reason."""
        ...

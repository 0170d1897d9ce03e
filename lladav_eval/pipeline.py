"""The straight line of a sample: Request -> Prompt -> bound model -> tokens -> Generation.

``LladaV.generate`` is the whole flow. The next batch's media are decoded while the model works on this one; a batch
that doesn't fit in memory is halved; a request that can't be answered becomes a failed Generation with its reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from lladav_eval.batching import answer_in_halves, peak_memory, watch_memory
from lladav_eval.errors import EnvironmentError_, SampleError, SettingError
from lladav_eval.model.checkpoint import checkpoint_hash, find_checkpoint, load_model
from lladav_eval.model.config import ModelConfig, read_config
from lladav_eval.model.lladav import BoundPrompts, LladavModel
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import prepare, stop_strings
from lladav_eval.records import Denoise, Generation, Prompt, Query, Request, SamplingParams, answer_text
from lladav_eval.sampling.autoregressive import decode_greedy
from lladav_eval.sampling.likelihood import LogLikelihood, masked_log_likelihood
from lladav_eval.sampling.loop import Sampled, SamplingTokens, SeededNoise, sample

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True)
class Prepared:
    """A request and its prompt, or why it has none."""

    request: Request
    prompt: Prompt | None
    error: str | None = None
    media_seconds: float | None = None


class LladaV:
    """A loaded checkpoint that answers requests. Make one with ``lladav_eval.load``."""

    def __init__(self, model: LladavModel, tokenizer: ChatTokenizer, directory: Path, name: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.directory = directory
        self.name = name

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @cached_property
    def weights_hash(self) -> str:
        """Digest of weights, config and tokenizer files: what an answer depends on besides its request."""
        return checkpoint_hash(self.directory)

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        trace: bool = False,
    ) -> list[Generation]:
        """Answer requests, in order. The answers don't depend on ``batch_size`` (exactly so in float32).

        Args:
            requests: text with images or a video.
            params: settings of the denoising loop; an autoregressive checkpoint uses ``gen_length`` and ``stop``.
            batch_size: requests per forward pass; halved where memory runs out.
            trace: record which positions each step filled, with their confidences.

        Returns:
            One Generation per request; ``status`` is "failed", with the reason, where none could be made.

        Raises:
            SettingError: if a setting contradicts the checkpoint; before any work.
        """
        if batch_size < 1:
            raise SettingError(f"batch_size={batch_size}: must be at least 1")
        self._check(params)
        batches = [requests[start : start + batch_size] for start in range(0, len(requests), batch_size)]
        answers: list[Generation] = []
        with ThreadPoolExecutor(max_workers=1) as pool:
            upcoming = [pool.submit(self._prepare, batch) for batch in batches[:1]]
            for following in [*batches[1:], None]:
                if not upcoming:
                    break
                prepared = upcoming.pop().result()
                if following is not None:
                    upcoming.append(pool.submit(self._prepare, following))
                answers.extend(self._answer(prepared, params, trace))
        return answers

    def log_likelihood(
        self, requests: Sequence[Request], answers: Sequence[str], *, draws: int = 128, seed: int = 0
    ) -> list[LogLikelihood]:
        """Masked-diffusion log-likelihood of one answer per request (sampling/likelihood.py).

        Raises:
            SampleError: for the first request that can't be prepared or answer that is empty.
            SettingError: if the checkpoint is autoregressive.
        """
        if self.config.causal:
            raise SettingError(f"{self.name}: is autoregressive; the masked likelihood needs a diffusion checkpoint")
        results = []
        for request, answer in zip(requests, answers, strict=True):
            with torch.inference_mode():
                bound = BoundPrompts.bind(self.model, [prepare(request, self.tokenizer, self.config)])
                target = self.tokenizer.encode(answer)
                results.append(
                    masked_log_likelihood(
                        bound, 0, bound.token_ids[0], target, self.tokenizer.mask_id, draws=draws, seed=seed
                    )
                )
        return results

    def _check(self, params: SamplingParams) -> None:
        if self.config.causal and params.approximate:
            raise SettingError(
                f"{self.name}: is autoregressive; cache, threshold and early_commit need a diffusion checkpoint"
            )
        if self.config.causal and (params.temperature or params.cfg_scale or params.suffix):
            raise SettingError(f"{self.name}: is autoregressive and decodes greedily; drop temperature, cfg and suffix")
        if params.suffix and not self.tokenizer.encode(params.suffix):
            raise SettingError(f"suffix={params.suffix!r}: has no tokens")

    def _prepare(self, requests: Sequence[Request]) -> list[Prepared]:
        """Decode media and render prompts; runs beside the model."""
        prepared = []
        for request in requests:
            started = time.perf_counter()
            try:
                prompt = prepare(request, self.tokenizer, self.config)
                prepared.append(Prepared(request, prompt, media_seconds=time.perf_counter() - started))
            except SampleError as error:
                prepared.append(Prepared(request, None, str(error)))
        return prepared

    def _answer(self, prepared: Sequence[Prepared], params: SamplingParams, trace: bool) -> list[Generation]:
        """Generations of one batch, in order, failures included."""
        good = [item for item in prepared if item.prompt is not None]
        generated = iter(answer_in_halves(good, lambda batch: self._run(batch, params, trace), self.model.device))
        return [
            next(generated) if item.prompt is not None else Generation.failure(item.error or "no prompt could be made")
            for item in prepared
        ]

    @torch.inference_mode()
    def _run(self, batch: Sequence[Prepared], params: SamplingParams, trace: bool) -> list[Generation]:
        """Encode, denoise and decode one batch."""
        device = self.model.device
        watch_memory(device)
        started = time.perf_counter()
        prompts = [item.prompt for item in batch if item.prompt is not None]
        bound = BoundPrompts.bind(self.model, prompts)
        lengths = [len(ids) for ids in bound.token_ids]
        tokens = [self._sampling_tokens(item.request, params) for item in batch]
        for length, special in zip(lengths, tokens, strict=True):
            self._check_length(length + params.gen_length + len(special.suffix_ids))
        steps = _Steps(bound)
        if self.config.causal:
            sampled = decode_greedy(steps, bound.token_ids, params, tokens)
        else:
            noise = [SeededNoise(sample_seed(params.seed, prompt)) for prompt in prompts]
            sampled = sample(steps, bound.token_ids, params, tokens, noise, record_trace=trace)
        ended = time.perf_counter()
        first_ended = steps.first_ended or ended
        return [
            dataclasses.replace(
                self._generation(result, params),
                seconds=(ended - started) / len(batch),
                prompt_tokens=lengths[index],
                prefill_seconds=(first_ended - started) / len(batch),
                decode_seconds=(ended - first_ended) / len(batch),
                media_seconds=batch[index].media_seconds,
                flops=bound.flops[index],
                peak_memory=peak_memory(device),
            )
            for index, result in enumerate(sampled)
        ]

    def _sampling_tokens(self, request: Request, params: SamplingParams) -> SamplingTokens:
        stops = [tuple(self.tokenizer.encode(stop)) for stop in stop_strings(request, params.stop, self.tokenizer)]
        forbidden: tuple[int, ...] = self.tokenizer.forbidden_ids
        if self.config.text_only:
            # LLaDA's own sampler forbids nothing: end-of-turn and end-of-text are how an answer ends (its generate.py).
            forbidden = ()
            stops += [(self.tokenizer.eot_id,), (self.tokenizer.eos_id,)]
        return SamplingTokens(
            mask_id=self.tokenizer.mask_id,
            forbidden_ids=forbidden,
            stop_sequences=tuple(stops),
            suffix_ids=tuple(self.tokenizer.encode(params.suffix)) if params.suffix else (),
        )

    def _check_length(self, length: int) -> None:
        if length > self.config.max_length:
            raise SampleError(
                f"prompt and answer take {length} positions, the model was trained for {self.config.max_length}; "
                "use fewer images, fewer frames or a shorter question"
            )

    def _generation(self, result: Sampled, params: SamplingParams) -> Generation:
        if result.error is not None:
            return Generation.failure(result.error)
        # A diffusion model fills every answer position, whatever stands in it in the end.
        filled = result.forward_passes if self.config.causal else params.gen_length
        return Generation(
            text=answer_text(self.tokenizer.decode(list(result.token_ids))),
            token_ids=result.token_ids,
            forward_passes=result.forward_passes,
            stop_reason=result.stop_reason,
            trace=result.trace,
            output_tokens=filled,
        )


class _Steps:
    """A denoiser that notes when the second step begins, which is when the first has truly ended."""

    def __init__(self, denoise: Denoise) -> None:
        self.denoise = denoise
        self.calls = 0
        self.first_ended: float | None = None

    def __call__(self, queries: Sequence[Query]) -> list[torch.Tensor]:
        if self.calls == 1:
            self.first_ended = time.perf_counter()
        self.calls += 1
        return self.denoise(queries)


def load(
    name_or_dir: str | Path,
    device: str | None = None,
    dtype: str | None = None,
    *,
    offline: bool = False,
    compile_layers: bool = False,
) -> LladaV:
    """Load a checkpoint: ``pocket``, ``pocket-ar``, a directory, or a hub name such as ``GSAI-ML/LLaDA-V``.

    Args:
        name_or_dir: which checkpoint.
        device: ``cuda``, ``cuda:1``, ``cpu``, ``mps``; default: CUDA when present, else CPU.
        dtype: ``float32``, ``bfloat16`` or ``float16``; default: bfloat16 on CUDA, float32 elsewhere.
        offline: never touch the network.
        compile_layers: run the transformer layers through ``torch.compile``.

    Raises:
        CheckpointError: if the checkpoint can't be loaded as it stands.
        EnvironmentError_: if the device or the hub is missing.
        SettingError: if the device or type name means nothing.
    """
    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    directory = find_checkpoint(str(name_or_dir), offline)
    config = read_config(directory)
    tokenizer = ChatTokenizer.from_dir(directory)
    model = load_model(directory, config, len(tokenizer), target, precision)
    if compile_layers:
        for layer in model.model.layers:
            layer.compile(dynamic=True)
    return LladaV(model, tokenizer, directory, str(name_or_dir))


def choose_device(name: str | None) -> torch.device:
    """The device of that name, or the best one here."""
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingError(f"device={name!r}: not a device; use cuda, cuda:N, cpu or mps") from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise EnvironmentError_(f"device={name!r}: this machine has no such device; drop --device or use --device cpu")
    if device.type not in ("cuda", "cpu", "mps"):
        raise SettingError(f"device={name!r}: not supported; use cuda, cuda:N, cpu or mps")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The type of that name, or the default of the device."""
    if name is None or name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise SettingError(f"dtype={name!r}: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


def sample_seed(seed: int, prompt: Prompt) -> int:
    """Seed of a sample's own generator: from the run's seed and the prompt, so that neither order nor batch matters."""
    digest = hashlib.blake2b(f"{seed}\0{prompt.text}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1

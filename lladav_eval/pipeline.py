"""The straight line of a sample: Request -> Prompt -> bound model -> tokens -> Generation.

``LladaV.stream`` is the whole flow. The next samples' media are decoded while the model works on these; samples come
and go between two denoising steps (continuous.py); a request that can't be answered becomes a failed Generation with
its reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path

import torch

from lladav_eval.background import Background
from lladav_eval.batching import answer_in_halves, peak_memory, watch_memory
from lladav_eval.continuous import Batch, Done, Holds, Job, too_long
from lladav_eval.errors import SampleError, SettingError
from lladav_eval.model.bound import BoundPrompts
from lladav_eval.model.checkpoint import checkpoint_hash
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.lladav import LladavModel
from lladav_eval.model.memory import USABLE, PromptSize, at_once, batch_bytes, free_bytes
from lladav_eval.preparing import Prepared, Preparer
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import prepare
from lladav_eval.records import (
    DEFAULT_BATCH_SIZE,
    Denoise,
    Generation,
    Prompt,
    Query,
    Request,
    SamplingParams,
    answer_text,
)
from lladav_eval.sampling.autoregressive import decode_greedy
from lladav_eval.sampling.likelihood import LogLikelihood, masked_log_likelihood
from lladav_eval.sampling.loop import Sampled

PREPARING_THREADS = 4
"""Threads that prepare media for a GPU, each with a process for videos; the CPU spares one."""


class LladaV:
    """A loaded checkpoint that answers requests. Make one with ``lladav_eval.load``."""

    def __init__(self, model: LladavModel, tokenizer: ChatTokenizer, directory: Path, name: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.directory = directory
        self.name = name
        self.preparer = Preparer(tokenizer, model.config)

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
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        trace: bool = False,
        time_limit: float | None = None,
    ) -> list[Generation]:
        """Answer requests, in order. The answers don't depend on ``batch_size`` (exactly so in float32 on a CPU).

        Args:
            requests: text with images or a video.
            params: settings of the denoising loop; an autoregressive checkpoint uses ``gen_length`` and ``stop``.
            batch_size: requests per forward pass, fewer where memory runs out; None fills the device's memory.
            trace: record which positions each step filled, with their confidences.
            time_limit: seconds after which a sample is given up between two steps; not for autoregressive checkpoints.

        Returns:
            One Generation per request; ``status`` is "failed", with the reason, where none could be made.

        Raises:
            SettingError: if a setting contradicts the checkpoint; before any work.
        """
        if batch_size is not None and batch_size < 1:
            raise SettingError(f"batch_size={batch_size}: must be at least 1")
        self._check(params)
        answers: dict[int, Generation] = {}
        asked = ((request, params) for request in requests)
        for finished in self.stream(asked, batch_size=batch_size, trace=trace, time_limit=time_limit):
            answers.update(finished)
        return [answers[index] for index in range(len(requests))]

    def stream(
        self,
        asked: Iterable[tuple[Request, SamplingParams]],
        *,
        batch_size: int | None = DEFAULT_BATCH_SIZE,
        trace: bool = False,
        time_limit: float | None = None,
    ) -> Iterator[list[tuple[int, Generation]]]:
        """Answer requests as they are finished: (position in the order given, answer), several at a time.

        Requests are drawn as they are needed, a batch ahead, and their media prepared beside the model. Those that
        follow each other with equal settings share batches, in which a new one takes the place of a finished one.
        ``batch_size`` None fills the device's memory. The rest is as in ``generate``.
        """
        threads = 1 if self.model.device.type == "cpu" else PREPARING_THREADS
        with Background(threads) as pool:
            ahead = self.preparer.ahead(asked, pool, 2 * (batch_size or DEFAULT_BATCH_SIZE))
            for params, group in groupby(ahead, key=lambda item: item[1].params):
                self._check(params)
                width = batch_size or at_once(self.config, self.model.device.type)
                if self.config.causal:
                    yield from self._decode(group, params, width)
                else:
                    holds = None if batch_size else self._holds(params)
                    yield from self._denoise(group, params, width, holds, trace, time_limit)

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

    def _denoise(
        self,
        items: Iterator[tuple[int, Prepared]],
        params: SamplingParams,
        width: int,
        holds: Holds | None,
        trace: bool,
        time_limit: float | None,
    ) -> Iterator[list[tuple[int, Generation]]]:
        """Diffusion, by continuous batching."""
        refused: list[tuple[int, Generation]] = []
        media_seconds: dict[int, float | None] = {}

        def jobs() -> Iterator[Job]:
            for index, item in items:
                if item.prompt is None:
                    refused.append((index, Generation.failure(item.error or "no prompt could be made")))
                    continue
                media_seconds[index] = item.media_seconds
                size = PromptSize.of(item.prompt, self.config, len(item.tokens.suffix_ids))
                yield Job(index, item.prompt, item.tokens, sample_seed(params.seed, item.prompt), size)

        ready = jobs()
        first = next(ready, None)
        if first is not None:
            batch = Batch(self.model, params, width, holds, trace=trace, time_limit=time_limit)
            for left in batch.run(chain([first], ready)):
                answers = [(done.index, self._generation(done, params, media_seconds.pop(done.index))) for done in left]
                yield refused + answers
                refused.clear()
        if refused:
            yield refused

    def _holds(self, params: SamplingParams) -> Holds | None:
        """Whether the device's memory holds a batch of these prompts; None where its size isn't known."""
        free = free_bytes(self.model.device)
        if free is None:
            return None
        config, vocabulary, dtype = self.config, self.model.lm_head.out_features, self.model.dtype

        def holds(sizes: Sequence[PromptSize]) -> bool:
            return batch_bytes(config, vocabulary, sizes, params, dtype, self.model.device.type) <= USABLE * free

        return holds

    def _decode(
        self, items: Iterator[tuple[int, Prepared]], params: SamplingParams, batch_size: int
    ) -> Iterator[list[tuple[int, Generation]]]:
        """The autoregressive twin, batch by batch."""
        while batch := list(islice(items, batch_size)):
            good = [item for _, item in batch if item.prompt is not None]
            generated = iter(answer_in_halves(good, lambda part: self._decode_batch(part, params), self.model.device))
            yield [
                (index, next(generated))
                if item.prompt is not None
                else (index, Generation.failure(item.error or "no prompt could be made"))
                for index, item in batch
            ]

    @torch.inference_mode()
    def _decode_batch(self, batch: Sequence[Prepared], params: SamplingParams) -> list[Generation]:
        device = self.model.device
        watch_memory(device)
        started = time.perf_counter()
        bound = BoundPrompts.bind(self.model, [item.prompt for item in batch if item.prompt is not None])
        lengths = [len(ids) for ids in bound.token_ids]
        for length in lengths:
            if length + params.gen_length > self.config.max_length:
                raise SampleError(too_long(length + params.gen_length, self.config.max_length))
        steps = _Steps(bound)
        sampled = decode_greedy(steps, bound.token_ids, params, [item.tokens for item in batch])
        ended = time.perf_counter()
        first_ended = steps.first_ended or ended
        return [
            dataclasses.replace(
                self._answer(result, result.forward_passes),
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

    def _generation(self, done: Done, params: SamplingParams, media_seconds: float | None) -> Generation:
        if done.sampled is None:
            return Generation.failure(done.error or "the sample wasn't answered")
        cost = done.cost
        first = cost.encoding_seconds + sum(cost.step_seconds[:1])
        later = sum(cost.step_seconds[1:])
        return dataclasses.replace(
            # A diffusion model fills every answer position, whatever stands in it in the end.
            self._answer(done.sampled, params.gen_length),
            seconds=first + later,
            prompt_tokens=cost.prompt_tokens,
            prefill_seconds=first,
            decode_seconds=later,
            media_seconds=media_seconds,
            flops=cost.flops,
            peak_memory=cost.peak_memory,
        )

    def _answer(self, result: Sampled, filled: int) -> Generation:
        if result.error is not None:
            return Generation.failure(result.error)
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


def sample_seed(seed: int, prompt: Prompt) -> int:
    """Seed of a sample's own generator: from the run's seed and the prompt, so that neither order nor batch matters."""
    digest = hashlib.blake2b(f"{seed}\0{prompt.text}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1

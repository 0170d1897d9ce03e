"""The denoising loop: semi-autoregressive blocks of masked positions, filled over several steps.

All unfinished samples share one call of the denoiser per step, yet each walks at its own pace: it has its own block,
its own stop position and its own noise, and leaves the batch when it is done. So the batch never changes an answer.

Only positions that can still be filled are asked about; steps with nothing to fill cost no forward pass.

Approximate modes are two small objects given to this loop: what to compute (cache.py) and what to fill (filling.py).

Source: ``generate_with_embeds`` of the authors' modeling_llada.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lladav_eval.errors import SettingError
from lladav_eval.records import Denoise, Query, Reuse, SamplingParams, StopReason, TraceStep
from lladav_eval.sampling.cache import CachePolicy, Moment, cache_policy
from lladav_eval.sampling.confidence import Choice, choose_tokens
from lladav_eval.sampling.filling import Filling, Offer, filling_rule
from lladav_eval.sampling.noise import NoiseSource, SeededNoise
from lladav_eval.sampling.stopping import updated_stop


@dataclass(frozen=True)
class SamplingTokens:
    """Token ids the sampler needs to know; checked on creation."""

    mask_id: int
    forbidden_ids: tuple[int, ...] = ()
    """Never chosen (126081, 126080, 126346 and 126347 for LLaDA-V)."""
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    """The stop strings as ids, in the order the task lists them."""
    suffix_ids: tuple[int, ...] = ()
    """Fixed ids after the answer positions."""

    def __post_init__(self) -> None:
        if not all(self.stop_sequences):
            raise SettingError("a stop string becomes no tokens at all: remove it")


@dataclass(frozen=True)
class Sampled:
    """What the sampler made of one prompt."""

    token_ids: tuple[int, ...]
    """The answer up to the stop position, then the suffix. Positions that were never filled hold the mask id."""
    stop_reason: StopReason
    forward_passes: int
    """Sequences the model answered about; guidance counts two a step."""
    trace: tuple[TraceStep, ...] | None = None
    error: str | None = None


def sample(
    denoise: Denoise,
    prompts: Sequence[Tensor],
    params: SamplingParams,
    tokens: Sequence[SamplingTokens],
    noise: Sequence[NoiseSource] | None = None,
    record_trace: bool = False,
) -> list[Sampled]:
    """Answer ``prompts`` by masked diffusion.

    Args:
        denoise: the model; ``Query.sample`` is the index into ``prompts``.
        prompts: (length,) int64 each, image positions expanded.
        params: settings, shared by the batch.
        tokens: special ids of each prompt.
        noise: randomness of each prompt; by default a generator seeded with ``params.seed`` for each.
        record_trace: whether to keep what each step filled.

    A sample whose logits are not finite ends with ``error``; the others go on.
    """
    sources = [SeededNoise(params.seed) for _ in prompts] if noise is None else noise
    sampler = Sampler(denoise, params, record_trace)
    for index, (prompt, special, source) in enumerate(zip(prompts, tokens, sources, strict=True)):
        sampler.add(index, prompt, special, source)
    answers: dict[int, Sampled] = {}
    while sampler.active:
        answers.update(sampler.step())
    return [answers[index] for index in range(len(prompts))]


class Sampler:
    """Samples under way. One step is one forward pass for all of them; samples may come and go between steps."""

    def __init__(self, denoise: Denoise, params: SamplingParams, record_trace: bool = False) -> None:
        self.denoise = denoise
        self.params = params
        self.record_trace = record_trace
        self._filling, self._policy = filling_rule(params), cache_policy(params)
        self._walks: dict[int, _Walk] = {}

    @property
    def active(self) -> tuple[int, ...]:
        """The samples under way, in the order they came."""
        return tuple(self._walks)

    def add(self, index: int, prompt: Tensor, tokens: SamplingTokens, noise: NoiseSource) -> None:
        """Begin a sample; ``index`` is what its queries call it."""
        self._walks[index] = _Walk(
            index, prompt, self.params, tokens, noise, self._filling, self._policy, self.record_trace
        )

    def drop(self, index: int) -> None:
        """Forget a sample that isn't finished."""
        del self._walks[index]

    def step(self) -> dict[int, Sampled]:
        """One denoising step of every sample; gives those that are finished by it (or had nothing to fill)."""
        walks = list(self._walks.values())
        with torch.no_grad():
            asking = [walk for walk in walks if walk.ready()]
            if asking:
                for walk, choice in zip(asking, _ask(self.denoise, asking, self.params), strict=True):
                    walk.fill(choice)
        finished = {walk.index: walk.result() for walk in walks if not walk.ready()}
        for index in finished:
            del self._walks[index]
        return finished


def _ask(denoise: Denoise, walks: Sequence[_Walk], params: SamplingParams) -> list[Choice]:
    """One forward pass for all ``walks``."""
    queries = [walk.query() for walk in walks]
    unconditional = None
    if params.cfg_scale > 0:
        logits = denoise(queries + [walk.query_without_prompt() for walk in walks])
        logits, unconditional = logits[: len(walks)], logits[len(walks) :]
    else:
        logits = denoise(queries)
    forbidden = [walk.tokens.forbidden_ids for walk in walks]
    gaps = walks[0].filling.looks_at_gaps
    if params.temperature == 0:
        return choose_tokens(logits, forbidden, unconditional, params.cfg_scale, with_gaps=gaps)
    # One sample after another: its noise is as large as its logits in float64.
    return [
        choose_tokens(
            [scores],
            [forbidden[row]],
            None if unconditional is None else [unconditional[row]],
            params.cfg_scale,
            params.temperature,
            walks[row].noise.token_uniforms(walks[row].positions, scores.shape[1]),
            gaps,
        )[0]
        for row, scores in enumerate(logits)
    ]


@dataclass(frozen=True)
class _Step:
    block: int
    index: int
    """0-based over all blocks."""
    in_block: int
    """0-based in its block."""
    count: int
    """Positions to fill."""
    progress: float
    """Share of the block's steps that are done."""


class _Walk:
    """One sample on its way through blocks and steps.

    A position before the suffix is masked if it holds the mask id. So mask tokens inside the prompt are filled too and
    use up what the step may fill, leaving masks in the answer; and a position for which the model chose the mask
    token stays open. The authors' code finds masks by their embedding, with the same effect.
    """

    def __init__(
        self,
        index: int,
        prompt: Tensor,
        params: SamplingParams,
        tokens: SamplingTokens,
        noise: NoiseSource,
        filling: Filling,
        policy: CachePolicy | None,
        record_trace: bool,
    ) -> None:
        self.index, self.params, self.tokens, self.noise = index, params, tokens, noise
        self.filling, self.policy = filling, policy
        self.start = len(prompt)
        self.end = self.start + params.gen_length
        answer = torch.full((params.gen_length,), tokens.mask_id)
        self.ids = torch.cat((prompt.cpu(), answer, torch.tensor(tokens.suffix_ids, dtype=torch.int64)))
        self.stop: int | None = None
        self.positions = torch.empty(0, dtype=torch.int64)
        self.forward_passes = 0
        self.steps_asked = 0
        self.trace: list[TraceStep] | None = [] if record_trace else None
        self.error: str | None = None
        self._steps = self._walk()
        self._step = _Step(0, 0, 0, 0, 0.0)
        self._waiting = False

    def _masked(self, start: int, end: int) -> Tensor:
        return self.ids[start:end] == self.tokens.mask_id

    def _walk(self) -> Iterator[_Step]:
        """The steps that have something to fill."""
        length, before = self.params.block_length, 0
        for block in range(self.params.num_blocks):
            if self.stop is not None and self.stop <= block * length:
                return
            start = self.start + block * length
            masked = int(self._masked(start, start + length).sum())
            counts = self.filling.counts(masked, self.params.steps_per_block)
            for step, count in enumerate(counts):
                done = self.stop is not None and not self._masked(self.start, self.start + self.stop).any()
                if done or not count or not self._masked(start, start + length).any():
                    break
                yield _Step(block, before + step, step, count, step / len(counts))
            before += len(counts)

    def ready(self) -> bool:
        """Go to the next step unless one is waiting to be filled; False when there is none."""
        if self._waiting:
            return True
        step = None if self.error else next(self._steps, None)
        if step is None:
            return False
        self.steps_asked += self._step.count > 0
        self._step, self._waiting = step, True
        masked = self._masked(0, self.end).nonzero().squeeze(1)
        fillable = masked[masked < self._limit()]
        # With too few to fill, masks beyond the limit are filled as well, so their tokens must be known.
        self.positions = masked if step.count > len(fillable) else fillable
        return True

    def _limit(self) -> int:
        """Positions from here on are not to be filled: the end of the block or, once there is one, the stop."""
        if self.stop is not None:
            return self.start + self.stop
        return self.start + (self._step.block + 1) * self.params.block_length

    def query(self) -> Query:
        return Query(self.index, self.ids.clone(), self.positions, self._reuse())

    def query_without_prompt(self) -> Query:
        """The unconditional query of guidance: mask ids instead of the whole prompt, visuals included."""
        ids = self.ids.clone()
        ids[: self.start] = self.tokens.mask_id
        reuse = self._reuse()
        return Query(self.index, ids, self.positions, reuse and replace(reuse, unconditional=True))

    def _reuse(self) -> Reuse | None:
        """What the model may read from its cache; None, the exact mode, is nothing."""
        if self.policy is None:
            return None
        start = self.start + self._step.block * self.params.block_length
        end = start + self.params.block_length
        moment = Moment(self.positions, self.start, start, end, len(self.ids), self._step.in_block, self.steps_asked)
        return self.policy.reuse(moment)

    def fill(self, choice: Choice) -> None:
        """Keep the step's most confident tokens, then look for a stop string."""
        self._waiting = False
        self.forward_passes += 2 if self.params.cfg_scale > 0 else 1  # here: a step that broke off is repeated
        if not choice.finite:
            self.error = f"the model gave logits that are not finite at step {self._step.index}; try dtype float32"
            return
        confidences = choice.probabilities
        if self.params.remasking == "random":
            confidences = self.noise.position_uniforms(self.positions)
        confidences = confidences.masked_fill(self.positions >= self._limit(), -torch.inf)
        picked = self.filling.pick(
            Offer(self.positions, confidences, choice.gaps, len(self.ids), self._step.count, self._step.progress)
        )
        self.ids[self.positions[picked]] = choice.token_ids[picked]
        if self.trace is not None:
            self.trace.append(
                TraceStep(
                    self._step.index,
                    self._step.block,
                    tuple((self.positions[picked] - self.start).tolist()),
                    tuple(choice.token_ids[picked].tolist()),
                    tuple(confidences[picked].tolist()),
                )
            )
        if self.tokens.stop_sequences:
            answer = self.ids[self.start : self.end].tolist()
            self.stop = updated_stop(answer, self.tokens.stop_sequences, self.stop)

    def result(self) -> Sampled:
        trace = None if self.trace is None else tuple(self.trace)
        if self.error is not None:
            return Sampled((), "failed", self.forward_passes, trace, self.error)
        answer = self.ids[self.start : self.end].tolist()[: self.stop]
        reason: StopReason = "length" if self.stop is None else "stop"
        return Sampled((*answer, *self.tokens.suffix_ids), reason, self.forward_passes, trace)

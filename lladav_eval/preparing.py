"""From a request to what the model needs of it: media decoded and the prompt rendered, ahead of the model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count

from lladav_eval.background import Background
from lladav_eval.errors import SampleError
from lladav_eval.model.config import ModelConfig
from lladav_eval.model.counts import tiled_image
from lladav_eval.processing.chat import ChatTokenizer
from lladav_eval.processing.prompt import prepare, stop_strings
from lladav_eval.records import Prompt, Request, SamplingParams
from lladav_eval.sampling.loop import SamplingTokens

MOST_BYTES = 768 << 20
"""Memory that requests and prompts which wait for the model may take together; one may always wait."""

Asked = tuple[Request, SamplingParams]


@dataclass(frozen=True)
class Prepared:
    """What the model needs of a request, whose own media are no longer held; or why it has no prompt."""

    params: SamplingParams
    tokens: SamplingTokens
    prompt: Prompt | None
    error: str | None = None
    media_seconds: float | None = None


class Preparer:
    """Makes the requests for one checkpoint ready."""

    def __init__(self, tokenizer: ChatTokenizer, config: ModelConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config

    def ahead(self, asked: Iterable[Asked], pool: Background, depth: int) -> Iterator[tuple[int, Prepared]]:
        """(place, request made ready) in order, up to ``depth`` ahead of the reader and as far as memory allows."""
        source = iter(asked)
        coming: deque[tuple[int, Future[Prepared]]] = deque()
        waiting = 0
        for index in count():
            while len(coming) < depth and waiting < MOST_BYTES:
                drawn = next(source, None)
                if drawn is None:
                    break
                size = self._waiting_bytes(drawn[0])
                coming.append((size, pool.submit(self.prepare, *drawn)))
                waiting += size
            if not coming:
                return
            size, ready = coming.popleft()
            waiting -= size
            yield index, ready.result()

    def prepare(self, request: Request, params: SamplingParams) -> Prepared:
        """Decode media and render the prompt."""
        tokens = self._sampling_tokens(request, params)
        started = time.perf_counter()
        try:
            prompt = prepare(request, self.tokenizer, self.config)
        except SampleError as error:
            return Prepared(params, tokens, None, str(error))
        return Prepared(params, tokens, prompt, media_seconds=time.perf_counter() - started)

    def _waiting_bytes(self, request: Request) -> int:
        """Memory that a request takes at most before the model has it: its media, and the pixels made of them."""
        media = request.media_bytes
        tiles = len(request.images) if request.video is None else request.num_frames
        if len(request.images) == 1 and media:
            tiles, _ = tiled_image(self.config, request.images[0].size)
        return media + tiles * 3 * self.config.vision.image_size**2 * 4

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

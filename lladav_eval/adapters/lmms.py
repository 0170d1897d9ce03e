"""LLaDA-V as an lmms-eval model: ``lmms-eval --model lladav --model_args pretrained=DIR``.

Everything lmms-eval asks of a model is answered by the same pipeline that ``lladav-eval run`` uses.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms

from lladav_eval.errors import SampleError, SettingError
from lladav_eval.loading import load
from lladav_eval.pipeline import LladaV
from lladav_eval.records import Generation, Request, SamplingParams
from lladav_eval.sampling.likelihood import LogLikelihood
from lladav_eval.settings import GenerationSettings, request_from, shown, translate

logger = logging.getLogger(__name__)


class Likelihood(tuple[float, bool], GenerationResult):
    """(value, whether it is the greedy answer). lmms-eval's evaluator turns plain tuples into text, but gives the
    ``text`` of a GenerationResult on as it is (``unwrap_generation_output``)."""

    def __new__(cls, value: float, greedy: bool) -> Likelihood:
        return super().__new__(cls, (value, greedy))

    def __init__(self, value: float, greedy: bool) -> None:
        self.text = (value, greedy)
        self.token_counts = None

    def __getnewargs__(self) -> tuple[float, bool]:  # for copies: __new__ takes two
        return self.text


class Lladav(lmms):
    """A LLaDA-V checkpoint behind lmms-eval's model interface.

    Args:
        pretrained: ``pocket``, a directory, or a hub name.
        device: as in ``lladav_eval.load``; with several processes each takes the CUDA device of its local rank.
        dtype: as in ``lladav_eval.load``.
        batch_size: requests per forward pass; answers don't depend on it.
        max_batch_size: accepted because lmms-eval passes it on; an upper bound for ``batch_size``.
        mc_num: draws of the Monte Carlo log-likelihood (the authors' name).
        seed: of log-likelihood draws and of sampling, where the task sets none.
        gen_length, block_length, steps, temperature, cfg_scale, remasking: override the task's settings.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "pocket",
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        mc_num: int = 128,
        seed: int = 0,
        gen_length: int | None = None,
        block_length: int | None = None,
        steps: int | None = None,
        temperature: float | None = None,
        cfg_scale: float | None = None,
        remasking: str | None = None,
    ) -> None:
        super().__init__()
        size = 32 if batch_size == "auto" else int(batch_size)
        self.batch_size = min(size, int(max_batch_size)) if max_batch_size else size
        if self.batch_size < 1:
            raise SettingError(f"batch_size={batch_size}: must be at least 1, or auto")
        self.mc_num = int(mc_num)
        self.seed = int(seed)
        given = {
            "gen_length": gen_length,
            "block_length": block_length,
            "steps": steps,
            "temperature": temperature,
            "cfg_scale": cfg_scale,
            "remasking": remasking,
        }
        self.overrides = {name: value for name, value in given.items() if value is not None}
        self.accelerator = _join_processes()
        if self.accelerator is not None:
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
            if torch.cuda.is_available() and device in (None, "cuda"):
                device = f"cuda:{self.accelerator.local_process_index}"
        self.model: LladaV = load(pretrained, device, dtype)
        self.log_likelihoods: list[LogLikelihood] = []
        """Estimates behind the last ``loglikelihood`` call, with their standard errors and draws."""

    @property
    def device(self) -> torch.device:
        return self.model.model.device

    @property
    def rank(self) -> int:
        return int(self._rank)

    @property
    def world_size(self) -> int:
        return int(self._world_size)

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answers in the order of ``requests``; requests of equal settings share batches."""
        settings = [self._settings(request.args[1]) for request in requests]
        by_params: dict[SamplingParams, list[int]] = {}
        for place, translated in enumerate(settings):
            by_params.setdefault(translated.params, []).append(place)
        asked: list[int] = []
        answers: dict[int, Generation] = {}

        def prepared() -> Iterator[tuple[Request, SamplingParams]]:
            """Drawn a batch ahead of the model: a split's images wouldn't fit in memory."""
            for place in itertools.chain.from_iterable(by_params.values()):
                context, _, doc_to_visual, doc_id, task, split = requests[place].args
                try:
                    request = self._request(context, doc_to_visual, task, split, doc_id, settings[place])
                except SampleError as error:
                    answers[place] = Generation.failure(str(error))
                    continue
                asked.append(place)
                yield request, settings[place].params

        for finished in self.model.stream(prepared(), batch_size=self.batch_size):
            answers.update((asked[index], answer) for index, answer in finished)
        return [
            GenerationResult(
                _text(answers[place], *request.args[3:5]), TokenCounts(output_tokens=len(answers[place].token_ids))
            )
            for place, request in enumerate(requests)
        ]

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """Per request the answers of all its rounds; the task's ``doc_to_text`` makes each next round's prompt."""
        return [self._play_rounds(*request.args) for request in requests]

    def loglikelihood(self, requests: Sequence[Instance]) -> list[Likelihood]:
        """Masked-diffusion likelihood (``mc_num`` draws) and whether greedy denoising gives the same answer.

        For the options of a multiple-choice question, which come as text, it is the loss per token: lmms-eval takes the
        option of the smallest value (``ConfigurableTask.process_results``), as its own models return losses. Of a
        task's target it is the log-likelihood, from which lmms-eval makes a perplexity.
        """
        results = []
        self.log_likelihoods = []
        for context, target, doc_to_visual, doc_id, task, split in (request.args for request in requests):
            answer = target if isinstance(target, str) else target(self._document(task, split, doc_id))
            request = self._request(context, doc_to_visual, task, split, doc_id, None)
            estimate = self.model.log_likelihood([request], [answer], draws=self.mc_num, seed=self.seed)[0]
            self.log_likelihoods.append(estimate)
            tokens = len(self.model.tokenizer.encode(answer))
            value = -estimate.value / tokens if isinstance(target, str) else estimate.value
            results.append(Likelihood(value, self._is_greedy(request, answer)))
        if self.log_likelihoods:
            worst = max(estimate.standard_error for estimate in self.log_likelihoods)
            logger.info("log-likelihood: %d draws, largest standard error %.4f nats", self.mc_num, worst)
        return results

    def _settings(self, generation_kwargs: dict[str, Any]) -> GenerationSettings:
        return translate(generation_kwargs, {"seed": self.seed, **self.overrides})

    def _document(self, task: str, split: str, doc_id: int) -> Any:
        return self.task_dict[task][split][doc_id]

    def _request(
        self,
        context: str,
        doc_to_visual: Callable[[Any], Any],
        task: str,
        split: str,
        doc_id: int,
        settings: GenerationSettings | None,
    ) -> Request:
        return request_from(context, shown(doc_to_visual, self._document(task, split, doc_id)), settings)

    def _play_rounds(
        self,
        context: str,
        settings: dict[str, Any],
        doc_to_visual: Callable[[Any], Any],
        doc_to_text: Callable[..., Any],
        doc_id: int,
        task: str,
        split: str,
    ) -> list[str]:
        translated = self._settings(settings)
        document = self._document(task, split, doc_id)
        answers: list[str] = []
        visuals: Any = None
        memory: Any = None
        for number in itertools.count(1):
            try:
                visuals = shown(doc_to_visual, document) if number == 1 else visuals
                request = request_from(context, visuals, translated)
                answer = self.model.generate([request], translated.params, batch_size=1)[0]
            except SampleError as error:
                answer = Generation.failure(str(error))
            visuals, context, finished, outputs, memory = doc_to_text(
                document,
                previous_output=[*answers, _text(answer, doc_id, task)],
                round_idx=number,
                previous_round_info=memory,
            )
            answers = list(outputs)  # a task may rewrite what was said
            if finished:
                break
        return answers

    def _is_greedy(self, request: Request, answer: str) -> bool:
        target = tuple(self.model.tokenizer.encode(answer))
        params = SamplingParams(len(target), len(target), len(target), seed=self.seed)
        return self.model.generate([request], params)[0].token_ids == target


def _text(answer: Generation, doc_id: int, task: str) -> str:
    """lmms-eval knows no failed samples: an empty answer is scored wrong, and the log says why."""
    if answer.status == "failed":
        logger.warning("%s, row %s failed: %s", task, doc_id, answer.error)
    return answer.text


def _join_processes() -> Any:
    """The accelerate handle when launched as one of several processes, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    # lmms-eval leaves the process group open, whose threads then may abort a process that is done.
    atexit.register(accelerator.state.destroy_process_group)
    return accelerator

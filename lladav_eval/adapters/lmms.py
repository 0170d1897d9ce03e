"""LLaDA-V as an lmms-eval model: ``lmms-eval --model lladav --model_args pretrained=DIR``.

Everything lmms-eval asks of a model is answered by the same pipeline that ``lladav-eval run`` uses.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms

from lladav_eval.errors import SettingError
from lladav_eval.loading import load
from lladav_eval.pipeline import LladaV
from lladav_eval.records import Generation, Request, SamplingParams
from lladav_eval.sampling.likelihood import LogLikelihood
from lladav_eval.settings import GenerationSettings, request_from, translate

logger = logging.getLogger(__name__)


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
        prepared = []
        for context, settings, doc_to_visual, doc_id, task, split in (request.args for request in requests):
            translated = self._settings(settings)
            prepared.append((self._request(context, doc_to_visual, task, split, doc_id, translated), translated.params))
        return [
            GenerationResult(answer.text, TokenCounts(output_tokens=len(answer.token_ids)))
            for answer in self._generate(prepared)
        ]

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """Per request the answers of all its rounds; the task's ``doc_to_text`` makes each next round's prompt."""
        return [self._play_rounds(*request.args) for request in requests]

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Masked-diffusion log-likelihood (``mc_num`` draws) and whether greedy denoising gives the same answer."""
        results = []
        self.log_likelihoods = []
        for context, target, doc_to_visual, doc_id, task, split in (request.args for request in requests):
            answer = target if isinstance(target, str) else target(self._document(task, split, doc_id))
            request = self._request(context, doc_to_visual, task, split, doc_id, None)
            estimate = self.model.log_likelihood([request], [answer], draws=self.mc_num, seed=self.seed)[0]
            self.log_likelihoods.append(estimate)
            results.append((estimate.value, self._is_greedy(request, answer)))
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
        return request_from(context, doc_to_visual(self._document(task, split, doc_id)), settings)

    def _generate(self, prepared: Sequence[tuple[Request, SamplingParams]]) -> list[Generation]:
        by_params: dict[SamplingParams, list[int]] = {}
        for index, (_, params) in enumerate(prepared):
            by_params.setdefault(params, []).append(index)
        answers: dict[int, Generation] = {}
        for params, members in by_params.items():
            requests = [prepared[index][0] for index in members]
            generated = self.model.generate(requests, params, batch_size=self.batch_size)
            answers.update(zip(members, generated, strict=True))
        for index, answer in answers.items():
            if answer.status == "failed":
                # lmms-eval knows no failed samples: an empty answer is scored wrong, and the log says why.
                logger.warning("request %d failed: %s", index, answer.error)
        return [answers[index] for index in range(len(prepared))]

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
        visuals = doc_to_visual(document)
        answers: list[str] = []
        memory: Any = None
        while True:
            request = request_from(context, visuals, translated)
            answers.append(self._generate([(request, translated.params)])[0].text)
            visuals, context, finished, outputs, memory = doc_to_text(
                document, previous_output=list(answers), round_idx=len(answers), previous_round_info=memory
            )
            if finished:
                return list(outputs)

    def _is_greedy(self, request: Request, answer: str) -> bool:
        target = tuple(self.model.tokenizer.encode(answer))
        params = SamplingParams(len(target), len(target), len(target), seed=self.seed)
        return self.model.generate([request], params)[0].token_ids == target


def _join_processes() -> Any:
    """The accelerate handle when launched as one of several processes, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=not torch.cuda.is_available())

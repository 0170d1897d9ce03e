"""DiffusionGemma behind ``hf:``, driven by its own ``generate``: it denoises a canvas of positions, then the next one.

How it denoises (steps a canvas at most, temperatures, when to stop) is said by the checkpoint's generation_config.json.
A task's ``steps`` and ``block_length`` are LLaDA-V's and mean nothing here; ``gen_length`` bounds the answer.

Questions are answered one at a time: its generate draws noise for a whole batch from one generator and numbers
positions across the padding, so that answers would depend on what they share a batch with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from lladav_eval.adapters.autoregressive import HfAnswerer
from lladav_eval.adapters.hf_decoding import cut, prompt_seed
from lladav_eval.adapters.hf_inputs import Asked, tensors
from lladav_eval.batching import peak_memory, watch_memory
from lladav_eval.errors import SampleError, SettingError
from lladav_eval.records import Generation, SamplingParams, answer_text


class DiffusionGemmaAnswerer(HfAnswerer):
    """A DiffusionGemma checkpoint as the run loop sees it."""

    takes_video = False  # its encoder reads images only: frames are shown as images

    def __init__(self, model: Any, processor: Any, directory: Path, name: str) -> None:
        super().__init__(model, processor, directory, name, batch_size=1)
        settings = model.generation_config
        settings.eos_token_id = sorted(self.eos_ids)
        settings.pad_token_id = processor.tokenizer.pad_token_id
        settings.cache_implementation = None  # static caches would be compiled for minutes

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        denoising = self.model.generation_config.to_diff_dict()
        return {
            **super().description(),
            "kind": "diffusion",
            "canvas_length": self.model.config.canvas_length,
            # What isn't named here is the default of generate, which the version of transformers says.
            "denoising": {name: str(value) for name, value in sorted(denoising.items()) if value is not None},
        }

    def check(self, params: SamplingParams) -> None:
        """Raise SettingError on what its generate doesn't have."""
        if params.approximate or params.cfg_scale or params.suffix:
            raise SettingError(
                "DiffusionGemma has no cache, threshold, early_commit, cfg_scale or suffix: leave them out"
            )
        if params.temperature:
            raise SettingError(
                "DiffusionGemma takes its temperatures from generation_config.json: leave temperature out"
            )

    @torch.inference_mode()
    def _run(self, batch: Sequence[Asked], params: SamplingParams) -> list[Generation]:
        """Denoise the answer to one question."""
        (asked,) = batch
        prepared = time.perf_counter()
        inputs = tensors(batch, self.processor)
        canvas = self.model.config.canvas_length
        canvases = -(-params.gen_length // canvas)
        self.check_length(inputs["input_ids"].shape[1] + canvases * canvas)
        started = time.perf_counter()
        watch_memory(self.device)
        inputs = inputs.to(self.device, self.model.dtype)
        prompt = inputs["input_ids"].shape[1]
        count = _Count(self.model)
        stops = _Stops(params.stop, self.processor.tokenizer, prompt)
        cuda = [self.device] if self.device.type == "cuda" else []
        try:
            with count, torch.random.fork_rng(devices=cuda):
                torch.manual_seed(prompt_seed(params.seed, asked.text))
                output = self.model.generate(
                    **inputs, max_new_tokens=params.gen_length, stopping_criteria=StoppingCriteriaList([stops])
                )
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            raise SampleError("the model gave logits that are not finite; try dtype float32") from error
        ended = time.perf_counter()
        first = count.first_ended or ended
        filled = output.sequences[0, prompt:].tolist()
        ids, stop_reason = self._answer_ids(filled[: params.gen_length])
        text = self.processor.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        kept = cut(text, params.stop)
        return [
            Generation(
                text=answer_text(kept),
                token_ids=tuple(ids),
                forward_passes=count.readings + sum(count.steps),
                stop_reason="stop" if stop_reason == "stop" or kept != text else "length",
                seconds=ended - started,
                prompt_tokens=prompt,
                output_tokens=len(filled),
                prefill_seconds=first - started,
                decode_seconds=ended - first,
                media_seconds=asked.media_seconds + started - prepared,
                flops=self.sizes.canvas_flops(prompt, canvas, count.steps, self._patches(inputs)[0]),
                peak_memory=peak_memory(self.device),
            )
        ]

    def _answer_ids(self, filled: list[int]) -> tuple[list[int], str]:
        end = next((place for place, token in enumerate(filled) if token in self.eos_ids), None)
        return (filled, "length") if end is None else (filled[:end], "stop")


class _Count:
    """Counts forward passes while it is entered, by hooks, and notes when the first denoising step has ended.

    ``generate`` calls the model's ``forward`` past its hooks, so they are on the two parts.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.readings = 0
        """Passes that read the prompt or a finished canvas."""
        self.steps: list[int] = []
        """Denoising passes of each canvas."""
        self.first_ended: float | None = None

    def __enter__(self) -> None:
        self.hooks = [
            self.model.model.encoder.register_forward_pre_hook(self._reads),
            self.model.model.decoder.register_forward_pre_hook(self._denoises),
        ]

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _reads(self, *_: object) -> None:
        self._note_time()
        self.readings += 1
        self.steps.append(0)

    def _denoises(self, *_: object) -> None:
        self._note_time()
        self.steps[-1] += 1

    def _note_time(self) -> None:
        """The pass after the first denoising one begins, so that one has ended."""
        if self.first_ended is None and self.steps and self.steps[0]:
            self.first_ended = time.perf_counter()


class _Stops(StoppingCriteria):
    """Ends after the canvas in which a stop string stands."""

    def __init__(self, stops: Sequence[str], tokenizer: Any, prompt: int) -> None:
        self.stops = tuple(stops)
        self.tokenizer = tokenizer
        self.prompt = prompt

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """(1, length) ids -> (1,) whether it is done."""
        text = self.tokenizer.decode(input_ids[0, self.prompt :], skip_special_tokens=True) if self.stops else ""
        return torch.tensor([any(stop in text for stop in self.stops)], device=input_ids.device)

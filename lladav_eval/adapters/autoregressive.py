"""``hf:NAME_OR_DIR``: any image-text-to-text model of transformers, asked through its own processor and template.

Greedy with a key-value cache by default. Of the checkpoint's generation settings only the ids that end an answer are
used, so that no repetition penalty or sampling comes in unasked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lladav_eval.adapters.hf_decoding import Chooser, Watch, cut
from lladav_eval.adapters.hf_flops import Sizes
from lladav_eval.adapters.hf_inputs import Asked, ask, has_video_path, tensors
from lladav_eval.adapters.hf_modes import BY_SWITCH, NO_MODES, modes_of, template_of
from lladav_eval.batching import answer_in_halves, peak_memory, watch_memory
from lladav_eval.errors import CheckpointError, EnvironmentError_, SampleError, SettingError, one_line, past_time
from lladav_eval.loading import choose_device, choose_dtype
from lladav_eval.model.checkpoint import checkpoint_hash, find_checkpoint
from lladav_eval.records import Generation, Question, SamplingParams, answer_text

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""Files that can change an answer: weights, configs, templates, vocabularies."""


class HfAnswerer:
    """A transformers model as the run loop sees it. Make one with ``load_hf``."""

    takes_video = True
    """Whether the model reads videos, should its processor do so."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        directory: Path,
        name: str,
        batch_size: int,
        time_limit: float | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.directory = directory
        self.name = name
        self.batch_size = batch_size
        self.time_limit = time_limit
        self.modes = modes_of(name, model.config, processor)
        self.sizes = Sizes.of(model)
        self.eos_ids = _eos_ids(model, processor.tokenizer)
        self.weights_hash = checkpoint_hash(directory, _FILES)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    @property
    def fingerprint(self) -> str:
        """Files, number type and the library whose processors and models these are."""
        import transformers

        dtype = str(self.model.dtype).removeprefix("torch.")
        told = "" if self.modes in (NO_MODES, BY_SWITCH) else f"/{self.modes.name}"  # not told by the files alone
        return f"hf/{self.weights_hash}/{dtype}/transformers-{transformers.__version__}{told}"

    def description(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {
            "name": self.name,
            "kind": "autoregressive",
            "architecture": type(self.model).__name__,
            "weights": self.weights_hash,
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.device),
            "video": "video" if self.takes_video and has_video_path(self.processor) else "images",
            "think_modes": self.modes.name,
            "flops": "estimate (adapters/hf_flops.py)",
        }

    def answer(self, questions: Sequence[Question]) -> list[Generation]:
        """One Generation per question, in order; questions of equal settings and kinds of media share batches.

        Raises:
            SettingError: if a setting has no meaning for an autoregressive model; before any work.
        """
        for question in questions:
            self.check(question.params)
        asked = [
            ask(question.request, self.processor, self.modes, takes_video=self.takes_video) for question in questions
        ]
        groups: dict[tuple[SamplingParams, tuple[int, bool]], list[int]] = {}
        answers: dict[int, Generation] = {}
        for index, (question, made) in enumerate(zip(questions, asked, strict=True)):
            if made.error is not None:
                answers[index] = Generation.failure(made.error)
            else:
                groups.setdefault((question.params, made.kind), []).append(index)
        for (params, _), members in groups.items():
            for start in range(0, len(members), self.batch_size):
                part = members[start : start + self.batch_size]
                run = partial(self._run, params=params)
                generated = answer_in_halves([asked[index] for index in part], run, self.device)
                answers.update(zip(part, generated, strict=True))
        return [answers[index] for index in range(len(questions))]

    def check(self, params: SamplingParams) -> None:
        """Raise SettingError on settings that mean nothing for this kind of model."""
        if params.approximate:
            raise SettingError("cache, threshold and early_commit need a diffusion model: leave them out for this one")
        if params.cfg_scale or params.suffix:
            raise SettingError("cfg_scale and suffix need a diffusion model: leave them out for an autoregressive one")

    @torch.inference_mode()
    def _run(self, batch: Sequence[Asked], params: SamplingParams) -> list[Generation]:
        """Read one batch's prompts and decode it."""
        prepared = time.perf_counter()
        inputs = tensors(batch, self.processor)
        self.check_length(inputs["input_ids"].shape[1] + params.gen_length)
        started = time.perf_counter()
        watch_memory(self.device)
        inputs = inputs.to(self.device, self.model.dtype)
        deadline = None if self.time_limit is None else started + self.time_limit
        chooser = Chooser(params, [asked.text for asked in batch])
        watch = Watch(len(batch), self.eos_ids, params.stop, self.processor.tokenizer, chooser, deadline)
        hook = self.model.register_forward_pre_hook(watch.count)
        try:
            output = self.model.generate(
                **inputs,
                max_new_tokens=params.gen_length,
                logits_processor=[chooser],
                stopping_criteria=[watch],
            )
        finally:
            hook.remove()
        ended = time.perf_counter()
        first = watch.first_token or ended
        costs = {
            "seconds": (ended - started) / len(batch),
            "prefill_seconds": (first - started) / len(batch),
            "decode_seconds": (ended - first) / len(batch),
            "peak_memory": peak_memory(self.device),
        }
        ids = output[:, inputs["input_ids"].shape[1] :].tolist()
        patches = self._patches(inputs)
        return [
            self._generation(
                ids[row],
                row,
                watch,
                params,
                prompt_tokens=int(inputs["attention_mask"][row].sum()),
                patches=patches[row],
                media_seconds=batch[row].media_seconds + (started - prepared) / len(batch),
                costs=costs,
            )
            for row in range(len(batch))
        ]

    def _generation(
        self,
        ids: list[int],
        row: int,
        watch: Watch,
        params: SamplingParams,
        *,
        prompt_tokens: int,
        patches: float,
        media_seconds: float,
        costs: dict[str, Any],
    ) -> Generation:
        if row in watch.late:
            return Generation.failure(past_time(self.time_limit or 0.0))
        if watch.ended[row] == "failed":
            return Generation.failure("the model gave logits that are not finite; try dtype float32")
        ids = ids[: watch.length[row]]
        if ids and ids[-1] in self.eos_ids:
            ids = ids[:-1]
        text = self.processor.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        passes = watch.used[row]
        return Generation(
            text=answer_text(cut(text, params.stop)),
            token_ids=tuple(ids),
            forward_passes=passes,
            stop_reason=watch.ended[row] or "length",
            prompt_tokens=prompt_tokens,
            output_tokens=watch.length[row],
            media_seconds=media_seconds,
            flops=self.sizes.flops(prompt_tokens, passes, patches),
            **costs,
        )

    def check_length(self, length: int) -> None:
        """Raise SampleError where prompt and answer are longer than the model was made for."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if most is not None and length > most:
            raise SampleError(
                f"prompt and answer take {length} positions, the model was made for {most}; "
                "use fewer images, fewer frames or a shorter question"
            )

    def _patches(self, inputs: Any) -> list[float]:
        """Vision patches of each row.

        Tiles of a row are its own, those that only pad a batch being zero throughout; patches packed without rows are
        shared out by the rows' visual tokens, of which each patch makes the same number.
        """
        rows = len(inputs["input_ids"])
        values = torch.zeros(rows, dtype=torch.float64)
        for name in ("pixel_values", "pixel_values_videos"):
            if name not in inputs:
                continue
            pixels = inputs[name]
            if pixels.ndim == 5:  # (images, tiles, channels, height, width)
                tiles = pixels.flatten(2).any(-1).view(rows, -1).sum(1)
                values += tiles.cpu() * pixels[0, 0].numel()
            else:
                values += self._shares(inputs["input_ids"]) * pixels.numel()
        return [self.sizes.patches(row) for row in values.tolist()]

    def _shares(self, ids: torch.Tensor) -> torch.Tensor:
        """Each row's share of the batch's visual tokens."""
        visual = torch.zeros_like(ids, dtype=torch.bool)
        for name in ("image_token_id", "video_token_id", "image_token_index", "video_token_index"):
            token = getattr(self.model.config, name, None)
            if token is not None:
                visual |= ids == token
        counts = visual.sum(1).double().cpu()
        return counts / counts.sum() if counts.sum() else torch.full_like(counts, 1 / len(counts))


def load_hf(
    name_or_dir: str,
    device: str | None,
    dtype: str | None,
    *,
    batch_size: int,
    offline: bool = False,
    time_limit: float | None = None,
) -> HfAnswerer:
    """Load a model and its processor; weights from safetensors only, no code of the checkpoint is run.

    Raises:
        CheckpointError: if it isn't an image-text-to-text model that transformers knows, or has no chat template.
        EnvironmentError_: if a package of the model's is missing, or the hub is needed and can't be reached.
    """
    import transformers

    library: Any = transformers  # typed in part only
    directory = find_checkpoint(name_or_dir, offline)
    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    processor = load_processor(name_or_dir, directory)
    with _load_errors(name_or_dir):
        model = library.AutoModelForImageTextToText.from_pretrained(
            directory, dtype=precision, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    if model.config.is_encoder_decoder:
        raise CheckpointError(f"hf:{name_or_dir}: is an encoder-decoder; only decoder models can be asked here")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, name = model.to(target).eval(), f"hf:{name_or_dir}"
    if model.config.model_type == "diffusion_gemma":
        from lladav_eval.adapters.hf_diffusion import DiffusionGemmaAnswerer

        return DiffusionGemmaAnswerer(model, processor, directory, name)
    eos = sorted(_eos_ids(model, tokenizer))
    model.generation_config = library.GenerationConfig(
        do_sample=False, use_cache=True, eos_token_id=eos, pad_token_id=tokenizer.pad_token_id
    )
    return HfAnswerer(model, processor, directory, name, batch_size, time_limit)


def load_processor(name: str, directory: Path) -> Any:
    """What makes a model's inputs, with a chat template; errors are those of ``load_hf``."""
    import transformers

    library: Any = transformers  # typed in part only
    with _load_errors(name):
        library.AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        processor = library.AutoProcessor.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(f"hf:{name}: has no processor for images; is it a text-only model?")
    template_of(processor)
    return processor


@contextmanager
def _load_errors(name: str) -> Iterator[None]:
    """What transformers raises while it loads a model, as our errors."""
    try:
        yield
    except ImportError as error:  # says which package, and how to get it
        raise EnvironmentError_(f"hf:{name}: {one_line(error)}") from error
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"hf:{name}: transformers can't load it as an image-text-to-text model ({one_line(error)})"
        ) from error


def _eos_ids(model: Any, tokenizer: Any) -> set[int]:
    """Ids that end an answer: the checkpoint's own, else the tokenizer's."""
    ids = model.generation_config.eos_token_id
    if ids is None:
        ids = tokenizer.eos_token_id
    if ids is None:
        raise CheckpointError("neither generation_config.json nor the tokenizer names a token that ends an answer")
    return {int(token) for token in (ids if isinstance(ids, list | tuple) else [ids])}

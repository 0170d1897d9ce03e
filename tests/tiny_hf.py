"""Tiny random image-text-to-text models of several families, with real processors, written as checkpoint directories.

Nothing is downloaded: models come from their config classes, processors from theirs with a tokenizer made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lladav_eval.pocket.vocabulary import build_tokenizer

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "llava_next", "smolvlm", "gemma3")
HAS_VIDEO = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "smolvlm"}

_TURN = "<|start_header_id|>{{ m['role'] }}<|end_header_id|>"
_TEMPLATE = (
    "{% for m in messages %}" + _TURN + "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% elif c['type'] == 'video' %}VIDEO{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
)
_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def write_hf(family: str, directory: Path, seed: int = 0, template: str | None = None) -> Path:
    """Write a checkpoint of ``family``; ``template`` replaces the chat template."""
    from transformers import GenerationConfig

    torch.manual_seed(seed)
    model, processor = globals()[f"_{family}"]()
    if template is not None:
        processor.chat_template = template
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.randn_like(weight) * (0.5 if "norm" not in name or weight.ndim > 1 else 0.1))
            if weight.ndim == 1 and "norm" in name and "gemma" not in family:
                weight += 1
    eos = processor.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    if family == "diffusion_gemma":
        model.generation_config.update(eos_token_id=[eos], max_denoising_steps=5)
    else:
        model.generation_config = GenerationConfig(eos_token_id=[eos], repetition_penalty=1.3)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def tokenizer(**special: str) -> Any:
    """The pocket tokenizer as a transformers one, with a family's own special tokens."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    inner = build_tokenizer()
    inner.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special.values()])
    named = {name: token for name, token in special.items() if name.endswith("_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        extra_special_tokens=named,
    )


def _qwen_processor(kind: str, patch: int) -> Any:
    import transformers

    tok = tokenizer(
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )
    size = {"shortest_edge": (2 * patch) ** 2, "longest_edge": (8 * patch) ** 2}
    sizes = {"size": size, "patch_size": patch, "temporal_patch_size": 2, "merge_size": 2}
    image = transformers.Qwen2VLImageProcessor(**sizes)
    video_class = transformers.Qwen3VLVideoProcessor if kind == "Qwen3VL" else transformers.Qwen2VLVideoProcessor
    video = video_class(**{**sizes, "size": {"shortest_edge": 4 * patch**2, "longest_edge": 4096 * patch**2}})
    template = _TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    template = template.replace("VIDEO", "<|vision_start|><|video_pad|><|vision_end|>")
    return getattr(transformers, f"{kind}Processor")(
        image_processor=image, tokenizer=tok, video_processor=video, chat_template=template
    )


def _qwen_ids(processor: Any) -> dict[str, int]:
    ids = processor.tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _qwen_text(processor: Any, **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0, **more.pop("rope", {})}
    return {**_TEXT, "vocab_size": len(processor.tokenizer), "rope_parameters": rope, **more}


def _qwen2_vl() -> tuple[Any, Any]:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    processor = _qwen_processor("Qwen2VL", 4)
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    config = Qwen2VLConfig(text_config=_qwen_text(processor), vision_config=vision, **_qwen_ids(processor))
    return Qwen2VLForConditionalGeneration(config), processor


def _qwen2_5_vl() -> tuple[Any, Any]:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    processor = _qwen_processor("Qwen2_5_VL", 4)
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 4, "window_size": 16,
        "out_hidden_size": 32, "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=_qwen_text(processor), vision_config=vision, **_qwen_ids(processor))
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[Any, Any]:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    processor = _qwen_processor("Qwen3VL", 4)
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    text = _qwen_text(processor, head_dim=8, rope={"mrope_interleaved": True})
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_ids(processor))
    return Qwen3VLForConditionalGeneration(config), processor


def _llava_onevision() -> tuple[Any, Any]:
    import transformers

    tok = tokenizer(image_token="<image>", video_token="<video>")
    grid = [[16, 16], [16, 32], [32, 16], [32, 32]]
    sizes = {"size": {"height": 16, "width": 16}}
    processor = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(image_grid_pinpoints=grid, **sizes),
        tokenizer=tok,
        video_processor=transformers.LlavaOnevisionVideoProcessor(**sizes),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=_TEMPLATE.replace("IMAGE", "<image>").replace("VIDEO", "<video>"),
    )
    config = transformers.LlavaOnevisionConfig(
        text_config=transformers.Qwen2Config(**_TEXT, vocab_size=len(tok)),
        vision_config=_siglip(),
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        video_token_index=tok.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def _siglip() -> Any:
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4,
        vision_use_head=False,
    )  # fmt: skip


def _llava_next() -> tuple[Any, Any]:
    """LLaVA-NeXT over LLaMA-3, the open relative of the paper's LLaMA3-V: a begin-of-text token in the template."""
    import transformers

    tok = tokenizer(image_token="<image>")
    grid = [[16, 32], [32, 16], [32, 32]]
    processor = transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=grid
        ),
        tokenizer=tok,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{{ bos_token }}" + _TEMPLATE.replace("IMAGE", "<image>"),
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    config = transformers.LlavaNextConfig(
        text_config=transformers.LlamaConfig(**_TEXT, vocab_size=len(tok)),
        vision_config=vision,
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
    )
    return transformers.LlavaNextForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    import transformers
    from transformers.models.smolvlm import processing_smolvlm

    if processing_smolvlm.num2words is None:  # a package that only words the number of frames of a video
        processing_smolvlm.num2words = str
    tok = tokenizer(
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
        video_token="<video>",
    )
    sizes = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
    processor = transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**sizes),
        tokenizer=tok,
        video_processor=transformers.SmolVLMVideoProcessor(**sizes, num_frames=8, fps=1),
        image_seq_len=4,
        chat_template=_TEMPLATE.replace("IMAGE", "<image>").replace("VIDEO", "<video>"),
    )
    config = transformers.SmolVLMConfig(
        text_config=transformers.LlamaConfig(**_TEXT, vocab_size=len(tok), pad_token_id=tok.eos_token_id),
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 4,
        },
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )  # fmt: skip
    return transformers.SmolVLMForConditionalGeneration(config), processor


def _gemma3() -> tuple[Any, Any]:
    import transformers

    tok = tokenizer(image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>")
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size={"height": 16, "width": 16}),
        tokenizer=tok,
        image_seq_length=4,
        chat_template="{{ bos_token }}" + _TEMPLATE.replace("IMAGE", "<start_of_image>"),
    )
    ids = tok.convert_tokens_to_ids
    config = transformers.Gemma3Config(
        text_config={
            **_TEXT,
            "vocab_size": len(tok),
            "head_dim": 8,
            "sliding_window": 16,
            "query_pre_attn_scalar": 8,
            "tie_word_embeddings": False,
        },
        vision_config=_siglip().to_dict(),
        mm_tokens_per_image=4,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
        tie_word_embeddings=False,
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor


def _diffusion_gemma() -> tuple[Any, Any]:
    """Canvases of 8 positions, a mixture of four experts; not in FAMILIES, as it isn't autoregressive."""
    import transformers

    tok = tokenizer(
        image_token="<image_soft_token>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        audio_token="<audio_soft_token>",
        boa_token="<start_of_audio>",
        eoa_token="<end_of_audio>",
    )
    sizes = {"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 2}
    processor = transformers.Gemma4Processor(
        transformers.Gemma4AudioFeatureExtractor(),
        transformers.Gemma4ImageProcessor(**sizes),
        tok,
        transformers.Gemma4VideoProcessor(**sizes),
        chat_template="{{ bos_token }}"
        + _TEMPLATE.replace("IMAGE", "<image_soft_token>").replace("VIDEO", "<|video|>"),
    )
    ids = tok.convert_tokens_to_ids
    text = {
        **_TEXT, "vocab_size": len(tok), "head_dim": 8, "global_head_dim": 8, "sliding_window": 64, "num_experts": 4,
        "top_k_experts": 2, "moe_intermediate_size": 16, "layer_types": ["sliding_attention", "full_attention"],
        "pad_token_id": tok.eos_token_id, "eos_token_id": ids("<|eot_id|>"), "bos_token_id": tok.bos_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "pooling_kernel_size": 2,
        "position_embedding_size": 64,
    }  # fmt: skip
    config = transformers.DiffusionGemmaConfig(
        text_config=transformers.DiffusionGemmaTextConfig(**text),
        vision_config=transformers.Gemma4VisionConfig(**vision),
        boi_token_id=ids("<start_of_image>"),
        eoi_token_id=ids("<end_of_image>"),
        image_token_id=ids("<image_soft_token>"),
        canvas_length=8,
    )
    return transformers.DiffusionGemmaForBlockDiffusion(config), processor

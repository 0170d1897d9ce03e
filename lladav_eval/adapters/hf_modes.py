"""How a family of transformers models is told to think before it answers, or not to, as its own card says.

Most models that can be told have a switch in their chat template, ``enable_thinking`` (Qwen3.5, GLM-4.5V and 4.6V,
Gemma 4, DiffusionGemma). The others are listed here, with where that is written. Families in neither place have no such
mode: Qwen2-VL, Qwen2.5-VL, LLaVA-OneVision, LLaVA-NeXT, SmolVLM, Gemma 3; of Qwen3-VL, Instruct and Thinking are two
checkpoints. Their cards ask for nothing but their chat template, and get nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lladav_eval.errors import CheckpointError
from lladav_eval.records import ThinkMode

SWITCH = "enable_thinking"
"""The variable of chat templates."""


def template_of(processor: Any) -> str:
    """The chat template. Raises CheckpointError if there is none."""
    template = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    if not isinstance(template, str):
        raise CheckpointError("the model has no chat template, so nothing says how to ask it; take its chat version")
    return template


@dataclass(frozen=True)
class Modes:
    """What is put around a question."""

    name: str
    """Part of the fingerprint of a model that is asked this way."""
    switch: bool = False
    """Whether the template takes SWITCH."""
    think_system: str = ""
    """The system's turn in mode ``think``."""
    no_think_suffix: str = ""
    """The end of the question in mode ``no_think``."""

    def variables(self, mode: ThinkMode | None) -> dict[str, bool]:
        """For the chat template."""
        return {SWITCH: mode == "think"} if self.switch and mode is not None else {}

    def messages(self, content: list[dict[str, str]], mode: ThinkMode | None) -> list[dict[str, Any]]:
        """The conversation that asks ``content``."""
        if mode == "no_think" and self.no_think_suffix:
            content = [*content, {"type": "text", "text": self.no_think_suffix}]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if mode == "think" and self.think_system:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": self.think_system}]})
        return turns


NO_MODES = Modes("none")
BY_SWITCH = Modes("switch", switch=True)
INTERNVL_3_5 = Modes(
    "internvl3.5",
    think_system=(
        "You are an AI assistant that rigorously follows this response protocol:\n\n"
        "1. First, conduct a detailed analysis of the question. Consider different angles, potential solutions, and "
        "reason through the problem step-by-step. Enclose this entire thinking process within <think> and </think> "
        "tags.\n\n"
        "2. After the thinking section, provide a clear, concise, and direct answer to the user's question. Separate "
        "the answer from the think section with a newline.\n\n"
        "Ensure that the thinking process is thorough but remains focused on the query. The final answer should be "
        "standalone and not reference the thinking section."
    ),
)
"""Source: cards of OpenGVLab/InternVL3_5-*, "Thinking Mode", whose words these are."""
MIMO_VL_2508 = Modes("mimo-vl-2508", no_think_suffix=" /no_think")
"""Source: README of XiaomiMiMo/MiMo-VL, "Thinking Control": at the end of the question; thinking is its default."""


def modes_of(name: str, config: Any, processor: Any) -> Modes:
    """How a model is told.

    Args:
        name: hub name or directory, as given. MiMo-VL is told by it alone, as its files are those of a Qwen2.5-VL.
        config: the model's.
        processor: its processor, for the chat template.
    """
    if SWITCH in template_of(processor):
        return BY_SWITCH
    if config.model_type == "internvl" and config.get_text_config().model_type in ("qwen3", "qwen3_moe", "gpt_oss"):
        return INTERNVL_3_5  # InternVL3 stands on Qwen2.5 and has no such mode
    if config.model_type == "qwen2_5_vl" and re.search("mimo-vl.*2508", name, re.IGNORECASE):
        return MIMO_VL_2508
    return NO_MODES

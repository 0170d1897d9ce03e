"""The pocket model's own tokenizer: whole words where the suite uses them, bytes everywhere else.

``tokenizers``' byte-level BPE with no merges and ``ignore_merges``: a piece that is in the vocabulary becomes one
token, any other piece falls back to its bytes, so unseen text never fails and decodes to itself.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

SYSTEM_MESSAGE = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
ASK_LETTER = "Answer with the option's letter from the given choices directly."
ASK_WORD = "Answer the question using a single word or phrase."
SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
# Fixed sentences are one token each: the suite's prompts stay about 30 tokens long, which a CPU can train on.
PHRASES = (SYSTEM_MESSAGE, ASK_LETTER, ASK_WORD, " /no_think", " /think")
LETTERS = "ABCDEFGH"
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
ORDINALS = ("first", "second", "third", "fourth")
DIRECTIONS = ("left", "right", "up", "down")
_SENTENCES = (
    "system user assistant",
    "Read the digits.",
    "Which digit is in the picture?",
    "Is there a digit in the picture? Yes No",
    "What is the value of the bar?",
    "List the digits, then how many of them are even so far.",
    "Which image shows a digit?",
    "Which way does the digit move?",
    "Match each digit to its letter.",
    "Mark each option.",
    "Which of these are in the list",
    "Which of these are in the picture: ",
    "Which image shows each digit:",
    " ".join((*COLOURS, *ORDINALS, *DIRECTIONS)),
)
# One piece per blank line, option label (a line break, a letter, a full stop, a space), word, digit, other character.
_PIECES = r"\n\n|\n[A-H]\. |\n| ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]|\s"
_CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)


def build_tokenizer() -> Tokenizer:
    """The tokenizer, always the same."""
    # bytes first, in the order of byte-level BPE's alphabet, then pieces in order of first appearance
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words = [word for sentence in _SENTENCES for word in sentence.split()]
    texts = [*_SENTENCES, *words, *(" " + word for word in words), "\n\n", *(f"\n{letter}. " for letter in LETTERS)]
    for text in texts:
        for piece, _ in splitter.pre_tokenize_str(text):
            vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return tokenizer


def write_tokenizer(directory: Path) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and generation_config.json; return the tokenizer."""
    tokenizer = build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL,
        }
        for token in (*PHRASES, *SPECIAL)
    }
    config = {
        "add_bos_token": False,
        "add_eos_token": False,
        "added_tokens_decoder": added,
        "bos_token": "<|startoftext|>",
        "chat_template": _CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "model_max_length": 1024,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    ids = {
        "bos_token_id": tokenizer.token_to_id("<|startoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|endoftext|>"),
    }
    for name, content in (("tokenizer_config.json", config), ("generation_config.json", ids)):
        (directory / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return tokenizer

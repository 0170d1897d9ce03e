"""The checkpoint's tokenizer and chat template, read from its own tokenizer files.

Built on the ``tokenizers`` library: importing transformers takes seconds and is not needed to encode text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer

from lladav_eval.errors import CheckpointError, SampleError, one_line

# ``conv_llava_llada`` in the authors' conversation.py.
SYSTEM_MESSAGE = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)

_MASK = "<|mdm_mask|>"
_BOS = "<|startoftext|>"
_EOS = "<|endoftext|>"
_EOT = "<|eot_id|>"
_START_HEADER = "<|start_header_id|>"
_END_HEADER = "<|end_header_id|>"
_REQUIRED = (_MASK, _BOS, _EOS, _EOT, _START_HEADER, _END_HEADER)


class ChatTokenizer:
    """Text to token ids and back, and messages to the prompt text the checkpoint was trained on."""

    def __init__(
        self, tokenizer: Tokenizer, ids: Mapping[str, int], template: jinja2.Template, variables: Mapping[str, str]
    ) -> None:
        self._tokenizer = tokenizer
        self._ids = dict(ids)
        self._template = template
        self._variables = dict(variables)

    @classmethod
    def from_dir(cls, path: str | Path) -> ChatTokenizer:
        """Read tokenizer.json, tokenizer_config.json and, where present, chat_template.jinja of a checkpoint.

        Raises:
            CheckpointError: naming the file that is missing or malformed, or the special token it lacks.
        """
        directory = Path(path)
        tokenizer_file, config_file = directory / "tokenizer.json", directory / "tokenizer_config.json"
        content = _read_text(tokenizer_file)
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises plain Exception on malformed files
            reason = one_line(error)
            raise CheckpointError(f"{tokenizer_file}: not a tokenizers file ({reason}); download it again") from None
        # A tokenizer saved in the midst of training may cut or fill up texts; transformers doesn't unless asked to.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        config = _read_json(config_file)
        _add_missing_tokens(tokenizer, config, config_file)
        ids = {}
        for token in _REQUIRED:
            token_id = tokenizer.token_to_id(token)
            if token_id is None:
                raise CheckpointError(f"{tokenizer_file}: lacks the special token {token}; is it from a LLaDA-V?")
            ids[token] = token_id
        return cls(tokenizer, ids, _compile_template(config, config_file), _template_variables(config))

    def __len__(self) -> int:
        """Rows of the embedding that the tokenizer can address (126,349 for LLaDA-V), added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``; special tokens written out in it are recognised, none is added.

        Raises:
            SampleError: if the text has half of a surrogate pair, which stands for no character.
        """
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except TypeError:
            half = next((character for character in text if "\ud800" <= character <= "\udfff"), None)
            if half is None:
                raise
            raise SampleError(f"the text has half of a character, U+{ord(half):04X}: repair it in the data") from None

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of ``ids`` without any clean-up of spaces; ids outside the vocabulary give nothing."""
        return str(self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=skip_special_tokens))

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt text of ``messages`` (objects with ``role`` and ``content``), ready for the answer.

        Raises:
            CheckpointError: if the checkpoint's template rejects the messages or can't be run.
        """
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, **self._variables)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint's chat_template failed: {one_line(error)}") from None

    @property
    def mask_id(self) -> int:
        return self._ids[_MASK]

    @property
    def bos_id(self) -> int:
        return self._ids[_BOS]

    @property
    def eos_id(self) -> int:
        return self._ids[_EOS]

    @property
    def pad_id(self) -> int:
        """LLaDA pads with its end-of-text token."""
        return self._ids[_EOS]

    @property
    def eot_id(self) -> int:
        return self._ids[_EOT]

    @property
    def eot_token(self) -> str:
        """The string that ends a turn."""
        return _EOT

    @property
    def start_header_id(self) -> int:
        return self._ids[_START_HEADER]

    @property
    def end_header_id(self) -> int:
        return self._ids[_END_HEADER]

    @property
    def forbidden_ids(self) -> tuple[int, int, int, int]:
        """Ids the authors never let a masked position become (``generate_with_embeds`` in modeling_llada.py)."""
        return (self.eos_id, self.bos_id, self.start_header_id, self.end_header_id)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give a directory that holds a LLaDA-V checkpoint") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not readable ({one_line(error)}); download it again") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)}); download it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, found {type(content).__name__}")
    return content


def _add_missing_tokens(tokenizer: Tokenizer, config: dict[str, Any], path: Path) -> None:
    """Tokens that only tokenizer_config.json lists are part of the vocabulary too, and special if it says so, as in
    transformers."""
    listed = config.get("added_tokens_decoder") or {}
    known = tokenizer.get_added_tokens_decoder()
    try:
        special = {token_id for token_id, token in known.items() if token.special}
        missing = (
            (int(key), entry)
            for key, entry in listed.items()
            if int(key) not in (special if entry.get("special") else known)
        )
        for token_id, entry in sorted(missing, key=itemgetter(0)):
            token = AddedToken(
                entry["content"],
                single_word=entry.get("single_word", False),
                lstrip=entry.get("lstrip", False),
                rstrip=entry.get("rstrip", False),
                normalized=entry.get("normalized", False),
                special=entry.get("special", False),
            )
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
            if tokenizer.token_to_id(entry["content"]) != token_id:
                raise CheckpointError(
                    f"{path}: token {entry['content']!r} should have id {token_id}, but tokenizer.json gives it "
                    f"{tokenizer.token_to_id(entry['content'])}; the two files don't belong together"
                )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: added_tokens_decoder is malformed ({one_line(error)})") from None


def _template_variables(config: dict[str, Any]) -> dict[str, str]:
    """The named special tokens (``bos_token`` ...) a template may use; written as text or as an object."""
    variables = {}
    for name, value in config.items():
        content = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(content, str):
            variables[name] = content
    return variables


def _compile_template(config: dict[str, Any], path: Path) -> jinja2.Template:
    """The chat template with the environment transformers gives it; sandboxed, as it comes with the checkpoint."""
    text, own_file = config.get("chat_template"), path.with_name("chat_template.jinja")
    if own_file.is_file():  # where newer versions of transformers save it; there, too, it goes before the config's
        path, text = own_file, _read_text(own_file)
    if not isinstance(text, str):
        raise CheckpointError(f"{path}: has no chat_template; is this a LLaDA-V tokenizer?")
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise CheckpointError(f"{path}: chat_template is not valid Jinja ({one_line(error)})") from None


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes HTML, which would change the prompt.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)

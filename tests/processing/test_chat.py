from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from toy_processing import SPECIAL, TEMPLATE, write_tokenizer

from lladav_eval.errors import CheckpointError, SampleError
from lladav_eval.processing.chat import SYSTEM_MESSAGE, ChatTokenizer
from lladav_eval.records import answer_text


@pytest.fixture(scope="module")
def golden_tokenizer(golden_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.from_dir(golden_dir / "tiny-lladav-76")


def test_golden_tokenizer_has_the_official_ids(golden_tokenizer: ChatTokenizer) -> None:
    tokenizer = golden_tokenizer
    assert len(tokenizer) == 126349
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (126080, 126081, 126081)
    assert (tokenizer.mask_id, tokenizer.eot_id) == (126336, 126348)
    assert (tokenizer.start_header_id, tokenizer.end_header_id) == (126346, 126347)
    assert sorted(tokenizer.forbidden_ids) == [126080, 126081, 126346, 126347]


def test_golden_decode_gives_the_recorded_texts(golden_dir: Path, golden_tokenizer: ChatTokenizer) -> None:
    cases = json.loads((golden_dir / "evaluation_prompts.json").read_text())
    answered = [case for case in cases.values() if "raw_text" in case.get("call", {})]
    assert len(answered) >= 10
    for case in answered:
        text = golden_tokenizer.decode(case["call"]["output_ids"])
        assert text == case["call"]["raw_text"]
        assert answer_text(text) == case["final_output"]


def test_golden_decode_agrees_with_transformers(golden_dir: Path, golden_tokenizer: ChatTokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(str(golden_dir / "tiny-lladav-76"))
    text = " Hello , it 's <|mdm_mask|><|eot_id|> a test .\n\n  中文 🙂 <role>x</role><|endoftext|>"
    ids = golden_tokenizer.encode(text)
    assert ids == theirs(text)["input_ids"]
    assert len(golden_tokenizer) == len(theirs)
    for skip in (True, False):
        assert golden_tokenizer.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
    messages = [{"role": "system", "content": " a "}, {"role": "user", "content": "b\n"}]
    assert golden_tokenizer.render(messages) == theirs.apply_chat_template(messages, tokenize=False)


def test_encode_recognises_special_strings_and_adds_none(toy_tokenizer: ChatTokenizer) -> None:
    ids = toy_tokenizer.encode("a<|mdm_mask|>b")
    assert ids == [*toy_tokenizer.encode("a"), toy_tokenizer.mask_id, *toy_tokenizer.encode("b")]
    assert len(ids) == 3
    assert toy_tokenizer.decode(ids) == "ab"
    assert toy_tokenizer.decode(ids, skip_special_tokens=False) == "a<|mdm_mask|>b"


def test_a_token_is_special_if_the_config_says_so(tokenizer_dir: Path) -> None:
    file, config_file = tokenizer_dir / "tokenizer.json", tokenizer_dir / "tokenizer_config.json"
    content, config = json.loads(file.read_text()), json.loads(config_file.read_text())
    (eot,) = [token for token in content["added_tokens"] if token["content"] == "<|eot_id|>"]
    config["added_tokens_decoder"] = {str(eot["id"]): {**eot, "special": True}}
    eot["special"] = False
    file.write_text(json.dumps(content))
    config_file.write_text(json.dumps(config))
    tokenizer = ChatTokenizer.from_dir(tokenizer_dir)
    assert tokenizer.decode([*tokenizer.encode("a"), tokenizer.eot_id]) == "a"
    assert tokenizer.eot_id == eot["id"]


def test_what_was_saved_beside_neither_cuts_nor_fills_texts_nor_adds_to_them(tokenizer_dir: Path) -> None:
    file = tokenizer_dir / "tokenizer.json"
    saved = Tokenizer.from_file(str(file))
    saved.enable_truncation(max_length=4)
    saved.enable_padding(length=12)
    begin = "<|startoftext|>"
    saved.post_processor = TemplateProcessing(f"{begin} $A", special_tokens=[(begin, saved.token_to_id(begin))])
    saved.save(str(file))
    assert len(ChatTokenizer.from_dir(tokenizer_dir).encode("long text")) == len("long text")


def test_render_trims_and_closes_every_message(toy_tokenizer: ChatTokenizer) -> None:
    text = toy_tokenizer.render([{"role": "system", "content": SYSTEM_MESSAGE}, {"role": "user", "content": " hi\n"}])
    assert text == (
        f"<|startoftext|><|start_header_id|>system<|end_header_id|>\n\n{SYSTEM_MESSAGE}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@pytest.mark.parametrize("in_config", [None, "another"])
def test_template_in_its_own_file(tmp_path: Path, toy_tokenizer: ChatTokenizer, in_config: str | None) -> None:
    write_tokenizer(tmp_path, template=in_config)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    messages = [{"role": "user", "content": "hi"}]
    assert ChatTokenizer.from_dir(tmp_path).render(messages) == toy_tokenizer.render(messages)


def test_template_blocks_are_trimmed_and_json_is_not_escaped(tmp_path: Path) -> None:
    loop = "  {% for m in messages %}\n{{ m | tojson }}{{ m | tojson(indent=1) }}\n  {% endfor %}\n"
    write_tokenizer(tmp_path, template=loop + "{{ add_generation_prompt }}{{ eos_token }}")
    assert (
        ChatTokenizer.from_dir(tmp_path).render([{"role": "é<"}])
        == '{"role": "é<"}{\n "role": "é<"\n}\nTrue<|endoftext|>'
    )


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no\nsystem role') }}", "{{ ''.__class__.__mro__ }}", "{{ messages[0].x.y }}"]
)
def test_template_that_refuses_or_misbehaves_is_one_line(tmp_path: Path, template: str) -> None:
    tokenizer = ChatTokenizer.from_dir(write_tokenizer(tmp_path, template=template))
    with pytest.raises(CheckpointError, match="chat_template failed") as caught:
        tokenizer.render([{"role": "user", "content": "hi"}])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"{", "not a tokenizers file|not readable as JSON"),
        (b"[1]", "not a tokenizers file|must hold a JSON object"),
        (b"\xff", "not readable"),
    ],
)
def test_missing_or_malformed_file_is_named(tokenizer_dir: Path, name: str, content: bytes | None, reason: str) -> None:
    (tokenizer_dir / name).unlink()
    if content is not None:
        (tokenizer_dir / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        ChatTokenizer.from_dir(tokenizer_dir)
    assert str(tokenizer_dir / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", SPECIAL)
def test_missing_special_token_is_named(tmp_path: Path, missing: str) -> None:
    write_tokenizer(tmp_path, special=tuple(token for token in SPECIAL if token != missing))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
        ChatTokenizer.from_dir(tmp_path)
    assert missing in str(caught.value)


def test_token_listed_only_in_the_config_is_added(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, special=SPECIAL[:-1])
    path = tmp_path / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    fields["added_tokens_decoder"] = {"261": {"content": SPECIAL[-1], "special": True}}
    path.write_text(json.dumps(fields))
    assert ChatTokenizer.from_dir(tmp_path).eot_id == 261

    fields["added_tokens_decoder"] |= {"263": {"content": "second"}, "262": {"content": "first"}}
    path.write_text(json.dumps(fields))
    assert ChatTokenizer.from_dir(tmp_path).encode("secondfirst") == [263, 262]

    fields["added_tokens_decoder"] = {"999": {"content": SPECIAL[-1], "special": True}}
    path.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="should have id 999"):
        ChatTokenizer.from_dir(tmp_path)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(
    ("setting", "changed", "same"),
    [("single_word", "end", "ending"), ("lstrip", "  end", "end"), ("rstrip", "end  ", "end")],
)
def test_a_token_of_the_config_has_its_settings(
    tmp_path: Path, setting: str, changed: str, same: str, special: bool
) -> None:
    write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    fields["added_tokens_decoder"] = {"262": {"content": "end", "special": special, setting: True}}
    path.write_text(json.dumps(fields))
    tokenizer = ChatTokenizer.from_dir(tmp_path)
    assert tokenizer.encode(changed) == [262]
    assert (262 in tokenizer.encode(same)) == (same == "end")


@pytest.mark.parametrize(("template", "reason"), [(None, "has no chat_template"), ("{% for %}", "not valid Jinja")])
def test_unusable_template(tmp_path: Path, template: str | None, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        ChatTokenizer.from_dir(write_tokenizer(tmp_path, template=template))


def test_import_is_light() -> None:
    check = "import sys, lladav_eval.processing.chat; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_half_a_character_is_one_sample_s_failure(toy_tokenizer: ChatTokenizer) -> None:
    with pytest.raises(SampleError, match=r"half of a character, U\+D800"):
        toy_tokenizer.encode("bad \ud800 one")

"""The pocket tokenizer: whole words where the suite uses them, and nothing it can't encode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from lladav_eval.pocket.exercises import GEN_LENGTH, LESSONS
from lladav_eval.pocket.vocabulary import SPECIAL, SYSTEM_MESSAGE, build_tokenizer, write_tokenizer
from lladav_eval.processing.chat import SYSTEM_MESSAGE as PRODUCT_SYSTEM_MESSAGE
from lladav_eval.processing.chat import ChatTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory)
    return Tokenizer.from_file(str(directory / "tokenizer.json"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_questions_and_answers_come_back(tokenizer: Tokenizer, lesson: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        example = LESSONS[lesson](rng, "train")
        for text in (example.question, example.answer):
            assert tokenizer.decode(tokenizer.encode(text).ids) == text
        assert len(tokenizer.encode(example.answer).ids) <= GEN_LENGTH[lesson]


@pytest.mark.parametrize("text", ["héllo 漢字 🙂", "\t\n\n\n ", "x = 3.14", "A. B. C.", "Answer with", "\x00"])
def test_unseen_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_fixed_sentences_are_one_token(tokenizer: Tokenizer) -> None:
    assert SYSTEM_MESSAGE == PRODUCT_SYSTEM_MESSAGE
    for text in (SYSTEM_MESSAGE, "\n\n", "7", *SPECIAL):
        assert len(tokenizer.encode(text).ids) == 1


def test_always_the_same(tokenizer: Tokenizer) -> None:
    assert build_tokenizer().to_str() == tokenizer.to_str()


def test_the_product_reads_it_and_renders_like_the_authors_tokenizer(tmp_path: Path, golden_dir: Path) -> None:
    write_tokenizer(tmp_path)
    messages = [{"role": "system", "content": SYSTEM_MESSAGE}, {"role": "user", "content": "<image>\n What? "}]
    ours = ChatTokenizer.from_dir(tmp_path).render(messages)
    assert ours == ChatTokenizer.from_dir(golden_dir / "tiny-lladav-76").render(messages)

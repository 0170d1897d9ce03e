from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from toy_model import MASK_ID, VOCABULARY, ToyModel

from lladav_eval.errors import SettingError
from lladav_eval.records import Query, SamplingParams
from lladav_eval.sampling.autoregressive import decode_greedy
from lladav_eval.sampling.loop import SamplingTokens

TOKENS = SamplingTokens(MASK_ID, (7,))


def decode_plainly(
    model: ToyModel, name: int, prompt: list[int], length: int, stops: Sequence[tuple[int, ...]]
) -> list[int]:
    ids = torch.tensor(prompt)
    for _ in range(length):
        logits = model.full_logits(ids, name)[-1]
        logits[[7, MASK_ID]] = -torch.inf
        ids = torch.cat((ids, logits.argmax().view(1)))
        answer = ids[len(prompt) :].tolist()
        ends = [at for at in range(len(answer)) for stop in stops if tuple(answer[at : at + len(stop)]) == stop]
        if ends:
            return answer[: min(ends)]
    return answer


@pytest.mark.parametrize("seed", range(20))
def test_equals_plain_decoding_alone_and_in_a_batch(seed: int) -> None:
    model = ToyModel(seed)
    prompts = [[1], [2, -200, 3], [MASK_ID, 4]]
    stops: list[tuple[tuple[int, ...], ...]] = [(), ((3,), (1, 2)), ((5, 3), (4,), (2, 5, 3))]
    tokens = [SamplingTokens(MASK_ID, (7,), stop) for stop in stops]
    params = SamplingParams(12, 12, 1)
    together = decode_greedy(model.renamed([0, 1, 2]), [torch.tensor(p) for p in prompts], params, tokens)
    for name, ours in enumerate(together):
        plain = decode_plainly(ToyModel(seed), name, prompts[name], 12, stops[name])
        assert list(ours.token_ids) == plain
        alone = decode_greedy(model.renamed([name]), [torch.tensor(prompts[name])], params, [tokens[name]])
        assert alone == [ours]


def scripted(script: list[int]) -> tuple[list[Query], object]:
    asked: list[Query] = []

    def denoise(queries: Sequence[Query]) -> list[Tensor]:
        asked.extend(queries)
        rows = torch.zeros(len(queries), 1, VOCABULARY)
        rows[:, 0, script[len(asked) - 1]] = 1.0
        return list(rows)

    return asked, denoise


@pytest.mark.parametrize(
    ("stops", "answer", "passes", "reason"),
    [
        ((), (1, 2, 3, 4), 4, "length"),
        (((3,),), (1, 2), 3, "stop"),
        (((4,), (2, 3)), (1,), 3, "stop"),
        (((3,), (2, 3)), (1,), 3, "stop"),
        (((1, 2, 3, 4, 5),), (1, 2, 3, 4), 4, "length"),
    ],
)
def test_stops_before_the_first_stop_sequence(
    stops: tuple[tuple[int, ...], ...], answer: tuple[int, ...], passes: int, reason: str
) -> None:
    asked, denoise = scripted([1, 2, 3, 4])
    tokens = SamplingTokens(MASK_ID, (), stops)
    (ours,) = decode_greedy(denoise, [torch.tensor([5, 5])], SamplingParams(4, 4, 1), [tokens])  # type: ignore[arg-type]
    assert (ours.token_ids, ours.forward_passes, ours.stop_reason) == (answer, passes, reason)
    assert [query.positions.tolist() for query in asked] == [[1 + step] for step in range(passes)]
    assert asked[-1].token_ids.tolist() == [5, 5, 1, 2, 3][: 1 + passes]


def test_a_sample_with_broken_logits_fails_alone() -> None:
    model = ToyModel()
    sound = model.renamed([0, 1])

    def denoise(queries: Sequence[Query]) -> list[Tensor]:
        logits = sound(queries)
        if len(model.calls) == 3:
            logits[0][0, 2] = torch.nan
        return logits

    prompts = [torch.tensor([1]), torch.tensor([2])]
    failed, fine = decode_greedy(denoise, prompts, SamplingParams(5, 5, 1), [TOKENS] * 2)
    assert (failed.token_ids, failed.stop_reason, failed.forward_passes) == ((), "failed", 3)
    assert "not finite" in (failed.error or "")
    assert (len(fine.token_ids), fine.error) == (5, None)


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        (SamplingParams(4, 4, 1, temperature=0.5), TOKENS),
        (SamplingParams(4, 4, 1, cfg_scale=1.0), TOKENS),
        (SamplingParams(4, 4, 1, threshold=0.9), TOKENS),
        (SamplingParams(4, 4, 1), SamplingTokens(MASK_ID, suffix_ids=(1,))),
    ],
)
def test_what_it_cannot_do_is_refused_before_any_work(params: SamplingParams, tokens: SamplingTokens) -> None:
    model = ToyModel()
    with pytest.raises(SettingError, match="diffusion"):
        decode_greedy(model.renamed([0, 1]), [torch.tensor([1])] * 2, params, [TOKENS, tokens])
    assert model.calls == []

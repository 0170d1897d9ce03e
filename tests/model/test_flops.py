"""FLOPs from the config equal what torch counts while the model runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny_checkpoint import write_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import lladav_eval
from lladav_eval import LladaV, Request, SamplingParams

VIDEO = tuple(Image.new("RGB", (16, 16), (40 * n, 0, 0)) for n in range(3))
REQUESTS = {
    "text": Request("List each digit"),
    "tiled": Request("Which digit is in the picture?", (Image.new("RGB", (40, 20)),)),
    "several": Request("Which image shows a digit?", (Image.new("RGB", (9, 9)), Image.new("RGB", (30, 10)))),
    "video": Request("Which way does the digit move?", video=VIDEO, num_frames=3),
}


def counted(model: LladaV, request: Request, params: SamplingParams) -> tuple[float, float]:
    """(ours, torch's) for one answer. The math kernel is used, as torch knows no formula for the CPU's own one."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        answer = model.generate([request], params)[0]
    assert answer.status == "ok"
    assert answer.flops is not None
    return answer.flops, counter.get_total_flops()


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("params", [SamplingParams(8, 4, 4), SamplingParams(4, 4, 4, cfg_scale=0.5)])
def test_diffusion_equals_the_flop_counter(tmp_path: Path, kind: str, params: SamplingParams) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, num_key_value_heads=1), device="cpu")
    ours, theirs = counted(model, REQUESTS[kind], params)
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_the_twin_equals_the_flop_counter(tmp_path: Path) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path, lladav_eval_causal=True), device="cpu")
    ours, theirs = counted(model, REQUESTS["tiled"], SamplingParams(4, 4, 4))
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_a_sample_costs_the_same_in_every_batch(tmp_path: Path) -> None:
    model = lladav_eval.load(write_checkpoint(tmp_path), device="cpu")
    requests = list(REQUESTS.values())
    params = SamplingParams(8, 4, 4)
    alone = [answer.flops for answer in model.generate(requests, params, batch_size=1)]
    together = model.generate(requests, params, batch_size=4)
    assert alone == [answer.flops for answer in together]
    for answer in together:
        assert answer.prompt_tokens
        assert answer.output_tokens == 8
        assert answer.media_seconds is not None
        assert answer.prefill_seconds is not None
        assert answer.decode_seconds is not None
        assert answer.prefill_seconds + answer.decode_seconds == pytest.approx(answer.seconds)


def test_the_official_sizes_give_the_known_order() -> None:
    """Twice the parameters per token, and a little for attention: the usual rule holds at the official sizes."""
    from lladav_eval.model.config import parse_config
    from lladav_eval.model.flops import query_flops

    fields = {
        "d_model": 4096, "mlp_hidden_size": 12288, "n_layers": 32, "n_heads": 32, "max_sequence_length": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 5e5, "embedding_size": 126464,
    }  # fmt: skip
    flops = query_flops(parse_config(fields), 1000, 1000, 126464)
    assert 1.0 < flops / (2 * 7.4976e9 * 1000) < 1.05  # parameters without the embedding

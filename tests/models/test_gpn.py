"""The rows ``gpn`` and ``gpn-brassicales`` against the published blocks, written out in float64.

The reference below is plain arithmetic on the weights: convolutions as sums over taps, norms from
their moments. It follows the blocks of songlab-cal/gpn (``gpn.model`` and ``gpn.legacy``).
"""

import math

import pytest
import torch
from torch import Tensor

from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.models.variants import variant_config
from lightning_dna.testing.models import filled, random_tokens

TOY = {"width": 14, "heads": 2, "layers": 10, "vocab_size": 12}
LENGTH = 90


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *, taps: int, step: int) -> Tensor:
    """Sum over taps of one sequence (length, width), zeros beyond its ends."""
    kernel = weight.view(len(weight), taps, -1)
    reach = taps // 2 * step
    around = torch.zeros(len(x) + 2 * reach, x.shape[1], dtype=x.dtype)
    around[reach : reach + len(x)] = x
    out = torch.zeros(len(x), len(weight), dtype=x.dtype)
    for tap in range(taps):
        out += around[tap * step : tap * step + len(x)] @ kernel[:, tap].T
    return out if bias is None else out + bias


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def normed(x: Tensor, scale: Tensor, shift: Tensor | float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def one_hot(tokens: Tensor, width: int) -> Tensor:
    return torch.eye(width, dtype=torch.float64)[tokens]


def default_gpn(state: dict[str, Tensor], tokens: Tensor, *, layers: int) -> Tensor:
    """Norm, convolution, GELU, matrix; norm, matrix, GELU, matrix; no biases anywhere."""
    x = one_hot(tokens, len(state["backbone.final_norm.weight"]))
    for layer in range(layers):
        own = {
            name.removeprefix(f"backbone.blocks.{layer}."): value for name, value in state.items()
        }
        seen = convolution(
            normed(x, own["mixer_norm.weight"], 0.0),
            own["mixer.input.weight"],
            None,
            taps=9 if layer == 0 else 5,
            step=(1, 2, 4, 8, 16, 32, 64, 128)[layer % 8],
        )
        x = x + gelu(seen) @ own["mixer.output.weight"].T
        inner = normed(x, own["feedforward_norm.weight"], 0.0) @ own["feedforward.expand.weight"].T
        x = x + gelu(inner) @ own["feedforward.contract.weight"].T
    hidden = normed(x, state["backbone.final_norm.weight"], 0.0)
    transformed = normed(gelu(hidden @ state["head.dense.weight"].T), state["head.norm.weight"], 0)
    return transformed @ state["head.table.weight"].T


def released_gpn(state: dict[str, Tensor], tokens: Tensor, *, layers: int) -> Tensor:
    """Convolution, GELU, norm; matrix, GELU, norm; both added; no norm at the end."""
    x = one_hot(tokens, len(state["head.norm.weight"]))
    for layer in range(layers):
        own = {
            name.removeprefix(f"backbone.blocks.{layer}."): value for name, value in state.items()
        }
        seen = convolution(
            x,
            own["mixer.input.weight"],
            own["mixer.input.bias"],
            taps=9,
            step=(1, 2, 4, 8, 16, 32)[layer % 6],
        )
        x = x + normed(gelu(seen), own["mixer_norm.weight"], own["mixer_norm.bias"])
        seen = x @ own["feedforward.transform.weight"].T + own["feedforward.transform.bias"]
        x = x + normed(gelu(seen), own["feedforward_norm.weight"], own["feedforward_norm.bias"])
    dense = gelu(x @ state["head.dense.weight"].T + state["head.dense.bias"])
    dense = normed(dense, state["head.norm.weight"], state["head.norm.bias"])
    return dense @ state["head.table.weight"].T + state["head.bias"]


REFERENCES = {"gpn": default_gpn, "gpn-brassicales": released_gpn}


def shaken(name: str, **changes) -> LanguageModel:
    """A toy model of a row with every parameter, norms and biases too, away from its default."""
    model = filled(build_model(variant_config(name, **{**TOY, **changes}), seed=0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(
                    parameter.shape, generator=generator, dtype=torch.float64
                )
    return model.eval()


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_the_published_mathematics(name):
    changes = {"feedforward_width": 20} if name == "gpn" else {}
    model = shaken(name, **changes)
    tokens = random_tokens(2, LENGTH)
    with torch.no_grad():
        logits = model(tokens).logits
        for row, scores in zip(tokens, logits, strict=True):
            expected = REFERENCES[name](model.state_dict(), row, layers=10)
            torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)
            other = REFERENCES["gpn" if name != "gpn" else "gpn-brassicales"]
            with pytest.raises(KeyError):  # the two are different models
                other(model.state_dict(), row, layers=10)


def test_published_parameter_counts():
    """Over their own seven tokens; 65.9 M is what the released checkpoint is listed with."""
    assert parameter_counts(variant_config("gpn", vocab_size=7)).total == 93_091_328
    released = parameter_counts(variant_config("gpn-brassicales", vocab_size=7))
    assert released.total == 65_880_071
    assert released.embedding == 0
    d, taps = 512, 9
    assert released.mixer == 25 * (taps * d * d + d)
    assert released.feedforward == 25 * (d * d + d)


def test_a_plain_form_has_no_projection_and_a_linear_one_no_inner_width():
    config = variant_config("gpn-brassicales", **TOY)
    flops = flops_per_base(config, 30).forward
    assert "projection" not in flops
    assert flops["convolution"] == 10 * 2 * 9 * 14 * 14
    assert flops["feedforward"] == 10 * 2 * 14 * 14
    assert config.inner_width == 14


def test_one_hot_tokens_are_rows_of_the_identity_and_no_parameters():
    model = build_model(variant_config("gpn", **TOY), seed=0)
    embedded = model.backbone.embedding(torch.tensor([[0, 11]]))
    assert embedded.tolist() == [[[1.0] + [0.0] * 13, [0.0] * 11 + [1.0, 0.0, 0.0]]]
    assert not any("embedding" in name for name in model.state_dict())
    assert model.bfloat16().backbone.embedding(torch.tensor([[3]])).dtype == torch.bfloat16
    assert not any("bias" in name for name, _ in model.named_parameters())

"""Loaded checkpoints against the published formulas, written out step by step in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna import load_pretrained

IDS = torch.randint(7, 12, (2, 13), generator=torch.Generator().manual_seed(4))
REAL = {"none": slice(0, 13), "right": slice(0, 9), "left": slice(4, 13)}


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    out = x @ w[name + ".weight"].T
    return out + w[name + ".bias"] if name + ".bias" in w else out


def norm(w: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / scale * w[name + ".weight"] + w[name + ".bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """One sequence, each (length, heads, head width)."""
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1]) + bias
    return torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)


def dnabert2(w: dict[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
    e = "bert.embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][0]
    x = norm(w, e + "LayerNorm", x, 1e-12)
    distance = (torch.arange(len(ids))[:, None] - torch.arange(len(ids))).abs()
    # Three heads: those of two, then the first of four.
    bias = -torch.tensor([2.0**-4, 2.0**-8, 2.0**-2], dtype=x.dtype)[:, None, None] * distance
    for layer in range(2):
        p = f"bert.encoder.layer.{layer}."
        qkv = linear(w, p + "attention.self.Wqkv", x).view(len(ids), 3, 3, 8)
        mixed = linear(w, p + "attention.output.dense", attend(*qkv.unbind(1), bias))
        x = norm(w, p + "attention.output.LayerNorm", x + mixed, 1e-12)
        gated = linear(w, p + "mlp.gated_layers", x)
        inner = gelu(gated[:, :40]) * gated[:, 40:]
        x = norm(w, p + "mlp.layernorm", x + linear(w, p + "mlp.wo", inner), 1e-12)
    t = "cls.predictions.transform."
    h = norm(w, t + "LayerNorm", gelu(linear(w, t + "dense", x)), 1e-12)
    logits = h @ w[e + "word_embeddings.weight"].T + w["cls.predictions.decoder.bias"]
    return x, logits


def turn(x: Tensor) -> Tensor:
    """RoPE with complex numbers: channel c and c + 4 are the parts of one."""
    position = torch.arange(x.shape[0], dtype=torch.float64)
    angle = position[:, None, None] * 10000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1)


def ntv2(w: dict[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
    x = w["esm.embeddings.word_embeddings.weight"][ids]
    for layer in range(2):
        p = f"esm.encoder.layer.{layer}."
        normed = norm(w, p + "attention.LayerNorm", x, 1e-12)
        q, k, v = (
            linear(w, f"{p}attention.self.{part}", normed).view(len(ids), 3, 8)
            for part in ("query", "key", "value")
        )
        mixed = attend(turn(q), turn(k), v, torch.zeros(()))
        x = x + linear(w, p + "attention.output.dense", mixed)
        inner = linear(w, p + "intermediate.dense", norm(w, p + "LayerNorm", x, 1e-12))
        gate, value = inner[:, :40], inner[:, 40:]
        x = x + linear(w, p + "output.dense", gate * torch.sigmoid(gate) * value)
    x = norm(w, "esm.encoder.emb_layer_norm_after", x, 1e-12)
    h = norm(w, "lm_head.layer_norm", gelu(linear(w, "lm_head.dense", x)), 1e-12)
    return x, h @ w["lm_head.decoder.weight"].T + w["lm_head.bias"]


def hyenadna(w: dict[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
    length = len(ids)
    table = w["backbone.embeddings.word_embeddings.weight"]
    x = table[ids]
    for layer in range(2):
        p = f"backbone.layers.{layer}."
        u = linear(w, p + "mixer.in_proj", norm(w, p + "norm1", x, 1e-5))
        padded = functional.pad(u, (0, 0, 2, 0))
        taps = w[p + "mixer.short_filter.weight"][:, 0]
        u = sum(padded[i : i + length] * taps[:, i] for i in range(3))
        gate_out, gate_in, v = (u + w[p + "mixer.short_filter.bias"]).chunk(3, dim=-1)
        f = p + "mixer.filter_fn."
        h = w[f + "pos_emb.z"][0]
        for i in (0, 2, 4):
            h = linear(w, f"{f}implicit_filter.{i}", h)
            h = torch.sin(w[f + "implicit_filter.1.freq"] * h)
        h = linear(w, f + "implicit_filter.6", h)
        decay = torch.exp(-w[f + "pos_emb.t"][0] * w[f + "modulation.deltas"][0].abs())
        h = h * (decay + 0.05)
        v = v * gate_in
        past = [sum(h[i - j] * v[j] for j in range(i + 1)) for i in range(length)]
        v = torch.stack(past) + v * w[f + "bias"]
        x = x + linear(w, p + "mixer.out_proj", v * gate_out)
        inner = linear(w, p + "mlp.fc1", norm(w, p + "norm2", x, 1e-5))
        x = x + linear(w, p + "mlp.fc2", functional.gelu(inner, approximate="tanh"))
    x = norm(w, "backbone.ln_f", x, 1e-5)
    return x, x @ table.T


REFERENCES = {"dnabert2": dnabert2, "ntv2": ntv2, "ntv2-bias": ntv2, "hyenadna": hyenadna}


@pytest.mark.parametrize("padding", REAL)
@pytest.mark.parametrize("kind", REFERENCES)
def test_loaded_models_compute_the_published_formulas(kind, padding, published):
    checkpoint = published(kind)
    model = load_pretrained(checkpoint.write()).double()
    exact = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
    real = REAL[padding]
    mask = torch.ones_like(IDS)
    ids = IDS.clone()
    ids[1] = 1  # padding of the second row
    ids[1, real] = IDS[1, real]
    mask[1] = 0
    mask[1, real] = 1
    with torch.no_grad():
        output = model(ids, None if padding == "none" else mask)
    for row, places in enumerate((slice(None), real)):
        hidden, logits = REFERENCES[kind](exact, IDS[row, places])
        # Hyena's tables are float32 in the checkpoint, so this is as close as it gets.
        atol = 1e-5 if kind == "hyenadna" else 1e-9
        torch.testing.assert_close(output.hidden[row, places], hidden, rtol=0, atol=atol)
        torch.testing.assert_close(output.logits[row, places], logits, rtol=0, atol=atol)

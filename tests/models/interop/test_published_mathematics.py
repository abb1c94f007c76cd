"""Loaded checkpoints against the published formulas, written out step by step in float64."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna import load_pretrained

from .conftest import MAKERS

Config = dict[str, Any]
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


def slopes(heads: int) -> list[float]:
    """Written out from the paper: 8 / n for n heads; else those of fewer, and every second one."""
    tables = {
        1: [8],
        3: [4, 8, 2],
        12: [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5],
    }
    return [2.0**-power for power in tables[heads]]


def dnabert2(w: dict[str, Tensor], c: Config, ids: Tensor) -> tuple[Tensor, Tensor]:
    e, eps = "bert.embeddings.", c["layer_norm_eps"]
    heads, inner_width = c["num_attention_heads"], c["intermediate_size"]
    x = w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][0]
    x = norm(w, e + "LayerNorm", x, eps)
    distance = (torch.arange(len(ids))[:, None] - torch.arange(len(ids))).abs()
    bias = -torch.tensor(slopes(heads), dtype=x.dtype)[:, None, None] * distance
    for layer in range(c["num_hidden_layers"]):
        p = f"bert.encoder.layer.{layer}."
        qkv = linear(w, p + "attention.self.Wqkv", x).view(len(ids), 3, heads, -1)
        mixed = linear(w, p + "attention.output.dense", attend(*qkv.unbind(1), bias))
        x = norm(w, p + "attention.output.LayerNorm", x + mixed, eps)
        gated = linear(w, p + "mlp.gated_layers", x)
        inner = gelu(gated[:, :inner_width]) * gated[:, inner_width:]
        x = norm(w, p + "mlp.layernorm", x + linear(w, p + "mlp.wo", inner), eps)
    t = "cls.predictions.transform."
    # The published head has its epsilon written into it.
    h = norm(w, t + "LayerNorm", gelu(linear(w, t + "dense", x)), 1e-12)
    logits = h @ w[e + "word_embeddings.weight"].T + w["cls.predictions.decoder.bias"]
    return x, logits


def turn(x: Tensor) -> Tensor:
    """RoPE with complex numbers: channel c and c + half are the parts of one."""
    position, half = torch.arange(x.shape[0], dtype=torch.float64), x.shape[-1] // 2
    angle = position[:, None, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turned = torch.complex(x[..., :half], x[..., half:])
    turned = turned * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1)


def ntv2(w: dict[str, Tensor], c: Config, ids: Tensor) -> tuple[Tensor, Tensor]:
    eps, inner_width = c["layer_norm_eps"], c["intermediate_size"]
    heads = c["num_attention_heads"]
    x = w["esm.embeddings.word_embeddings.weight"][ids]
    for layer in range(c["num_hidden_layers"]):
        p = f"esm.encoder.layer.{layer}."
        normed = norm(w, p + "attention.LayerNorm", x, eps)
        q, k, v = (
            linear(w, f"{p}attention.self.{part}", normed).view(len(ids), heads, -1)
            for part in ("query", "key", "value")
        )
        mixed = attend(turn(q), turn(k), v, torch.zeros(()))
        x = x + linear(w, p + "attention.output.dense", mixed)
        inner = linear(w, p + "intermediate.dense", norm(w, p + "LayerNorm", x, eps))
        gate, value = inner[:, :inner_width], inner[:, inner_width:]
        x = x + linear(w, p + "output.dense", gate * torch.sigmoid(gate) * value)
    x = norm(w, "esm.encoder.emb_layer_norm_after", x, eps)
    h = norm(w, "lm_head.layer_norm", gelu(linear(w, "lm_head.dense", x)), eps)
    return x, h @ w["lm_head.decoder.weight"].T + w["lm_head.bias"]


def causal_attention(w: dict[str, Tensor], p: str, x: Tensor, heads: int) -> Tensor:
    qkv = linear(w, p + "mixer.Wqkv", x).view(len(x), 3, heads, -1)
    future = torch.ones(len(x), len(x)).triu(1).bool()
    bias = torch.zeros(len(x), len(x), dtype=x.dtype).masked_fill(future, -math.inf)
    return linear(w, p + "mixer.out_proj", attend(*qkv.unbind(1), bias))


def hyena(w: dict[str, Tensor], p: str, c: Config, x: Tensor) -> Tensor:
    length, order, sines = len(x), c.get("order", 2), c.get("num_inner_mlps", 2) + 1
    u = linear(w, p + "mixer.in_proj", x)
    taps = w[p + "mixer.short_filter.weight"][:, 0]
    padded = functional.pad(u, (0, 0, taps.shape[1] - 1, 0))
    u = sum(padded[i : i + length] * taps[:, i] for i in range(taps.shape[1]))
    *gates, v = (u + w[p + "mixer.short_filter.bias"]).chunk(order + 1, dim=-1)
    f = p + "mixer.filter_fn."
    h = w[f + "pos_emb.z"][0, :length]
    for i in range(sines):
        h = linear(w, f"{f}implicit_filter.{2 * i}", h)
        h = torch.sin(w[f + "implicit_filter.1.freq"] * h)
    h = linear(w, f"{f}implicit_filter.{2 * sines}", h)
    if c.get("modulate", True):
        decay = torch.exp(-w[f + "pos_emb.t"][0, :length] * w[f + "modulation.deltas"][0].abs())
        h = h * (decay + c.get("shift", 0.05))
    # One filter after the other; the last gate comes first.
    skips, filters = w[f + "bias"].chunk(order - 1), h.chunk(order - 1, dim=-1)
    for taps, skip, gate in zip(filters, skips, reversed(gates[1:]), strict=True):
        v = v * gate
        past = [sum(taps[i - j] * v[j] for j in range(i + 1)) for i in range(length)]
        v = torch.stack(past) + v * skip
    return linear(w, p + "mixer.out_proj", v * gates[0])


def hyenadna(w: dict[str, Tensor], c: Config, ids: Tensor) -> tuple[Tensor, Tensor]:
    eps = c.get("layer_norm_epsilon", 1e-5)
    table = w["backbone.embeddings.word_embeddings.weight"]
    x = table[ids]
    if c.get("max_position_embeddings"):
        x = x + w["backbone.embeddings.position_embeddings.weight"][: len(ids)]
    for layer in range(c["n_layer"]):
        p = f"backbone.layers.{layer}."
        normed = norm(w, p + "norm1", x, eps)
        if layer in c.get("attn_layer_idx", ()):
            x = x + causal_attention(w, p, normed, c["attn_cfg"]["num_heads"])
        else:
            x = x + hyena(w, p, c["layer"], normed)
        inner = linear(w, p + "mlp.fc1", norm(w, p + "norm2", x, eps))
        x = x + linear(w, p + "mlp.fc2", functional.gelu(inner, approximate="tanh"))
    x = norm(w, "backbone.ln_f", x, eps)
    return x, x @ table.T


REFERENCES = {"dnabert2": dnabert2, "ntv2": ntv2, "hyenadna": hyenadna}


@pytest.mark.parametrize("padding", REAL)
@pytest.mark.parametrize("kind", MAKERS)
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
        family = kind.partition("-")[0]
        hidden, logits = REFERENCES[family](exact, checkpoint.config, IDS[row, places])
        # Hyena's tables are float32 in the checkpoint, so this is as close as it gets.
        atol = 1e-5 if family == "hyenadna" else 1e-9
        torch.testing.assert_close(output.hidden[row, places], hidden, rtol=0, atol=atol)
        torch.testing.assert_close(output.logits[row, places], logits, rtol=0, atol=atol)

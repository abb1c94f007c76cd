"""Random checkpoints in the published layouts, written out by hand from the published names."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass
class Published:
    """One checkpoint, in memory and on disk."""

    folder: Path
    config: dict[str, Any]
    tensors: Tensors

    def write(self, name: str = "pytorch_model.bin") -> Path:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self.config))
        content = {"state_dict": self.tensors} if name.endswith(".ckpt") else self.tensors
        torch.save(content, self.folder / name)
        return self.folder


class Random:
    """Tensors from a seed, around what trained weights look like."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, std: float = 0.2, mean: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=self.generator) * std + mean

    def linear(self, name: str, outputs: int, inputs: int, *, bias: bool = True) -> Tensors:
        tensors = {f"{name}.weight": self(outputs, inputs)}
        return tensors | ({f"{name}.bias": self(outputs)} if bias else {})

    def norm(self, name: str, width: int) -> Tensors:
        return {f"{name}.weight": self(width, mean=1.0), f"{name}.bias": self(width)}


def dnabert2(
    *,
    width: int = 24,
    inner: int = 40,
    layers: int = 2,
    vocabulary: int = 32,
    heads: int = 3,
    types: int = 2,
    epsilon: float = 1e-12,
) -> tuple[dict[str, Any], Tensors]:
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "hidden_size": width,
        "intermediate_size": inner,
        "layer_norm_eps": epsilon,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "type_vocab_size": types,
        "vocab_size": vocabulary,
        "max_position_embeddings": 16,
        "some_new_setting": "of no effect",
    }
    draw = Random(1)
    tensors = {
        "bert.embeddings.word_embeddings.weight": draw(vocabulary, width),
        "bert.embeddings.token_type_embeddings.weight": draw(types, width),
        **draw.norm("bert.embeddings.LayerNorm", width),
        **draw.linear("cls.predictions.transform.dense", width, width),
        **draw.norm("cls.predictions.transform.LayerNorm", width),
        "cls.predictions.decoder.bias": draw(vocabulary),
    }
    for layer in range(layers):
        p = f"bert.encoder.layer.{layer}."
        tensors |= draw.linear(p + "attention.self.Wqkv", 3 * width, width)
        tensors |= draw.linear(p + "attention.output.dense", width, width)
        tensors |= draw.norm(p + "attention.output.LayerNorm", width)
        tensors |= draw.linear(p + "mlp.gated_layers", 2 * inner, width, bias=False)
        tensors |= draw.linear(p + "mlp.wo", width, inner)
        tensors |= draw.norm(p + "mlp.layernorm", width)
    table = tensors["bert.embeddings.word_embeddings.weight"]
    return config, tensors | {"cls.predictions.decoder.weight": table.clone()}


def ntv2(
    *,
    bias: bool = False,
    width: int = 24,
    inner: int = 40,
    layers: int = 2,
    vocabulary: int = 29,
    heads: int = 3,
    epsilon: float = 1e-12,
) -> tuple[dict[str, Any], Tensors]:
    config = {
        "add_bias_fnn": bias,
        "model_type": "esm",
        "hidden_size": width,
        "intermediate_size": inner,
        "layer_norm_eps": epsilon,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "max_position_embeddings": 50,
        "position_embedding_type": "rotary",
        "tie_word_embeddings": False,
        "token_dropout": False,
        "vocab_size": vocabulary,
    }
    draw = Random(2)
    pairs = width // heads // 2
    tensors = {
        "esm.embeddings.word_embeddings.weight": draw(vocabulary, width),
        "esm.embeddings.position_embeddings.weight": draw(50, width),
        **draw.norm("esm.encoder.emb_layer_norm_after", width),
        **draw.linear("lm_head.dense", width, width),
        **draw.norm("lm_head.layer_norm", width),
        "lm_head.decoder.weight": draw(vocabulary, width),
        "lm_head.bias": draw(vocabulary),
        **draw.linear("esm.contact_head.regression", 1, layers * heads),
    }
    for layer in range(layers):
        p = f"esm.encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            tensors |= draw.linear(f"{p}attention.self.{part}", width, width)
        frequencies = 1.0 / 10000 ** (torch.arange(pairs) * 2 / (2 * pairs))
        tensors[p + "attention.self.rotary_embeddings.inv_freq"] = frequencies
        tensors |= draw.linear(p + "attention.output.dense", width, width)
        tensors |= draw.norm(p + "attention.LayerNorm", width)
        tensors |= draw.norm(p + "LayerNorm", width)
        tensors |= draw.linear(p + "intermediate.dense", 2 * inner, width, bias=bias)
        tensors |= draw.linear(p + "output.dense", width, inner, bias=bias)
    return config, tensors


def hyenadna(
    *,
    width: int = 12,
    inner: int = 20,
    layers: int = 2,
    longest: int = 40,
    hidden: int = 8,
    vocabulary: int = 12,
    multiple: int = 8,
    shift: float | None = None,
    epsilon: float | None = None,
    attention: tuple[int, ...] = (),
    features: int = 5,
    order: int = 2,
    sines: int = 3,
    taps: int = 3,
    positions: bool = False,
    **in_layer: Any,
) -> tuple[dict[str, Any], Tensors]:
    config = {
        "d_model": width,
        "d_inner": inner,
        "n_layer": layers,
        "vocab_size": vocabulary,
        "pad_vocab_size_multiple": multiple,
        "resid_dropout": 0.0,
        "embed_dropout": 0.1,
        "layer": {
            "_name_": "hyena",
            "emb_dim": features,
            "filter_order": hidden,
            "local_order": 3,
            "l_max": longest,
            "modulate": True,
            "w": 10,
            "lr": 6e-4,
            "lr_pos_emb": 0.0,
        }
        | ({} if shift is None else {"shift": shift})
        | ({} if order == 2 else {"order": order})
        | ({} if sines == 3 else {"num_inner_mlps": sines - 1})
        | in_layer,
    } | ({} if epsilon is None else {"layer_norm_epsilon": epsilon})
    if attention:
        config |= {"attn_layer_idx": [*attention], "attn_cfg": {"num_heads": 3, "dropout": 0.1}}
    if positions:
        config["max_position_embeddings"] = longest
    rows = -(-vocabulary // multiple) * multiple
    draw = Random(3)
    time = torch.arange(longest) / (longest - 1)
    bands = torch.linspace(1e-4, (features - 1) // 2 - 1, (features - 1) // 2)
    wave = torch.exp(-2j * math.pi * torch.arange(longest)[:, None] / longest * bands)
    tensors = {
        "backbone.embeddings.word_embeddings.weight": draw(rows, width, std=1.0),
        **draw.norm("backbone.ln_f", width),
    }
    if positions:
        tensors["backbone.embeddings.position_embeddings.weight"] = draw(longest, width)
    channels, filters = (order + 1) * width, (order - 1) * width
    target = math.log(in_layer.get("target", 0.01))
    slow, fast = in_layer.get("slow_decay_pct", 1.5), in_layer.get("fast_decay_pct", 0.3)
    for layer in range(layers):
        p = f"backbone.layers.{layer}."
        f = p + "mixer.filter_fn."
        tensors |= draw.norm(p + "norm1", width) | draw.norm(p + "norm2", width)
        tensors |= draw.linear(p + "mlp.fc1", inner, width) | draw.linear(
            p + "mlp.fc2", width, inner
        )
        tensors |= draw.linear(p + "mixer.out_proj", width, width)
        if layer in attention:
            tensors |= draw.linear(p + "mixer.Wqkv", 3 * width, width)
            continue
        tensors |= draw.linear(p + "mixer.in_proj", channels, width)
        tensors[p + "mixer.short_filter.weight"] = draw(channels, 1, taps, std=0.5)
        tensors[p + "mixer.short_filter.bias"] = draw(channels)
        tensors[f + "bias"] = draw(filters, std=1.0)
        for i in range(sines):
            inputs = hidden if i else features
            tensors |= draw.linear(f"{f}implicit_filter.{2 * i}", hidden, inputs)
        tensors |= draw.linear(f"{f}implicit_filter.{2 * sines}", filters, hidden, bias=False)
        shared = draw(1, hidden, std=1.0, mean=in_layer.get("w", 10.0))
        for i in range(sines):
            tensors[f"{f}implicit_filter.{2 * i + 1}.freq"] = shared.clone()
        tensors[f + "pos_emb.t"] = time[None, :, None]
        tensors[f + "pos_emb.z"] = torch.cat((time[:, None], wave.real, wave.imag), -1)[None]
        rates = torch.linspace(target / slow, target / fast, filters)
        tensors[f + "modulation.deltas"] = rates[None, None]
    return config, tensors


MAKERS: dict[str, Callable[[], tuple[dict[str, Any], Tensors]]] = {
    "dnabert2": dnabert2,
    "ntv2": ntv2,
    "ntv2-bias": lambda: ntv2(bias=True),
    "hyenadna": hyenadna,
    # Other shapes: nothing is a power of two, and every number that is fixed above is another.
    "dnabert2-12-heads": partial(
        dnabert2, width=60, inner=31, layers=3, vocabulary=43, heads=12, types=1, epsilon=0.3
    ),
    "dnabert2-1-head": partial(dnabert2, width=10, inner=7, layers=1, vocabulary=13, heads=1),
    "ntv2-5-heads": partial(
        ntv2, width=30, inner=17, layers=3, vocabulary=41, heads=5, epsilon=0.2, bias=True
    ),
    "ntv2-1-head": partial(ntv2, width=14, inner=50, layers=1, vocabulary=13, heads=1),
    "hyenadna-3-layers": partial(
        hyenadna,
        width=7,
        inner=11,
        layers=3,
        longest=29,
        hidden=5,
        vocabulary=13,
        multiple=5,
        shift=0.3,
        epsilon=0.1,
    ),
    "hyenadna-3-features": partial(hyenadna, features=3),
    "hyenadna-9-features": partial(hyenadna, features=9, width=5),
    "hyenadna-order-3": partial(hyenadna, order=3),
    "hyenadna-order-4": partial(hyenadna, order=4, width=7, taps=4, sines=2, features=3),
    "hyenadna-1-sine": partial(hyenadna, sines=1, taps=5),
    "hyenadna-5-sines": partial(hyenadna, sines=5, width=5, w=1),
    "hyenadna-decay": partial(
        hyenadna, order=3, fast_decay_pct=0.1, slow_decay_pct=2.0, target=0.3
    ),
    "hyenadna-no-decay": partial(hyenadna, order=3, modulate=False, shift=0.5),
    "hyenadna-positions": partial(hyenadna, attention=(0, 1), positions=True),
    "hyenadna-attention": partial(hyenadna, attention=(0, 1)),
    "hyenadna-hybrid": partial(hyenadna, layers=3, attention=(1,)),
    "hyenadna-unpadded": partial(hyenadna, width=6, longest=13, multiple=1, shift=0.0),
}


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], Published]:
    """Make a random checkpoint of a family; ``.write()`` puts it on disk."""

    def make(kind: str) -> Published:
        return Published(tmp_path / kind, *MAKERS[kind]())

    return make

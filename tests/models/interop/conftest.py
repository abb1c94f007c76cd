"""Random checkpoints in the published layouts, written out by hand from the published names."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
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


def dnabert2() -> tuple[dict[str, Any], Tensors]:
    width, inner, layers, vocabulary = 24, 40, 2, 32
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "hidden_size": width,
        "intermediate_size": inner,
        "layer_norm_eps": 1e-12,
        "num_attention_heads": 3,
        "num_hidden_layers": layers,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 16,
        "some_new_setting": "of no effect",
    }
    draw = Random(1)
    tensors = {
        "bert.embeddings.word_embeddings.weight": draw(vocabulary, width),
        "bert.embeddings.token_type_embeddings.weight": draw(2, width),
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


def ntv2(*, bias: bool = False) -> tuple[dict[str, Any], Tensors]:
    width, inner, layers, vocabulary, heads = 24, 40, 2, 29, 3
    config = {
        "add_bias_fnn": bias,
        "model_type": "esm",
        "hidden_size": width,
        "intermediate_size": inner,
        "layer_norm_eps": 1e-12,
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


def hyenadna() -> tuple[dict[str, Any], Tensors]:
    width, inner, layers, longest, hidden = 12, 20, 2, 40, 8
    config = {
        "d_model": width,
        "d_inner": inner,
        "n_layer": layers,
        "vocab_size": 12,
        "pad_vocab_size_multiple": 8,
        "resid_dropout": 0.0,
        "embed_dropout": 0.1,
        "layer": {
            "_name_": "hyena",
            "emb_dim": 5,
            "filter_order": hidden,
            "local_order": 3,
            "l_max": longest,
            "modulate": True,
            "w": 10,
            "lr": 6e-4,
            "lr_pos_emb": 0.0,
        },
    }
    draw = Random(3)
    time = torch.arange(longest) / (longest - 1)
    wave = torch.exp(
        -2j * math.pi * torch.arange(longest)[:, None] / longest * torch.tensor([1e-4, 1.0])
    )
    tensors = {
        "backbone.embeddings.word_embeddings.weight": draw(16, width, std=1.0),
        **draw.norm("backbone.ln_f", width),
    }
    for layer in range(layers):
        p = f"backbone.layers.{layer}."
        f = p + "mixer.filter_fn."
        tensors |= draw.norm(p + "norm1", width) | draw.norm(p + "norm2", width)
        tensors |= draw.linear(p + "mlp.fc1", inner, width) | draw.linear(
            p + "mlp.fc2", width, inner
        )
        tensors |= draw.linear(p + "mixer.in_proj", 3 * width, width)
        tensors |= draw.linear(p + "mixer.out_proj", width, width)
        tensors[p + "mixer.short_filter.weight"] = draw(3 * width, 1, 3, std=0.5)
        tensors[p + "mixer.short_filter.bias"] = draw(3 * width)
        tensors[f + "bias"] = draw(width, std=1.0)
        tensors |= draw.linear(f + "implicit_filter.0", hidden, 5)
        tensors |= draw.linear(f + "implicit_filter.2", hidden, hidden)
        tensors |= draw.linear(f + "implicit_filter.4", hidden, hidden)
        tensors |= draw.linear(f + "implicit_filter.6", width, hidden, bias=False)
        shared = draw(1, hidden, std=1.0, mean=10.0)
        tensors |= {f"{f}implicit_filter.{i}.freq": shared.clone() for i in (1, 3, 5)}
        tensors[f + "pos_emb.t"] = time[None, :, None]
        tensors[f + "pos_emb.z"] = torch.cat((time[:, None], wave.real, wave.imag), -1)[None]
        tensors[f + "modulation.deltas"] = torch.linspace(
            math.log(0.01) / 1.5, math.log(0.01) / 0.3, width
        )[None, None]
    return config, tensors


MAKERS: dict[str, Callable[[], tuple[dict[str, Any], Tensors]]] = {
    "dnabert2": dnabert2,
    "ntv2": ntv2,
    "ntv2-bias": lambda: ntv2(bias=True),
    "hyenadna": hyenadna,
}


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], Published]:
    """Make a random checkpoint of a family; ``.write()`` puts it on disk."""

    def make(kind: str) -> Published:
        return Published(tmp_path / kind, *MAKERS[kind]())

    return make

"""HyenaDNA's settings: those that are built, those that change nothing, those that are refused."""

import pytest
import torch

from lightning_dna import build_model, load_pretrained
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.models.variants import variant_config

IDS = torch.tensor([[7, 8, 9, 10, 7, 7, 11, 9]])
TOY = {"width": 12, "heads": 3, "layers": 2, "max_length": 24}


def test_a_hyena_of_another_kind(published):
    checkpoint = published("hyenadna")
    refused = {
        "bidirectional": True,
        "bias": False,
        "num_heads": 2,
        "num_blocks": 4,
        "inner_factor": 2,
        "outer_mixing": True,
        "post_order_ffn": True,
        "jit_filter": True,
        "activation": "gelu",
        "modulate": "sometimes",
        "fast_decay_pct": 0,
        "target": 1.0,
    }
    for key, value in refused.items():
        checkpoint.config["layer"] = published("hyenadna").config["layer"] | {key: value}
        with pytest.raises(ConfigError, match=rf"layer: {key} is {value!r}"):
            load_pretrained(checkpoint.write())


def test_settings_that_leave_the_function_as_it_is(published):
    checkpoint = published("hyenadna")
    logits = load_pretrained(checkpoint.write())(IDS).logits
    checkpoint.config |= {"residual_in_fp32": True, "checkpoint_mixer": True, "fused_mlp": False}
    checkpoint.config |= {"return_hidden_state": True, "max_position_embeddings": 0}
    checkpoint.config["layer"] |= {"w": 1, "order": 2, "modulation_lr": 0.0, "fused_fft_conv": True}
    assert torch.equal(load_pretrained(checkpoint.write())(IDS).logits, logits)


def test_defaults_of_the_published_code(published):
    """Three features, 64 hidden units, two inner layers: what its constructors take."""
    checkpoint = published("hyenadna")
    checkpoint.config["layer"] = {"l_max": 40}
    with pytest.raises(DataError, match=r"implicit_filter.0.weight \[8, 5\] instead of \[64, 3\]"):
        load_pretrained(checkpoint.write())


def test_hyena_tables_that_no_formula_gives(published):
    """Trained positional features would be another model: they are refused and not dropped."""
    for name in ("pos_emb.z", "pos_emb.t", "modulation.deltas"):
        checkpoint = published("hyenadna")
        key = f"backbone.layers.1.mixer.filter_fn.{name}"
        checkpoint.tensors[key] = checkpoint.tensors[key] * 1.01
        with pytest.raises(DataError, match=f"{key}, which is not what the published formula"):
            load_pretrained(checkpoint.write())


def test_names_as_wrappers_and_training_checkpoints_have_them(published):
    """``weights.ckpt`` of the hub, with activation checkpointing; and the flat ``-hf`` form."""
    plain = published("hyenadna")
    logits = load_pretrained(plain.write("weights.ckpt"))(IDS).logits
    wrapped = published("hyenadna")
    wrapped.folder = wrapped.folder.with_name("wrapped")
    wrapped.tensors = {
        "model." + name.replace(".mixer.", ".mixer.layer.").replace(".mlp.", ".mlp.layer."): value
        for name, value in plain.tensors.items()
    }
    table = plain.tensors["backbone.embeddings.word_embeddings.weight"]
    wrapped.tensors["model.lm_head.weight"] = table
    assert torch.equal(load_pretrained(wrapped.write("weights.ckpt"))(IDS).logits, logits)
    flat = published("hyenadna")
    flat.folder = flat.folder.with_name("flat")
    flat.config = {
        "model_type": "hyenadna",
        "d_model": 12,
        "d_inner": 20,
        "n_layer": 2,
        "vocab_size": 12,
        "pad_vocab_size_multiple": 8,
        "emb_dim": 5,
        "filter_order": 8,
        "hyena_order": 2,
        "max_seq_len": 40,
        "num_inner_mlps": 2,
        "use_bias": True,
    }
    flat.tensors = {"hyena." + name: value for name, value in plain.tensors.items()}
    flat.tensors["lm_head.weight"] = table
    assert torch.equal(load_pretrained(flat.write())(IDS).logits, logits)


def test_an_attention_model_needs_no_hyena_settings(published):
    """``AttnDNA`` of the published code takes ``layer: null``."""
    checkpoint = published("hyenadna-attention")
    logits = load_pretrained(checkpoint.write())(IDS).logits
    checkpoint.config["layer"] = None
    assert torch.equal(load_pretrained(checkpoint.write())(IDS).logits, logits)
    del checkpoint.config["attn_layer_idx"]
    with pytest.raises(DataError, match="no known layout"):
        load_pretrained(checkpoint.write())


@pytest.mark.parametrize(
    "changes",
    [
        {"hyena_order": 3, "hyena_decay": "spread", "hyena_fast_decay": 0.2},
        {"hyena_order": 4, "hyena_decay": "none", "hyena_filter_shift": 0.0},
        {"hyena_filter_layers": 1, "hyena_features": 7, "hyena_short_filter": 4},
        {"position": "learned"},
    ],
)
def test_hyenas_built_here_in_the_published_layout(changes, tmp_path):
    model = build_model(variant_config("hyenadna-tiny-1k", **TOY, **changes), seed=0).eval()
    save_pretrained(model, tmp_path, layout="published")
    loaded = load_pretrained(tmp_path)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert loaded.config.hyena_decay == model.config.hyena_decay


def test_filters_that_the_published_code_does_not_have(tmp_path):
    config = variant_config("hyenadna-tiny-1k", **TOY, hyena_order=3)
    with pytest.raises(ConfigError, match="needs a model as one of the families"):
        save_pretrained(build_model(config, seed=0), tmp_path, layout="published")

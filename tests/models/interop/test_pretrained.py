"""Loading and saving: round trips are exact, and what does not fit is refused with its keys."""

import json

import pytest
import torch
from safetensors.torch import load_file

from lightning_dna import ModelConfig, build_model, load_pretrained
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.models.variants import variant_config

KINDS = (
    *("dnabert2", "ntv2", "ntv2-bias", "hyenadna", "hyenadna-hybrid", "hyenadna-order-4"),
    *("hyenadna-decay", "hyenadna-no-decay", "hyenadna-5-sines", "hyenadna-positions"),
)
IDS = torch.tensor([[7, 8, 9, 10, 7, 7, 11, 9]])
TOY = {"width": 12, "heads": 3, "layers": 2, "max_length": 24}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("kind", KINDS)
def test_published_layouts_come_back_exactly(kind, published, tmp_path):
    checkpoint = published(kind)
    model = load_pretrained(checkpoint.write())
    assert not model.training
    direct, own, again = (tmp_path / name for name in ("direct", "own", "again"))
    model.save_pretrained(direct, layout="published")
    model.save_pretrained(own)
    load_pretrained(own).save_pretrained(again, layout="published")
    for folder in (direct, again):
        assert equal(load_file(folder / "model.safetensors"), checkpoint.tensors)
        assert json.loads((folder / "config.json").read_text()) == checkpoint.config
    for folder in (direct, own, again):
        other = load_pretrained(str(folder))
        assert other.config == model.config
        assert torch.equal(other(IDS).logits, model(IDS).logits)
        assert torch.equal(other(IDS).hidden, model(IDS).hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_weights_are_what_is_saved(kind, published, tmp_path):
    """Not the ones that were loaded: tied weights change together."""
    model = load_pretrained(published(kind).write())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.save_pretrained(tmp_path / "new", layout="published")
    assert torch.equal(load_pretrained(tmp_path / "new")(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_unknown_and_misshapen_keys_are_all_listed(kind, published):
    checkpoint = published(kind)
    names = sorted(
        name
        for name in checkpoint.tensors
        if not any(part in name for part in ("freq", "decoder", "embeddings", "pos", "contact"))
        and "deltas" not in name
    )
    removed, cut = names[::5], names[1]
    for name in removed:
        del checkpoint.tensors[name]
    checkpoint.tensors[cut] = checkpoint.tensors[cut][:-1]
    checkpoint.tensors["encoder.surprise"] = torch.zeros(1)
    with pytest.raises(DataError, match="these are not the weights") as error:
        load_pretrained(checkpoint.write())
    for name in (*removed, cut, "encoder.surprise"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [("dnabert2", "ntv2"), ("ntv2", "dnabert2"), ("hyenadna", "ntv2"), ("dnabert2", "hyenadna")],
)
def test_weights_of_another_architecture(kind, weights, published):
    checkpoint = published(kind)
    checkpoint.tensors = published(weights).tensors
    with pytest.raises(DataError, match=r"no tensor is named like its weights.*architecture"):
        load_pretrained(checkpoint.write())


def test_weights_of_another_size(published):
    checkpoint = published("dnabert2")
    checkpoint.config["num_hidden_layers"] = 3
    with pytest.raises(DataError, match=r"missing: bert\.encoder\.layer\.2\."):
        load_pretrained(checkpoint.write())
    checkpoint.config["num_hidden_layers"] = 1
    with pytest.raises(DataError, match=r"unknown: bert\.encoder\.layer\.1\."):
        load_pretrained(checkpoint.write())
    checkpoint.config |= {"num_hidden_layers": 2, "intermediate_size": 41}
    with pytest.raises(DataError, match=r"gated_layers.weight \[80, 24\] instead of \[82, 24\]"):
        load_pretrained(checkpoint.write())


def test_unknown_layouts(published):
    checkpoint = published("dnabert2")
    checkpoint.config["model_type"] = "llama"
    with pytest.raises(DataError, match=r"no known layout.*'llama'.*HyenaDNA, DNABERT-2"):
        load_pretrained(checkpoint.write())


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("ntv2", {"position_embedding_type": "absolute"}, "is 'absolute', as in version 1"),
        ("ntv2", {"token_dropout": True}, "token_dropout is True"),
        ("ntv2", {"hidden_size": None}, "hidden_size has to be a positive integer.*None"),
        ("ntv2", {"num_attention_heads": 5}, r"config.json \(Nucleotide.*5 heads do not divide"),
        ("dnabert2", {"hidden_act": "relu"}, "hidden_act is 'relu'.*'gelu' can be loaded"),
        ("hyenadna", {"max_position_embeddings": 41}, "max_position_embeddings is 41 and layer"),
        ("hyenadna", {"attn_layer_idx": [2]}, r"attn_layer_idx is \[2\]; expected.* 0 to 1"),
        ("hyenadna", {"attn_layer_idx": [1]}, "attn_cfg: num_heads has to be a positive integer"),
        (
            "hyenadna",
            {"attn_layer_idx": [1], "attn_cfg": {"num_heads": 3, "rotary_emb_dim": 4}},
            "attn_cfg: rotary_emb_dim is 4",
        ),
        ("ntv2", {"emb_layer_norm_before": True}, "emb_layer_norm_before is True"),
        ("hyenadna", {"layer": {"emb_dim": 5}}, "l_max has to be a positive integer"),
        ("hyenadna", {"layer": {"l_max": 40, "emb_dim": 4}}, "hyena_features: 4 is even"),
        ("hyenadna", {"n_layer": "two"}, "n_layer has to be a positive integer"),
    ],
)
def test_configs_of_models_that_cannot_be_built(kind, changes, message, published):
    checkpoint = published(kind)
    checkpoint.config |= changes
    with pytest.raises(ConfigError, match=message):
        load_pretrained(checkpoint.write())


def test_tied_weights(published):
    """One of the names is enough; two that differ are an error."""
    checkpoint = published("dnabert2")
    logits = load_pretrained(checkpoint.write())(IDS).logits
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"):
        checkpoint = published("dnabert2")
        del checkpoint.tensors[name]
        assert torch.equal(load_pretrained(checkpoint.write())(IDS).logits, logits)
        checkpoint = published("dnabert2")
        checkpoint.tensors[name] = checkpoint.tensors[name] + 1
        with pytest.raises(DataError, match="tied but unequal"):
            load_pretrained(checkpoint.write())


def test_dnabert2_ties_its_head_whatever_the_config_says(published):
    """As its constructor does."""
    plain, flagged = published("dnabert2"), published("dnabert2")
    logits = load_pretrained(plain.write())(IDS).logits
    flagged.config["tie_word_embeddings"] = False
    flagged.folder = flagged.folder.with_name("flagged")
    assert torch.equal(load_pretrained(flagged.write())(IDS).logits, logits)


def test_an_nt_with_a_tied_head(published, tmp_path):
    checkpoint = published("ntv2")
    checkpoint.config["tie_word_embeddings"] = True
    table = checkpoint.tensors["esm.embeddings.word_embeddings.weight"]
    checkpoint.tensors["lm_head.decoder.weight"] = table.clone()
    model = load_pretrained(checkpoint.write())
    assert model.config.head == "transform"
    model.save_pretrained(tmp_path / "again", layout="published")
    assert equal(load_file(tmp_path / "again/model.safetensors"), checkpoint.tensors)


def test_the_vocabulary_of_a_bert_is_rounded_up_to_eight(published):
    checkpoint = published("dnabert2")
    checkpoint.config["vocab_size"] = 27
    assert load_pretrained(checkpoint.write()).config.vocab_size == 32
    checkpoint.config["vocab_size"] = 20
    with pytest.raises(DataError, match=r"\[32, 24\] instead of \[20, 24\]"):
        load_pretrained(checkpoint.write())


def test_frequencies_where_newer_transformers_have_them(published, tmp_path):
    """Once per model; they come back so, and other ones are refused."""
    plain, newer = published("ntv2"), published("ntv2")
    name = "esm.rotary_embeddings.inv_freq"
    for layer in range(2):
        old = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        newer.tensors[name] = newer.tensors.pop(old)
    logits = load_pretrained(plain.write())(IDS).logits
    newer.folder = newer.folder.with_name("newer")
    model = load_pretrained(newer.write())
    assert torch.equal(model(IDS).logits, logits)
    model.save_pretrained(tmp_path / "again", layout="published")
    assert equal(load_file(tmp_path / "again" / "model.safetensors"), newer.tensors)
    newer.tensors[name] = newer.tensors[name] / 2
    with pytest.raises(DataError, match=f"{name}, which is not what the published formula"):
        load_pretrained(newer.write())


def test_half_precision_weights_are_loaded_in_full(published):
    checkpoint = published("ntv2")
    checkpoint.tensors = {name: value.half() for name, value in checkpoint.tensors.items()}
    model = load_pretrained(checkpoint.write())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    expected = checkpoint.tensors["lm_head.bias"].float()
    assert torch.equal(model.head.bias, expected)


@pytest.mark.parametrize("kind", ["hyenadna", "dnabert2", "ntv2"])
def test_bfloat16_with_its_rounded_tables(kind, published):
    checkpoint = published(kind)
    checkpoint.tensors = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in checkpoint.tensors.items()
    }
    model = load_pretrained(checkpoint.write())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["hyenadna", "dnabert2", "ntv2"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda weight: weight.fill_(torch.nan), "holds numbers that are not finite"),
        (lambda weight: weight.long(), "holds torch.int64 and no weights"),
    ],
)
def test_weights_that_are_none(kind, spoil, says, published):
    checkpoint = published(kind)
    name = next(name for name in checkpoint.tensors if "norm" in name.lower())
    checkpoint.tensors[name] = spoil(checkpoint.tensors[name])
    with pytest.raises(DataError, match=says) as caught:
        load_pretrained(checkpoint.write())
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["dnabert2", "dnagrinder-like", "nt-v2-50m", "hyenadna-tiny-1k", "hyena"]
)
def test_models_built_here_in_our_layout(name, tmp_path):
    changes = {"feedforward_width": 20, "hyena_filter_width": 8}
    model = build_model(variant_config(name, **TOY, **changes), seed=0).eval()
    save_pretrained(model, tmp_path / "own")
    loaded = load_pretrained(tmp_path / "own")
    assert loaded.config == model.config
    assert loaded.origin is None
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("name", ["dnabert2", "nt-v2-50m", "hyenadna-tiny-1k"])
def test_models_built_here_in_a_published_layout(name, tmp_path):
    model = build_model(variant_config(name, **TOY), seed=0).eval()
    save_pretrained(model, tmp_path / "out", layout="published")
    loaded = load_pretrained(tmp_path / "out")
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert equal(loaded.state_dict(), model.state_dict())


def test_published_names_are_complete(published, tmp_path):
    """A model of the same shape built here writes the names the published code writes."""
    unused = {"esm.embeddings.position_embeddings.weight"}
    for kind in KINDS:
        checkpoint = published(kind)
        config = load_pretrained(checkpoint.write()).config
        save_pretrained(build_model(config, seed=0), tmp_path / "new", layout="published")
        written = load_file(tmp_path / "new" / "model.safetensors")
        extra = {"lm_head.weight", "lm_head.decoder.bias", "cls.predictions.bias"}
        missing = {n for n in checkpoint.tensors.keys() - written.keys() if "contact" not in n}
        assert missing <= unused
        assert written.keys() - checkpoint.tensors.keys() <= extra
        for name in written.keys() & checkpoint.tensors.keys():
            assert written[name].shape == checkpoint.tensors[name].shape


def test_a_model_that_no_family_has(tmp_path):
    model = build_model(ModelConfig(**TOY, position="rope"), seed=0)
    with pytest.raises(ConfigError, match="needs a model as one of the families HyenaDNA"):
        save_pretrained(model, tmp_path, layout="published")
    with pytest.raises(ConfigError, match=r"unknown layout 'pblished'.*'published'"):
        save_pretrained(model, tmp_path, layout="pblished")
    assert [*tmp_path.iterdir()] == []


def test_our_layout_damaged(published, tmp_path):
    load_pretrained(published("ntv2").write()).save_pretrained(tmp_path / "own")
    path = tmp_path / "own" / "config.json"
    content = json.loads(path.read_text())
    for changes, kind, message in (
        ({"version": 2}, DataError, "version 2 of our own layout"),
        ({"model": content["model"] | {"layers": 3}}, DataError, r"missing \['backbone.blocks.2"),
        ({"model": content["model"] | {"width": 48}}, DataError, "of another shape"),
        ({"model": content["model"] | {"widht": 8}}, ConfigError, "widht.*width"),
        ({"origin": {"layout": "other"}}, DataError, "'origin' is damaged"),
    ):
        path.write_text(json.dumps(content | changes))
        with pytest.raises(kind, match=message):
            load_pretrained(tmp_path / "own")


def test_masks_of_any_kind(published):
    model = load_pretrained(published("ntv2").write())
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0]])
    outputs = [model(IDS, kind).logits for kind in (mask, mask.bool(), mask.float())]
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])
    assert not torch.equal(outputs[0][:, :5], model(IDS).logits[:, :5])


def test_a_tokenizer_of_another_checkpoint(published):
    checkpoint = published("dnabert2")  # 32 tokens
    folder = checkpoint.write()
    words = {f"w{number}": number for number in range(30)}
    for highest, bad in ((31, False), (32, True)):
        content = {"added_tokens": [{"id": highest}], "model": {"vocab": words}}
        (folder / "tokenizer.json").write_text(json.dumps(content))
        if bad:
            with pytest.raises(DataError, match=r"tokenizer.json has 33 tokens.*beside it has 32"):
                load_pretrained(folder)
        else:
            load_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is no tokenizer"):
        load_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("word\n" * 33)
    with pytest.raises(DataError, match=r"vocab.txt has 33 tokens"):
        load_pretrained(folder)


def test_token_ids_of_another_tokenizer(published):
    model = load_pretrained(published("ntv2").write())
    with pytest.raises(DataError, match="reach from 7 to 29, but the checkpoint has 29 tokens"):
        model(torch.tensor([[7, 29]]))


def test_the_global_generator_is_left_alone(published):
    folder = published("dnabert2").write()
    before = torch.random.get_rng_state()
    load_pretrained(folder)
    assert torch.equal(torch.random.get_rng_state(), before)

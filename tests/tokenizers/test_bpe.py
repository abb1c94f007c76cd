"""Byte-pair ids against the library ``tokenizers`` and against the definition."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers.bpe import BPETokenizer

from .conftest import BACKENDS, MERGES, dna, ids_of, library, vocabularies


def from_library(reference: Tokenizer, tmp_path: Path, backend: str = "auto") -> BPETokenizer:
    path = tmp_path / "tokenizer.json"
    reference.save(str(path))
    return BPETokenizer.from_file(path, backend=backend)


def trained(sequences: list[str], size: int, **model) -> Tokenizer:
    reference = Tokenizer(BPE(**model))
    trainer = BpeTrainer(
        vocab_size=size, special_tokens=["[UNK]", "[CLS]", "[MASK]"], show_progress=False
    )
    reference.train_from_iterator(sequences, trainer)
    return reference


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None)
@given(merges=vocabularies(), text=st.text("ACGT", max_size=60) | st.text("AC", max_size=80))
def test_any_merges_on_any_bases(backend, merges, text):
    tokenizer = BPETokenizer.from_merges(merges, backend=backend)
    assert tokenizer.encode(text).tolist() == ids_of(library(tokenizer), text)


@settings(deadline=None)
@given(
    merges=st.lists(st.tuples(st.sampled_from(["A", "C", "AC", "CA", "ACA", "CC"]),
                              st.sampled_from(["A", "C", "AC", "CC", "CA"])), max_size=12),
    text=st.text("ACG", max_size=40),
)  # fmt: skip
def test_merges_in_no_order_a_trainer_leaves(merges, text):
    """Tokens used before they are made, made twice, or never made: the library takes them all."""
    tokens = {token for pair in merges for token in (*pair, "".join(pair))}
    content = BPETokenizer.from_merges([]).file.content
    model = {**content["model"], "merges": [list(pair) for pair in merges]}
    for token in sorted(tokens):
        model["vocab"].setdefault(token, len(model["vocab"]))
    reference = Tokenizer.from_str(json.dumps({**content, "model": model}))
    from lightning_dna.tokenizers.tokenizer_json import parse_tokenizer_file

    file = parse_tokenizer_file({**content, "model": model}, "test")
    for backend in BACKENDS:
        tokenizer = BPETokenizer(file, backend=backend)
        assert tokenizer.encode(text).tolist() == ids_of(reference, text)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None)
@given(text=st.text("ACGTNacgtnRX -_[]1\n", max_size=50))
def test_any_text(backend, text):
    tokenizer = BPETokenizer.from_merges(MERGES, backend=backend)
    assert tokenizer.encode(text).tolist() == ids_of(library(tokenizer), text)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None)
@given(text=st.text("ACGTNacgtnR", max_size=60))
def test_offsets_are_the_bases_of_each_token(backend, text):
    tokenizer = BPETokenizer.from_merges(MERGES, backend=backend)
    codes = encode(text)
    upper = text.upper().replace("R", "N")
    ids, offsets = tokenizer.encode_with_offsets(codes)
    reference = library(tokenizer).encode(upper, add_special_tokens=False)
    assert ids.tolist() == reference.ids
    assert offsets.tolist() == [list(span) for span in reference.offsets]
    assert tokenizer.encode_codes(codes).tolist() == ids.tolist()
    assert tokenizer.offsets(codes).tolist() == offsets.tolist()


def test_by_hand():
    tokenizer = BPETokenizer.from_merges(MERGES)
    # AAAAA: the leftmost pairs merge first, so one A is left over at the end.
    assert [tokenizer.tokens[i] for i in tokenizer.encode("AAAAATGCATGN")] == [
        "AAAA", "A", "TG", "CATG", "[UNK]",
    ]  # fmt: skip
    assert tokenizer.encode("").tolist() == []
    assert tokenizer.encode("").dtype == np.int32
    assert tokenizer.offsets(encode("")).shape == (0, 2)
    assert tokenizer.decode(tokenizer.encode("CATGA")) == "CATGA"
    assert tokenizer.tokens[:9] == ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", *"ACGT")
    assert (tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id) == (0, 1, 2)
    assert (tokenizer.pad_id, tokenizer.mask_id, tokenizer.prefix_length) == (3, 4, 1)


MODELS = [
    {"unk_token": "[UNK]"},
    {"unk_token": "[UNK]", "fuse_unk": True},
    {"unk_token": "[UNK]", "ignore_merges": True},
    {},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [20, 300])
def test_settings_of_the_model(backend, model, size, tmp_path):
    reference = trained([dna(3000, seed) for seed in range(3)], size, **model)
    tokenizer = from_library(reference, tmp_path, backend)
    texts = ["", "A", "N", "NNN", "ACGTNNNACGTNAC", "acgtACGT", dna(500, 9), dna(500, 8, "ACGTNN")]
    texts += [token for token in tokenizer.tokens if token.isalpha()][::7]
    for text in texts:
        assert tokenizer.encode(text).tolist() == ids_of(reference, text), text
        if text.isupper():
            blocks = tokenizer.encode_stream([encode(text)], block_length=64)
            streamed = [i for ids, _ in blocks for i in ids.tolist()]
            assert streamed == ids_of(reference, text), text


@pytest.mark.parametrize("model", MODELS)
def test_bases_without_a_token_lie_in_no_offset(model, tmp_path):
    tokenizer = from_library(trained([dna(3000, 1)], 50, **model), tmp_path)
    text = dna(300, 3, "ACGTN")
    for (start, end), token in zip(
        tokenizer.offsets(encode(text)), tokenizer.encode_codes(encode(text)), strict=True
    ):
        covered = text[start:end].replace("N", "")
        assert covered == tokenizer.tokens[token].replace("[UNK]", "")


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        (None, None),
        (None, pre_tokenizers.Whitespace()),
        (None, pre_tokenizers.WhitespaceSplit()),
        (None, pre_tokenizers.BertPreTokenizer()),
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        (normalizers.Lowercase(), pre_tokenizers.Whitespace()),
        (normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), None),
        (normalizers.NFD(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit()])),
    ],
)
def test_normalizers_and_words(normalizer, pre_tokenizer, tmp_path):
    reference = Tokenizer(BPE(**MODELS[0]))
    if normalizer is not None:
        reference.normalizer = normalizer
    if pre_tokenizer is not None:
        reference.pre_tokenizer = pre_tokenizer
    texts = [
        dna(400, 1),
        dna(99, 2) + " \t" + dna(50, 3, "acgt") + "\n",
        "it's 12 AC!? _x--y  z\x01",
    ]
    trainer = BpeTrainer(vocab_size=90, special_tokens=["[UNK]", "[MASK]"], show_progress=False)
    reference.train_from_iterator(texts, trainer)
    reference.add_tokens([AddedToken("<Gap>", normalized=True), AddedToken("[XX]", rstrip=True)])
    reference.add_special_tokens([AddedToken("<l>", lstrip=True)])
    tokenizer = from_library(reference, tmp_path)
    for text in [
        *texts,
        "ACGT[MASK]GT  <l>  <Gap>A<gap>[XX] \n A [XX]",
        " ",
        "a[MASK",
        "NNacgtACGT",
    ]:
        assert tokenizer.encode(text).tolist() == ids_of(reference, text), text
    sequence = dna(200, 5)
    assert tokenizer.encode_codes(encode(sequence)).tolist() == ids_of(reference, sequence)


def test_an_added_token_of_bases_is_found_in_bases(tmp_path):
    reference = trained([dna(2000, 1)], 60, **MODELS[0])
    reference.add_tokens(["TATA", "N"])
    tokenizer = from_library(reference, tmp_path)
    text = "ACGTATATAGCNNTATAN"
    expected = reference.encode(text, add_special_tokens=False)
    ids, offsets = tokenizer.encode_with_offsets(encode(text))
    assert tokenizer.encode(text).tolist() == ids.tolist() == expected.ids
    assert offsets.tolist() == [list(span) for span in expected.offsets]
    with pytest.raises(ConfigError, match="cannot be streamed"):
        tokenizer.encode_stream([encode(text)])


@pytest.mark.parametrize(
    "post",
    [
        processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.TemplateProcessing(single="[CLS] [CLS] $A", special_tokens=[("[CLS]", 1)]),
        processors.Sequence(
            [processors.ByteLevel(), processors.BertProcessing(("b", 4), ("a", 3))]
        ),
        None,
    ],
)
def test_special_tokens(post, tmp_path):
    reference = library(BPETokenizer.from_merges(MERGES))
    if post is not None:
        reference.post_processor = post
    else:
        reference = trained([dna(500, 1)], 30, **MODELS[0])
    tokenizer = from_library(reference, tmp_path)
    text = dna(50, 1)
    whole = tokenizer.with_special(tokenizer.encode(text))
    assert whole.tolist() == reference.encode(text).ids
    assert whole.dtype == np.int32
    assert whole[tokenizer.prefix_length] == tokenizer.encode(text)[0]


def test_what_is_saved_loads_in_the_library(tmp_path):
    tokenizer = BPETokenizer.from_merges(MERGES, alphabet="ACGTN")
    tokenizer.save(tmp_path / "tokenizer.json")
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = BPETokenizer.from_file(tmp_path / "tokenizer.json")
    text = dna(300, 4, "ACGTN")
    assert again.encode(text).tolist() == tokenizer.encode(text).tolist() == ids_of(reference, text)
    assert reference.get_vocab_size() == tokenizer.vocab_size
    assert reference.id_to_token(9) == tokenizer.tokens[9] == "N"
    assert reference.token_to_id("[MASK]") == tokenizer.mask_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("model", "type", "WordPiece"),
            "model of type 'WordPiece' is not supported; allowed: BPE",
        ),
        (("model", "dropout", 0.1), "setting dropout 0.1"),
        (("model", "byte_fallback", True), "setting byte_fallback True"),
        (("model", "continuing_subword_prefix", "##"), "continuing_subword_prefix '##'"),
        (("model", "end_of_word_suffix", "</w>"), "end_of_word_suffix '</w>'"),
        (("model", "unk_token", "?"), r"unknown token '\?' is not in the vocabulary"),
        (("model", "merges", ["A C G"]), "merge 0 is 'A C G'; expected two tokens"),
        (("model", "merges", ["A T"]), "merge 0 'A T' needs the token 'AT'"),
        (("normalizer", None, {"type": "Prepend"}), "normalizer 'Prepend'.*Lowercase"),
        (("pre_tokenizer", None, {"type": "Metaspace"}), "pre-tokenizer 'Metaspace'.*Whitespace"),
        (("pre_tokenizer", None, {"type": "ByteLevel"}), "add_prefix_space True"),
        (("post_processor", None, {"type": "Other"}), "post-processor 'Other'"),
        (("post_processor", "single", []), "a template with '0 sequences'"),
        (("model", None, None), "no model with a vocabulary"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change, message, tmp_path):
    content = json.loads(json.dumps(BPETokenizer.from_merges([("A", "C")]).file.content))
    part, key, value = change
    if key is None:
        content[part] = value
    else:
        content[part][key] = value
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        BPETokenizer.from_file(path)


def test_bad_files_and_bad_text(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.json"):
        BPETokenizer.from_file(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"model":')
    with pytest.raises(DataError, match=r"cannot read .*half\.json"):
        BPETokenizer.from_file(tmp_path / "half.json")
    tokenizer = BPETokenizer.from_merges(MERGES)
    with pytest.raises(DataError, match="character 'é' at position 2 is not ASCII"):
        tokenizer.encode("ACé")
    with pytest.raises(DataError, match="token id 99 is not in the vocabulary"):
        tokenizer.decode(np.array([99]))
    with pytest.raises(ConfigError, match="one sequence"):
        tokenizer.encode_codes(np.zeros((1, 2), dtype=np.uint8))
    with pytest.raises(ConfigError, match=r"lack \[SEP\]"):
        BPETokenizer.from_merges([], special=["[UNK]", "[CLS]"])
    with pytest.raises(ConfigError, match=r"unknown backend 'numbo'.*Did you mean 'numba'"):
        BPETokenizer.from_merges(MERGES, backend="numbo").encode("A")


def test_a_missing_special_token_is_named_when_it_is_asked_for(tmp_path):
    reference = Tokenizer(BPE())
    reference.decoder = decoders.BPEDecoder()
    reference.train_from_iterator([dna(400, 1)], BpeTrainer(vocab_size=20, show_progress=False))
    tokenizer = from_library(reference, tmp_path)
    assert tokenizer.encode("ACGT").tolist() == ids_of(reference, "ACGT")
    assert (tokenizer.cls_id, tokenizer.sep_id) == (None, None)
    for kind in ("mask_id", "pad_id", "unk_id"):
        with pytest.raises(DataError, match=r"vocabulary of 20 tokens has no .* token; looked for"):
            getattr(tokenizer, kind)

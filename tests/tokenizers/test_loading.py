"""The tokenizer that belongs to a folder, told from its files."""

import json

import pytest

import lightning_dna
from lightning_dna.errors import DataError
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.tokenizers.kmer import KmerTokenizer, vocabulary
from lightning_dna.tokenizers.loading import load_tokenizer


@pytest.fixture
def folder(tmp_path):
    def write(**files):
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name.replace("__", ".")).write_text(text)
        return tmp_path

    return write


def test_byte_pairs(folder, tmp_path):
    BPETokenizer.from_merges([("A", "C")]).save(tmp_path / "tokenizer.json")
    found = load_tokenizer(folder(config__json={"model_type": "bert", "vocab_size": 4096}))
    assert isinstance(found, BPETokenizer)
    assert found.encode("ACA").tolist() == [9, 5]
    assert load_tokenizer(tmp_path / "tokenizer.json").vocab_size == found.vocab_size


def test_kmers_of_a_vocabulary(folder):
    found = load_tokenizer(folder(vocab__txt="\n".join(vocabulary(3)) + "\n"))
    assert isinstance(found, KmerTokenizer)
    assert (found.k, found.overlapping) == (3, False)
    assert found.with_special(found.encode("AAAA")).tolist() == [3, 6, 70]


def test_kmers_that_overlap(folder):
    found = load_tokenizer(folder(vocab__txt="\n".join(vocabulary(3, overlapping=True))))
    assert isinstance(found, KmerTokenizer)
    assert (found.k, found.overlapping) == (3, True)
    assert found.with_special(found.encode("AAAA")).tolist() == [2, 5, 5, 3]


@pytest.mark.parametrize(("end", "expected"), [("<eos>", [3, 6, 4]), (None, [3, 6])])
def test_the_settings_beside_a_vocabulary_say_how_a_sequence_ends(folder, end, expected):
    place = folder(vocab__txt="\n".join(vocabulary(2)), tokenizer_config__json={"eos_token": end})
    found = load_tokenizer(place)
    assert found.with_special(found.encode("AA")).tolist() == expected


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "hyenadna", "vocab_size": 12},
        {"d_model": 8, "vocab_size": 12, "layer": {"_name_": "hyena"}},
        {"d_model": 8, "vocab_size": 20, "layer": {"order": 3, "l_max": 64}},
        {"d_model": 8, "vocab_size": 12, "layer": None, "attn_layer_idx": [0]},
        {"format": "lightning_dna", "version": 1, "model": {"vocab_size": 16}, "origin": None},
        {"format": "lightning_dna", "model": {}, "origin": {"config": {"model_type": "hyenadna"}}},
    ],
)
def test_characters(folder, config):
    assert isinstance(load_tokenizer(folder(config__json=config)), CharacterTokenizer)


def test_the_six_mers_of_the_nucleotide_transformer_need_no_file(folder):
    found = load_tokenizer(folder(config__json={"model_type": "esm", "vocab_size": 4107}))
    assert isinstance(found, KmerTokenizer)
    assert (found.k, found.vocab_size) == (6, 4107)


def test_what_cannot_be_told_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no tokenizer\.json, vocab\.txt or config\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(DataError, match=r"a esm of 33 rows.*4,107 rows"):
        load_tokenizer(folder(config__json={"model_type": "esm", "vocab_size": 33}))
    with pytest.raises(DataError, match="holds list, not a mapping"):
        load_tokenizer(folder(config__json=[1]))
    with pytest.raises(DataError, match="cannot read"):
        load_tokenizer(folder(config__json="{"))
    with pytest.raises(DataError, match="none of them of A, C, G and T"):
        load_tokenizer(folder(vocab__txt="hello\nworld"))
    with pytest.raises(DataError, match=r"vocab\.txt.*lacks"):
        load_tokenizer(folder(vocab__txt="AC\nN\n<unk>"))


def test_the_public_name():
    assert lightning_dna.load_tokenizer is load_tokenizer


@pytest.mark.data
def test_golden_folders(data_folder):
    golden = data_folder.parent / "golden"
    assert isinstance(load_tokenizer(golden / "hyenadna-tiny-d32"), CharacterTokenizer)
    assert load_tokenizer(data_folder / "dnabert2-tokenizer").vocab_size == 4096
    with pytest.raises(DataError, match="64 rows"):
        load_tokenizer(golden / "ntv2-toy-d48")

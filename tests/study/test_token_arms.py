"""Arms that are trained here on longer tokens: settings, costs, scores and messages."""

import json

import numpy as np
import pandas as pd
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.study.compare import write_results
from lightning_dna.study.model_source import encoding_of
from lightning_dna.study.plan import plan_frame
from lightning_dna.study.run import execute
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import load_study
from lightning_dna.study.variant_scoring import open_model
from lightning_dna.tasks.variant_files import Variant, VariantSet
from lightning_dna.tasks.variant_scores import score_variants
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.loading import load_tokenizer
from lightning_dna.training.run import load_checkpoint

ARMS = {
    "character": None,
    "kmer2": {"data": {"tokenizer": "kmer-2"}},
    "bpe30": {"data": {"tokenizer": "bpe-30"}},
}


@pytest.fixture(autouse=True)
def vocabularies(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tokens(content, write_yaml):
    """A study of three kinds of tokens."""

    def make(arms=ARMS, **changes):
        recipe = {**content, "baseline": next(iter(arms)), "arms": arms, **changes}
        return load_study(write_yaml("tokens.yaml", recipe))

    return make


def test_models_have_a_row_for_every_token(tokens):
    arms = tokens().arms
    rows = {name: arm.settings.model.vocab_size for name, arm in arms.items()}
    # 16 pairs, 4 letters, N and 6 special tokens are 27, padded to 32; so are 30.
    assert rows == {"character": 16, "kmer2": 32, "bpe30": 32}
    own = tokens({"a": None, "b": {"data": {"tokenizer": "kmer-2"}, "model": {"vocab_size": 64}}})
    assert own.arms["b"].settings.model.vocab_size == 64


def test_too_few_rows_and_no_such_tokenizer(tokens):
    with pytest.raises(ConfigError, match=r"arm 'b'.*model.vocab_size is 16, but the tokens of"):
        tokens({"a": None, "b": {"data": {"tokenizer": "kmer-2"}, "model": {"vocab_size": 16}}})
    with pytest.raises(ConfigError, match=r"arm 'b'.*data.tokenizer is 'bpe'"):
        tokens({"a": None, "b": {"data": {"tokenizer": "bpe"}}})


def test_the_plan_counts_tokens(tokens):
    frame = plan_frame(tokens()).set_index("arm")
    assert frame["tokens_per_base"]["character"] == 1
    assert frame["tokens_per_base"]["kmer2"] == 0.5
    assert 0.2 < frame["tokens_per_base"]["bpe30"] < 0.7
    assert frame["tokens"].nunique() == 1  # bases
    assert frame["flops_per_base"]["kmer2"] < frame["flops_per_base"]["character"]


def test_a_next_token_model_over_longer_tokens_is_not_scored_on_hidden_bases(tokens):
    study = tokens(
        {
            "a": {"model": {"objective": "next_token"}},
            "b": {"model": {"objective": "next_token"}, "data": {"tokenizer": "kmer-2"}},
        }
    )
    with pytest.raises(
        ConfigError, match=r"arm 'b' on task 'bases': a next-token model over tokens"
    ):
        Scorer(study).check()


def test_a_file_is_named_without_its_folder_and_followed_from_the_recipe(tokens, tmp_path):
    BPETokenizer.from_merges([("A", "C"), ("G", "T")]).save(tmp_path / "mine.json")
    study = tokens({"a": None, "b": {"data": {"tokenizer": "bpe:mine.json"}}})
    assert study.arms["b"].changes == {"data.tokenizer": "bpe:mine.json"}
    assert study.arms["b"].settings.data.tokenizer == f"bpe:{tmp_path / 'mine.json'}"
    with pytest.raises(DataError, match=r"data.tokenizer: cannot read .*other.json"):
        tokens({"a": None, "b": {"data": {"tokenizer": "bpe:other.json"}}})


def test_three_kinds_of_tokens_on_the_same_hidden_bases(tokens, tmp_path):
    study, folder = tokens(), tmp_path / "out"
    execute(study, folder, workers=1)
    write_results(study, folder)
    arms = pd.read_csv(folder / "results" / "arms.csv").set_index("arm")
    assert arms["tokens"][[*ARMS]].nunique() == 1
    assert arms["tokens_per_base"]["character"] == 1
    assert arms["tokens_per_base"]["kmer2"] == pytest.approx(0.5, abs=0.02)  # odd ends of rows
    assert arms["padding_fraction"]["bpe30"] > 0
    tables = {}
    for cell in study.cells():
        (path,) = (folder / "runs" / cell.run_id / "scores").glob("bases-*.parquet")
        tables[cell.name] = pd.read_parquet(path).set_index(["example_id", "stratum"])
    first = tables["character/0"]
    for table in tables.values():
        assert table.index.equals(first.index)
        assert np.array_equal(table["masked"], first["masked"])
        assert (table["nats"] / table["masked"] < 3).all()
    notes = json.loads((folder / "results" / "study.json").read_text())["notes"]
    (note,) = (note for note in notes if "tokens of several bases" in note)
    assert "kmer2: kmer-2, bpe30: bpe-30" in note


def test_a_checkpoint_keeps_its_tokenizer(tokens, tmp_path):
    study, folder = tokens(seeds=[0], comparison={"scope": "checkpoint", "planned": []}), tmp_path
    execute(study, folder / "out", workers=1)
    cell = next(cell for cell in study.cells() if cell.arm.name == "bpe30")
    run = folder / "out" / "runs" / cell.run_id
    tokenizer = load_tokenizer(run / "tokenizer.json")
    assert tokenizer.tokens == Scorer(study).encoding(cell.arm).tokenizer.tokens
    saved = folder / "saved"
    model = load_checkpoint(run).model()
    save_pretrained(model, saved)
    (saved / "tokenizer.json").write_text((run / "tokenizer.json").read_text())
    encoding = encoding_of(saved, model.config)
    assert not encoding.special  # none were there in training
    assert encoding.tokenizer.tokens == tokenizer.tokens
    variants_of_a_run_are_scored_as_those_of_the_saved_model(run, saved, study.genome)
    kmer = next(cell for cell in study.cells() if cell.arm.name == "kmer2")
    found = open_model(folder / "out" / "runs" / kmer.run_id).encoding
    codes = study.genome.codes(study.genome.names[0], 0, 101)
    expected = Scorer(study).encoding(kmer.arm).row(codes)
    assert found.row(codes).tolist() == expected.tolist()
    (run / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"data.tokenizer 'bpe-30' and holds no tokenizer.json or"):
        open_model(run)


def variants_of_a_run_are_scored_as_those_of_the_saved_model(run, saved, genome):
    """One base for another and a deletion, by every score that longer tokens have."""
    chrom = genome.names[0]
    bases = decode(genome.codes(chrom, 40, 44))
    other = "ACGT"["ACGT".index(bases[0]) - 1]
    known = {"chrom": chrom, "label": 0, "cluster": "", "values": (0.0, 0.0), "line": 1}
    rows = (
        Variant(start=40, ref=bases[0], alt=other, name="one", **known),
        Variant(start=41, ref=bases[1:3], alt=bases[1], name="two", **known),
    )
    tables = []
    for place in (run, saved):
        one = open_model(place)
        variants = VariantSet(genome=genome, variants=rows, notes=(), origin=1)
        names = ("llr", "embedding_l2", "embedding_cosine_mean")
        tables.append(score_variants(variants, one.model, one.encoding, length=32, scores=names))
    assert set(tables[0]) >= {"llr", "llr_forward", "embedding_l2_reverse"}
    for name, values in tables[0].items():
        assert np.isfinite(values).all()
        assert (values != 0).all()
        np.testing.assert_array_equal(values, tables[1][name])

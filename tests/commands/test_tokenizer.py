"""``lightning-dna tokenizer``: what it writes, prints and refuses."""

import csv
import json
import math
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer

from lightning_dna.cli import main
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers.bpe import BPETokenizer
from lightning_dna.tokenizers.bpe_training import Goal, train_exact


@pytest.fixture
def fasta(tmp_path):
    """Three chromosomes with repeats, Ns and lower case."""
    rng = np.random.default_rng(3)
    unit = "".join(rng.choice([*"ACGT"], 200))
    records = []
    for number in range(3):
        text = "".join(rng.choice([*"ACGTacgt"], 2000)) + "NNNN" + unit * 3
        records.append(f">chr{number + 1}\n{text}\n")
    path = tmp_path / "genome.fa"
    path.write_text("".join(records))
    return path


def letters(fasta, chrom: int) -> str:
    return fasta.read_text().split("\n")[2 * chrom - 1]


@pytest.mark.parametrize("method", ["exact", "count-stream"])
def test_train(fasta, tmp_path, capsys, method):
    out = tmp_path / "deep" / "tokenizer.json"
    arguments = ["tokenizer", "train", str(fasta), "--method", method, "--vocab-size", "150"]
    assert main([*arguments, "--hold-out", "chr3", "--out", str(out)]) == 0
    assert f"{method}: 150 tokens; 2 chromosome(s)" in capsys.readouterr().out
    expected = train_exact([encode(letters(fasta, n)) for n in (1, 2)], Goal(vocab_size=150))
    merges = json.loads(out.read_text())["model"]["merges"]
    assert [tuple(pair) for pair in merges] == list(expected.merges)
    assert Tokenizer.from_file(str(out)).get_vocab_size() == 150


@pytest.mark.parametrize("method", ["iterative-vocab", "merge-by-vote", "subsample"])
def test_the_order_of_the_splits(fasta, tmp_path, method):
    arguments = ["tokenizer", "train", str(fasta), "--method", method, "--vocab-size", "200"]
    arguments += ["--sample-bases", "5000"]
    assert main([*arguments, "--out", str(tmp_path / "a.json")]) == 0
    assert main([*arguments, "--out", str(tmp_path / "b.json"), "--reverse"]) == 0
    same = (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert same == (method == "merge-by-vote") or method == "subsample"


def test_a_sequence_that_stands_in_two_files_is_refused(fasta, tmp_path, capsys):
    one = tmp_path / "one.fa"
    one.write_text(f">alone\n{letters(fasta, 2).upper()}\n")  # case is no part of a sequence
    base = ["tokenizer", "train", "--vocab-size", "150", "--out", str(tmp_path / "t.json")]
    for second, name in ((fasta, "chr1"), (one, "alone")):
        assert main([*base, str(fasta), str(second)]) == 2
        err = capsys.readouterr().err
        assert f"'{name}' of {second} stands in {fasta} too and would count twice" in err
    assert not (tmp_path / "t.json").exists()
    # What is held out is not counted at all.
    assert main([*base, str(fasta), str(one), "--hold-out", "alone"]) == 0


def test_a_vocabulary_larger_than_the_corpus_supports_says_so(fasta, tmp_path, capsys):
    out = tmp_path / "tokenizer.json"
    assert main(["tokenizer", "train", str(fasta), "--vocab-size", "60000", "--out", str(out)]) == 0
    assert "of 60,000 asked for, as no other pair stands often enough" in capsys.readouterr().out


def test_compare(fasta, tmp_path, capsys):
    out = tmp_path / "comparison"
    arguments = ["tokenizer", "compare", str(fasta), "--vocab-size", "120", "--hold-out", "chr3"]
    assert main([*arguments, "--methods", "iterative-vocab,exact", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    rows = {
        row["method"]: row for row in csv.DictReader((out / "table.csv").read_text().splitlines())
    }
    assert list(rows) == ["exact", "iterative-vocab"]
    assert (out / "table.md").read_text() in printed
    assert ET.fromstring((out / "figure.svg").read_text()).tag.endswith("svg")  # noqa: S314
    held_out = letters(fasta, 3).upper()
    vocabularies = {}
    for method, row in rows.items():
        reference = Tokenizer.from_file(str(out / f"{method}.json"))
        vocabularies[method] = set(reference.get_vocab())
        tokens = sum(len(reference.encode(run, add_special_tokens=False).ids)
                     for run in held_out.split("N"))  # fmt: skip
        bases = len(held_out.replace("N", ""))
        assert float(row["bases_per_token"]) == pytest.approx(bases / tokens, abs=1e-4)
        assert int(row["tokens"]) == 120
        assert 30 < float(row["peak"]) < 2000
        trained = Counter(
            token
            for chrom in (1, 2)
            for run in letters(fasta, chrom).upper().split("N")
            for token in reference.encode(run, add_special_tokens=False).ids
        )
        kinds = 120 - 5  # all but the special tokens
        bits = -sum(
            math.log2((trained[token] + 1) / (trained.total() + kinds))
            for run in held_out.split("N")
            for token in reference.encode(run, add_special_tokens=False).ids
        )
        assert float(row["bits_0"]) == pytest.approx(bits / bases, abs=1e-4)
        assert float(row["bits_1"]) < 2.2
    first, second = vocabularies.values()
    shared = len(first & second) / len(first | second)
    assert float(rows["iterative-vocab"]["overlap"]) == pytest.approx(shared, abs=1e-4)
    assert BPETokenizer.from_file(out / "exact.json").vocab_size == 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--method", "xact"], "unknown method 'xact'"),
        (["train", "--vocab-size", "5"], "a vocabulary of 5 tokens; allowed: 9"),
        (["train", "--hold-out", "chrX"], "--hold-out: unknown chromosome 'chrX'"),
        (["train", "--hold-out", "chr1,chr2,chr3"], "every chromosome is held out"),
        (["train", "--window", "-1"], "--window -1"),
        (["compare"], "--hold-out names no chromosome"),
        (["compare", "--methods", "exact,none", "--hold-out", "chr1"], "unknown method 'none'"),
        (["compare", "--methods", ",", "--hold-out", "chr1"], "--methods names none"),
        (["compare", "--vocab-size", "5", "--hold-out", "chr1"], "exact: a vocabulary of 5 tokens"),
    ],
)
def test_what_cannot_be_done_is_said(fasta, tmp_path, capsys, arguments, message):
    verb, *more = arguments
    out = tmp_path / "out"
    assert main(["tokenizer", verb, str(fasta), *more, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not list(out.glob("*")) if out.exists() else True

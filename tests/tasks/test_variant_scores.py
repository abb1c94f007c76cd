"""Scores of variants against direct computations, one variant, strand and base at a time."""

import numpy as np
import pytest
import torch

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.tasks import variant_scores
from lightning_dna.tasks.variant_files import Variant, VariantSet
from lightning_dna.tasks.variant_scores import score_variants
from lightning_dna.tasks.variant_source import SCORES
from lightning_dna.tasks.variant_windows import fitting, pair_of
from lightning_dna.tokenizers.kmer import KmerTokenizer

LENGTH = 24
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
IDS = {base: 7 + number for number, base in enumerate("ACGTN")}  # of the published character table
MASK = 3


def sequence(length: int = 200, seed: int = 0) -> str:
    drawn = np.random.default_rng(seed).integers(0, 4, length)
    return "".join("ACGT"[code] for code in drawn)


def variant(start: int, ref: str, alt: str, number: int = 0) -> Variant:
    return Variant(
        chrom="1", start=start, ref=ref, alt=alt, name=f"{start}:{ref}:{alt}", label=number % 2,
        cluster="", values=(0.0, 0.0), line=number + 2,
    )  # fmt: skip


def variants(letters: str, *rows: tuple[int, str]) -> VariantSet:
    """Make variants of (start, "REF>ALT"); REF is filled in where it is a number of bases."""
    found = []
    for number, (start, change) in enumerate(rows):
        ref, alt = change.split(">")
        ref = letters[start : start + int(ref)] if ref.isdigit() else ref
        found.append(variant(start, ref, alt, number))
    genome = Genome.from_sequences({"1": letters})
    return VariantSet(variants=tuple(found), genome=genome, origin=1, notes=())


def other(base: str) -> str:
    return "ACGT"["ACGT".index(base) - 1]


def some(letters: str) -> VariantSet:
    """SNVs in the middle and at both ends, two at one site, and longer changes."""
    snvs = [(at, f"1>{other(letters[at])}") for at in (0, 3, 50, 100, 199)]
    second = (50, f"1>{other(other(letters[50]))}")
    # Alleles that share no base with REF at either end.
    longer = [(80, f"3>{other(letters[80])}"), (120, f"1>{letters[120]}{other(letters[120])}CA"),
              (140, f"4>{letters[140]}")]  # fmt: skip
    return variants(letters, *snvs, second, *longer)


def model(**changes) -> LanguageModel:
    settings = {"mixer": "hyena", "width": 16, "layers": 2, "max_length": 64} | changes
    built = build_model(ModelConfig(**settings), seed=3).eval()
    with torch.no_grad():  # initial weights are so small that scores would hardly differ
        for parameter in built.parameters():
            parameter.mul_(3.0) if parameter.ndim == 2 else None
    return built


@torch.no_grad()
def log_probabilities(built: LanguageModel, letters: str, at: int, *, hidden: bool) -> dict:
    """ln P of each base at one place, from a call of the model on one window."""
    ids = [IDS[base] for base in letters]
    if hidden:
        ids[at] = MASK
    logits = built(torch.tensor([ids])).logits[0, at].double()
    bases = logits[[IDS[base] for base in "ACGT"]].log_softmax(0)
    return dict(zip("ACGT", bases.tolist(), strict=True))


def windows(one: Variant, letters: str, strand: str) -> tuple[str, int, str, str, int, str]:
    """Cut both windows out of letters: window, place and allele of REF, then of ALT."""
    ref, alt, start = one.ref, one.alt, one.start
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        ref, alt, start = ref[1:], alt[1:], start + 1
    changed = letters[:start] + alt + letters[start + len(ref) :]
    first = start + max(len(ref), len(alt)) // 2 - LENGTH // 2
    first = max(0, min(first, len(letters) - LENGTH, start))
    found = []
    for text, allele in ((letters, ref), (changed, alt)):
        window, site = text[first : first + LENGTH], start - first
        if strand == "reverse":
            site = len(window) - site - len(allele)
            window, allele = window[::-1].translate(COMPLEMENT), allele[::-1].translate(COMPLEMENT)
        assert window[site : site + len(allele)] == allele
        found += [window, site, allele]
    return tuple(found)


@torch.no_grad()
def pseudo(built: LanguageModel, window: str, site: int, size: int) -> float:
    places = range(max(0, site - 8), min(len(window), site + size + 8))
    ids = torch.tensor([[IDS[base] for base in window]] * len(places))
    rows = range(len(places))
    ids[rows, places] = MASK  # each place hidden alone, in a row of its own
    bases = built(ids).logits.double()[rows, places][:, [IDS[base] for base in "ACGT"]]
    chosen = ["ACGT".index(window[at]) for at in places]
    return float(bases.log_softmax(1)[rows, chosen].sum())


def direct_llr(built: LanguageModel, one: Variant, letters: str, strand: str, *, hidden=True):
    ref, r, a, alt, q, b = windows(one, letters, strand)
    if len(a) == len(b) == 1:
        found = log_probabilities(built, ref, r, hidden=hidden)
        return found[b] - found[a]
    return pseudo(built, alt, q, len(b)) - pseudo(built, ref, r, len(a))


@pytest.mark.parametrize("mixer", ["hyena", "attention"])
def test_masked_ratios(mixer, monkeypatch):
    monkeypatch.setattr(variant_scores, "TOKENS_PER_BATCH", 50 * LENGTH)
    monkeypatch.setattr(variant_scores, "_CHUNK", 4)
    letters = sequence()
    given, built = some(letters), model(mixer=mixer)
    found = score_variants(given, built, CHARACTERS, length=LENGTH, scores=["llr"])
    for strand in ("forward", "reverse"):
        expected = [direct_llr(built, one, letters, strand) for one in given.variants]
        np.testing.assert_allclose(found[f"llr_{strand}"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["llr"], (found["llr_forward"] + found["llr_reverse"]) / 2)
    assert np.abs(found["llr"]).min() > 1e-4  # the comparison says something


def test_unmasked_ratios():
    letters = sequence()
    given = variants(letters, (30, f"1>{other(letters[30])}"), (90, f"1>{other(letters[90])}"))
    built = model()
    found = score_variants(given, built, CHARACTERS, length=LENGTH, scores=["unmasked_llr"])
    for strand in ("forward", "reverse"):
        expected = [direct_llr(built, one, letters, strand, hidden=False) for one in given.variants]
        np.testing.assert_allclose(found[f"unmasked_llr_{strand}"], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match="unmasked_llr is of single bases"):
        score_variants(some(letters), built, CHARACTERS, length=LENGTH, scores=["unmasked_llr"])


def test_ratios_of_a_next_token_model():
    letters = sequence()[:150] + "N" + sequence()[151:]
    given, built = some(letters), model(objective="next_token")

    @torch.no_grad()
    def likelihood(window: str) -> float:
        logits = built(torch.tensor([[IDS[base] for base in window]])).logits[0].double()
        bases = logits[:, [IDS[base] for base in "ACGT"]].log_softmax(1)
        return sum(
            float(bases[at - 1, "ACGT".index(window[at])])
            for at in range(1, len(window))
            if window[at] != "N"
        )

    found = score_variants(given, built, CHARACTERS, length=LENGTH, scores=["llr"])
    for strand in ("forward", "reverse"):
        expected = []
        for one in given.variants:
            ref, _, _, alt, _, _ = windows(one, letters, strand)
            expected.append(likelihood(alt) - likelihood(ref))
        np.testing.assert_allclose(found[f"llr_{strand}"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="unmasked_llr is of masked models"):
        score_variants(given, built, CHARACTERS, length=LENGTH, scores=["unmasked_llr"])


def test_embedding_distances():
    letters = sequence()
    given, built = some(letters), model()
    names = [name for name in SCORES if name.startswith("embedding")]
    found = score_variants(given, built, CHARACTERS, length=LENGTH, scores=names)
    for row, one in enumerate(given.variants):
        for strand in ("forward", "reverse"):
            ref, r, a, alt, q, b = windows(one, letters, strand)
            sites, means = [], []
            for window, site, size in ((ref, r, len(a)), (alt, q, len(b))):
                hidden = built(torch.tensor([[IDS[base] for base in window]])).hidden[0].double()
                low, high = (site, site + size) if size else (max(0, site - 1), site + 1)
                sites.append(hidden[low:high].mean(0).detach().numpy())
                means.append(hidden.mean(0).detach().numpy())
            for name, (x, y) in (("", sites), ("_mean", means)):
                cosine = 1 - x @ y / np.sqrt((x @ x) * (y @ y))
                l2 = np.sqrt(((x - y) ** 2).sum())
                values = found[f"embedding_cosine{name}_{strand}"][row]
                assert values == pytest.approx(cosine, rel=1e-3, abs=1e-5)
                assert found[f"embedding_l2{name}_{strand}"][row] == pytest.approx(l2, rel=1e-3)


def test_the_other_strand_of_everything_swaps_the_parts():
    letters = sequence()
    given = variants(letters, (60, f"1>{other(letters[60])}"), (99, f"1>{other(letters[99])}"))
    turned = letters[::-1].translate(COMPLEMENT)
    rows = [
        (len(letters) - one.start - 1, f"1>{one.alt.translate(COMPLEMENT)}")
        for one in given.variants
    ]
    built = model()
    # Of an even number of bases the middle moves by one: an odd one stays where it is.
    options = {"length": LENGTH + 1, "scores": ["llr", "embedding_l2"]}
    found = score_variants(given, built, CHARACTERS, **options)
    other_way = score_variants(variants(turned, *rows), built, CHARACTERS, **options)
    for name in options["scores"]:
        np.testing.assert_allclose(
            found[f"{name}_forward"], other_way[f"{name}_reverse"], rtol=1e-5, atol=1e-7
        )
        np.testing.assert_allclose(found[name], other_way[name], rtol=1e-5, atol=1e-7)


def test_tokens_of_several_bases():
    letters = sequence()
    given = variants(letters, (50, f"1>{other(letters[50])}"), (90, f"2>{letters[90]}"))
    encoding = Encoding(tokenizer=KmerTokenizer(3), special=True)
    built = model(vocab_size=encoding.tokenizer.vocab_size, mixer="attention")
    found = score_variants(given, built, encoding, length=LENGTH, scores=["llr", "embedding_l2"])
    tokens = encoding.tokenizer.tokens

    @torch.no_grad()
    def at(window: str, site: int) -> dict:
        """Hide the 3-mer that holds a base, and sum the tokens that have each base there."""
        parts = [window[k : k + 3] for k in range(0, len(window), 3)]
        ids = encoding.tokenizer.with_special(np.array([tokens.index(part) for part in parts]))
        place = site // 3 + encoding.tokenizer.prefix_length
        ids[place] = encoding.tokenizer.mask_id
        logits = built(torch.from_numpy(ids.astype(np.int64))[None]).logits[0, place].double().exp()
        mass = {
            base: sum(
                float(logits[token])
                for token, text in enumerate(tokens)
                if len(text) == 3 and set(text) <= set("ACGTN") and text[site % 3] == base
            )
            for base in "ACGT"
        }
        return {base: np.log(value / sum(mass.values())) for base, value in mass.items()}

    ref, r, a, _, _, b = windows(given.variants[0], letters, "forward")
    expected = at(ref, r)[b] - at(ref, r)[a]
    assert found["llr_forward"][0] == pytest.approx(expected, rel=1e-4)
    ref, r, a, alt, q, b = windows(given.variants[1], letters, "forward")
    expected = sum(
        sign * sum(at(window, k)[window[k]] for k in range(site - 8, site + size + 8))
        for sign, window, site, size in ((1, alt, q, len(b)), (-1, ref, r, len(a)))
    )
    assert found["llr_forward"][1] == pytest.approx(expected, rel=1e-4)
    assert found["embedding_l2"].min() > 0
    with pytest.raises(ConfigError, match="unmasked_llr is of masked models over single bases"):
        score_variants(given, built, encoding, length=LENGTH, scores=["unmasked_llr"])


def test_next_token_models_over_longer_tokens():
    letters = sequence()
    given = variants(letters, (50, f"1>{other(letters[50])}"))
    encoding = Encoding(tokenizer=KmerTokenizer(3), special=True)
    built = model(vocab_size=encoding.tokenizer.vocab_size, objective="next_token")
    found = score_variants(given, built, encoding, length=LENGTH, scores=["llr"])
    ref, _, _, alt, _, _ = windows(given.variants[0], letters, "forward")
    sums = []
    for window in (ref, alt):
        ids = torch.from_numpy(encoding.row(encode(window)).astype(np.int64))
        logits = built(ids[None]).logits[0].detach().double().log_softmax(-1)
        special = encoding.special_ids
        sums.append(
            sum(
                float(logits[k - 1, ids[k]])
                for k in range(1, len(ids))
                if int(ids[k]) not in special
            )
        )
    assert found["llr_forward"][0] == pytest.approx(sums[1] - sums[0], rel=1e-3, abs=1e-5)


def test_windows_by_hand():
    genome = Genome.from_sequences({"1": "AACCGGTTAC"})

    def cut(start: int, ref: str, alt: str, length: int) -> list:
        pair = pair_of(genome, variant(start, ref, alt), length)
        return [(decode(one.codes), one.site, one.size) for one in (*pair, *pair.turned())]

    assert cut(4, "G", "T", 4) == [
        ("CCGG", 2, 1), ("CCTG", 2, 1), ("CCGG", 1, 1), ("CAGG", 1, 1),
    ]  # fmt: skip
    # A deletion of GG: the window with ALT reaches two bases further.
    assert cut(3, "CGG", "C", 6) == [
        ("CCGGTT", 2, 2), ("CCTTAC", 2, 0), ("AACCGG", 2, 2), ("GTAAGG", 4, 0),
    ]  # fmt: skip
    assert cut(0, "A", "G", 4)[0] == ("AACC", 0, 1)
    assert cut(9, "C", "G", 4)[1] == ("TTAG", 3, 1)
    # An insertion at the very end is in its window.
    assert cut(9, "C", "CGG", 99)[:2] == [("CCGGTTAC", 8, 0), ("CCGGTTACGG", 8, 2)]


def test_variants_longer_than_a_window_are_left_out():
    letters = sequence()
    given = variants(letters, (50, f"1>{other(letters[50])}"), (90, f"9>{letters[90]}"))
    kept = fitting(given, LENGTH)
    assert [one.start for one in kept.variants] == [50]
    assert kept.notes == ("1 variant(s) left out: longer than 8 bases.",)
    assert fitting(given, 25).variants == given.variants
    with pytest.raises(DataError, match="no variant fits a window of 16 bases"):
        fitting(given, 16)


def test_models_that_diverged_are_refused():
    letters = sequence()
    built = model()
    with torch.no_grad():
        next(built.parameters()).fill_(float("nan"))
    given = variants(letters, (50, f"1>{other(letters[50])}"))
    with pytest.raises(DataError, match=r"llr of variant '50:.*' is not finite; did the training"):
        score_variants(given, built, CHARACTERS, length=LENGTH, scores=["llr"])

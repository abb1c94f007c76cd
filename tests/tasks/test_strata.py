"""Strata of held-out bases: labels by hand, scores that add up, views by name, bad chromosomes."""

import numpy as np
import pytest

from lightning_dna.data.config import DataConfig
from lightning_dna.errors import DataError, ResultsError
from lightning_dna.genome.annotation import Annotation, gc_names
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.study.views import compared_metrics, mlm_views
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.heldout_mlm import HeldoutMLM
from lightning_dna.tasks.strata import GenomeStrata, JoinedStrata, annotated_names

GTF = "".join(
    f'{chrom}\tx\t{kind}\t{first}\t{last}\t.\t+\t{phase}\ttranscript_id "t{chrom}";\n'
    for chrom in ("I", "II")
    for kind, first, last, phase in [
        ("exon", 5, 40, "."),
        ("exon", 61, 90, "."),
        ("CDS", 11, 40, 0),
    ]
)
BED = "I\t30\t50\tLTR\nI\t0\t8\tSimple_repeat\nII\t60\t70\tLTR\n"
RNG = np.random.default_rng(0)
SEQUENCES = {name: "".join(RNG.choice([*"ACGT"], size=200)) for name in ("I", "II", "III")}
SPLIT = ChromosomeSplit(train=("II",), valid=("III",), test=("I",))
CARD = TaskCard(name="held", kind="heldout_mlm", title="T", mask_fraction=0.5, cluster_length=50)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a.gtf").write_text(GTF)
    (tmp_path / "r.bed").write_text(BED)
    (tmp_path / "g.fa").write_text("".join(f">{n}\n{s}\n" for n, s in SEQUENCES.items()))
    return tmp_path


@pytest.fixture
def genome(place):
    return Genome.open(place / "g.fa", mask_bed=place / "r.bed", cache_folder=place / "cache")


@pytest.fixture
def strata(place, genome):
    config = DataConfig(
        genome=str(place / "g.fa"), repeat_bed=str(place / "r.bed"), annotation=str(place / "a.gtf")
    )
    return GenomeStrata.read(config, genome)


def uniform(batch):
    return np.full((int(batch.hidden.sum()), 4), np.log(0.25))


def test_labels_by_hand(strata):
    codes = np.zeros((2, 8), dtype=np.uint8)
    codes[0, :4] = 1  # four C of eight: half
    repeat = np.zeros((2, 8), dtype=bool)
    repeat[0, 2] = True
    labels = strata.of_windows("I", np.array([8, 36]), codes, repeat)
    names = [[strata.labels[code] for code in row] for row in labels]
    # Promoter of t, with 100 bases behind its start, counts for less than any exon.
    assert names[0] == [
        "unique+utr5+gc_50_60",
        "unique+utr5+gc_50_60",
        "repeat+codon_1+gc_50_60",
        "unique+codon_2+gc_50_60",
        "unique+codon_3+gc_50_60",
        "unique+codon_1+gc_50_60",
        "unique+codon_2+gc_50_60",
        "unique+codon_3+gc_50_60",
    ]
    assert (
        names[1]
        == [f"unique+codon_{position}+gc_0_30+class_LTR" for position in (3, 1, 2, 3)]
        + ["unique+promoter+gc_0_30+class_LTR"] * 4
    )


def test_without_an_annotation_there_are_none(genome, place):
    assert GenomeStrata.read(DataConfig(genome=str(place / "g.fa")), genome) is None


def test_scores_by_stratum_add_up_to_those_without(genome, strata):
    whole = HeldoutMLM(CARD, genome, SPLIT, 25).score_with(uniform, variant="a", seed=0).frame
    fine = (
        HeldoutMLM(CARD, genome, SPLIT, 25, strata).score_with(uniform, variant="a", seed=0).frame
    )
    fine = fine.assign(stratum=fine["stratum"].str.partition("+")[0])
    keys = ["part", "example_id", "cluster_id", "chrom", "stratum"]
    sums = ["masked", "correct", "nats"]
    left, right = (frame.groupby(keys)[sums].sum() for frame in (whole, fine))
    assert len(fine) > len(whole)
    assert (left[["masked", "correct"]] == right[["masked", "correct"]]).all().all()
    np.testing.assert_allclose(left["nats"], right["nats"], rtol=1e-12)


def test_views_by_name_hold_the_hidden_bases_of_their_stratum(genome, strata, place):
    task = HeldoutMLM(CARD, genome, SPLIT, 25, strata)
    frame = task.score_with(uniform, variant="a", seed=0).frame
    hidden = np.zeros(200, dtype=bool)
    for batch in task.batches("test"):
        for start, row in zip(batch.windows.starts.tolist(), batch.hidden, strict=True):
            hidden[start : start + 25] = row
    at = np.arange(200)
    coding = (at >= 10) & (at < 40)
    expected = {
        "codon_1": coding & ((at - 10) % 3 == 0),
        "codon_2": coding & ((at - 10) % 3 == 1),
        "codon_3": coding & ((at - 10) % 3 == 2),
        "utr5": (at >= 4) & (at < 10),
        "utr3": (at >= 60) & (at < 90),
        "promoter": (at < 4) | ((at >= 40) & (at < 60)) | ((at >= 90) & (at < 104)),
        "intergenic": at >= 104,
        "class_LTR": (at >= 30) & (at < 50),
        "class_Simple_repeat": at < 8,
        "repeat": (at < 8) | ((at >= 30) & (at < 50)),
    }
    views = mlm_views(frame)
    for name, flags in expected.items():
        (one,) = views[f"held/{name}"]
        assert one.denominators[""].sum() == (flags & hidden).sum(), name
    for part in (("repeat", "unique"), [n for n in annotated_names() if n.startswith("gc_")]):
        found = [views[f"held/{name}"][0] for name in part if f"held/{name}" in views]
        assert sum(one.denominators[""].sum() for one in found) == hidden.sum()


def test_strata_can_be_planned_only_where_there_is_an_annotation():
    assert "held/codon_3" not in compared_metrics([CARD])
    assert compared_metrics([CARD], annotated=True)["held/codon_3"] == (
        "mlm_accuracy",
        "bits_per_base",
    )


def test_a_scored_chromosome_that_the_annotation_lacks(genome, strata):
    split = ChromosomeSplit(train=("II",), valid=("I",), test=("III",))
    with pytest.raises(DataError, match="no feature on chromosome 'III'"):
        HeldoutMLM(CARD, genome, split, 25, strata)


def test_the_digest_follows_what_the_files_say(place, genome, strata):
    annotation = Annotation.read(place / "a.gtf", genome.lengths)
    repeats = RepeatAnnotation.read(place / "r.bed", genome.lengths)
    assert GenomeStrata(annotation, repeats).digest == strata.digest
    assert GenomeStrata(annotation).digest != strata.digest
    (place / "a.gtf").write_text(GTF.replace("\t11\t40\t", "\t14\t40\t"))
    other = Annotation.read(place / "a.gtf", genome.lengths)
    assert GenomeStrata(other, repeats).digest != strata.digest


def test_tables_with_strata_are_read_back(genome, strata, place):
    scores = HeldoutMLM(CARD, genome, SPLIT, 25, strata).score_with(uniform, variant="a", seed=0)
    scores.write(place / "s.parquet")
    assert Scores.read(place / "s.parquet").frame.equals(scores.frame)
    with pytest.raises(ResultsError, match="stratum must be one of"):
        Scores(scores.frame.assign(stratum="intron+unique"), "mlm")


OUT = "".join(
    f"463 {share} 0.0 0.0 {chrom} {begin} {end} ({200 - end}) + X {name} 1 9 (0) 1\n"
    for share, chrom, begin, end, name in [
        ("3.0", "I", 31, 50, "LTR"),
        ("22.0", "I", 101, 120, "LINE/L1"),
    ]
)


class TestDivergence:
    """A further factor of the strata, only where a card asks for it."""

    @pytest.fixture
    def diverged(self, place, genome):
        (place / "r.out").write_text(OUT)
        repeats = RepeatAnnotation.read(place / "r.out", genome.lengths)
        return GenomeStrata(Annotation.read(place / "a.gtf", genome.lengths), repeats)

    def test_labels_by_hand(self, diverged):
        older = diverged.by_divergence()
        codes = np.zeros((1, 200), dtype=np.uint8)
        arguments = ("I", np.array([0]), codes, np.zeros((1, 200), dtype=np.bool_))
        plain, further = (
            [strata.labels[label] for label in strata.of_windows(*arguments)[0].tolist()]
            for strata in (diverged, older)
        )
        endings = dict.fromkeys(range(30, 50), "+div_0_5")
        endings |= dict.fromkeys(range(100, 120), "+div_20_30")
        assert further == [label + endings.get(at, "") for at, label in enumerate(plain)]
        assert older.digest != diverged.digest

    def test_views_by_divergence(self, genome, diverged):
        older = diverged.by_divergence()
        frame = (
            HeldoutMLM(CARD, genome, SPLIT, 25, older)
            .score_with(uniform, variant="a", seed=0)
            .frame
        )
        views = mlm_views(frame)
        hidden = [
            frame.loc[(frame["part"] == "test") & frame["stratum"].str.contains(name), "masked"]
            for name in ("div_0_5", "div_20_30")
        ]
        found = [views[f"held/{name}"][0].denominators[""] for name in ("div_0_5", "div_20_30")]
        assert [one.sum() for one in found] == [one.sum() for one in hidden]

    def test_asked_for_by_the_card(self, genome, diverged):
        class Around:
            split, window_length, tasks_root, rates = SPLIT, 25, None, 1

            def __init__(self, strata):
                self.genome, self.strata = genome, strata

        asking = TaskCard(name="held", kind="heldout_mlm", title="T", repeat_divergence=True)
        known = HeldOutTask(asking, Around(diverged))
        assert known.content()["strata"] == diverged.by_divergence().digest
        assert HeldOutTask(CARD, Around(diverged)).content()["strata"] == diverged.digest
        bed = GenomeStrata(diverged.annotation)
        for strata in (None, bed):
            with pytest.raises(DataError, match="repeat_divergence: true, but no divergence"):
                HeldOutTask(asking, Around(strata)).load()

    def test_several_genomes(self, diverged):
        joined = JoinedStrata({"yeast": diverged, "worm": None})
        older = joined.by_divergence()
        assert f"unique+yeast+intergenic+{gc_names()[0]}+class_LTR+div_0_5" in older.labels
        worm = [label for label in older.labels if "worm" in label]
        assert worm == ["unique+worm", "repeat+worm"]
        assert JoinedStrata({"worm": None}).by_divergence() is None

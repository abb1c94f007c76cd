"""The memorization battery on a study and on a checkpoint: what is asked, refused and found."""

import dataclasses
import json
import shutil

import pytest
import yaml

from lightning_dna.errors import ConfigError, DataError, ResultsError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.models.language_model import build_model
from lightning_dna.study import memorize
from lightning_dna.study.memorize import Ground, checkpoint_battery, open_battery, with_battery
from lightning_dna.study.run import execute
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import open_study


@pytest.fixture
def checkpoint(tmp_path):
    """A model in the layout of save_pretrained: nobody knows what it was trained on."""
    config = ModelConfig(width=16, layers=1, heads=2, max_length=128)
    save_pretrained(build_model(config, seed=0), tmp_path / "published")
    return tmp_path / "published"


def trained(place, toy_fasta, **data):
    """Train a study of one arm and one seed, and return its results folder."""
    recipe = {
        "question": "x?",
        "baseline": "attention",
        "suite": "core",
        "seeds": [0],
        "shared": {
            "data": {
                "genome": str(toy_fasta),
                "length": 64,
                "split": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"]},
                **data,
            },
            "model": {"width": 16, "layers": 1, "heads": 2, "max_length": 128},
            "budget": {"tokens": 512, "tokens_per_step": 256},
            "trainer": {"accelerator": "cpu", "threads": 1},
        },
        "arms": {"attention": {}},
        "comparison": {"scope": "checkpoint", "resamples": 99},
    }
    (place / "toy.yaml").write_text(yaml.safe_dump(recipe))
    from lightning_dna.study.study import load_study

    study = load_study(place / "toy.yaml")
    execute(study, place / "out", workers=1)
    return place / "out"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_fasta):
    """A study of one arm and one seed, trained on chr1."""
    return trained(tmp_path_factory.mktemp("study"), toy_fasta)


@pytest.fixture(scope="module")
def planted(tmp_path_factory, toy_fasta):
    """The same, trained on chr1 and chr2 with canaries of both kinds."""
    canaries = {"length": 32, "per_count": 1, "repetitions": [1], "references": 31,
                "tracked_references": 20, "max_share": 0.5}  # fmt: skip
    split = {"train": ["chr1", "chr2"], "test": ["chr3"]}
    return trained(tmp_path_factory.mktemp("planted"), toy_fasta, canaries=canaries, split=split)


def run_of(finished):
    return next((finished / "runs").iterdir())


class TestCheckpoint:
    def test_what_it_was_trained_on_is_asked_for(self, checkpoint, toy_fasta, tmp_path):
        for ground in (
            Ground(genome=str(toy_fasta)),
            Ground(genome=str(toy_fasta), test=("chr3",)),
        ):
            with pytest.raises(ConfigError, match="not known which chromosomes") as raised:
                checkpoint_battery(checkpoint, ground, tmp_path / "out")
            assert "--train CHROM" in str(raised.value)

    def test_one_from_elsewhere(self, checkpoint, toy_fasta, tmp_path):
        ground = Ground(
            genome=str(toy_fasta), train=("chr1",), test=("chr3",), valid=("chr2",), length=64
        )
        study = checkpoint_battery(checkpoint, ground, tmp_path / "out")
        assert [arm.name for arm in study.arms.values()] == ["model"]
        assert study.baseline.source is not None
        assert study.split.train == ("chr1",)
        assert {"heldout_memory", "membership", "membership-control"} <= {
            card.name for card in study.cards
        }
        assert "canaries" not in {card.name for card in study.cards}

    def test_a_run_says_itself_what_it_has_seen(self, finished, toy_fasta, tmp_path):
        ground = Ground(genome=str(toy_fasta), length=64)
        study = checkpoint_battery(run_of(finished), ground, tmp_path / "out")
        assert (study.split.train, study.split.valid, study.split.test) == (
            ("chr1",),
            ("chr2",),
            ("chr3",),
        )

    def test_a_held_out_chromosome_that_was_trained_on(self, finished, toy_fasta, tmp_path):
        ground = Ground(genome=str(toy_fasta), test=("chr1", "chr3"))
        with pytest.raises(ConfigError, match=r"chr1 cannot be held out: .* was trained on it"):
            checkpoint_battery(run_of(finished), ground, tmp_path / "out")

    def test_a_training_chromosome_that_was_not(self, finished, toy_fasta, tmp_path):
        ground = Ground(genome=str(toy_fasta), train=("chr2",), test=("chr3",))
        with pytest.raises(ConfigError, match=r"--train names chr2, but .* was not trained on it"):
            checkpoint_battery(run_of(finished), ground, tmp_path / "out")

    def test_another_assembly(self, finished, toy_fasta, tmp_path):
        text = toy_fasta.read_text().splitlines()
        text[1] = ("A" if text[1][5].upper() != "A" else "C").join((text[1][:5], text[1][6:]))
        other = tmp_path / "other.fa"
        other.write_text("\n".join(text) + "\n")
        with pytest.raises(DataError, match=r"other\.fa: chr1 differs from the sequence"):
            checkpoint_battery(run_of(finished), Ground(genome=str(other)), tmp_path / "out")

    def test_windows_are_those_of_its_run(self, finished, toy_fasta, tmp_path):
        """Its model reads no longer ones: 512 would be refused."""
        study = checkpoint_battery(run_of(finished), Ground(genome=str(toy_fasta)), tmp_path)
        assert study.baseline.settings.data.length == 64
        assert "canaries" not in {card.name for card in study.cards}

    def test_canaries_that_its_run_planted_are_ranked(self, planted, toy_fasta, tmp_path):
        folder = run_of(planted)
        study = checkpoint_battery(folder, Ground(genome=str(toy_fasta)), tmp_path)
        assert "canaries" in {card.name for card in study.cards}
        ranked = Scorer(study).tasks["canaries"].canaries.digest()
        assert ranked == json.loads((folder / "fit.json").read_text())["canaries"]["digest"]

    def test_its_canaries_are_read_where_its_training_read_them(self, planted, toy_fasta, tmp_path):
        folder = run_of(planted)
        study = checkpoint_battery(folder, Ground(genome=str(toy_fasta)), tmp_path)
        found = Scorer(study).canary_hosts("model")
        its_own = Scorer(open_study(planted)).canary_hosts("attention")
        assert len(found) == len(its_own) == 4  # two kinds, planted once and nowhere
        assert list(found) == list(its_own)
        for canary in Scorer(study).tasks["canaries"].canaries.canaries:
            host, other = found[canary.name], its_own[canary.name]
            assert (host.codes == other.codes).all()
            assert host.start == other.start
            there = host.codes[host.start : host.start + 32]
            assert (there == canary.codes).all() == (canary.repetitions > 0)

    @pytest.mark.parametrize("asked", [{"train": ("chr1",)}, {"length": 48}])
    def test_canaries_in_other_windows(self, asked, planted, toy_fasta, tmp_path):
        ground = Ground(genome=str(toy_fasta), **asked)
        with pytest.raises(ConfigError, match=r"planted canaries in windows of 64 .* leave --tr"):
            checkpoint_battery(run_of(planted), ground, tmp_path)

    def test_a_run_without_its_record(self, finished, toy_fasta, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(run_of(finished), copy)
        (copy / "provenance.json").unlink()
        with pytest.raises(DataError, match=r"provenance\.json is missing"):
            checkpoint_battery(copy, Ground(genome=str(toy_fasta)), tmp_path / "out")

    def test_no_checkpoint(self, toy_fasta, tmp_path):
        with pytest.raises(DataError, match=r"holds neither study\.json"):
            checkpoint_battery(tmp_path, Ground(genome=str(toy_fasta)), tmp_path / "out")
        assert not memorize.is_checkpoint(tmp_path)

    def test_which_folder_is_which(self, finished, checkpoint):
        assert memorize.is_checkpoint(checkpoint)
        assert memorize.is_checkpoint(run_of(finished))
        assert not memorize.is_checkpoint(finished)


class TestStudy:
    def test_it_is_extended_and_not_trained_again(self, finished):
        before = {path: path.stat().st_mtime_ns for path in finished.rglob("model.pt")}
        study = open_battery(finished)
        assert study.cards[0].name == "heldout_mlm"
        assert "heldout_memory" in {card.name for card in study.cards}
        assert study.cells()[0].run_id == run_of(finished).name
        assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("model.pt")}

    def test_twice_is_once(self, finished):
        study = open_battery(finished)
        again = with_battery(study, finished)
        assert [card.name for card in again.cards] == [card.name for card in study.cards]

    def test_canaries_come_where_an_arm_has_them(self, make_study, tmp_path):
        canaries = {"length": 32, "per_count": 1, "repetitions": [1], "references": 31,
                    "tracked_references": 20, "max_share": 0.5}  # fmt: skip
        study = make_study(shared={"data": {"canaries": canaries}})
        assert "canaries" in {card.name for card in with_battery(study, tmp_path).cards}

    def test_alleles_come_with_a_file(self, finished, tmp_path):
        vcf = tmp_path / "v.vcf"
        with pytest.raises(DataError, match=r"--vcf .*v\.vcf does not exist"):
            open_battery(finished, vcf=vcf)
        vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        card = next(c for c in open_battery(finished, vcf=vcf).cards if c.kind == "alleles")
        assert card.files == {"variants": str(vcf)}
        suite = finished / "suites" / "memorization-alleles.yaml"
        assert json.loads(suite.read_text())["tasks"] == ["alleles.yaml"]

    def test_no_study(self, tmp_path):
        with pytest.raises(ResultsError, match="not a results folder"):
            open_battery(tmp_path)


def test_the_whole_battery_scores_a_study(finished, tmp_path):
    """Every table of every instrument is made, and made once."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    study = open_battery(out)
    few = tuple(
        dataclasses.replace(card, max_windows=12, **({"cluster_length": 256}))
        for card in study.cards
        if card.rules.by_window or card.kind == "membership"
    )
    study = dataclasses.replace(study, cards=few)
    assert execute(study, out, workers=1).failed == 0
    scorer = Scorer(study)
    cell = study.cells()[0]
    files = [out / "runs" / cell.run_id / job.file for job in scorer.jobs(cell)]
    assert len(files) >= 4
    assert all(path.is_file() for path in files)

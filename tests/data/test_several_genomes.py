"""Several genomes in one run: settings, splits, shares, a repeat policy for each, determinism."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.source import members_of, open_genome, resolve_split
from lightning_dna.data.training_set import training_set
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.settings import build
from lightning_dna.tokenizers.character import CharacterTokenizer

TOKENS = CharacterTokenizer().tokens


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A genome of 6 kb and one of 2 kb, with chromosomes of the same names, a third lower case."""
    folder = tmp_path_factory.mktemp("genomes")
    generator = np.random.default_rng(3)
    for name, letters, size in (("big", "AC", 2000), ("small", "GT", 700)):
        with (folder / f"{name}.fa").open("w") as file:
            for chrom in ("I", "II", "III"):
                text = "".join(generator.choice([*letters], size))
                third = size // 3
                file.write(f">{chrom}\n{text[:third].lower()}{text[third:]}\n")
    return folder


def config_of(files, *, big=None, small=None, **settings):
    genomes = {
        "small": {"genome": str(files / "small.fa"), "split": {"test": ["I"]}, **(small or {})},
        "big": {"genome": str(files / "big.fa"), "split": {"test": ["III"]}, **(big or {})},
    }
    return build(DataConfig, {"length": 40, "genomes": genomes} | settings, where="test")


def module_of(config, *, seed=0, steps=10, num_workers=0):
    return GenomeDataModule(
        config,
        LengthScheduleConfig(),
        tokens_per_step=400,
        total_steps=steps,
        objective="masked",
        seed=seed,
        num_workers=num_workers,
    )


def bases_of(batch):
    """Letters of a batch, hidden ones as the model has to predict them."""
    ids = torch.where(batch.targets >= 0, batch.targets, batch.input_ids)
    return "".join(TOKENS[number] for number in ids.flatten().tolist())


def test_chromosomes_are_named_by_their_genome(files):
    config = config_of(files)
    genome = open_genome(config)
    assert genome.names == ("big:I", "big:II", "big:III", "small:I", "small:II", "small:III")
    split = resolve_split(config, genome)
    assert split.train == ("big:I", "big:II", "small:II", "small:III")
    assert split.test == ("big:III", "small:I")


def test_one_split_of_all_genomes_names_chromosomes_in_full(files):
    config = config_of(
        files,
        big={"split": None},
        small={"split": None},
        split={"test": ["small:II"], "valid": ["big:I"], "exclude": ["small:I*"]},
    )
    with pytest.raises(ConfigError, match=r"data.genomes.small: split: 'II' stands in test and ex"):
        resolve_split(config, open_genome(config))
    config = config_of(
        files,
        big={"split": None},
        small={"split": None},
        split={"test": ["small:II"], "valid": ["big:I"], "exclude": ["small:III"]},
    )
    split = resolve_split(config, open_genome(config))
    assert split.train == ("big:II", "big:III", "small:I")
    assert (split.valid, split.test) == (("big:I",), ("small:II",))


def test_a_split_by_fraction_is_of_each_genome(files):
    split = {"valid_fraction": 0.3, "test_fraction": 0.3}
    config = config_of(files, big={"split": None}, small={"split": None}, split=split)
    found = resolve_split(config, open_genome(config))
    for part in (found.train, found.valid, found.test):
        assert sorted(chrom.partition(":")[0] for chrom in part) == ["big", "small"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"big": {"weight": -1}}, "the weight of .*big.fa is -1.0; allowed: 0 .* or more"),
        ({"big": {"weight": 0}, "small": {"weight": 0}}, "every weight is 0; nothing would be tr"),
        ({"big": {"weight": 2}}, "small has no weight, and others have; give one to each, or to n"),
        ({"big": {"genome": ""}}, "names no file; give one"),
        ({"genome": "x.fa"}, "data.genome is given beside data.genomes; write it under the genom"),
        ({"vcf": "x.vcf"}, "data.vcf is given beside data.genomes; .*data.genomes.NAME.vcf"),
        ({"annotation": "x.gtf"}, "data.annotation is given beside data.genomes"),
        ({"repeat_bed": "x.bed"}, "data.repeat_bed is given beside data.genomes"),
        ({"small": {"repeats": "drop"}}, "genomes.small.repeats: unknown value 'drop'; allowed: d"),
        ({"small": {"weights": 1}}, "genomes.small: unknown key 'weights'.*Did you mean 'weight'"),
        ({"small": {"repeat_classes": ["LINE"]}}, "data.repeat_classes is ..LINE.., but lower cas"),
        ({"variants": "snv"}, "data.variants is 'snv', but no file says which variants there are"),
        ({"haplotypes": 0}, "data.haplotypes is 0; allowed: 1 or more"),
        ({"variant_seed": -1}, "data.variant_seed is -1; allowed: 0 or more"),
        (
            {"small": {"split": None}, "split": {"test": ["I"]}},
            "data.split.test names 'I'; with several genomes write NAME:chrom, with one of big, sm",
        ),
    ],
)
def test_settings_without_meaning_are_refused(files, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_of(files, **changes)


@pytest.mark.parametrize("name", ["repeat", "codon_1", "gc_0_30", "train", "class_LINE", "a:b", ""])
def test_names_that_would_be_confused_are_refused(name):
    with pytest.raises(ConfigError, match=f"'{name}' is not allowed as the name of a genome"):
        build(DataConfig, {"genomes": {name: {"genome": "x.fa"}}}, where="test")


def test_an_unknown_chromosome_is_told_with_its_genome(files):
    config = config_of(files, small={"split": {"test": ["IV"]}})
    with pytest.raises(ConfigError, match=r"data.genomes.small: split, test: unknown chromosome"):
        resolve_split(config, open_genome(config))


def test_a_missing_file_is_told_with_its_genome(files):
    with pytest.raises(DataError, match=r"data.genomes.big: genome .*nowhere.fa does not exist"):
        open_genome(config_of(files, big={"genome": str(files / "nowhere.fa")}))


def test_a_genome_given_twice_is_refused(files, tmp_path):
    copy = tmp_path / "copy.fa"
    copy.write_text((files / "small.fa").read_text().upper().replace(">", ">chr"))
    with pytest.raises(DataError, match="'big' and 'small' hold the same sequences; give a genome"):
        open_genome(config_of(files, big={"genome": str(copy), "split": None}))


def test_a_held_out_sequence_under_another_name_is_refused(files, tmp_path):
    lines = (files / "small.fa").read_text().splitlines()
    other = tmp_path / "other.fa"
    other.write_text(f">a\n{'ACGT' * 30}\n>b\n{lines[1].upper()}\n")
    config = config_of(files, big={"genome": str(other), "split": {"test": ["a"]}})
    message = r"'big:b' \(train\) and 'small:I' \(test\) are the same sequence"
    with pytest.raises(DataError, match=message):
        resolve_split(config, open_genome(config))
    allowed = config_of(files, big={"genome": str(other), "split": {"test": ["b"]}})
    assert resolve_split(allowed, open_genome(allowed)).test == ("big:b", "small:I")


def test_another_genome_than_that_of_the_settings_is_refused(files):
    with pytest.raises(ConfigError, match=r"data.genomes names big, small, but .* has no members"):
        members_of(config_of(files), Genome.from_sequences({"I": "ACGT"}))


def test_shares_follow_the_weights(files):
    module = module_of(config_of(files, big={"weight": 1}, small={"weight": 3}), steps=50)
    letters = "".join(bases_of(batch) for batch in module.train_dataloader())
    read = sum(letters.count(letter) for letter in "GT")
    assert len(letters) == 20_000
    assert read == pytest.approx(15_000, abs=40)
    table = module.share_table()
    assert {name: row["share"] for name, row in table.items()} == {"big": 0.25, "small": 0.75}
    assert table["small"]["bases"] == read
    assert table["big"]["bases"] == 20_000 - read


def test_without_weights_shares_follow_the_training_windows(files):
    training = module_of(config_of(files)).training
    big, small = 2 * 2000, 2 * (700 // 40) * 40  # only full windows
    assert training.shares == (big / (big + small), small / (big + small))


def test_a_genome_of_weight_0_is_scored_and_not_trained_on(files):
    module = module_of(config_of(files, big={"weight": 1}, small={"weight": 0}))
    letters = "".join(bases_of(batch) for batch in module.train_dataloader())
    assert set(letters) == {"A", "C"}
    assert "small:I" in module.split.test
    assert module.share_table()["small"] == {"share": 0.0, "bases": 0}


def test_a_genome_may_have_nothing_but_test_chromosomes(files):
    config = config_of(files, small={"split": {"train": [], "test": ["II"]}})
    module = module_of(config)
    assert module.split.test == ("big:III", "small:II")
    assert not any(chrom.startswith("small") for chrom in module.split.train)
    weighted = config_of(
        files,
        big={"weight": 1},
        small={"weight": 2, "split": {"train": [], "test": ["II"]}},
    )
    with pytest.raises(
        ConfigError, match=r"data.genomes.small has weight 2.0 and no training chro"
    ):
        module_of(weighted)


def test_nothing_to_train_on_is_refused(files):
    held_out = {"split": {"train": [], "test": ["I"]}}
    with pytest.raises(ConfigError, match="no chromosome is left for training"):
        module_of(config_of(files, big=held_out, small=held_out))
    config = config_of(files, big={"weight": 0}, small={"weight": 1}, length=1000)
    with pytest.raises(DataError, match=r"data.genomes.small: a window of 1000 bases is longer"):
        module_of(config)


def test_the_repeat_policy_of_one_genome_leaves_the_others_alone(files):
    module = module_of(config_of(files, small={"repeats": "hard-mask"}), steps=40)
    letters = "".join(bases_of(batch) for batch in module.train_dataloader())
    hidden, small = letters.count("N"), sum(letters.count(letter) for letter in "GT")
    # Of 17 windows, the first 5 of each chromosome would be all N; the next has 33 of 40 hidden.
    assert hidden / (hidden + small) == pytest.approx(33 / 480, abs=0.01)
    assert letters.count("A") + letters.count("C") + hidden + small == len(letters)
    share = module.share_table()["small"]["bases"]
    assert share == hidden + small


def test_a_policy_for_all_is_one_line(files):
    settings = {"repeats": "hard-mask"}
    config = config_of(files, small={"repeats": "keep"}, **settings)
    assert [one.repeats for one in config.members.values()] == ["hard-mask", "keep"]


def test_loss_weights_are_those_of_the_genome(files):
    config = config_of(files, big={"repeats": "downweight"}, repeat_weight=0.25)
    batches = list(module_of(config, steps=40).train_dataloader())
    letters = "".join(bases_of(batch) for batch in batches)
    weights = torch.cat([batch.weights.flatten() for batch in batches]).numpy()
    big = np.array([letter in "AC" for letter in letters])
    assert set(weights[big].tolist()) == {0.25, 1.0}
    assert set(weights[~big].tolist()) == {1.0}
    assert (weights[big] == 0.25).mean() == pytest.approx(1 / 3, abs=0.03)


def test_joined_stretches_of_one_genome_leave_the_others_whole(files):
    config = config_of(files, big={"repeats": "remove-concat"}, small={"weight": None})
    module = module_of(config, steps=40)
    genome = module.genome
    rows_read = [module.sampler.rows(step) for step in range(40)]
    assert sum(int((rows.ends - rows.starts).sum()) for rows in rows_read) == 16_000
    letters = "".join(bases_of(batch) for batch in module.train_dataloader())
    assert "N" not in letters
    kept = sum(genome.lengths[c] - genome.soft_masked[c] for c in ("big:I", "big:II"))
    windows = module.training.sources[0].windows
    assert int(windows.lengths.sum()) == kept // 2 // 40 * 40 * 2
    assert module.training.sources[1].windows.removed_bases == 0


def test_remove_split_in_one_genome_only(files):
    config = config_of(files, big={"repeats": "remove-split"}, repeat_min_length=10)
    assert not config.equal_windows
    training = module_of(config).training
    removed = {one.name: one.windows.removed_bases for one in training.sources}
    assert removed == {"big": 2 * 666, "small": 0}


def test_classes_of_one_genome_come_from_its_own_file(files, tmp_path):
    bed = tmp_path / "small.bed"
    bed.write_text("I\t0\t100\tLINE\nII\t0\t140\tLINE\nII\t140\t280\tSINE\n")
    changes = {"repeats": "hard-mask", "repeat_bed": str(bed), "repeat_classes": ["LINE"]}
    module = module_of(config_of(files, small=changes | {"split": {"train": ["II"]}}))
    windows = module.training.sources[1].windows
    stored = np.zeros(700, dtype=np.uint8)
    treated = module.training.treated[-1].stretches
    for start, end in treated.tolist():
        stored[start:end] = 1
    assert stored[:140].all()
    assert not stored[140:].any()
    assert windows.chroms == ("II",)


def test_repeats_of_another_genome_are_refused(files, tmp_path):
    bed = tmp_path / "foreign.bed"
    bed.write_text("I\t0\t1500\tLINE\n")
    with pytest.raises(DataError, match=r"data.genomes.small: .*foreign.bed"):
        open_genome(config_of(files, small={"repeat_bed": str(bed)}))


def test_workers_and_resuming_change_nothing(files):
    config = config_of(files, reverse_complement=True, small={"repeats": "hard-mask"})
    everything = list(module_of(config).train_dataloader())
    there = list(module_of(config, num_workers=1).train_dataloader())
    resumed = module_of(config)
    resumed.trainer = SimpleNamespace(global_step=6)
    state = resumed.state_dict()
    resumed = module_of(config)
    resumed.load_state_dict(state)
    left = list(resumed.train_dataloader())
    assert (len(everything), len(left)) == (10, 4)
    for first, second in zip(everything, there, strict=True):
        assert torch.equal(first.input_ids, second.input_ids)
    for first, second in zip(everything[6:], left, strict=True):
        assert torch.equal(first.input_ids, second.input_ids)
        assert torch.equal(first.targets, second.targets)


def test_processes_share_the_steps(files):
    config = config_of(files)
    whole, parts = module_of(config), [module_of(config) for _ in range(2)]
    for rank, module in enumerate(parts):
        module.sampler.share(rank, 2)
    for step in range(10):
        rows = whole.sampler.rows(step)
        found = [module.sampler.rows(step) for module in parts]
        assert np.concatenate([one.starts for one in found]).tolist() == rows.starts.tolist()


def test_the_order_in_a_file_does_not_matter(files):
    first = config_of(files)
    again = replace(first, genomes=dict(reversed(first.genomes.items())))
    assert list(again.genomes) == ["big", "small"]
    one, other = (next(iter(module_of(config).train_dataloader())) for config in (first, again))
    assert torch.equal(one.input_ids, other.input_ids)


def test_a_genome_beside_it_changes_nothing_in_the_order_of_its_windows(files):
    alone = module_of(config_of(files, big={"weight": 1}, small={"weight": 0}))
    both = module_of(config_of(files, big={"weight": 1}, small={"weight": 1}))
    letters = ["".join(bases_of(b) for b in one.train_dataloader()) for one in (alone, both)]
    from_big = "".join(letter for letter in letters[1] if letter in "AC")
    assert letters[0].startswith(from_big[:1000])


def test_every_genome_is_followed_alike(files):
    config = config_of(
        files,
        big={"weight": 9, "split": {"valid": ["I"]}},
        small={"weight": 1, "split": {"valid": ["II"]}},
        validation_windows=16,
    )
    windows = module_of(config).validation_windows()
    names = [windows.chroms[index] for index in windows.chrom_index.tolist()]
    assert (names.count("big:I"), names.count("small:II")) == (8, 8)


def test_one_genome_under_a_name_is_trained_on_alone(files):
    config = build(
        DataConfig,
        {"length": 40, "genomes": {"big": {"genome": str(files / "big.fa")}}},
        where="test",
    )
    genome = open_genome(config)
    found = training_set(config, genome, resolve_split(config, genome))
    assert found.shares == (1.0,)

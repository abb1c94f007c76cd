"""Memorization: a study, or a checkpoint from elsewhere, under the battery of its suites.

The instruments are tasks and baselines like any others, so a study is only extended by their suites
and runs what is missing: nothing is trained again. A checkpoint becomes a study of one arm. Which
chromosomes it was trained on must be known, as every instrument compares them with others: a run of
our own says so itself, of any other the user must.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_dna import atomic, catalog, settings
from lightning_dna.data.config import DataConfig
from lightning_dna.data.source import open_genome, resolve_split
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.interop import files
from lightning_dna.study.scoring import PROVENANCE
from lightning_dna.study.study import CHECKPOINT, SUITES, Study, open_study, resolve_study
from lightning_dna.training.run import RECORD, RUN, load_checkpoint

BATTERY = "memorization"
CANARIES = "memorization-canaries"  # where an arm was trained with canaries
ALLELES = "alleles"  # the card, where a file of variants is given
_LENGTH = 512  # bases of a window, of a checkpoint from elsewhere
# What decides the training windows of a run, and what stands in them, beside genome and split.
_OF_WINDOWS = (
    *("stride", "max_n_fraction", "repeats", "repeat_bed", "repeat_min_length", "repeat_classes"),
    *("repeat_seed", "variants", "vcf", "haplotypes", "variant_seed", "vcf_sample", "canaries"),
)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a checkpoint is judged on.

    Attributes:
        genome: FASTA file.
        train: Chromosomes that it was trained on; empty: what its run says.
        test: Chromosomes that it has not seen; empty: what its run says.
        valid: Further ones that it has not seen; none of the battery's numbers is of them. Empty:
            what its run says.
        length: Bases of a window; ``None``: those of its run, of others 512.
        annotation: File of genes, for strata.
    """

    genome: str
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    length: int | None = None
    annotation: str | None = None


def with_battery(study: Study, folder: Path, *, vcf: Path | None = None) -> Study:
    """Return a study with the suites of memorization beside its own.

    Args:
        study: The study.
        folder: Its results folder; with ``vcf``, the suite that names this file is written there.
        vcf: Variants of the genome, for the alleles; without them they are left out.

    Raises:
        ConfigError: If a suite of the study has another task of the same name.
        DataError: If the genome cannot be used.
    """
    suites = [*study.recipe.suites, BATTERY]
    if any(arm.settings.data.canaries is not None for arm in study.trained):
        suites.append(CANARIES)
    suites += _allele_suites(vcf, folder)
    content = {**study.content, "suite": list(dict.fromkeys(suites))}
    return resolve_study(study.name, content, where=study.name)


def _allele_suites(vcf: Path | None, folder: Path) -> list[str]:
    """Write the card of the alleles with its file of variants, if any, and a suite of it alone.

    Raises:
        DataError: If there is no such file.
    """
    if vcf is None:
        return []
    if not vcf.is_file():
        raise DataError(f"--vcf {vcf} does not exist; check the path.")
    card = settings.load_yaml(catalog.resolve("task", ALLELES))
    home = folder / SUITES
    atomic.write_json(home / f"{ALLELES}.yaml", {**card, "files": {"variants": str(vcf)}})
    suite = home / "memorization-alleles.yaml"  # JSON is YAML too
    atomic.write_json(suite, {"description": "Alleles.", "tasks": [f"{ALLELES}.yaml"]})
    return [str(suite.resolve())]


def open_battery(folder: Path, *, vcf: Path | None = None) -> Study:
    """Open the study of a results folder with the suites of memorization.

    Raises:
        ResultsError: If the folder is not a results folder.
        ConfigError: As `with_battery`.
        DataError: As `with_battery`.
    """
    return with_battery(open_study(folder), folder, vcf=vcf)


def checkpoint_battery(
    folder: Path, ground: Ground, out: Path, *, vcf: Path | None = None
) -> Study:
    """Return a study of one checkpoint under the battery.

    Args:
        folder: A published checkpoint, one written by ``save_pretrained``, or a finished run.
        ground: The genome and what the checkpoint has seen of it.
        out: The results folder; the weights of a finished run are written there once more, in the
            layout of ``save_pretrained``.
        vcf: Variants of the genome.

    Raises:
        ConfigError: If it is not known which chromosomes the checkpoint was trained on, or one that
            is called held out was.
        DataError: If there is no checkpoint, or the genome is not the one it was trained on.
    """
    run = folder / RUN
    own = run.is_file()
    if not own and not (folder / files.CONFIG).is_file():
        raise DataError(
            f"{folder} holds neither study.json (a study), {files.CONFIG} (a checkpoint) nor {RUN} "
            f"(a finished run)."
        )
    if own:
        data = settings.build(DataConfig, atomic.read_json(run)["data"], where=str(run))
        genome = open_genome(
            settings.build(DataConfig, {"genome": ground.genome}, where="--genome")
        )
        split = _split_of_run(folder, data, ground, genome)
        _check_genome(folder, ground, genome, split)
        source = _exported(folder, out / CHECKPOINT)
    else:
        split = _stated_split(folder, ground)
        source = folder.resolve()
    length = ground.length or (data.length if own else _LENGTH)
    planted = _canaries_of_run(folder, data, genome, split, length) if own else {}
    name = folder.resolve().name
    arm = {"model": {"pretrained": str(source)}}
    content: dict[str, Any] = {
        "question": f"Has {name} learned the genome's grammar, or the genome?",
        "baseline": "model",
        "suite": [BATTERY, *([CANARIES] if planted else []), *_allele_suites(vcf, out)],
        "seeds": [0],
        "shared": {
            "data": {
                "genome": ground.genome,
                "split": split,
                "length": length,
                **planted,
                "annotation": ground.annotation,
            }
        },
        "arms": {"model": arm},
        "comparison": {"scope": "checkpoint", "planned": []},
    }
    return resolve_study(f"{name}-memorization", content, where=str(folder))


def _stated_split(folder: Path, ground: Ground) -> dict[str, list[str]]:
    """Return the chromosomes of a checkpoint from elsewhere, as the user knows them.

    Raises:
        ConfigError: If they are not stated.
    """
    if not ground.train or not ground.test:
        raise ConfigError(
            f"it is not known which chromosomes {folder} was trained on, and guessing would make "
            "every number here meaningless; state them as --train CHROM,... and those that it has "
            "not seen as --test CHROM,... (and more as --valid CHROM,...)."
        )
    known = {"train": ground.train, "test": ground.test, "valid": ground.valid}
    return {part: list(chroms) for part, chroms in known.items() if chroms}


def _split_of_run(
    folder: Path, data: DataConfig, ground: Ground, genome: Genome
) -> dict[str, list[str]]:
    """Return the chromosomes of a finished run by what it has seen of them.

    Raises:
        ConfigError: If what the user says of them contradicts what the run says.
    """
    if data.genomes:
        raise ConfigError(
            f"{folder} was trained on several genomes; give its study's results folder instead."
        )
    recorded = resolve_split(data, genome)
    seen = sorted(set(recorded.train) & {*ground.test, *ground.valid})
    if seen:
        raise ConfigError(
            f"{', '.join(seen)} cannot be held out: {folder} was trained on it. Its run held out "
            f"{', '.join(recorded.test) or 'nothing'}."
        )
    unseen = sorted(set(ground.train) - set(recorded.train))
    if unseen:
        raise ConfigError(
            f"--train names {', '.join(unseen)}, but {folder} was not trained on it; leave --train "
            f"out: its run says what it has seen."
        )
    parts: Mapping[str, Sequence[str]] = {
        "train": ground.train or recorded.train,
        "test": ground.test or recorded.test,
        "valid": ground.valid or [c for c in recorded.valid if c not in ground.test],
    }
    return {part: list(chroms) for part, chroms in parts.items() if chroms}


def _canaries_of_run(
    folder: Path,
    data: DataConfig,
    genome: Genome,
    split: Mapping[str, Sequence[str]],
    length: int,
) -> dict[str, Any]:
    """Return the settings of the canaries that a finished run planted, and of its windows.

    Raises:
        ConfigError: If the windows that are asked for are not those that hold them.
    """
    if data.canaries is None:
        return {}
    recorded = resolve_split(data, genome)
    if {*split["train"]} != {*recorded.train} or length != data.length:
        raise ConfigError(
            f"{folder} planted canaries in windows of {data.length} bases of "
            f"{', '.join(recorded.train)}, and they are read there; leave --train and --length out."
        )
    content: dict[str, Any] = settings.plain(data)
    return {name: content[name] for name in _OF_WINDOWS}


def _check_genome(
    folder: Path, ground: Ground, genome: Genome, split: Mapping[str, Sequence[str]]
) -> None:
    """Check that a run was trained on the very sequence that it is judged on.

    Raises:
        DataError: If a chromosome has another digest than in the run's record.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise DataError(
            f"{path} is missing, so it is not known which sequence this run was trained on; finish "
            f"its cell with `lightning-dna run` or `retry`."
        )
    recorded = atomic.read_json(path)["genome"]["chromosomes"]
    others = [
        chrom
        for part in split.values()
        for chrom in part
        if recorded.get(chrom) != genome.digests.get(chrom)
    ]
    if others:
        raise DataError(
            f"{ground.genome}: {', '.join(others[:5])}{' and more' if len(others) > 5 else ''} "
            f"differ{'s' if len(others) == 1 else ''} from the sequence that {folder} was trained "
            f"on; give the same assembly (sequence digests are compared, names are not enough)."
        )


def _exported(folder: Path, place: Path) -> Path:
    """Write the weights of a finished run as a checkpoint with its tokenizer, and return it.

    Raises:
        ResultsError: If the run is not finished.
    """
    from lightning_dna.models.interop.pretrained import save_pretrained

    checkpoint = load_checkpoint(folder)
    for name in files.TOKENIZERS:
        if (folder / name).is_file():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, place / name)
    save_pretrained(checkpoint.model(), place)
    return place.resolve()


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint or a finished run, rather than a study."""
    return (
        any((folder / name).is_file() for name in (files.CONFIG, RUN, RECORD))
        and not (folder / "study.json").is_file()
    )

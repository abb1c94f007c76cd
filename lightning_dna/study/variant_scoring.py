"""A file of variants scored by one checkpoint, in parts that survive an interruption; judged."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_dna import atomic, settings
from lightning_dna.data.encoding import Encoding
from lightning_dna.errors import DataError
from lightning_dna.models.interop import files
from lightning_dna.models.interop.pretrained import load_pretrained
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import estimates
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.tables import EstimateTable
from lightning_dna.study.model_source import encoding_of, encoding_of_run
from lightning_dna.tasks.variant_data import VariantData
from lightning_dna.tasks.variant_effect import damaging
from lightning_dna.tasks.variant_files import VariantSet
from lightning_dna.tasks.variant_scores import check_scores, score_variants
from lightning_dna.tasks.variant_source import trained_scores
from lightning_dna.training.run import RECORD, WEIGHTS, load_checkpoint

METRICS = ("auroc", "auprc")
_PART = 2048  # variants of a part: what an interruption can cost


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """A checkpoint ready to score.

    Attributes:
        model: The model, in evaluation mode.
        encoding: How it reads sequences.
        digest: What its weights are.
    """

    model: LanguageModel
    encoding: Encoding
    digest: str


def open_model(folder: Path, *, untrained: int | None = None) -> ScoredModel:
    """Open a published checkpoint, one written by ``save_pretrained``, or a finished run.

    Args:
        folder: Its folder.
        untrained: Seed of initial weights that take the place of the trained ones, as a control;
            ``None`` keeps these.

    Raises:
        DataError: If the folder holds no checkpoint, or a damaged one, or a run over tokens of
            several bases without its tokenizer.
        ResultsError: If a run in it is not finished.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give that of a checkpoint or of a finished run.")
    model: LanguageModel
    if (folder / files.CONFIG).is_file():
        model = load_pretrained(folder)
        encoding, digest = encoding_of(folder, model.config), files.digest(folder)
    elif (folder / RECORD).is_file():
        model = load_checkpoint(folder).model()
        encoding = encoding_of_run(folder, model.config)
        with (folder / WEIGHTS).open("rb") as weights:
            digest = hashlib.file_digest(weights, "sha256").hexdigest()
    else:
        raise DataError(
            f"{folder} holds neither {files.CONFIG} (a checkpoint) nor {RECORD} (a finished run); "
            f"the runs of a study lie in its folder 'runs'."
        )
    if untrained is not None:
        model = build_model(model.config, seed=untrained).eval()
        digest = f"untrained:{untrained}:{settings.fingerprint(settings.plain(model.config))}"
    return ScoredModel(model=model, encoding=encoding, digest=digest)


def score_table(
    data: VariantData, scored: ScoredModel, *, out: Path, device: str, progress: bool
) -> pd.DataFrame:
    """Score variants and write the table; finished parts of an interrupted call are taken up.

    Args:
        data: The variants, and the card that says which scores and baselines.
        scored: The model.
        out: The table to write: ``.parquet``, ``.tsv``, otherwise CSV. Parts lie beside it until
            it is whole.
        device: Where to compute.
        progress: Whether to show a bar on stderr.

    Returns:
        A row for each variant, in the order of the genome: ``id``, ``contig``, ``position`` (from
        1, on the chromosome), ``ref``, ``alt``, ``label`` where every variant has one, ``cluster``,
        each score with its parts by strand, the baselines, and ``score``: the first score, turned
        so that greater means more damaging.

    Raises:
        ConfigError: If the model cannot give a score.
        DataError: If a window has more tokens than the model takes.
        UnwritableError: If the table cannot be written.
    """
    scores, variants = trained_scores(data.card.scores), data.variants
    check_scores(scores, scored.model.config, scored.encoding, where="the checkpoint")
    _check_length(scored, data.length)
    baselines = {name: data.baseline(name) for name in data.card.baselines}
    described = _described(variants, data.clusters)
    folder = out.parent / f".{out.name}.{_identity(data, scored)}.parts"
    model, frames = scored.model.to(device), []
    total = -(-len(variants) // _PART)
    for number in range(total):
        rows = slice(number * _PART, (number + 1) * _PART)
        path = folder / f"{number}.parquet"
        if not path.is_file():
            found = score_variants(
                replace(variants, variants=variants.variants[rows]),
                model,
                scored.encoding,
                length=data.length,
                scores=scores,
                device=device,
                progress=progress,
                label="variants" if total == 1 else f"variants, part {number + 1} of {total}",
            )
            with atomic.replacing(path) as temporary:
                pd.DataFrame(found).to_parquet(temporary, index=False)
        frames.append(pd.read_parquet(path))
    frame = pd.concat((described, pd.concat(frames, ignore_index=True)), axis=1)
    frame = frame.assign(**baselines)
    frame["score"] = damaging(scores[0], frame[scores[0]].to_numpy(np.float64))
    _write(frame, out)
    shutil.rmtree(folder)
    return frame


def _check_length(scored: ScoredModel, length: int) -> None:
    """Check windows of single bases against the model; tokens are checked as they are read."""
    if scored.encoding.by_base:
        window = np.zeros(length, dtype=np.uint8)
        where = f"windows of {length} bases"
        scored.encoding.check_lengths([window], scored.model.config, where=where)


def _identity(data: VariantData, scored: ScoredModel) -> str:
    """Hash everything that decides the scores."""
    rows = [(one.chrom, one.start, one.ref, one.alt) for one in data.variants.variants]
    content = (data.variants.genome.digest, rows, scored.digest, data.length, data.card.scores)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _described(variants: VariantSet, clusters: Sequence[str]) -> pd.DataFrame:
    """Return what is known of the variants without a model."""
    rows = variants.variants
    frame = pd.DataFrame(
        {
            "id": [one.name for one in rows],
            "contig": [variants.called or one.chrom for one in rows],
            "position": [one.start + variants.origin for one in rows],
            "ref": [one.ref for one in rows],
            "alt": [one.alt for one in rows],
        }
    )
    if variants.labelled:
        frame["label"] = [one.label for one in rows]
    return frame.assign(cluster=list(clusters))


def _write(frame: pd.DataFrame, out: Path) -> None:
    """Write a table whole or not at all, in the form that its name ends in."""
    with atomic.replacing(out) as temporary:
        if out.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False, sep="\t" if out.suffix == ".tsv" else ",")


def judge(
    frame: pd.DataFrame, scores: Sequence[str], *, resamples: int, seed: int, unit: str
) -> EstimateTable:
    """Return AUROC and AUPRC of several scores of the same labelled variants, with intervals.

    Args:
        frame: Columns ``id``, ``label``, ``cluster`` and each score, the greater the more positive.
        scores: Names of the columns.
        resamples: Resamples of the bootstrap.
        seed: Its seed.
        unit: The card's unit: for ``example`` variants are resampled, otherwise clusters.

    Raises:
        StatsError: If an interval cannot be computed at all.
    """
    entries = [
        Predictions(
            task="variants",
            variant=name,
            seed=0,
            example_id=frame["id"].to_numpy(),
            y_true=frame["label"].to_numpy(),
            y_score=frame[name].to_numpy(np.float64),
            cluster_id=frame["cluster"].to_numpy(),
        )
        for name in scores
    ]
    plan = ResamplingPlan(
        n_resamples=resamples, seed=seed, unit="example" if unit == "example" else "cluster"
    )
    replicates = bootstrap_metrics(align(entries), METRICS, plan)
    return estimates({"variants": replicates}, scope="checkpoint")

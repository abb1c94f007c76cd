"""What a study would run and what it would cost, before anything runs."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch

from lightning_dna.data.length_schedule import length_shares
from lightning_dna.data.tokenization import CHARACTER, open_tokenizer, tokens_per_base
from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.models.memory import Precision
from lightning_dna.study.data_notes import data_lines
from lightning_dna.study.machine import devices_of, step_memory, tokens_of, where_it_runs
from lightning_dna.study.price import Bases, scoring_seconds
from lightning_dna.study.recipe import Arm, ArmSettings
from lightning_dna.study.row_plan import row_table
from lightning_dna.study.study import Study
from lightning_dna.tasks.suites import files_of

# The time of a few steps stands for all: tokens of each, and when there have been enough.
_TIMED_TOKENS, _TIMED_STEPS, _TIMED_SECONDS = 8192, 5, 1.0


# Checkpoints with more parameters than this are not built for a timing.
_MOST_PARAMETERS = 300_000_000


def plan_frame(
    study: Study, *, bases: Mapping[str, Bases] | None = None, workers: int = 1
) -> pd.DataFrame:
    """Return one row for each arm: changes, size, FLOPs, tokens, time, memory and disk.

    ``tokens`` are bases where a model reads longer ones, of which it has ``tokens_per_base``.
    ``bases_per_second`` and ``hours`` come from timed training steps of each arm on this machine.
    Memory is that of a training step as it would run here, see :mod:`lightning_dna.models.memory`.
    ``total_flops``, ``hours``, ``scoring_hours`` and ``disk_mib`` are of all seeds together; with
    warm-up of the length, every length counts with its tokens. ``scoring_hours`` are at the most,
    see :func:`lightning_dna.study.price.scoring_seconds`; a forward pass counts as the share of a
    step that its operations are. ``disk_mib`` are the weights, ``resume_mib`` what one training
    keeps beside them until it ends.

    Args:
        study: The study.
        bases: Bases of each task's parts, where scoring is to be priced.
        workers: Processes that share the machine's cores while timed.
    """
    timed = partial(_row, study, bases=bases or {}, workers=workers)
    return pd.DataFrame([timed(arm) for arm in study.arms.values()])


def _row(study: Study, arm: Arm, *, bases: Mapping[str, Bases], workers: int) -> dict[str, Any]:
    """Return the row of one arm; a checkpoint, which is not trained, has no prices of training."""
    config = arm.settings.model
    length = min(arm.settings.data.length, config.max_length)  # a checkpoint may take less
    rate = token_rate(study, arm)
    counts, flops = parameter_counts(config), flops_per_base(config, tokens_of(length, rate))
    row: dict[str, Any] = {
        "arm": arm.name,
        "changes": ", ".join(f"{key}={value}" for key, value in arm.changes.items()) or "-",
        "matched": arm.matched,
        "parameters": counts.total,
        "trunk_parameters": counts.trunk,
        "feedforward_width": config.inner_width,
        "feedforward_parameters": counts.feedforward,
        "flops_per_base": rate * flops.forward_total,
        "attention_flops_per_base": rate * flops.forward.get("attention", 0.0),
        "fft_flops_per_base": rate * flops.forward.get("fft", 0.0),
        "tokens_per_base": rate,
        "seeds": len(study.recipe.seeds),
    }
    if arm.source is None:
        with _threads(arm.settings.trainer.threads, workers):
            row |= _training(arm.settings, study.trainings, rate, flops.training_total)
        step = 1 / row["bases_per_second"]
    else:
        row |= {"tokens": 0, "hours": 0.0}
        step = _time_checkpoint(arm, length, rate, counts.total, workers) if bases else math.nan
    if bases:
        share = flops.forward_total / flops.training_total
        priced = partial(scoring_seconds, study.cards, bases, arm, forward=step * share, step=step)
        later = study.trainings - 1
        row["scoring_hours"] = (priced() + later * priced(first=False)) / 3600
    return row


def token_rate(study: Study, arm: Arm) -> float:
    """Return the tokens per base of an arm that is trained here, counted on training sequence."""
    data = arm.settings.data
    name = data.tokenizer
    if name == CHARACTER or arm.source is not None:
        return 1.0
    chroms = study.split.train
    tokenizer = open_tokenizer(name, study.genome, chroms)
    masked = data.mask_unit == "base" and arm.settings.model.objective == "masked"
    apart = data.mask_fraction if masked else 0.0
    return tokens_per_base(tokenizer, study.genome, chroms[0], apart=apart)


def _training(
    settings: ArmSettings, seeds: int, rate: float, flops_of_a_token: float
) -> dict[str, float]:
    """Return what the training of one arm costs: timed steps, and the memory of a whole one."""
    budget, length = settings.budget, settings.data.length
    tokens = budget.steps * budget.tokens_per_step
    device, precision = where_it_runs(settings.trainer)
    rows = max(1, min(budget.tokens_per_step, _TIMED_TOKENS) // length)
    model = build_model(settings.model, seed=0)
    parameters = sum(weights.numel() for weights in model.parameters())
    if settings.trainer.activation_checkpointing:
        model.backbone.checkpointing = True
    seconds = _time_step(model.to(device), rows, tokens_of(length, rate), precision)
    devices = devices_of(settings.trainer)
    memory = step_memory(settings, precision=precision, rate=rate, device=device, devices=devices)
    return {
        "tokens": tokens,
        "training_flops_per_base": rate * flops_of_a_token,
        "total_flops": training_flops(settings, rate) * seeds,
        "activation_mib": memory.activations / 2**20,
        "memory_mib": memory.peak / 2**20,
        "disk_mib": 4 * parameters * seeds / 2**20,
        "resume_mib": 12 * parameters / 2**20,  # weights and two moments of AdamW
        "bases_per_second": rows * length / seconds,
        "hours": seconds * tokens / (rows * length) / 3600 * seeds,
    }


def training_flops(settings: ArmSettings, rate: float = 1.0) -> float:
    """Return the floating-point operations of one training, every row as long as it may be.

    Args:
        settings: The arm.
        rate: Its tokens per base.
    """
    steps = settings.budget.steps
    shares = length_shares(settings.length_schedule, steps, settings.data.length)
    per_base = math.fsum(
        share * rate * flops_per_base(settings.model, tokens_of(length, rate)).training_total
        for length, share in shares.items()
    )
    return settings.budget.tokens_per_step * steps * per_base


def plan_table(study: Study, frame: pd.DataFrame | None = None) -> str:
    """Return the plan as text: the question, the split, the arms, their sizes and prices.

    Args:
        study: The study.
        frame: What :func:`plan_frame` returned; made here by default.
    """
    frame = plan_frame(study) if frame is None else frame
    split, base = study.split, study.baseline.settings
    device, precision = where_it_runs(base.trainer)
    bits = "bfloat16" if precision == "bf16" else "32-bit"
    lines = [
        f"study       {study.name}: {' '.join(study.recipe.question.split())}",
        f"baseline    {study.recipe.baseline}",
        f"chromosomes train {_shorten(split.train)} | valid {_shorten(split.valid)} | "
        f"test {_shorten(split.test)}",
        f"suite       {', '.join(study.recipe.suites)}: "
        f"{', '.join(card.name for card in study.cards)}",
        *_files(study),
        f"cells       {len(study.cells())} ({len(study.arms)} arms x"
        f" {len(study.recipe.seeds)} seeds{_folds(study)}), {frame['tokens'].max():,} tokens each,"
        f" windows of {base.data.length:,}",
        *_arms(study, frame),
        *data_lines(study),
        "",
        _table(frame, _SIZES),
        "",
        "trunk: parameters of the blocks; of those, feed-forward, whose inner width comes next."
        " MFLOP/base: millions of floating-point",
        "operations per base of a forward pass; attention, FFT: the part of it that depends on the"
        " length; training: forward and backward.",
        "",
        _table(frame, _PRICES),
        "",
        row_table(study),
        "",
        "padding: share of the positions of a batch that hold no base. Bases cut off: what"
        " truncation drops from the windows it reads.",
        "per base: tokens that a model reads for each base; budgets are in bases.",
        "TFLOP: 1e12 operations, all seeds together. kept: what lies between forward and backward"
        " of a step. memory: the most at once in it,",
        f"with weights, gradients and AdamW's moments ({device}, {bits}); the process itself comes"
        " on top.",
        *_in_all(frame),
    ]
    return "\n".join(lines)


def _in_all(frame: pd.DataFrame) -> list[str]:
    """Say what the whole study takes."""
    kept, resume = (
        frame[name].sum() if name in frame else 0.0 for name in ("disk_mib", "resume_mib")
    )
    lines = [
        f"training in all: {frame['hours'].sum():.2f} hours in one process, from timed steps of"
        " each arm on this machine."
    ]
    if "scoring_hours" in frame:
        unknown = frame["scoring_hours"].isna()
        lines.append(
            f"scoring and fine-tuning in all: at most {frame['scoring_hours'].sum():.2f} hours"
            + (f", without {', '.join(frame.loc[unknown, 'arm'])}" if unknown.any() else "")
            + "; the tasks' baselines come on top."
        )
    else:
        lines.append("scoring and fine-tuning come on top; `--price` reads the tasks and adds it.")
    largest = frame["resume_mib"].max() if resume else 0.0
    lines.append(
        f"disk: {kept:,.1f} MiB of weights in all, and {largest:,.1f} MiB at most for each training"
        " under way; score tables come on top."
    )
    return lines


def _folds(study: Study) -> str:
    """Say how many folds there are; the chromosomes above are those of the first."""
    folds = study.recipe.folds
    return "" if folds is None else f" x {folds} folds, of which the first is shown"


def _files(study: Study) -> list[str]:
    """Say which task files are missing, and which tasks are left out for it."""
    lines = [f"            {note}" for note in study.skipped]
    for card in study.cards:
        missing = files_of(card, study.tasks_root).missing
        if missing:
            lines.append(f"            {card.name}: missing files: {', '.join(missing.values())}")
    return lines


def _arms(study: Study, frame: pd.DataFrame) -> list[str]:
    """List what the arms change, and what was changed to match their sizes."""
    match, wide = study.recipe.match, max(len(name) for name in study.arms) + 2
    lines = [
        f"{name:{wide}}{said}" for name, said in zip(frame["arm"], frame["changes"], strict=True)
    ]
    if match.by != "none":
        lines.append(
            f"matched in {match.by} to {match.to or study.recipe.baseline} by {match.change},"
            f" within {match.tolerance:.1%}:"
        )
        lines += [f"{arm.name:{wide}}{arm.matched or 'as it is'}" for arm in study.arms.values()]
    return [f"{'' if number else 'arms':12}{line}" for number, line in enumerate(lines)]


# Heading, column of the frame, its scale, decimals.
_SIZES = (
    ("parameters", "parameters", 1.0, 0),
    ("trunk", "trunk_parameters", 1.0, 0),
    ("feed-forward", "feedforward_parameters", 1.0, 0),
    ("width", "feedforward_width", 1.0, 0),
    ("MFLOP/base", "flops_per_base", 1e-6, 3),
    ("attention", "attention_flops_per_base", 1e-6, 3),
    ("FFT", "fft_flops_per_base", 1e-6, 3),
    ("training", "training_flops_per_base", 1e-6, 3),
)
_PRICES = (
    ("tokens", "tokens", 1.0, 0),
    ("per base", "tokens_per_base", 1.0, 3),
    ("seeds", "seeds", 1.0, 0),
    ("TFLOP", "total_flops", 1e-12, 2),
    ("kept MiB", "activation_mib", 1.0, 0),
    ("memory MiB", "memory_mib", 1.0, 0),
    ("bases/s", "bases_per_second", 1.0, 0),
    ("hours", "hours", 1.0, 2),
    ("scoring h", "scoring_hours", 1.0, 2),
    ("disk MiB", "disk_mib", 1.0, 1),
)


def _table(frame: pd.DataFrame, columns: Sequence[tuple[str, str, float, int]]) -> str:
    """Return some columns of the frame as text, a dash where there is no number."""
    shown = {"arm": list(frame["arm"])}
    for title, column, scale, decimals in columns:
        numbers = frame.get(column, [math.nan] * len(frame))
        shown[title] = [
            "-" if math.isnan(number) else f"{number * scale:,.{decimals}f}" for number in numbers
        ]
    return pd.DataFrame(shown).to_markdown(
        index=False, disable_numparse=True, colalign=("left", *["right"] * len(columns))
    )


def _shorten(names: tuple[str, ...]) -> str:
    """List a few names and count the rest."""
    shown = ", ".join(names[:6]) or "none"
    return f"{shown}, ... ({len(names)})" if len(names) > 6 else shown


def _time_step(model: LanguageModel, rows: int, length: int, precision: Precision) -> float:
    """Return the seconds of a training step: the fastest of a few, after an untimed one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.config.vocab_size, (rows, length), generator=generator)
    input_ids = tokens.to(device)
    timed: list[float] = []
    while len(timed) < 2 or (sum(timed) < _TIMED_SECONDS and len(timed) <= _TIMED_STEPS):
        _wait(device)
        started = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = _loss(model, input_ids)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        timed.append(time.perf_counter() - started)
    return min(timed[1:])


def _time_checkpoint(arm: Arm, length: int, rate: float, parameters: int, workers: int) -> float:
    """Return the seconds of a training step of a checkpoint for each base; NaN if it is large."""
    if parameters > _MOST_PARAMETERS:
        return math.nan
    device, precision = where_it_runs(arm.settings.trainer)
    with _threads(arm.settings.trainer.threads, workers):
        model = build_model(arm.settings.model, seed=0).to(device)
        return _time_step(model, 1, tokens_of(length, rate), precision) / length


@contextlib.contextmanager
def _threads(chosen: int | None, workers: int) -> Iterator[None]:
    """Give torch as many threads as a training has beside other workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(chosen or max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wait(device: torch.device) -> None:
    """Wait until a device that works on its own has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _loss(model: LanguageModel, input_ids: torch.Tensor) -> torch.Tensor:
    """Return a scalar whose gradient reaches every weight."""
    logits = model(input_ids).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), input_ids.flatten())

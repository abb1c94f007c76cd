"""What a Lightning training costs on top of a plain loop over the same steps.

Ours is `fit` as a study calls it, from the settings to the weights on disk: Trainer, callbacks,
learning curve, watching for signals, a resume point where one is due, and the setting-up of it all,
divided by the number of steps; not validation, which is work of its own. The plain loop is what a
person would write: the same model from the same seed, the same batches, `cross_entropy` on the
targets, clipping, fused AdamW, cosine schedule; no metric, no curve, no file. Both end with the
same weights, which is checked.

Time is CPU time of the process on one thread. The two take turns; medians of the rounds.

    python benchmarks/speed/lightning_overhead.py --out reports/speed/lightning_overhead.md
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import lightning
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_dna.data.batches import IGNORE
from lightning_dna.data.config import DataConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.genome.splits import SplitSpec
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import BudgetConfig, RunConfig, TrainerConfig
from lightning_dna.training.optim import adamw
from lightning_dna.training.run import fit

# Width, layers, rows and row length: the first is a step of about 7 ms on one core.
SIZES = ((32, 2, 8, 128), (64, 2, 16, 256))
FLOOR, GOAL = 1.15, 1.03


def settings_of(size: tuple[int, int, int, int], steps: int) -> RunConfig:
    """Return a masked-LM run of a small attention encoder on a simulated genome."""
    width, layers, rows, length = size
    tokens = rows * length
    return RunConfig(
        # Without validation chromosomes, since the plain loop does not validate.
        data=DataConfig(
            genome="simulated",
            length=length,
            split=SplitSpec(valid_fraction=0.0, test_fraction=0.1),
        ),
        model=ModelConfig(width=width, layers=layers, heads=2, position="rope", max_length=length),
        budget=BudgetConfig(tokens=tokens * steps, tokens_per_step=tokens),
        trainer=TrainerConfig(accelerator="cpu", validate_every=1.0, threads=1),
    )


def plain_loop(run: RunConfig) -> nn.Module:
    """Train without Lightning."""
    data = GenomeDataModule(
        run.data,
        run.length_schedule,
        tokens_per_step=run.budget.tokens_per_step,
        total_steps=run.budget.steps,
        objective=run.model.objective,
        seed=run.seed,
    )
    model = build_model(run.model, seed=run.seed)
    optimizer, schedule = adamw(
        model, model.without_weight_decay(), run.optimizer, run.budget.steps
    )
    for batch in data.train_dataloader():
        logits = model(batch.input_ids, batch.attention_mask).logits
        loss = cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), run.optimizer.gradient_clip)
        optimizer.step()
        schedule.step()
    return model


def with_lightning(run: RunConfig) -> nn.Module:
    """Train as a study does."""
    with tempfile.TemporaryDirectory() as folder:
        return fit(run, Path(folder), progress=False).model()


def difference(one: nn.Module, other: nn.Module) -> float:
    """Return the largest absolute difference of two models' weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def measure(size: tuple[int, int, int, int], steps: int, rounds: int) -> str:
    """Return one row of the table."""
    run = settings_of(size, steps)
    ways = {"plain": plain_loop, "lightning": with_lightning}
    models = {name: way(settings_of(size, 20)) for name, way in ways.items()}  # warm both up
    apart = difference(models["plain"], models["lightning"])
    if apart > 1e-5:
        raise SystemExit(f"the two trainings end {apart:.1e} apart: they are not the same work")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way(run)
            seconds[name].append(time.process_time() - started)
    step = {name: 1e3 * statistics.median(found) / steps for name, found in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["lightning"], seconds["plain"], strict=True)]
    width, layers, rows, length = size
    return (
        f"| {width} | {layers} | {rows} x {length} | {step['plain']:.2f} | {step['lightning']:.2f} "
        f"| {statistics.median(ratios):.2f}x | {min(ratios):.2f}-{max(ratios):.2f} | {apart:.0e} |"
    )


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    rows = [measure(size, options.steps, options.rounds) for size in SIZES]
    text = "\n".join(
        [
            "# Lightning's overhead",
            "",
            "    python benchmarks/speed/lightning_overhead.py --out"
            " reports/speed/lightning_overhead.md",
            "",
            f"CPU milliseconds a step, over {options.steps} steps with everything before and after"
            " them (Trainer, data, curve, weights on disk). Medians of"
            f" {options.rounds} rounds, the two taking turns. Floor {FLOOR}x, goal {GOAL}x at steps"
            " of about 7 ms. The last column is the largest difference of the weights after 20"
            " steps.",
            "",
            f"{platform.machine()}, one thread; Python {platform.python_version()}, torch"
            f" {torch.__version__}, lightning {lightning.__version__}. Load average when it"
            f" started: {load:.1f}.",
            "",
            "| width | layers | batch | plain ms | fit ms | ratio | range | weights apart |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

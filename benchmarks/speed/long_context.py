"""How much memory and time Hyena takes at contexts of a hundred thousand to a million bases.

Every row runs in a process of its own and reports the growth of its peak resident set. The model
has the shape of hyenadna-large-1m (8 layers of width 256, filters of a million lags); weights are
drawn from a seed, as neither time nor memory depends on them.

forward: hidden states of one sequence, no gradient. windows: ``embed`` on the same sequence, in
    windows, averaged over positions.
step: forward and backward pass of the next-token loss, with and without activation checkpointing.
    The gradients of both are compared.

    python benchmarks/speed/long_context.py --out reports/speed/long_context.md
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.embedding import embed
from lightning_dna.models.language_model import LanguageModel, build_model

MILLION = 1_000_000


@dataclass(frozen=True)
class Case:
    """One row."""

    kind: str  # forward, windows or step
    length: int
    checkpointing: bool = False
    layers: int = 8
    width: int = 256


CASES = (
    Case("forward", 131_072),
    Case("forward", MILLION),
    Case("windows", MILLION),
    Case("step", 16_384),
    Case("step", 16_384, checkpointing=True),
    Case("step", 131_072, checkpointing=True),
)


def model_of(case: Case) -> LanguageModel:
    """Build the model of a row."""
    config = ModelConfig(
        objective="next_token",
        mixer="hyena",
        width=case.width,
        layers=case.layers,
        max_length=max(MILLION + 2, case.length),
        gelu_approximation="tanh",
        hyena_filter_shift=0.05,
    )
    model = build_model(config, seed=0)
    model.backbone.checkpointing = case.checkpointing
    return model.train(case.kind == "step")


def tokens_of(length: int) -> Tensor:
    """Draw bases."""
    return torch.randint(7, 11, (1, length), generator=torch.Generator().manual_seed(0))


def run(case: Case, model: LanguageModel, tokens: Tensor) -> None:
    """Do what the row says."""
    if case.kind == "forward":
        with torch.no_grad():
            model.backbone(tokens)
    elif case.kind == "windows":
        embed(model, tokens, chunk=24_576, overlap=4_096, pooling="mean")
    else:
        logits = model(tokens).logits[0, :-1]
        functional.cross_entropy(logits, tokens[0, 1:]).backward()


def status_mib(field: str) -> float:
    """Read a line of /proc/self/status (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def run_alone(case: Case, gradients: Path | None) -> None:
    """Be the process of one row: print seconds and growth of the peak memory."""
    model = model_of(case)
    run(case, model, tokens_of(64))  # libraries are loaded and are no growth
    model.zero_grad()
    before, wall, cpu = status_mib("VmRSS"), time.perf_counter(), time.process_time()
    run(case, model, tokens_of(case.length))
    found = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": status_mib("VmHWM") - before,
    }
    if gradients is not None:
        torch.save({name: p.grad for name, p in model.named_parameters()}, gradients)
    print(json.dumps(found))


def row(number: int, folder: Path | None = None) -> str:
    """Measure one row."""
    case = CASES[number]
    command = [sys.executable, __file__, "--case", str(number)]
    if folder is not None:
        command += ["--gradients", str(folder / f"{number}.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found = json.loads(done.stdout)
    cells = [
        case.kind + (", checkpointing" if case.checkpointing else ""),
        f"{case.length:,}",
        f"{found['peak']:,.0f}",
        f"{found['wall']:.1f}",
        f"{case.length / found['cpu']:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def difference(one: Path, other: Path) -> float:
    """Return the largest difference between two files of gradients, relative to each largest."""
    first, second = torch.load(one), torch.load(other)
    return max(
        ((first[name] - second[name]).abs().max() / first[name].abs().max()).item()
        for name in first
    )


def described() -> list[str]:
    """Return the lines above the table."""
    return [
        "# Long contexts",
        "",
        "    python benchmarks/speed/long_context.py --out reports/speed/long_context.md",
        "",
        "Shape of hyenadna-large-1m: 8 layers, width 256, filters of a million lags; float32, one "
        "sequence, one process per row. Memory is the growth of the peak resident set. windows: "
        "`embed` in chunks of 24,576 with 4,096 positions of context on either side, averaged.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch "
        f"{torch.__version__}. Load average when it started: {os.getloadavg()[0]:.1f}.",
        "",
        "|  | bases | peak, MiB | wall s | bases per CPU second |",
        "|---|---|---|---|---|",
    ]


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Memory and time of long contexts")
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of some rows alone, from 0")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--gradients", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is not None:
        run_alone(CASES[options.case], options.gradients)
        return
    lines = described()
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, case in enumerate(CASES):
            if options.rows is None or number in options.rows:
                compared = case.kind == "step" and case.length == 16_384
                lines.append(row(number, folder if compared else None))
                print(lines[-1], flush=True)
        saved = sorted(folder.iterdir())
        if len(saved) == 2:
            found = difference(*saved)
            lines += ["", f"Gradients with and without checkpointing differ by {found:.0e}."]
            print("\n".join(lines[-2:]), flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

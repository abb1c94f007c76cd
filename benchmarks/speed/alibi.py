"""Symmetric ALiBi on a CPU, forward and backward, beside SDPA with the bias as a float mask.

The peer is ``torch.nn.functional.scaled_dot_product_attention`` with a mask of heads x length x
length. Ours is the model's own path on a CPU: blocks of queries, each against the window of keys
that its head can see. Both get the same queries, keys, values and gradient, from N(0, 1), queries
and keys times ``scale``: the larger the scores, the wider the windows. The last rows are beyond the
range in which windows hold a bound by powers of two, where ours falls back on torch's kernel.

Time is CPU time of the process on one thread; ways take turns. Memory is the growth of the process
at its peak over one forward and backward, each way in a process of its own (Linux), the mask of the
peer included.

    python benchmarks/speed/alibi.py --out reports/speed/alibi.md
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.mixers.attention_backends.blocks import attend_in_blocks
from lightning_dna.models.positions import OffsetBias

HEADS, HEAD_WIDTH = 8, 32
ROWS = [  # length, scale, reach, repeats of the peer
    (1024, 1.0, None, 5),
    (2048, 1.0, None, 5),
    (8192, 1.0, None, 2),
    (8192, 0.2, None, 2),
    (8192, 1.0, 256, 1),
    (2048, 4.0, None, 2),
]
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def ways_of(length: int, reach: int | None) -> dict[str, Way]:
    """Return the peer and ours for one length; both take (1, length, heads, width)."""
    config = ModelConfig(
        width=HEADS * HEAD_WIDTH, heads=HEADS, max_length=length, attention_reach=reach
    )
    bias = OffsetBias(config)
    mask: list[Tensor] = []

    def peer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not mask:
            view = bias(length, q.dtype, q.device).flip(-2)
            mask.append(view.contiguous()[None])
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return scaled_dot_product_attention(q, k, v, attn_mask=mask[0]).transpose(1, 2)

    return {"peer": peer, "ours": lambda q, k, v: attend_in_blocks(q, k, v, bias)}


def inputs_of(length: int, scale: float) -> list[Tensor]:
    """Return q, k, v, which need gradients, and the gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, length, HEADS, HEAD_WIDTH)
    made = [torch.randn(shape, generator=generator) for _ in range(4)]
    factors = (scale, scale, 1.0)
    return [(x * f).requires_grad_() for x, f in zip(made[:3], factors, strict=True)] + made[3:]


def once(way: Way, inputs: list[Tensor]) -> tuple[float, list[Tensor]]:
    """Return CPU seconds of forward and backward, and output and gradients."""
    *leaves, gradient = inputs
    start = time.process_time()
    out = way(*leaves)
    found = torch.autograd.grad(out, leaves, gradient)
    return time.process_time() - start, [out.detach(), *found]


def memory_of(name: str, length: int, scale: float, reach: int | None) -> float:
    """Measure the growth at the peak in MiB, in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, str(length), str(scale), str(reach or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout)


def print_memory(name: str, length: int, scale: float, reach: int | None) -> None:
    """Print what one forward and backward adds at its peak; a short one before is no growth."""

    def megabytes(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    once(ways_of(256, reach)[name], inputs_of(256, scale))
    way, inputs = ways_of(length, reach)[name], inputs_of(length, scale)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = megabytes("VmRSS")
    once(way, inputs)
    print(megabytes("VmHWM") - before)


def row(length: int, scale: float, reach: int | None, repeats: int) -> str:
    """Time one setting and return its line."""
    ways, inputs = ways_of(length, reach), inputs_of(length, scale)
    once(ways["ours"], inputs)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Tensor]] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            spent, found[name] = once(way, inputs)
            seconds[name].append(spent)
    ratios = [a / b for a, b in zip(seconds["peer"], seconds["ours"], strict=True)]
    pairs = zip(found["peer"], found["ours"], strict=True)
    differences = [(a - b).abs().max().item() for a, b in pairs]
    memory = [memory_of(name, length, scale, reach) for name in ("peer", "ours")]
    cells = (
        f"{length:,}",
        f"{scale:g}",
        "" if reach is None else str(reach),
        f"{1e3 * statistics.median(seconds['peer']):,.0f}",
        f"{1e3 * statistics.median(seconds['ours']):,.0f}",
        f"{statistics.median(ratios):.1f}x",
        f"{memory[0]:,.0f}",
        f"{memory[1]:,.0f}",
        f"{differences[0]:.1e}",
        f"{max(differences[1:]):.1e}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="ALiBi on a CPU")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        name, length, scale, reach = options.memory
        print_memory(name, int(length), float(scale), int(reach) or None)
        return
    lines = [
        "# Symmetric ALiBi on a CPU",
        "",
        "    python benchmarks/speed/alibi.py --out reports/speed/alibi.md",
        "",
        f"Forward and backward, {HEADS} heads of {HEAD_WIDTH} channels, float32, one row, one "
        "thread, CPU time. peer: torch's `scaled_dot_product_attention` with a float mask. ours: "
        "blocks of queries with windows. Of a row's weights at most 2^-25 are left out, so no "
        "channel of the output moves by more than 2^-24 of the largest value, beside rounding; "
        "where scores are too large for it (scale 4), every block goes through torch's kernel. "
        "Queries and keys are N(0, 1) times the scale. Memory is growth at the peak in MiB.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch "
        f"{torch.__version__}. Load average when it started: {os.getloadavg()[0]:.1f}.",
        "",
        "| length | scale | reach | peer ms | ours ms | ratio | peer MiB | ours MiB "
        "| max difference, output | gradients |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for settings in ROWS:
        lines.append(row(*settings))
        print(lines[-1], flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

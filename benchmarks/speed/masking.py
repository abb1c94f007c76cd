"""How fast 15 % of a batch is hidden, beside the masked-LM collator of ``transformers``.

Ours is what every training step does to the ids of its bases, one byte each: draw the masks of the
step, hide, and lay the result out as int64 rows. The collator gets int64 rows of the same ids and,
as its authors advise, the mask of special tokens ready-made: `torch_mask_tokens` alone, and the
whole call, which first stacks the rows. Without that mask it asks the tokenizer token by token,
which takes some twenty times as long; that is not measured here.

Before anything is timed, the shares of targets, hidden and replaced tokens of both are compared.
Both draw random numbers for every token. Ours are a function of seed and step; the collator's come
from torch's global generator. Ours replaces by A, C, G or T, the collator by any of the vocabulary.

CPU time of the process on one thread, ways turn by turn, medians.

    python benchmarks/speed/masking.py --out reports/speed/masking.md
"""

import argparse
import importlib.metadata
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_dna.data.batches import IGNORE, assemble, masked
from lightning_dna.data.masking import mask_blocks
from lightning_dna.tokenizers.character import CharacterTokenizer

TOKENS = (16_384, 65_536, 262_144, 1_048_576)
LENGTH = 1024
FRACTION = 0.15
MASK = CharacterTokenizer.mask_id
HEAD = ("tokens", "masking only, Mtok/s", "whole collator, Mtok/s", "ours, Mtok/s")
Step = Callable[[], tuple[Tensor, Tensor]]


def collator() -> Any:
    """Return the collator with a tokenizer of the very same ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    ids = {token: number for number, token in enumerate(CharacterTokenizer.tokens)}
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "mask", "cls", "sep")}
    model = Tokenizer(WordLevel(ids, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, **names)
    return DataCollatorForLanguageModeling(tokenizer, mlm_probability=FRACTION)


def steps_of(count: int, collate: Any) -> dict[str, Step]:
    """Return one step of each way on the same bases."""
    bases = np.random.default_rng(0).integers(0, 4, count, dtype=np.uint8)
    ids = CharacterTokenizer().encode_codes(bases).view(np.int8)
    lengths = np.full(count // LENGTH, LENGTH, dtype=np.int64)
    rows = torch.from_numpy(ids.astype(np.int64)).view(-1, LENGTH)
    special = torch.zeros_like(rows, dtype=torch.bool)
    examples = [
        {"input_ids": row, "special_tokens_mask": none}
        for row, none in zip(rows, special, strict=True)
    ]
    number = 0

    def ours() -> tuple[Tensor, Tensor]:
        nonlocal number
        number += 1
        inputs, targets = masked(ids, mask_blocks(0, number, count), FRACTION)
        batch = assemble(inputs, targets, lengths, None)
        return batch.input_ids, batch.targets

    def alone() -> tuple[Tensor, Tensor]:
        inputs, targets = collate.torch_mask_tokens(rows.clone(), special_tokens_mask=special)
        return inputs, targets

    def whole() -> tuple[Tensor, Tensor]:
        batch = collate(examples)
        return batch["input_ids"], batch["labels"]

    return {"alone": alone, "whole": whole, "ours": ours}


def check(steps: dict[str, Step]) -> None:
    """Refuse to time ways that do different work."""
    for name, step in steps.items():
        inputs, targets = step()
        chosen = targets != IGNORE
        hidden = (inputs[chosen] == MASK).double().mean()
        if inputs.dtype != torch.int64 or targets.dtype != torch.int64:
            raise SystemExit(f"{name}: ids of another type")
        if abs(chosen.double().mean() - FRACTION) > 0.02 or abs(hidden - 0.8) > 0.03:
            raise SystemExit(f"{name}: other shares of targets or masks")


def row(count: int, collate: Any, repeats: int) -> str:
    """Measure one size."""
    steps = steps_of(count, collate)
    check(steps)
    spent: dict[str, list[float]] = {name: [] for name in steps}
    times = max(1, TOKENS[-1] // count // 4)
    for _ in range(repeats):
        for name, step in steps.items():
            before = time.process_time()
            for _ in range(times):
                step()
            spent[name].append((time.process_time() - before) / times)
    speed = {name: count / statistics.median(found) / 1e6 for name, found in spent.items()}
    cells = [f"{count:,}", *(f"{speed[name]:.1f}" for name in ("alone", "whole", "ours"))]
    cells += [f"{speed['ours'] / speed[name]:.1f}x" for name in ("alone", "whole")]
    return f"| {' | '.join([*cells, '2x, 5x'])} |"


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Masking for masked language models")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    packages = ("torch", "numpy", "transformers")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    head = [*HEAD, "ours / masking only", "ours / whole collator", "goal"]
    lines = [
        "# Masking",
        "",
        "    python benchmarks/speed/masking.py --out reports/speed/masking.md",
        "",
        f"{FRACTION:.0%} of the tokens, 80 % hidden, 10 % replaced, 10 % kept; rows of {LENGTH:,}."
        " Beside `DataCollatorForLanguageModeling` given its special-token mask. CPU time, one"
        " thread, turn by turn, medians.",
        "",
        f"Python {sys.version.split()[0]}, {versions}. Load average: {os.getloadavg()[0]:.1f}.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    print("\n".join(lines), flush=True)
    collate = collator()
    for count in TOKENS:
        lines.append(row(count, collate, options.repeats))
        print(lines[-1], flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

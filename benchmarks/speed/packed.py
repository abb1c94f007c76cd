"""A training step of an encoder on sequences of different lengths, beside ESM on padded batches.

The peer is ``EsmForMaskedLM`` of ``transformers`` with rotary positions and its SDPA kernels, of
the same width, depth, heads, feed-forward, head and vocabulary. It works on every place of the
padded batch; ours drops the padding after the embedding and computes logits at the targets alone.
Both run under bfloat16 autocast with AdamW, on the same batches; a step is forward, backward and
update.

Lengths are uniform from 28 % of the longest to all of it, so that 64 % of the places hold a token.
Rates are real tokens per second of CPU time of the process, on one thread; ways take turns. Beside
it, in float32, the packed loss and its gradient are compared with ours on the padded batch.

    python benchmarks/speed/packed.py --out reports/speed/packed.md
"""

import argparse
import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_dna.models import backbone
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model

WIDTH, HEADS, LAYERS, BATCH, VOCABULARY = 256, 8, 8, 8, 33
PAD, MASK, BASES = 1, 32, (7, 11)
POSITIONS = ("rope", "alibi")
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # ids, mask, targets' ids, where
Step = Callable[[Batch], float]


def batches(longest: int) -> Iterator[Batch]:
    """Yield batches of random bases, 15 % of them masked, right-padded."""
    generator = torch.Generator().manual_seed(0)
    while True:
        lengths = torch.randint(round(0.28 * longest), longest + 1, (BATCH,), generator=generator)
        mask = torch.arange(longest) < lengths[:, None]
        targets = torch.randint(*BASES, (BATCH, longest), generator=generator)
        where = (torch.rand(BATCH, longest, generator=generator) < 0.15) & mask
        ids = targets.masked_fill(where, MASK).masked_fill(~mask, PAD)
        yield ids, mask, targets, where


def esm(longest: int) -> nn.Module:
    """Build the peer."""
    config = transformers.EsmConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=longest + 2,
        position_embedding_type="rotary",
        pad_token_id=PAD,
        mask_token_id=MASK,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        token_dropout=False,
    )
    return transformers.EsmForMaskedLM(config)


def ours(longest: int, position: str) -> LanguageModel:
    """Build our model of the same size."""
    config = ModelConfig(
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        max_length=longest,
        position=position,
        head="transform",
        vocab_size=VOCABULARY,
    )
    return build_model(config, seed=0)


def esm_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the peer's own loss."""
    ids, mask, targets, where = batch
    labels = targets.masked_fill(~where, -100)
    return model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss


def our_loss(model: LanguageModel, batch: Batch) -> Tensor:
    """Return our loss."""
    ids, mask, targets, where = batch
    return cross_entropy(model.logits_at(ids, mask, where).float(), targets[where])


def step_of(model: nn.Module, loss_of: Callable[[nn.Module, Batch], Tensor]) -> Step:
    """Return a function that takes a step and returns its CPU seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(batch: Batch) -> float:
        start = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start

    return step


def difference(longest: int, position: str) -> tuple[float, float]:
    """Compare packed and padded in float32: hidden states, and gradients over their largest."""
    model, found = ours(longest, position), []
    batch = next(batches(longest))
    for context in (
        contextlib.nullcontext(),
        mock.patch.object(backbone, "packing_of", no_packing),
    ):
        with context:
            hidden = model.backbone(*batch[:2]).detach()[batch[1]]
            gradients = torch.autograd.grad(our_loss(model, batch), list(model.parameters()))
        found.append((hidden, torch.cat([g.flatten() for g in gradients])))
    (hidden, gradient), (padded, padded_gradient) = found
    relative = (gradient - padded_gradient).abs().max() / padded_gradient.abs().max()
    return (hidden - padded).abs().max().item(), relative.item()


def no_packing(*_: object, **__: object) -> None:
    """Stand in for the function that packs."""


def rows(longest: int, steps: int) -> Iterator[str]:
    """Time one length and yield its lines."""
    peer = esm(longest)
    sizes = {"esm": sum(p.numel() for p in peer.parameters())}
    ways: dict[str, Step] = {"esm": step_of(peer, esm_loss)}
    for position in POSITIONS:
        model = ours(longest, position)
        sizes[position] = sum(p.numel() for p in model.parameters())
        ways[position] = step_of(model, our_loss)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number, batch in enumerate(batches(longest)):
        for name, step in ways.items():
            rate = int(batch[1].sum()) / step(batch)
            if number:  # the first step prepares what later ones use
                rates[name].append(rate)
        if number == steps:
            break
    for position in POSITIONS:
        ratios = [a / b for a, b in zip(rates[position], rates["esm"], strict=True)]
        hidden, gradient = difference(longest, position)
        cells = (
            f"{longest:,}",
            position,
            f"{sizes['esm'] / 1e6:.1f} / {sizes[position] / 1e6:.1f}",
            f"{statistics.median(rates['esm']):,.0f}",
            f"{statistics.median(rates[position]):,.0f}",
            f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{hidden:.1e}",
            f"{gradient:.1e}",
        )
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Training on sequences of different lengths")
    parser.add_argument("--steps", type=int, default=4, help="steps per way and length")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Training an encoder on sequences of different lengths",
        "",
        "    python benchmarks/speed/packed.py --out reports/speed/packed.md",
        "",
        f"Real tokens per second of CPU time, one thread, bfloat16 autocast: {LAYERS} layers, "
        f"width {WIDTH}, {HEADS} heads, {BATCH} sequences a step, 64 % of the places filled. ESM: "
        "`EsmForMaskedLM`, rotary, SDPA, padded. ours: packed, with rotary positions and with "
        "symmetric ALiBi. Differences are between ours packed and ours padded, in float32: hidden "
        "states, and the gradient of the loss relative to its largest entry.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}. Load average when it "
        f"started: {os.getloadavg()[0]:.1f}.",
        "",
        "| longest | ours | million parameters, ESM / ours | ESM | ours | ratio "
        "| difference, hidden | gradient |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for longest in (512, 1024):
        for line in rows(longest, options.steps):
            lines.append(line)
            print(line, flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

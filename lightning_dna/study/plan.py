"""What a study would run and what it would cost, before anything runs."""

import time
from typing import Any

import pandas as pd
import torch

from lightning_dna.models.cost import flops_per_base, parameter_counts
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.study.study import Study
from lightning_dna.tokenizers.character import CharacterTokenizer

# Weights, gradients and the two moments of AdamW, four bytes each.
_BYTES_PER_PARAMETER = 16


def plan_frame(study: Study) -> pd.DataFrame:
    """Return one row for each arm: changes, parameters, FLOPs per base, tokens, time and memory.

    Time and memory come from one timed training step of each arm on this machine; scoring and
    fine-tuning are not in them.
    """
    rows: list[dict[str, Any]] = []
    for arm in study.arms.values():
        config, budget = arm.settings.model, arm.settings.budget
        length = arm.settings.data.length
        tokens = budget.steps * budget.tokens_per_step
        batch = max(1, min(budget.tokens_per_step, 8192) // length)
        model = build_model(config, seed=0)
        seconds, activation_bytes = _time_step(model, batch, length)
        counts = parameter_counts(config)
        parameters = counts.total
        rows.append(
            {
                "arm": arm.name,
                "changes": ", ".join(f"{key}={value}" for key, value in arm.changes.items()) or "-",
                "parameters": parameters,
                "feedforward_width": config.inner_width,
                "feedforward_parameters": counts.feedforward,
                "flops_per_base": flops_per_base(config, length).forward_total,
                "tokens": tokens,
                "seeds": len(study.recipe.seeds),
                "hours": seconds * tokens / (batch * length) / 3600 * len(study.recipe.seeds),
                "memory_mib": (parameters * _BYTES_PER_PARAMETER + activation_bytes) / 2**20,
            }
        )
    return pd.DataFrame(rows)


def plan_table(study: Study) -> str:
    """Return the plan as text: the question, the split, the arms and the total."""
    frame = plan_frame(study)
    shown = frame.assign(
        parameters=frame["parameters"].map("{:,}".format),
        feedforward_parameters=frame["feedforward_parameters"].map("{:,}".format),
        flops_per_base=frame["flops_per_base"].map("{:,.0f}".format),
        tokens=frame["tokens"].map("{:,}".format),
        hours=frame["hours"].map("{:.2f}".format),
        memory_mib=frame["memory_mib"].map("{:,.0f}".format),
    )
    split = study.split
    lines = [
        f"study       {study.name}: {' '.join(study.recipe.question.split())}",
        f"baseline    {study.recipe.baseline}",
        f"chromosomes train {_shorten(split.train)} | valid {_shorten(split.valid)} | "
        f"test {_shorten(split.test)}",
        f"suite       {study.recipe.suite}: {', '.join(card.name for card in study.cards)}",
        f"cells       {len(study.cells())} ({len(study.arms)} arms x"
        f" {len(study.recipe.seeds)} seeds)",
        "",
        shown.to_markdown(index=False, disable_numparse=True),
        "",
        f"training in all: {frame['hours'].sum():.2f} hours in one process, from one timed step of"
        " each arm on this machine; scoring and fine-tuning come on top. memory: weights,"
        " gradients, optimizer and the activations of one step.",
    ]
    return "\n".join(lines)


def _shorten(names: tuple[str, ...]) -> str:
    """List a few names and count the rest."""
    shown = ", ".join(names[:6]) or "none"
    return f"{shown}, ... ({len(names)})" if len(names) > 6 else shown


def _time_step(model: LanguageModel, batch: int, length: int) -> tuple[float, int]:
    """Time one training step after a warm-up, and count the bytes kept for the backward pass.

    Returns:
        Seconds, and bytes of activations.
    """
    generator = torch.Generator().manual_seed(0)
    bases = torch.as_tensor(CharacterTokenizer().base_ids, dtype=torch.long)
    input_ids = bases[torch.randint(4, (batch, length), generator=generator)]
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        torch.autograd.backward(_loss(model, input_ids))
    started = time.perf_counter()
    torch.autograd.backward(_loss(model, input_ids))
    return time.perf_counter() - started, kept


def _loss(model: LanguageModel, input_ids: torch.Tensor) -> torch.Tensor:
    """Return a scalar whose gradient reaches every weight."""
    logits = model(input_ids).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), input_ids.flatten())

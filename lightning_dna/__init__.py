"""Ablations and rigorous evaluation of DNA language models.

The public names below load on first use, so that ``import lightning_dna`` and the command line's
``list`` and ``--help`` stay free of torch.

Example:
    >>> import lightning_dna
    >>> lightning_dna.__version__
    '0.1.0'
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Genome": "lightning_dna.genome.fasta",
    "ChromosomeSplit": "lightning_dna.genome.splits",
    "ModelConfig": "lightning_dna.models.config",
    "build_model": "lightning_dna.models.language_model",
    "embed": "lightning_dna.models.embedding",
    "save_pretrained": "lightning_dna.models.interop.pretrained",
    "variant_config": "lightning_dna.models.variants",
    "RunConfig": "lightning_dna.training.config",
    "fit": "lightning_dna.training.run",
    "load_checkpoint": "lightning_dna.training.run",
    "load_pretrained": "lightning_dna.models.interop.pretrained",
    "load_tokenizer": "lightning_dna.tokenizers.loading",
    "FineTuneConfig": "lightning_dna.training.finetune_config",
    "adapt": "lightning_dna.training.adaptation.ways",
    "save_adapters": "lightning_dna.training.adaptation.peft_files",
    "load_adapters": "lightning_dna.training.adaptation.peft_files",
    "compare": "lightning_dna.stats.comparison",
    "render": "lightning_dna.report.page",
    "HyenaMaskedLM": "lightning_dna.training.modules",
    "AttentionALiBiMaskedLM": "lightning_dna.training.modules",
    "AttentionRoPEMaskedLM": "lightning_dna.training.modules",
    "HyenaNextToken": "lightning_dna.training.modules",
    "AttentionALiBiNextToken": "lightning_dna.training.modules",
    "AttentionRoPENextToken": "lightning_dna.training.modules",
}
__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name from its room on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lightning_dna' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

"""Settings of fine-tuning: what they refuse, and how they are written."""

import pytest

from lightning_dna import settings
from lightning_dna.errors import ConfigError
from lightning_dna.training.config import FineTuneConfig


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"lr": 0.0}, r"finetune\.lr is 0\.0; allowed: above 0"),
        ({"lr": (1e-3, -1.0)}, r"finetune\.lr is -1\.0"),
        ({"lr": ()}, r"finetune\.lr is \(\); allowed: a number above 0, or several different"),
        ({"lr": (1e-3, 1e-3)}, "several different ones"),
        ({"epochs": 0}, r"finetune\.epochs is 0; allowed: 1 or more"),
        ({"warmup_steps": -1}, r"finetune\.warmup_steps is -1; allowed: 0 or more"),
        ({"max_steps": 0}, r"finetune\.max_steps is 0; allowed: 1 or more"),
        ({"validate_every_steps": 0}, r"finetune\.validate_every_steps is 0"),
        ({"layer": -2}, r"finetune\.layer is -2; allowed: -1 or more"),
        ({"pooling": "cls"}, r"finetune\.pooling 'cls'; allowed: attention, first, last, max, me"),
        ({"scheduler": "cosin"}, "'cosin'.*Did you mean 'cosine'"),
        ({"metric": "f1"}, r"finetune\.metric 'f1'; allowed: accuracy, loss, mcc"),
        ({"head": "mlp"}, r"finetune\.head 'mlp'"),
        ({"too_long": "crop"}, r"finetune\.too_long 'crop'; allowed: error, truncate_center"),
        ({"prompt_backbone": "both"}, r"finetune\.prompt_backbone 'both'"),
        ({"final_lr_fraction": 1.5}, r"finetune\.final_lr_fraction is 1\.5; allowed: \[0, 1\]"),
        ({"head_dropout": 1.0}, r"finetune\.head_dropout is 1\.0; allowed: \[0, 1\)"),
        ({"lora_rank": 0}, r"finetune\.lora_rank is 0"),
        ({"lora_alpha": 0.0}, r"finetune\.lora_alpha is 0\.0; allowed: above 0"),
        ({"prompt_length": 0}, r"finetune\.prompt_length is 0"),
        ({"cnn_taps": 4}, r"finetune\.cnn_taps is 4; allowed: an odd number"),
        ({"gradient_clip": -1.0}, r"finetune\.gradient_clip is -1\.0"),
        ({"probe_c": ()}, r"finetune\.probe_c is \(\)"),
    ],
)
def test_what_is_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        FineTuneConfig(**changes)


@pytest.mark.parametrize(("given", "rates"), [(1e-3, (1e-3,)), ([1e-4, 3e-4], (1e-4, 3e-4))])
def test_one_rate_or_several_from_a_recipe(given, rates):
    config = settings.build(FineTuneConfig, {"lr": given}, where="recipe")
    assert config.rates == rates


def test_one_training_takes_one_rate():
    assert FineTuneConfig(lr=2e-4).rate == FineTuneConfig(lr=(2e-4,)).rate == 2e-4
    with pytest.raises(ConfigError, match=r"finetune\.lr holds 2 rates.*one training takes one"):
        _ = FineTuneConfig(lr=(1e-4, 2e-4)).rate

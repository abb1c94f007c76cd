"""The shipped contracts catch the mistakes they are there for."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lightning_dna.models import strand
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.mixers.dilated import DilatedConvolution
from lightning_dna.testing.models import LanguageModelContract, MixerContract, filled

CONFIG = ModelConfig(width=4, heads=1, layers=1, max_length=32)
CAUSAL = ModelConfig(width=4, heads=1, layers=1, max_length=32, objective="next_token")


class HalfShifted(nn.Module):
    """The published two-sided convolution: padded by half the length, cut to the first part."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Linear(40, 4, bias=False)

    def forward(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        length = x.shape[1]
        padded = nn.functional.pad(x.transpose(1, 2), (length // 2, length - length // 2))
        spectrum = torch.fft.rfft(padded) * torch.fft.rfft(self.taps.weight[:, :length], 2 * length)
        return torch.fft.irfft(spectrum, 2 * length)[..., :length].transpose(1, 2)


class Averaging(nn.Module):
    """Adds the mean of everything, padding included, and gives float32 back whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        own = self.linear(x)
        return (own + 0.1 * own.mean(dim=(0, 1))).to(torch.promote_types(x.dtype, torch.float32))


@pytest.fixture
def contract() -> MixerContract:
    return MixerContract()


def test_missing_reach_is_caught(contract: MixerContract):
    with pytest.raises(AssertionError, match="unreached pairs"):
        contract.test_depends_on_exactly_what_it_may(CONFIG, filled(HalfShifted()))


def test_a_look_into_the_future_is_caught(contract: MixerContract):
    with pytest.raises(AssertionError, match="leaking pairs"):
        contract.test_depends_on_exactly_what_it_may(CAUSAL, filled(Averaging()))


@pytest.mark.parametrize(
    "promise",
    [
        "test_padding_changes_no_real_position",
        "test_padding_passes_no_gradient",
        "test_rows_are_independent",
        "test_every_parameter_learns",
        "test_low_precision_agrees",
    ],
)
def test_broken_promises_are_caught(contract: MixerContract, promise: str):
    checks = {name: getattr(MixerContract, name) for name in dir(MixerContract)}
    with pytest.raises(AssertionError):
        checks[promise](contract, CONFIG, copy.deepcopy(filled(Averaging())))


@pytest.mark.parametrize("layer", [0, 2])
def test_taps_at_other_distances_are_caught(contract: MixerContract, layer: int):
    """A mixer of the second layer may pass for no other."""
    config = ModelConfig(mixer="dilated", width=4, layers=3, convolution_taps=3)
    contract.layer = 1
    contract.test_depends_on_exactly_what_it_may(config, filled(DilatedConvolution(config, 1)))
    with pytest.raises(AssertionError, match="pairs"):
        contract.test_depends_on_exactly_what_it_may(
            config, filled(DilatedConvolution(config, layer))
        )


@pytest.mark.parametrize("mode", ["averaged", "equivariant"])
def test_wrong_complements_are_caught(monkeypatch: pytest.MonkeyPatch, mode: str):
    config = ModelConfig(width=4, heads=1, layers=1, max_length=32, position="rope", strand=mode)
    LanguageModelContract().test_strands_agree_where_promised(config)
    monkeypatch.setattr(strand, "COMPLEMENTARY_IDS", ((7, 9), (8, 10)))
    with pytest.raises(AssertionError):
        LanguageModelContract().test_strands_agree_where_promised(config)

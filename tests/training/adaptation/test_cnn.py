"""The small CNN on frozen states, against the same written out, and the states it reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.errors import DataError
from lightning_dna.models.language_model import build_model
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.training.adaptation.cnn import StateCNN, TwoConvolutions, state_reader
from lightning_dna.training.adaptation.ways import adapt
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.inputs import TokenInputs, hidden_states

CPU = torch.device("cpu")


@pytest.mark.parametrize("length", [1, 2, 7, 16])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_the_network_equals_loops_over_taps_in_float64(length, taps):
    network = TwoConvolutions(6, channels=4, taps=taps, seed=0).double()
    x = torch.randn(2, length, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = torch.ones(2, length, dtype=torch.bool)
    expected = x
    for layer in (network.first, network.second):
        out = layer.bias.expand(2, length, -1).clone()
        for at in range(length):
            for tap in range(taps):
                source = at + tap - taps // 2
                if 0 <= source < length:
                    out[:, at] += expected[:, source] @ layer.weight[:, :, tap].T
        expected = functional.gelu(out)
    got = network(x, real)
    assert got.shape == (2, length, 4)
    np.testing.assert_allclose(got.detach(), expected.detach(), atol=1e-12)


def test_padding_changes_nothing(toy):
    network = StateCNN(16, FineTuneConfig(), n_classes=2, seed=0).eval()
    states = torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(0))
    padded = functional.pad(states, (0, 0, 0, 5), value=7.0)
    mask = torch.arange(14)[None] < 9
    with torch.no_grad():
        expected = network(states, torch.ones(1, 9, dtype=torch.bool))
        np.testing.assert_allclose(network(padded, mask), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["attention", "hyena", "mamba"])
def test_states_are_those_of_one_sequence_at_a_time(toy, name):
    model = toy.models[name]
    states = state_reader(model, FineTuneConfig(), CHARACTERS, device="cpu")(toy.test.codes, "test")
    assert states.lengths.tolist() == [len(codes) for codes in toy.test.codes]
    chosen = np.array([40, 3, 11])
    batch, mask = states.batch(chosen, CPU)
    for row, index in enumerate(chosen):
        ids = torch.tensor([[code + 7 for code in toy.test.codes[index].tolist()]])
        with torch.no_grad():
            expected = model.backbone(ids)[0]
        np.testing.assert_allclose(batch[row, : len(expected)], expected, atol=1e-5)
        assert mask[row].sum() == len(expected)
        assert (batch[row, len(expected) :] == 0).all()


def test_states_are_computed_once_for_all_rates(toy, monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return hidden_states(*arguments, **options)

    monkeypatch.setattr("lightning_dna.training.adaptation.cnn.hidden_states", counted)
    model, kept = toy.models["attention"], {}
    results = []
    for store in (kept, kept, None):
        for settings in (toy.settings, replace(toy.settings, lr=3e-3)):
            one = replace(settings, epochs=1)
            given = (model, "frozen_cnn", toy.train, toy.valid, one)
            tuned = adapt(*given, n_classes=2, seed=0, kept=store)
            results.append(tuned.predict(toy.test))
        calls.append(0)
    assert calls == [1, 1, 1, 0, 0, *[1] * 6, 0]  # train, valid, test; none; both again
    np.testing.assert_array_equal(results[0], results[4])
    reader = state_reader(model, FineTuneConfig(layer=1), CHARACTERS, device="cpu", kept=kept)
    reader(toy.test.codes, "test")
    assert len(kept) == 4  # another layer has states of its own


def test_states_of_special_tokens_are_left_out(toy):
    encoding = Encoding(tokenizer=CharacterTokenizer(), special=True)
    model, codes = toy.models["attention"], [np.array([0, 1, 2, 3], np.uint8)]
    states = state_reader(model, FineTuneConfig(), encoding, device="cpu")(codes, "test")
    ids = torch.from_numpy(encoding.row(codes[0])).long()[None]
    with torch.no_grad():
        hidden = model.backbone(ids)[0]
    bases = [at for at, token in enumerate(ids[0].tolist()) if 7 <= token <= 10]
    np.testing.assert_allclose(states.states, hidden[bases], atol=1e-5)
    assert states.lengths.tolist() == [4]


def test_many_states_go_to_a_file_at_half_the_precision(toy):
    model = toy.models["attention"]
    inputs = TokenInputs.of(toy.test.codes, CHARACTERS)
    in_memory = hidden_states(model.backbone, inputs)
    on_disk = hidden_states(model.backbone, inputs, in_memory=0)
    assert in_memory.states.dtype == np.float32
    assert on_disk.states.dtype == np.float16
    assert isinstance(on_disk.states, np.memmap)
    np.testing.assert_allclose(on_disk.states, in_memory.states, rtol=1e-3, atol=1e-4)
    assert not model.backbone.training


def test_states_beyond_half_precision_are_refused(toy):
    model = build_model(toy.configs["attention"], seed=0)
    with torch.no_grad():
        model.backbone.final_norm.weight.fill_(1e6)
    inputs = TokenInputs.of(toy.test.codes, CHARACTERS)
    with pytest.raises(DataError, match=r"beyond 65504.*finetune\.layer"):
        hidden_states(model.backbone, inputs, in_memory=0)


def test_a_sequence_without_a_base_is_refused(toy):
    inputs = TokenInputs([np.array([1, 2])], pad_id=4)
    with pytest.raises(DataError, match="without any base"):
        hidden_states(toy.models["attention"].backbone, inputs, special_ids=(1, 2))

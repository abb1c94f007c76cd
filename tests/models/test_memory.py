"""Predicted memory against hooks of autograd, and against the peak of a real process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.feedforward import MLP
from lightning_dna.models.language_model import build_model
from lightning_dna.models.memory import LiveBytes, inference_memory, training_memory
from lightning_dna.models.variants import variant_config
from lightning_dna.testing.models import random_tokens

TOY = {"width": 32, "heads": 4, "layers": 2, "max_length": 128}
ROWS, LENGTH = 3, 96


def bytes_saved(config: ModelConfig, precision: str) -> int:
    """What autograd says it saves in a real forward: every storage once, weights left out."""
    model, tokens = build_model(config, seed=0), random_tokens(ROWS, LENGTH)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    weights.add(tokens.untyped_storage().data_ptr())
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage
        return tensor

    half = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), half:
        logits = model(tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in saved.values())


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize(
    "name",
    [
        "attention_alibi",
        "attention_rope_swiglu",
        "attention_local",
        "attention_learned",
        "attention_alibi_post",
        "hyena",
        "hyena_order_3",
        "hyena_next_token",
        "convolution",
        "dilated",
        "hybrid_hyena_attention",
        "attention_rope_equivariant",
    ],
)
def test_activations_are_what_autograd_saves(name, precision):
    config = variant_config(name, **TOY)
    predicted = training_memory(config, rows=ROWS, length=LENGTH, precision=precision).activations
    assert predicted == pytest.approx(bytes_saved(config, precision), rel=0.02)


def test_one_layer_by_hand():
    """A convolution and an MLP: every tensor that their gradients need, listed."""
    d, taps, n = 8, 5, 3 * 32
    config = ModelConfig(
        mixer="convolution", width=d, layers=1, convolution_taps=taps, max_length=32
    )
    norms = 3 * 2 * n + 2 * n * d  # mean and scale of each row; the output where a matrix follows
    convolution = 3 * (32 + taps - 1) * d + n * d + n * d  # padded input, before and after GELU
    mlp = n * 4 * d  # its hidden layer; its input is the output of a norm
    streams = 3 * n * d  # the inputs of three norms
    loss = n * 16 + 1 + 1  # log probabilities, their weight in all, and the loss
    floats = norms + convolution + mlp + streams + loss
    memory = training_memory(config, rows=3, length=32)
    assert memory.activations == pytest.approx(4 * floats, rel=0.02)


def test_weights_gradients_and_moments():
    config = ModelConfig(width=64, layers=1, heads=1)
    memory = training_memory(config, rows=1, length=8)
    numbers = 16 * 64 + 4 * (64 * 64 + 64) + (64 * 256 + 256 + 256 * 64 + 64) + 3 * 128
    assert memory.weights == memory.gradients == 4 * numbers
    assert memory.optimizer == 8 * numbers
    assert memory.peak >= 16 * numbers
    assert inference_memory(config, rows=1, length=8).weights == 4 * numbers


def test_grows_with_rows_and_shrinks_with_precision():
    config = variant_config("hyena", **TOY)
    one, two, four = (
        training_memory(config, rows=rows, length=LENGTH).activations for rows in (1, 2, 4)
    )
    assert four - two == 2 * (two - one)
    half = training_memory(config, rows=4, length=LENGTH, precision="bf16").activations
    assert 0.4 * four < half < 0.8 * four


def test_inference_keeps_one_layer_whatever_the_depth():
    shallow, deep = (
        inference_memory(variant_config("dilated", **TOY | {"layers": layers}), rows=2, length=64)
        for layers in (2, 6)
    )
    assert deep.activations == shallow.activations
    assert deep.weights > 2 * shallow.weights
    assert deep.peak == deep.weights + deep.activations
    assert (
        deep.activations
        < training_memory(variant_config("dilated", **TOY), rows=2, length=64).activations
    )
    both = inference_memory(
        variant_config("dilated", strand="averaged", **TOY), rows=2, length=64
    ).activations
    assert both == pytest.approx(2 * shallow.activations, rel=0.1)


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_checkpointing_keeps_the_input_of_every_block(precision):
    """Beside them, the peak has one block's activations instead of all."""

    def memory(layers, checkpointing):
        return training_memory(
            variant_config("attention_none", **TOY | {"layers": layers}),
            rows=4,
            length=LENGTH,
            precision=precision,
            checkpointing=checkpointing,
        )

    few, many, kept = memory(2, True), memory(6, True), memory(6, False)
    stream = 4 * 4 * LENGTH * 32  # a float for every channel of every position
    assert many.activations - few.activations == pytest.approx(4 * stream, rel=0.05)
    assert many.activations < 0.5 * kept.activations
    assert many.peak - 4 * many.weights < 0.7 * (kept.peak - 4 * kept.weights)


def test_large_batches_lie_on_the_line_through_smaller_ones(monkeypatch):
    config = variant_config("attention_rope", **TOY)
    whole = training_memory(config, rows=12, length=64)
    monkeypatch.setattr("lightning_dna.models.memory._WHOLE_TOKENS", 4 * 64)
    line = training_memory(config, rows=12, length=64)
    assert line.activations == whole.activations
    assert line.peak == pytest.approx(whole.peak, rel=0.01)


def test_a_model_that_looks_at_its_values_is_run_for_real(monkeypatch):
    config = ModelConfig(**TOY)
    known = training_memory(config, rows=5, length=64)
    whole = MLP.forward

    def looking(self, x):
        assert x.abs().max() < 1e9
        return whole(self, x)

    monkeypatch.setattr(MLP, "forward", looking)
    found = training_memory(config, rows=5, length=64)
    assert found.activations == pytest.approx(known.activations, rel=0.01)
    assert found.peak == pytest.approx(known.peak, rel=0.05)


def test_counting_takes_no_memory_and_no_random_numbers():
    before = torch.random.get_rng_state()
    huge = ModelConfig(mixer="dilated", width=8192, layers=4)
    assert training_memory(huge, rows=4, length=1024).peak > 2**34
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("rows", "length", "words"),
    [(0, 8, "rows: found 0"), (1, 0, "length: found 0"), (1, 200, "200 tokens is longer")],
)
def test_batches_that_cannot_be(rows, length, words):
    for memory in (training_memory, inference_memory):
        with pytest.raises(ConfigError, match=words):
            memory(variant_config("hyena", **TOY), rows=rows, length=length)


def test_live_bytes_count_a_storage_once_and_until_its_end():
    with LiveBytes() as live:
        kept = torch.zeros(100)
        view = kept.view(10, 10).T
        assert live.now == 400
        longer = view + 1
        assert live.now == 800
        del longer
        assert (live.now, live.peak) == (400, 800)
        kept.add_(1)
        assert live.now == 400
        del kept
        assert live.now == 400  # the view holds it
        del view
        assert live.now == 0


PROGRAM = """
import json, re, sys
from pathlib import Path
import torch
from lightning_dna.models.language_model import build_model
from lightning_dna.models.variants import variant_config

name, precision, size = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)

def memory(key):
    found = re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024

def train(config, rows, length):
    model = build_model(config, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens = torch.randint(7, 11, (rows, length))
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(tokens).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
        del logits
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

train(variant_config(name, **{**size, "width": 16, "heads": 2}), 1, 512)  # libraries are loaded
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
train(variant_config(name, **size), 16, 512)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("name", "precision"), [("attention_rope", "32"), ("hyena", "bf16")])
def test_peak_of_a_training_process(name, precision):
    """Within a tenth: kernels have room of their own, and memory comes in pages."""
    size = {"width": 128, "layers": 2, "heads": 4}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, precision, json.dumps(size)],
        # Memory that is freed goes back at once, instead of waiting for the next tensor.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    config = variant_config(name, **size)
    predicted = training_memory(config, rows=16, length=512, precision=precision).peak
    assert predicted == pytest.approx(int(done.stdout), rel=0.1)

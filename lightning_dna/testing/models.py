"""What every sequence mixer and every language model promises, as test classes to inherit.

A new mixer's test module needs two fixtures and gets the whole list::

    class TestMyMixer(MixerContract):
        @pytest.fixture
        def config(self): return ModelConfig(width=8, heads=2, layers=1)

        @pytest.fixture
        def mixer(self, config): return filled(MyMixer(config))

The checks need no pytest themselves, only the fixtures.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.cost import parameter_counts
from lightning_dna.models.initialisation import initialise
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.models.variants import VARIANTS, variant_config

TOKENS = (7, 11)  # the four bases of the character tokenizer
LEAK, REACH = 1e-13, 1e-10  # float64 gradients: below is rounding, above is signal


def filled(module: nn.Module, *, seed: int = 0, std: float = 0.3) -> nn.Module:
    """Fill a module by the general rule, with weights large enough that every path is visible."""
    initialise(module, seed=seed, std=std)
    return module


def random_normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw N(0, 1) from a seed, without touching the global generator."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def random_tokens(batch: int, length: int, *, seed: int = 0) -> Tensor:
    """Draw bases from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(*TOKENS, (batch, length), generator=generator)


def toy_variant(name: str, **changes: Any) -> ModelConfig:
    """Return a row of the variant table at toy size: 12 channels, two layers or one pattern.

    Example:
        >>> toy_variant("dnabert2").layers
        2
    """
    row = VARIANTS[name].changes
    toy = {"width": 12, "heads": 3, "layers": 2, "max_length": 24, "hyena_filter_width": 8}
    if isinstance(row.get("mixer"), tuple):
        toy["layers"] = len(row["mixer"])
    if row.get("attention_reach") is not None:
        toy["attention_reach"] = 3
    if row.get("embedding") == "one_hot":  # a channel for each token
        toy["vocab_size"] = 12
    return variant_config(name, **{**toy, **changes})


def expected_reach(config: ModelConfig, length: int, *, layers: int, first: int = 0) -> Tensor:
    """Return the (length, length) table of which input j an output i depends on.

    Args:
        config: The model's settings.
        length: Length of the sequence.
        layers: Number of layers between input and output.
        first: Number of the first of them.
    """
    position = torch.arange(length)
    offset = position[None, :] - position[:, None]  # j - i
    seen = torch.eye(length)
    for layer in range(first, first + layers):
        seen = (_reach_of_a_layer(config, offset, layer).float() @ seen).clamp(max=1)
    return seen.bool()


def _reach_of_a_layer(config: ModelConfig, offset: Tensor, layer: int) -> Tensor:
    """Say which offsets one layer lets through."""
    name = config.mixers[layer]
    seen = torch.ones_like(offset, dtype=torch.bool)
    if name == "attention" and config.attention_reach is not None:
        seen = offset.abs() <= config.attention_reach
    if name in ("convolution", "dilated"):
        step = 2 ** (layer % config.convolution_cycle) if name == "dilated" else 1
        taps = config.convolution_taps
        if layer == 0 and config.convolution_first_taps is not None:
            taps = config.convolution_first_taps
        furthest = step * (taps - 1 if config.causal else taps // 2)
        seen = (offset % step == 0) & (offset.abs() <= furthest)
    return seen & (offset <= 0) if config.causal else seen


class MixerContract:
    """Promises of a sequence mixer ``(x, attention_mask) -> what the block adds``.

    Fixtures to define: ``config`` (toy size, ``max_length`` at least 16) and ``mixer``, made of it
    for the layer that ``layer`` names. Beside ``forward``, a mixer has ``flops_per_base(length)``:
    forward FLOPs per base by kind, for the cost model.
    """

    length = 11
    layer = 0

    def test_keeps_the_shape_and_is_finite(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Any length and batch size gives the same shape back."""
        for batch, length in ((1, 1), (2, 2), (3, self.length)):
            out = mixer(random_normal(batch, length, config.width), None)
            assert out.shape == (batch, length, config.width)
            assert out.isfinite().all()

    def test_depends_on_exactly_what_it_may(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Each output has a gradient to every input in its reach, and to none outside it."""
        mixer = copy.deepcopy(mixer).double()
        x = random_normal(1, self.length, config.width, dtype=torch.float64).requires_grad_()
        probe = random_normal(config.width, seed=1, dtype=torch.float64)
        out = mixer(x, None)[0] @ probe
        rows = [torch.autograd.grad(out[i], x, retain_graph=True)[0] for i in range(self.length)]
        strength = torch.cat(rows).abs().amax(dim=-1)  # output input
        seen = expected_reach(config, self.length, layers=1, first=self.layer)
        assert (strength[seen] > REACH).all(), f"unreached pairs:\n{strength}"
        assert (strength[~seen] < LEAK).all(), f"leaking pairs:\n{strength}"

    def test_padding_changes_no_real_position(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Padding on either side, with anything in it, leaves the real positions as they were."""
        mixer = copy.deepcopy(mixer).double()
        x = random_normal(2, self.length, config.width, dtype=torch.float64)
        alone = mixer(x, None)
        rubbish = 100 * random_normal(2, 4, config.width, seed=2, dtype=torch.float64)
        real = torch.ones(2, self.length, dtype=torch.bool)
        padded = torch.zeros(2, 4, dtype=torch.bool)
        right = mixer(torch.cat((x, rubbish), 1), torch.cat((real, padded), 1))
        left = mixer(torch.cat((rubbish, x), 1), torch.cat((padded, real), 1))
        torch.testing.assert_close(right[:, : self.length], alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(left[:, 4:], alone, rtol=0, atol=1e-10)
        assert right.isfinite().all()
        assert left.isfinite().all()

    def test_padding_passes_no_gradient(self, config: ModelConfig, mixer: nn.Module) -> None:
        """The gradient of the real outputs to the padded inputs is zero, and none is NaN."""
        x = random_normal(2, self.length, config.width).requires_grad_()
        mask = torch.ones(2, self.length, dtype=torch.bool)
        mask[1, 5:] = False
        mixer(x, mask)[mask].square().sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert x.grad[~mask].abs().max() == 0
        assert all(p.grad is None or p.grad.isfinite().all() for p in mixer.parameters())

    def test_rows_are_independent(self, config: ModelConfig, mixer: nn.Module) -> None:
        """A sequence gives the same alone and in a batch."""
        mixer = copy.deepcopy(mixer).double()
        x = random_normal(3, self.length, config.width, dtype=torch.float64)
        alone = torch.cat([mixer(row[None], None) for row in x])
        torch.testing.assert_close(mixer(x, None), alone, rtol=0, atol=1e-10)

    def test_every_parameter_learns(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Every parameter gets a gradient that is not zero throughout."""
        mixer(random_normal(2, self.length, config.width), None).pow(3).sum().backward()
        idle = [n for n, p in mixer.named_parameters() if p.grad is None or not p.grad.any()]
        assert idle == []

    def test_low_precision_agrees(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Float32 and bfloat16 keep their dtype and follow float64 with the same weights."""
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.05)):
            rounded = copy.deepcopy(mixer).to(dtype)
            x = random_normal(2, self.length, config.width, dtype=dtype)
            out, exact = rounded(x, None), copy.deepcopy(rounded).double()(x.double(), None)
            scale = exact.abs().max().item()
            assert out.dtype == dtype
            torch.testing.assert_close(out.double(), exact, rtol=0, atol=tolerance * scale)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = mixer(x.float(), None)
        exact = copy.deepcopy(mixer).double()(x.double(), None)
        torch.testing.assert_close(mixed.double(), exact, rtol=0, atol=0.05 * scale)

    def test_is_deterministic(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Two calls give the same bits, whatever length came between and whatever the mode."""
        x = random_normal(2, self.length, config.width)
        with torch.inference_mode():
            first = mixer(x, None).clone()
            mixer(random_normal(1, self.length + 3, config.width), None)
        again = mixer(x, None)
        assert torch.equal(first, again)
        again.sum().backward()  # nothing kept in inference mode stands in the way of training

    def test_state_dict_round_trip(self, config: ModelConfig, mixer: nn.Module) -> None:
        """Another instance with the same state computes the same; it holds parameters only."""
        state = {name: value.clone() for name, value in mixer.state_dict().items()}
        assert set(state) == {name for name, _ in mixer.named_parameters()}
        x = random_normal(2, self.length, config.width)
        before = mixer(x, None)
        other = filled(copy.deepcopy(mixer), seed=1)
        assert not torch.equal(other(x, None), before)
        other.load_state_dict(state)
        assert torch.equal(other(x, None), before)

    def test_matrix_products_are_counted(self, config: ModelConfig, mixer: nn.Module) -> None:
        """``flops_per_base`` agrees with torch's own counter on products and convolutions."""
        counted = mixer.flops_per_base(self.length)  # type: ignore[operator]
        assert all(flops > 0 for flops in counted.values())
        expected = counted.get("projection", 0.0) + counted.get("attention", 0.0)
        decomposed = sdpa_kernel(SDPBackend.MATH)  # the counter does not know the CPU's fused one
        with FlopCounterMode(display=False) as counter, decomposed, torch.no_grad():
            mixer(random_normal(2, self.length, config.width), None)
        kinds = counter.get_flop_counts()["Global"]
        measured = sum(flops for kind, flops in kinds.items() if "mm" in str(kind))
        once_per_batch = self.flops_once_per_batch(config)
        assert measured == round(expected * 2 * self.length) + once_per_batch
        if "convolution" in counted:
            measured = sum(flops for kind, flops in kinds.items() if "convolution" in str(kind))
            assert measured == round(counted["convolution"] * 2 * self.length)

    def flops_once_per_batch(self, config: ModelConfig) -> int:
        """Return matrix-product FLOPs that a call makes whatever the batch; 0 for most mixers."""
        return 0


class LanguageModelContract:
    """Promises of a language model built from settings and a seed.

    Fixture to define: ``config``, at toy size with ``max_length`` at least 24.
    """

    length = 9

    def test_shapes(self, config: ModelConfig) -> None:
        """Logits over the vocabulary and hidden states of the model's width."""
        output = build_model(config, seed=0)(random_tokens(2, self.length))
        assert output.logits.shape == (2, self.length, config.vocab_size)
        assert output.hidden.shape == (2, self.length, config.width)

    def test_every_token_reaches_what_it_may(self, config: ModelConfig) -> None:
        """Changing one token changes every hidden state in its reach and no other."""
        model = build_model(config, seed=0).double()
        filled(model)
        tokens = random_tokens(1, self.length).expand(self.length, -1)
        changed = torch.where(
            torch.eye(self.length, dtype=torch.bool), (tokens - 6) % 4 + 7, tokens
        )
        with torch.no_grad():
            moved = (model(changed).hidden - model(tokens).hidden).abs().amax(dim=-1)
        seen = expected_reach(config, self.length, layers=config.layers).T  # changed token, output
        assert (moved[seen] > REACH).all(), f"unreached pairs:\n{moved}"
        assert (moved[~seen] < 1e-12).all(), f"leaking pairs:\n{moved}"

    def test_padding_changes_no_real_position(self, config: ModelConfig) -> None:
        """A sequence padded on either side, beside a longer one, gives what it gives alone."""
        model = build_model(config, seed=0).double()
        filled(model)
        tokens = random_tokens(1, self.length)
        with torch.no_grad():
            alone = model(tokens).logits
            for left, right in ((0, 5), (5, 0)):
                padded = nn.functional.pad(tokens, (left, right), value=4).expand(2, -1)
                mask = torch.ones_like(padded, dtype=torch.bool)
                mask[0, :left] = False
                mask[0, self.length + left :] = False
                out = model(padded, mask).logits[:1, left : left + self.length]
                torch.testing.assert_close(out, alone, rtol=0, atol=1e-10)

    def test_every_parameter_learns(self, config: ModelConfig) -> None:
        """From the real initial weights, a loss reaches every parameter."""
        model = build_model(config, seed=0)
        tokens = random_tokens(2, self.length)
        logits = model(tokens).logits.transpose(1, 2)
        torch.autograd.backward(nn.functional.cross_entropy(logits, tokens.flip(1)))
        idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert idle == []

    def test_low_precision_agrees(self, config: ModelConfig) -> None:
        """Float32 and bfloat16 follow float64; autocast runs forward and backward."""
        model = build_model(config, seed=0)
        tokens = random_tokens(2, self.length)
        exact = copy.deepcopy(model).double()(tokens).hidden
        torch.testing.assert_close(model(tokens).hidden.double(), exact, rtol=0, atol=2e-5)
        half = copy.deepcopy(model).bfloat16()(tokens)
        assert half.logits.dtype == torch.bfloat16
        torch.testing.assert_close(half.hidden.double(), exact, rtol=0, atol=0.15)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(tokens)
        torch.testing.assert_close(mixed.hidden.double(), exact, rtol=0, atol=0.15)
        loss = nn.functional.cross_entropy(mixed.logits.transpose(1, 2), tokens)
        torch.autograd.backward(loss)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_state_dict_round_trip(self, config: ModelConfig) -> None:
        """A strict load into another model gives the same bits, and the state is the parameters."""
        model, other = build_model(config, seed=0), build_model(config, seed=1)
        tokens = random_tokens(2, self.length)
        assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
        assert not torch.equal(model(tokens).logits, other(tokens).logits)
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(tokens).logits, other(tokens).logits)

    def test_seed_alone_decides(self, config: ModelConfig) -> None:
        """One seed, one model; the global generator neither matters nor moves."""
        before = torch.random.get_rng_state()
        model, again = build_model(config, seed=0), build_model(config, seed=0)
        assert torch.equal(torch.random.get_rng_state(), before)
        pairs = zip(model.parameters(), again.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        tokens = random_tokens(2, self.length)
        trained, again = model(tokens).logits, model(tokens).logits
        assert torch.equal(trained, again)
        if config.strand != "averaged":  # which reads the other strand in evaluation alone
            assert torch.equal(trained, model.eval()(tokens).logits)

    def test_rows_are_independent(self, config: ModelConfig) -> None:
        """A sequence gives the same alone and in a batch."""
        model = build_model(config, seed=0).double()
        filled(model)
        tokens = random_tokens(3, self.length)
        with torch.no_grad():
            alone = torch.cat([model(row[None]).logits for row in tokens])
            torch.testing.assert_close(model(tokens).logits, alone, rtol=0, atol=1e-10)

    def test_is_deterministic(self, config: ModelConfig) -> None:
        """Two calls give the same bits, whatever length came between."""
        model = build_model(config, seed=0).eval()
        tokens = random_tokens(2, self.length)
        with torch.no_grad():
            first = model(tokens).logits
            model(random_tokens(1, self.length + 3))
            assert torch.equal(model(tokens).logits, first)

    def test_strands_agree_where_promised(self, config: ModelConfig) -> None:
        """The reverse complement of the input gives that of the output, padding included.

        A promise of models that read both strands, in evaluation mode.
        """
        if config.strand == "single":
            return
        model = build_model(config, seed=0).double().eval()
        filled(model)
        tokens = random_tokens(2, self.length)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[1, 6:] = False
        swap = torch.arange(config.vocab_size)
        swap[7:11] = swap[7:11].flip(0)  # A C G T to T G C A
        with torch.no_grad():
            given, other = model(tokens, mask), model(swap[tokens].flip(1), mask.flip(1))
        for ours, theirs in (
            (given.logits, other.logits.flip(1)[..., swap]),
            (given.hidden, other.hidden.flip(1)),
        ):
            torch.testing.assert_close(ours[mask], theirs[mask], rtol=0, atol=1e-10)

    def test_parameters_are_all_accounted_for(self, config: ModelConfig) -> None:
        """The table of counts adds up to the parameters there are."""
        counts = parameter_counts(config)
        assert counts.total == sum(p.numel() for p in LanguageModel(config).parameters())


class CompiledModelContract:
    """``torch.compile`` gives what eager mode gives, forward and backward.

    Traced with its gradient, without code generation, which would take minutes a model. Fixture to
    define: ``config``, at toy size.
    """

    length = 9

    def test_compiled_agrees_with_eager(self, config: ModelConfig) -> None:
        """Logits, and the gradient of a parameter, to rounding."""
        torch.compiler.reset()
        model, tokens = build_model(config, seed=0), random_tokens(2, self.length)
        first = next(model.parameters())
        found = []
        for one in (model, torch.compile(model, backend="aot_eager")):
            logits = one(tokens).logits
            (gradient,) = torch.autograd.grad(logits.square().sum(), first)
            found.append((logits, gradient))
        (eager, eager_gradient), (traced, traced_gradient) = found
        torch.testing.assert_close(traced, eager, rtol=0, atol=1e-6)
        torch.testing.assert_close(traced_gradient, eager_gradient, rtol=1e-4, atol=1e-6)

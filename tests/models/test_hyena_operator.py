"""The operator by groups of channels: against plain operations, and against finite differences."""

import copy

import pytest
import torch
from torch import nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.mixers import hyena_operator
from lightning_dna.models.mixers.filter_cache import FilterCache
from lightning_dna.models.mixers.hyena import Hyena
from lightning_dna.models.mixers.projections import to_channels, to_rows
from lightning_dna.models.mixers.sine_network import sine_network
from lightning_dna.testing.models import filled, random_normal

DOUBLE = torch.float64
OPERATORS = [
    pytest.param({"objective": objective, "hyena_order": order}, id=f"{objective}-{order}")
    for objective in ("masked", "next_token")
    for order in (2, 3, 4)
]


def mixer_of(**changes) -> Hyena:
    settings = {"mixer": "hyena", "width": 6, "layers": 2, "max_length": 20}
    return filled(Hyena(ModelConfig(**{**settings, "hyena_filter_width": 5, **changes})))


def padded(length: int) -> torch.Tensor:
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[1, length // 2 :] = False
    mask[2, :2] = False
    return mask


@pytest.fixture(params=[1, 4, 100], ids=lambda most: f"{most} at a time")
def groups(request, monkeypatch) -> int:
    """Cut the six channels into groups: one by one, uneven, not at all."""
    monkeypatch.setattr(hyena_operator, "LEAST_CHANNELS", request.param)
    monkeypatch.setitem(hyena_operator.GROUP_ELEMENTS, "cpu", 1)
    return request.param


@pytest.mark.parametrize("changes", OPERATORS)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_plain_operations_with_their_gradient(changes, masked, groups):
    mixer = mixer_of(**changes).double()
    x = random_normal(3, 11, 6, dtype=DOUBLE)
    mask = padded(11) if masked else None
    found = []
    for way in (mixer._by_group, mixer._plain):
        given = x.clone().requires_grad_()
        parts = to_channels(given, mixer.input.weight, mixer.input.bias)
        out = way(parts, mask)
        mixer.zero_grad()
        (out * random_normal(*out.shape, seed=1, dtype=DOUBLE)).sum().backward()
        found.append([out.detach(), given.grad, *(p.grad for p in mixer.parameters())])
    assert sum(one is not None for one in found[0]) > 10
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("changes", OPERATORS[:2] + OPERATORS[3:5])
def test_gradients_are_those_of_finite_differences(changes, groups):
    mixer = mixer_of(**changes, width=2, hyena_filter_width=3).double()
    names, values = zip(*mixer.named_parameters(), strict=True)
    mask = padded(5)

    def call(x, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(mixer, named, (x, mask))

    x = random_normal(3, 5, 2, dtype=DOUBLE).requires_grad_()
    given = [x, *(value.detach().clone().requires_grad_() for value in values)]
    assert torch.autograd.gradcheck(call, given, fast_mode=True)


@pytest.mark.parametrize("length", [1, 2, 19])
def test_evaluation_gives_the_bits_of_training(length, groups):
    mixer = mixer_of()
    x = random_normal(2, length, 6)
    trained = mixer(x)
    with torch.no_grad():
        assert torch.equal(mixer(x), trained)
        mixer.eval()
        assert torch.equal(mixer(x), trained)  # makes the transforms
        assert torch.equal(mixer(x), trained)  # reads them


def test_input_is_left_as_it_was():
    """Without a gradient the operator writes into the projection, never into its caller's data."""
    mixer, x = mixer_of().eval(), random_normal(2, 9, 6)
    before = x.clone()
    with torch.no_grad():
        mixer(x)
    assert torch.equal(x, before)


def test_few_arrays_are_kept_for_backward():
    """Input, three parts, the convolution's output, the gated output, and a filter's transform."""
    width, length, kept = 8, 512, []
    mixer = mixer_of(width=width, max_length=length)
    x = random_normal(1, length, width).requires_grad_()
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    )
    with hooks:
        mixer(x)
    stored = {tensor.data_ptr(): tensor.numel() for tensor in kept}
    hidden_and_features = length * (5 + 5 + 1)
    parameters = sum(p.numel() for p in mixer.parameters())
    transform = width * (length + 1)  # complex numbers
    most = 6 * width * length + transform + hidden_and_features + 2 * parameters
    assert sum(stored.values()) <= most


def test_bfloat16_and_autocast_follow_double():
    mixer, x = mixer_of(), random_normal(2, 17, 6)
    exact = copy.deepcopy(mixer).double()(x.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mixer(x)
    assert mixed.dtype == torch.bfloat16
    mixed.float().sum().backward()
    scale = exact.abs().max().item()
    torch.testing.assert_close(mixed.double(), exact, rtol=0, atol=0.06 * scale)
    low = copy.deepcopy(mixer).bfloat16()(x.bfloat16())
    torch.testing.assert_close(low.double(), exact, rtol=0, atol=0.1 * scale)
    assert all(p.grad.dtype == torch.float32 for p in mixer.parameters())


def test_function_transforms_give_the_gradient():
    mixer, x = mixer_of().double(), random_normal(1, 7, 6, dtype=DOUBLE)
    named = dict(mixer.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(mixer, parameters, (x,)).square().sum()

    found = torch.func.grad(loss)({name: value.detach() for name, value in named.items()})
    expected = torch.autograd.grad(loss(named), list(named.values()))
    for ours, usual in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, usual, rtol=0, atol=1e-12)


def test_second_derivatives_are_refused():
    mixer, x = mixer_of(), random_normal(1, 7, 6).requires_grad_()
    (first,) = torch.autograd.grad(mixer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def edit_in_place(mixer: Hyena) -> None:
    with torch.no_grad():
        mixer.skip[0, 0] += 1.0


def edit_data(mixer: Hyena) -> None:
    mixer.filter.frequency.data[0] += 0.5  # changes no version counter


def step(mixer: Hyena) -> None:
    mixer.filter.last.weight.grad = torch.ones_like(mixer.filter.last.weight)
    torch.optim.SGD([mixer.filter.last.weight], lr=0.1).step()


def load(mixer: Hyena) -> None:
    mixer.load_state_dict(filled(copy.deepcopy(mixer), seed=5).state_dict())


def to_double(mixer: Hyena) -> None:
    mixer.double()


def swap(mixer: Hyena) -> None:
    mixer.filter.first.weight = nn.Parameter(mixer.filter.first.weight * 2)


@pytest.mark.parametrize("change", [edit_in_place, edit_data, step, load, to_double, swap])
def test_changed_weights_never_meet_kept_filters(change):
    mixer, x = mixer_of().eval(), random_normal(2, 9, 6)
    with torch.no_grad():
        before = mixer(x)
        change(mixer)
        x = x.to(mixer.skip.dtype)
        fresh = Hyena(mixer.config).to(mixer.skip.dtype)
        fresh.load_state_dict(mixer.state_dict())
        assert torch.equal(mixer(x), fresh(x))
        assert not torch.equal(mixer(x).double(), before.double())


def test_kept_transforms_stay_within_the_limit():
    made = []

    def make(name):
        made.append(name)
        return [[torch.zeros(10)]]

    cache, weights = FilterCache(limit=100), [torch.ones(3)]
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(weights, name, 40, lambda name=name: make(name))
        assert cache.size() <= 100
    assert made == ["a", "b", "c", "b"]  # b was the longest unused when c came
    assert cache.get(weights, "large", 101, lambda: make("large")) is None
    assert made[-1] == "b"


def test_training_keeps_no_transforms():
    mixer, x = mixer_of().eval(), random_normal(1, 9, 6)
    with torch.no_grad():
        mixer(x)
    assert mixer._cache.size() > 0
    mixer.train()
    assert mixer._cache.size() == 0


def test_sine_network_gradients():
    layers = [
        random_normal(*shape, seed=seed, dtype=DOUBLE).requires_grad_()
        for seed, shape in enumerate([(4, 3), (4,), (4, 4), (4,)])
    ]
    features = random_normal(5, 3, seed=9, dtype=DOUBLE)
    frequency = random_normal(4, seed=8, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *given: sine_network(features, *given), [frequency, *layers]
    )
    first = torch.sin(frequency * (features @ layers[0].T + layers[1]))
    expected = torch.sin(frequency * (first @ layers[2].T + layers[3]))
    torch.testing.assert_close(sine_network(features, frequency, *layers), expected)


@pytest.mark.parametrize("layer", [to_channels, to_rows])
@pytest.mark.parametrize("batch", [1, 3])
def test_projection_gradients(layer, batch):
    shape = (batch, 5, 4) if layer is to_channels else (batch, 4, 5)
    given = [
        random_normal(*shape, dtype=DOUBLE).requires_grad_(),
        random_normal(2, 4, seed=1, dtype=DOUBLE).requires_grad_(),
        random_normal(2, seed=2, dtype=DOUBLE).requires_grad_(),
    ]
    assert torch.autograd.gradcheck(layer, given)
    rows = given[0] if layer is to_channels else given[0].transpose(1, 2)
    expected = nn.functional.linear(rows, *given[1:])
    out = layer(*given)
    out = out.transpose(1, 2) if layer is to_channels else out
    torch.testing.assert_close(out, expected)

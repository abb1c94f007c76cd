import pytest
import torch
from torch.nn import functional

from lightning_dna.models import mlp_rows as module
from lightning_dna.models.mlp_rows import mlp_rows
from lightning_dna.testing.models import random_normal

PIECES = {
    "row by row": (1, 1, 0),
    "uneven pieces": (14, 7, 2**23),
    "computed again": (28, 14, 0),
    "whole": (2**18, 2**16, 2**23),
}


@pytest.fixture(params=PIECES)
def _pieces(request, monkeypatch):
    rows, strip, kept = PIECES[request.param]
    monkeypatch.setitem(module.ROW_ELEMENTS, "cpu", rows)
    monkeypatch.setitem(module.STRIP_ELEMENTS, "cpu", strip)
    monkeypatch.setattr(module, "KEPT_ELEMENTS", kept)


def weights(*, biases=True, dtype=torch.float64):
    shapes = [(7, 3), (7,), (3, 7), (3,)]
    made = [
        random_normal(*shape, seed=seed, dtype=dtype).requires_grad_()
        for seed, shape in enumerate(shapes, start=1)
    ]
    return made if biases else [made[0], None, made[2], None]


def call(x, w1, b1, w2, b2, approximation):
    return mlp_rows(x, (w1, b1), (w2, b2), approximation)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("approximation", ["none", "tanh"])
@pytest.mark.parametrize("biases", [True, False])
def test_equals_two_linear_layers(approximation, biases):
    x = random_normal(2, 5, 3, dtype=torch.float64).requires_grad_()
    w1, b1, w2, b2 = weights(biases=biases)
    inner = functional.gelu(functional.linear(x, w1, b1), approximate=approximation)
    expected = functional.linear(inner, w2, b2)
    out = call(x, w1, b1, w2, b2, approximation)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    given = [tensor for tensor in (x, w1, b1, w2, b2) if tensor is not None]
    probe = random_normal(2, 5, 3, seed=7, dtype=torch.float64)
    for ours, plain in zip(
        torch.autograd.grad((out * probe).sum(), given),
        torch.autograd.grad((expected * probe).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-11)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("approximation", ["none", "tanh"])
def test_gradients_are_those_of_finite_differences(approximation):
    x = random_normal(4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: call(*given, approximation), (x, *weights()))


def test_tanh_form_holds_far_out():
    """Where tanh is 1 or -1 to the last bit and the cube of the input is huge."""
    x = torch.tensor([[-1e15], [-30.0], [-4.0], [0.0], [4.0], [30.0], [1e15]])
    one, nothing = torch.ones(1, 1), torch.zeros(1)
    out = mlp_rows(x.requires_grad_(), (one, nothing), (one, nothing), "tanh")
    torch.testing.assert_close(out, functional.gelu(x, approximate="tanh"), rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.isfinite().all()
    assert gradient[[0, -1], 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("limit", "largest"), [(350, 50 * 7), (349, 50 * 3)])
def test_hidden_layer_is_kept_where_it_is_small(limit, largest, monkeypatch):
    monkeypatch.setattr(module, "KEPT_ELEMENTS", limit)
    kept = []
    x = random_normal(1, 50, 3).requires_grad_()
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    )
    with hooks:
        call(x, *weights(dtype=torch.float32), "tanh")
    assert max(kept) == largest


def test_autocast_rounds_as_linear_layers_do():
    x = random_normal(2, 5, 3)
    w1, b1, w2, b2 = weights(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = call(x, w1, b1, w2, b2, "none")
        inner = functional.gelu(functional.linear(x, w1, b1))
        expected = functional.linear(inner, w2, b2)
    assert out.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)
    out.float().sum().backward()
    assert all(tensor.grad.dtype == torch.float32 for tensor in (w1, b1, w2, b2))

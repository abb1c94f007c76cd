"""Every program for attention against eager attention in float64, and the choice among them."""

import inspect
import itertools
import json
import sys
import types

import pytest
import torch
from torch import Tensor

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.models.mixers.attention import Attention, attention_backends
from lightning_dna.models.mixers.attention_backends import flash as flash_file
from lightning_dna.models.mixers.attention_backends import sdpa as sdpa_file
from lightning_dna.models.mixers.attention_backends.base import Situation
from lightning_dna.models.mixers.attention_backends.table import BACKENDS, choose
from lightning_dna.models.packing import packing_of
from lightning_dna.models.positions import OffsetBias
from lightning_dna.testing.models import random_normal, random_tokens

SCHEMES = [
    {"position": "alibi"},
    {"position": "alibi", "objective": "next_token"},
    {"position": "alibi", "attention_reach": 5},
    {"position": "alibi_asymmetric"},
    {"position": "none"},
    {"position": "none", "objective": "next_token"},
    {"position": "none", "attention_reach": 4, "objective": "next_token"},
]
SYMMETRIC = [s for s in SCHEMES if s["position"] != "alibi_asymmetric"]


def config_of(**changes) -> ModelConfig:
    return ModelConfig(**{"width": 24, "heads": 3, "layers": 1, "max_length": 64, **changes})


def label(changes) -> str:
    return "-".join(str(value) for value in changes.values())


def inputs(length: int, dtype: torch.dtype, *, seed: int = 0) -> list[Tensor]:
    """q, k, v and the gradient of the output: (rows, length, heads, head_width)."""
    return [random_normal(2, length, 3, 8, seed=seed + i, dtype=dtype) for i in range(4)]


def padding(length: int) -> Tensor:
    """Two rows: one padded on the right, one on the left."""
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, length - 3 :] = False
    mask[1, :2] = False
    return mask


def written_out(q, k, v, config: ModelConfig, mask: Tensor | None) -> Tensor:
    """Attention by its definition in float64, with slopes of three heads written by hand."""
    slopes = torch.tensor([2.0**-4, 2.0**-8, 2.0**-2], dtype=torch.float64)
    steeper = torch.tensor([[1.0, 4.0], [1.0, 1.0], [4.0, 1.0]], dtype=torch.float64)
    at = torch.arange(q.shape[1])
    offset = at[None, :] - at[:, None]  # key - query
    bias = torch.zeros(3, *offset.shape, dtype=torch.float64)
    if config.position_scheme.startswith("alibi"):
        bias = -slopes[:, None, None] * offset.abs()
    if config.position_scheme == "alibi_asymmetric":
        bias = bias * torch.where(offset > 0, steeper[:, 1, None, None], steeper[:, :1, None])
    if config.causal:
        bias = bias.masked_fill(offset > 0, -torch.inf)
    if config.attention_reach is not None:
        bias = bias.masked_fill(offset.abs() > config.attention_reach, -torch.inf)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / 8**0.5 + bias
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], -1e300)
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v)


def with_gradients(function, q, k, v, gradient, mask) -> list[Tensor]:
    """Output and gradients, in float64, zero where padded."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = function(*leaves)
    if mask is not None:
        out = out.masked_fill(~mask[..., None, None], 0.0)
    return [x.detach().double() for x in (out, *torch.autograd.grad(out, leaves, gradient))]


def agrees(name: str, changes, length: int, dtype: torch.dtype, mask: Tensor | None) -> None:
    """Errors are at most twice those of eager in the same format, for output and gradients.

    By the root mean square over draws. In bfloat16 by the largest too; in float32 the largest of a
    few thousand errors is up to five times eager's with torch's kernel (2.13, CPU), whose
    exponential is the coarser one, so there it is held to rounding.
    """
    config = config_of(**changes)
    bias = OffsetBias(config)

    def by(backend: str):
        return lambda q, k, v: BACKENDS[backend].attend(q, k, v, bias, mask)

    def exact(q, k, v):
        return written_out(q, k, v, config, mask)

    errors: list[list[Tensor]] = [[], [], []]
    for seed in range(4):
        given = inputs(length, dtype, seed=10 * seed)
        right = with_gradients(exact, *(x.double() for x in given), mask)
        for kept, function in zip(errors, (by(name), by("eager")), strict=False):
            found = with_gradients(function, *given, mask)
            kept.append(torch.stack([x - y for x, y in zip(found, right, strict=True)]))
        errors[2].append(torch.stack(right))
    ours, plain, values = (torch.stack(x).transpose(0, 1).flatten(1) for x in errors)
    floor = torch.finfo(dtype).eps * values.abs().amax(dim=1)  # of output, dq, dk, dv
    squares = [x.square().mean(dim=1).sqrt() for x in (ours, plain)]
    largest = [x.abs().amax(dim=1) for x in (ours, plain)]
    assert (squares[0] <= 2 * squares[1]).all(), squares
    allowed = 2 * largest[1] if dtype is torch.bfloat16 else 8 * floor
    assert (largest[0] <= allowed).all(), (largest, floor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("changes", SCHEMES, ids=label)
@pytest.mark.parametrize("padded", [False, True])
def test_torchs_kernels_agree_with_eager(changes, dtype, padded):
    agrees("sdpa", changes, 23, dtype, padding(23) if padded else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("changes", SCHEMES, ids=label)
def test_blocks_agree_with_eager(changes, dtype, monkeypatch):
    monkeypatch.setattr(sdpa_file, "LONG", 1)
    monkeypatch.setattr(sdpa_file, "LONG_IN_SHORT_FORMATS", 1)
    agrees("sdpa", changes, 301, dtype, None)


@pytest.mark.parametrize("changes", SCHEMES, ids=label)
def test_eager_is_the_definition(changes):
    config = config_of(**changes)
    q, k, v, _ = inputs(17, torch.float64)
    mask = padding(17)
    found = BACKENDS["eager"].attend(q, k, v, OffsetBias(config), mask)
    expected = written_out(q, k, v, config, mask)
    torch.testing.assert_close(found[mask], expected[mask], rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("changes", SCHEMES, ids=label)
@pytest.mark.parametrize("padded", [False, True])
def test_flex_agrees_forward_on_a_cpu(changes, padded):
    config = config_of(**changes)
    q, k, v, _ = inputs(23, torch.float32)
    mask = padding(23) if padded else None
    with torch.no_grad():
        found = BACKENDS["flex"].attend(q, k, v, OffsetBias(config), mask)
    expected = written_out(q.double(), k.double(), v.double(), config, mask)
    seen = torch.ones(2, 23, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(found.double()[seen], expected[seen], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["sdpa", "eager"])
@pytest.mark.parametrize("changes", SCHEMES, ids=label)
def test_packed_sequences_are_the_padded_ones(name, changes):
    config, mask = config_of(**changes), padding(19)
    packing = packing_of(mask, multiple=16)
    q, k, v, _ = inputs(19, torch.float64)
    tokens = [packing.pack(x.flatten(2)).unflatten(2, (3, 8)) for x in (q, k, v)]
    out = BACKENDS[name].attend(*tokens, OffsetBias(config), packing)
    found = packing.unpack(out.flatten(2)).unflatten(2, (3, 8))
    expected = written_out(q, k, v, config, mask)
    torch.testing.assert_close(found[mask], expected[mask], rtol=0, atol=1e-12)
    assert found[~mask].abs().max() == 0


# flash-attn itself needs CUDA; a stand-in with its signatures shows what it would be given.


def flash_attn_func(
    q,
    k,
    v,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
):
    """From the documented meaning: (batch, length, heads, width); window inclusive; -1 is none."""
    assert (dropout_p, softmax_scale, softcap, return_attn_probs) == (0.0, None, 0.0, False)
    left, right = window_size
    at = torch.arange(q.shape[1])
    ahead = at[None, :] - at[:, None]
    hidden = torch.zeros_like(ahead, dtype=torch.bool)
    if left >= 0:
        hidden |= ahead < -left
    if right >= 0:
        hidden |= ahead > right
    if causal:
        hidden |= ahead > 0
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * q.shape[-1] ** -0.5
    if alibi_slopes is not None:
        assert alibi_slopes.dtype == torch.float32
        assert alibi_slopes.shape == (q.shape[2],)
        scores = scores - alibi_slopes[:, None, None] * ahead.abs()
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", weights, v)


def flash_attn_varlen_func(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
    block_table=None,
):
    """From the documented meaning: (tokens, heads, width), int32 starts of the sequences."""
    assert block_table is None
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    starts = cu_seqlens_q.tolist()
    assert starts == cu_seqlens_k.tolist()
    assert starts[0] == 0
    assert starts[-1] == len(q) == len(k) == len(v)
    sizes = [stop - start for start, stop in itertools.pairwise(starts)]
    assert max_seqlen_q == max_seqlen_k == max(sizes)
    same = {"causal": causal, "window_size": window_size, "alibi_slopes": alibi_slopes}
    parts = zip(*(x.split(sizes) for x in (q, k, v)), strict=True)
    return torch.cat([flash_attn_func(*(x[None] for x in part), **same)[0] for part in parts])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("flash_attn")
    module.flash_attn_func = flash_attn_func
    module.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setattr(flash_file, "_package", lambda: module)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("changes", SYMMETRIC, ids=label)
@pytest.mark.parametrize("layout", ["full", "all real", "padded", "holes", "packed"])
def test_flash_is_given_the_right_arguments(changes, layout):
    config = config_of(**changes)
    q, k, v, _ = inputs(19, torch.float64)
    masks = {"padded": padding(19), "packed": padding(19), "all real": padding(19) | True}
    mask = masks.get(layout)
    if layout == "holes":
        mask = padding(19)
        mask[0, 7] = False
    expected = written_out(q, k, v, config, mask)
    if layout == "packed":
        packing = packing_of(mask, multiple=16)
        tokens = [packing.pack(x.flatten(2)).unflatten(2, (3, 8)) for x in (q, k, v)]
        out = BACKENDS["flash"].attend(*tokens, OffsetBias(config), packing)
        found = packing.unpack(out.flatten(2)).unflatten(2, (3, 8))
    else:
        found = BACKENDS["flash"].attend(q, k, v, OffsetBias(config), mask)
    seen = torch.ones(2, 19, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(found[seen], expected[seen], rtol=0, atol=1e-7)  # slopes: float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["flash", "flex", "sdpa"])
@pytest.mark.parametrize("changes", SYMMETRIC, ids=label)
@pytest.mark.parametrize("padded", [False, True])
def test_on_a_gpu(name, changes, padded):
    """The real programs: error at most twice that of eager in bfloat16, and they say their name."""
    config = config_of(width=96, heads=3, attention_backend=name, **changes)
    situation = Situation("cuda", torch.bfloat16, gradients=True, config=config)
    obstacle = BACKENDS[name].obstacle(situation)
    if obstacle is not None:
        pytest.skip(obstacle)
    mask = padding(23).cuda() if padded else None
    mixer = Attention(config).cuda().bfloat16()
    x = random_normal(2, 23, 96, dtype=torch.bfloat16).cuda()
    found = mixer(x, mask)
    assert mixer.backend == name
    eager = Attention(config_of(width=96, heads=3, attention_backend="eager", **changes)).cuda()
    eager.load_state_dict(mixer.state_dict())
    exact, plain = eager.double()(x.double(), mask), eager.bfloat16()(x, mask)
    seen = slice(None) if mask is None else mask
    error = (found.double() - exact)[seen].abs().max()
    assert error <= 2 * (plain.double() - exact)[seen].abs().max() + 1e-3
    found[seen].float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in mixer.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_stand_in_has_the_signatures_of_flash_attn():
    real = pytest.importorskip("flash_attn")
    for function in (flash_attn_func, flash_attn_varlen_func):
        theirs = inspect.signature(getattr(real, function.__name__)).parameters
        assert list(inspect.signature(function).parameters) == list(theirs)


def situation_of(device="cuda", dtype=torch.bfloat16, gradients=True, **changes) -> Situation:
    return Situation(device, dtype, gradients, config_of(width=96, **changes))


@pytest.fixture
def flash_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("flash_attn")
    package.__spec__ = types.SimpleNamespace(name="flash_attn")
    monkeypatch.setitem(sys.modules, "flash_attn", package)


@pytest.mark.usefixtures("flash_installed")
def test_auto_takes_the_first_that_suits():
    assert choose(situation_of()) == "flash"
    assert choose(situation_of(dtype=torch.float16, position="rope")) == "flash"
    assert choose(situation_of(dtype=torch.float32)) == "sdpa"
    assert choose(situation_of(position="alibi_asymmetric")) == "flex"
    assert choose(situation_of(position="alibi_asymmetric", heads=2)) == "sdpa"  # 48 channels
    assert choose(situation_of("cpu")) == "sdpa"


def test_auto_without_flash_attn(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert choose(situation_of()) == "flex"
    assert choose(situation_of(position="rope")) == "sdpa"
    assert choose(situation_of(position="rope", attention_reach=9)) == "flex"
    with pytest.raises(ConfigError, match=r"'flash'.*not installed.*lightning-dna\[flash\].*sdpa"):
        choose(situation_of(attention_backend="flash"))


@pytest.mark.usefixtures("flash_installed")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cpu"}, r"found 'flash'.*CUDA.*'cpu'.*use auto, sdpa or eager, or a GPU"),
        ({"dtype": torch.float32}, r"bfloat16 or float16.*float32.*bf16-mixed"),
        ({"position": "alibi_asymmetric"}, r"one ALiBi slope.*'alibi_asymmetric'.*or model\.pos"),
        ({"width": 600, "heads": 2}, r"up to 256 channels.*600.*300.*more heads"),
    ],
)
def test_flash_says_what_is_in_its_way(changes, said):
    settings = {"attention_backend": "flash", **changes}
    device, dtype = settings.pop("device", "cuda"), settings.pop("dtype", torch.bfloat16)
    with pytest.raises(ConfigError, match=f"(?s)model.attention_backend.*{said}"):
        choose(Situation(device, dtype, True, config_of(**{"width": 96, **settings})))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cpu"}, r"no gradient on a CPU.*use auto, sdpa or eager"),
        ({"device": "mps"}, r"CUDA.*'mps'"),
        ({"heads": 2}, r"16, 32, 64.*gives 48.*change model\.heads"),
    ],
)
def test_flex_says_what_is_in_its_way(changes, said):
    with pytest.raises(ConfigError, match=f"(?s)found 'flex'.*{said}"):
        choose(situation_of(attention_backend="flex", **changes))


def test_flash_on_a_cpu_stops_a_model_with_a_message():
    model = build_model(config_of(attention_backend="flash"), seed=0)
    tokens = random_tokens(2, 9)
    with pytest.raises(ConfigError, match="found 'flash', but flash-attn runs on CUDA"):
        model(tokens)
    with pytest.raises(ConfigError, match="found 'flash', but flash-attn runs on CUDA"):
        model(tokens, tokens > 7)


def test_the_backend_in_use_is_told():
    model = build_model(config_of(layers=2), seed=0)
    assert attention_backends(model) == ()
    model(random_tokens(1, 9))
    assert attention_backends(model) == ("sdpa",)
    json.dumps(attention_backends(model))
    eager = build_model(config_of(attention_backend="eager"), seed=0)
    eager(random_tokens(1, 9))
    assert attention_backends(eager) == ("eager",)
    torch.testing.assert_close(
        eager(random_tokens(1, 9)).logits,
        build_model(config_of(), seed=0)(random_tokens(1, 9)).logits,
    )

"""Every shape annotation of the room is executed, in a process of its own.

The hook that checks them must stand before the modules are imported; in this process another test
has imported them long ago.
"""

import subprocess
import sys

PROGRAM = """
import itertools

import beartype.roar
import jaxtyping
import torch

with jaxtyping.install_import_hook("lightning_dna.models", "beartype.beartype"):
    from lightning_dna.models import cost, heads, variants
    from lightning_dna.models.config import ModelConfig
    from lightning_dna.models.language_model import build_model
    from lightning_dna.models.supervised import convnova, enformer, gb_cnn

toy = dict(width=12, heads=3, layers=2, max_length=24, hyena_filter_width=8)
axes = dict(
    mixer=("attention", "hyena", "dilated", "convolution", "mamba"),
    position=("alibi", "alibi_asymmetric", "rope", "learned", "sinusoidal", "none"),
    feedforward=("mlp", "swiglu", "linear", "none"),
    objective=("masked", "next_token"),
    strand=("single", "equivariant"),
)
tokens = torch.randint(7, 11, (3, 9), generator=torch.Generator().manual_seed(0))
mask = torch.ones(3, 9, dtype=torch.bool)
mask[1, 6:] = False
checked = 0
for values in itertools.product(*axes.values()):
    changes = dict(zip(axes, values))
    on_scores = changes["position"] in ("alibi", "alibi_asymmetric", "rope")
    if on_scores and changes["mixer"] != "attention":
        continue
    if changes["objective"] == "next_token" and changes["position"] == "alibi_asymmetric":
        continue
    if changes["feedforward"] in ("linear", "none") and (
        changes["position"], changes["objective"]
    ) != ("none", "masked"):
        continue
    once = ("none", "mlp", "masked")
    if changes["strand"] == "equivariant" and tuple(changes.values())[1:4] != once:
        continue
    model = build_model(ModelConfig(**toy, **changes), seed=0)
    for given in (None, mask):
        output = model(tokens, given)
        heads.ClassificationHead(12, n_classes=2, seed=0)(output.hidden, given)
        output.logits.sum().backward()
        checked += 1
    model.eval()(tokens, mask)
    cost.flops_per_base(model.config, 9)
    cost.parameter_counts(model.config)

for network in (
    gb_cnn.GenomicBenchmarksCNN(2, length=60, seed=0, double_sigmoid=True),
    convnova.ConvNovaLike(2, seed=0, width=8, layers=2),
    enformer.EnformerLike(2, seed=0, width=16, halvings=2, layers=1),
):
    network(tokens, mask).sum().backward()

wrong = [
    lambda: model(tokens.float()),
    lambda: model(tokens[0]),
    lambda: model(tokens, mask[:, :4]),
    lambda: model.backbone.blocks[0](torch.zeros(3, 9, 12), mask.float()),
    lambda: heads.mean_pool(torch.zeros(3, 9, 12), mask[:2]),
    lambda: network(tokens, mask[:2]),
]
refused = 0
for call in wrong:
    try:
        call()
    except (jaxtyping.TypeCheckError, beartype.roar.BeartypeException):
        refused += 1
print(checked, refused, len(wrong))
"""


def test_shapes_hold_and_wrong_ones_are_refused():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    checked, refused, wrong = map(int, done.stdout.split())
    attention, others = 6 + 5, 4 * (3 + 3)  # positions when masked, and for the next token
    # With two feed-forwards; the two others and both strands once for each mixer.
    assert checked == 2 * (2 * (attention + others) + 2 * 5 + 5)
    assert refused == wrong == 6

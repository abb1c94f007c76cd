"""How fast Hyena trains and evaluates, beside the published standalone HyenaDNA.

The peer is ``standalone_hyenadna.py`` of https://github.com/HazyResearch/hyena-dna (give its path);
of its imports, torchvision's ``StochasticDepth`` and transformers' tokenizer class play no part in
what is measured and are replaced by empty stand-ins where they are not installed. Both programs get
the same weights, through the names of ``lightning_dna.models.interop.hyenadna``, the same tokens
and the same tied output layer, in float32. Before a row is timed, its logits and the gradients of
all parameters are compared.

Time is CPU time of the process on one thread; the programs take turns and medians count. Memory is
measured in a process of its own for every number: the peak of the resident set during the second
call, less what was resident before the first. Rows of 100,000 bases and more run in such processes
altogether.

    python benchmarks/speed/hyena.py --peer standalone_hyenadna.py --out reports/speed/hyena.md
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.hyenadna import LAYOUT, SHIFT
from lightning_dna.models.language_model import LanguageModel, build_model

# Bases from which a row runs in processes of its own. There float32 itself is further than 1e-4
# from float64: the sine networks that write the filters multiply rounding by ten in every layer.
LONG = 100_000
VOCABULARY = 16


@dataclass(frozen=True)
class Case:
    """One row: what is done, at which size, and what is hoped for."""

    kind: str  # train or evaluate
    layers: int
    length: int
    batch: int = 1
    width: int = 256
    goal: str = ""

    def config(self, **changes: Any) -> ModelConfig:
        """Return the settings of the published shape."""
        return ModelConfig(
            **{
                "objective": "next_token",
                "mixer": "hyena",
                "width": self.width,
                "layers": self.layers,
                "max_length": max(1026, self.length),
                "gelu_approximation": "tanh",
                "hyena_filter_shift": SHIFT,
                "vocab_size": VOCABULARY,
                **changes,
            }
        )

    def tokens(self) -> Tensor:
        """Draw bases, the same in every process."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(7, 11, (self.batch, self.length), generator=generator)


CASES = (
    Case("train", 2, 1_024, batch=8, width=128),
    Case("train", 4, 1_026, batch=4),
    Case("train", 4, 8_191),
    Case("train", 4, 8_192, goal="2x, half the memory"),
    Case("train", 4, 32_768, goal="2x, half the memory"),
    Case("evaluate", 4, 8_192, goal="2.5x"),
    Case("evaluate", 4, 32_768),
    Case("evaluate", 8, 160_000, goal="2.5x, no more memory"),
    Case("evaluate", 2, 160_002),
)


class Peer(nn.Module):
    """The published backbone with the tied output layer of the published language model."""

    def __init__(self, published: types.ModuleType, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = published.LMBackbone(
            d_model=config.width,
            n_layer=config.layers,
            d_inner=config.mlp_width,
            vocab_size=config.vocab_size,
            layer={
                "d_model": config.width,
                "emb_dim": 5,
                "filter_order": config.hyena_filter_width,
                "l_max": config.max_length,
                "w": 10,
                "lr_pos_emb": 0.0,
                "shift": config.hyena_filter_shift,
            },
            embed_dropout=0.0,
            residual_in_fp32=True,
        )

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return logits."""
        table = self.backbone.embeddings.word_embeddings.weight
        return functional.linear(self.backbone(input_ids), table)


class Ours(nn.Module):
    """Our language model, for its logits alone."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return logits."""
        return self.model(input_ids).logits


def load_peer(path: Path) -> types.ModuleType:
    """Import the published file, with stand-ins for what this benchmark does not run."""

    def stand_in(name: str, **attributes: Any) -> None:
        try:
            importlib.import_module(name)
        except ImportError:
            module = types.ModuleType(name)
            vars(module).update(attributes)
            sys.modules[name] = module

    stand_in("torchvision")
    stand_in("torchvision.ops", StochasticDepth=lambda *_, **__: nn.Identity())
    stand_in("transformers")
    stand_in("transformers.tokenization_utils", AddedToken=object, PreTrainedTokenizer=object)
    specification = importlib.util.spec_from_file_location("standalone_hyenadna", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def published_weights(model: LanguageModel) -> dict[str, Tensor]:
    """Return our weights under their published names and shapes."""
    state, renamed = model.state_dict(), {}
    for entry in LAYOUT.entries(model.config):
        value = state[entry.ours]
        for name in (*entry.parts, *entry.aliases):
            renamed[name] = value if entry.shape is None else value.reshape(entry.shape)
    return renamed


def our_model(case: Case, **changes: Any) -> Ours:
    """Build our model, with weights a little larger than at the start of training."""
    model = build_model(case.config(initial_std=0.04, **changes), seed=0)
    return Ours(model).train(case.kind == "train")


def peer_model(case: Case, path: Path) -> Peer:
    """Build the published model with our weights."""
    ours = our_model(case).model
    peer = Peer(load_peer(path), ours.config)
    renamed = published_weights(ours)
    found = peer.load_state_dict(renamed, strict=False)
    tables = ("pos_emb.z", "pos_emb.t", "modulation.deltas")
    assert all(name.endswith(tables) for name in found.missing_keys), found
    assert found.unexpected_keys == ["lm_head.weight"], found
    return peer.train(case.kind == "train")


def call_of(case: Case, model: nn.Module) -> Callable[[], Tensor]:
    """Return one training step without its optimizer, or one evaluation; both return logits."""
    tokens = case.tokens()

    def train() -> Tensor:
        model.zero_grad()
        logits = model(tokens)
        scores, targets = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        functional.cross_entropy(scores, targets).backward()
        return logits.detach()

    def evaluate() -> Tensor:
        with torch.no_grad():
            return model(tokens)

    return train if case.kind == "train" else evaluate


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def status_mib(field: str) -> float:
    """Read a line of /proc/self/status (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def gradient_difference(ours: Ours, peer: Peer) -> float:
    """Return the largest difference of a gradient, relative to the largest of its parameter."""
    published = dict(peer.named_parameters())
    gradients = {name: p.grad for name, p in ours.model.named_parameters()}
    worst = 0.0
    for entry in LAYOUT.entries(ours.model.config):
        mine, theirs = gradients[entry.ours], published[entry.parts[0]].grad
        assert mine is not None
        assert theirs is not None
        difference = (mine.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max()
        worst = max(worst, difference.item())
    return worst


def alone(case: Case, who: str, options: argparse.Namespace, logits: Path) -> dict[str, float]:
    """Run one program in a process of its own; returns its seconds and peak memory."""
    command = [sys.executable, __file__, "--peer", str(options.peer), "--alone", who]
    command += ["--case", str(CASES.index(case)), "--logits", str(logits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def run_alone(options: argparse.Namespace) -> None:
    """Be such a process: print seconds of the second call and growth of the peak memory."""
    case = CASES[options.case]
    model = our_model(case) if options.alone == "ours" else peer_model(case, options.peer)
    small = Case(case.kind, case.layers, 64, width=case.width)
    call_of(small, model)()  # libraries are loaded and are no growth
    before, call = status_mib("VmRSS"), call_of(case, model)
    first = cpu_seconds(call)
    out: dict[str, float] = {"first": first}
    logits: list[Tensor] = []
    again = case.kind == "train" or options.alone == "ours"  # the peer caches nothing
    out["second"] = cpu_seconds(lambda: logits.append(call())) if again else first
    out["peak"] = status_mib("VmHWM") - before
    if case.length >= LONG:
        torch.save(logits[0] if logits else call(), options.logits)
    print(json.dumps(out))


def row(case: Case, options: argparse.Namespace) -> str:
    """Measure one row."""
    with tempfile.TemporaryDirectory() as folder:
        files = {who: Path(folder, who) for who in ("ours", "peer")}
        apart = {who: alone(case, who, options, file) for who, file in files.items()}
        if case.length >= LONG:
            difference = (torch.load(files["ours"]) - torch.load(files["peer"])).abs().max().item()
            seconds = {who: [found["second"]] for who, found in apart.items()}
            gradients = ""
        else:
            seconds, difference, gradients = together(case, options)
    assert difference < (1e-3 if case.length >= LONG else 1e-4), (case, difference)
    ratios = [p / o for o, p in zip(seconds["ours"], seconds["peer"], strict=True)]
    spread = f" ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else ""
    speed = case.batch * case.length / statistics.median(seconds["ours"])
    cells = [
        case.kind,
        f"{case.width}",
        f"{case.layers}",
        f"{case.batch} x {case.length:,}",
        f"{speed:,.0f}",
        f"{statistics.median(ratios):.2f}x{spread}",
        f"{apart['ours']['peak']:,.0f}",
        f"{apart['peer']['peak']:,.0f}",
        f"{apart['ours']['peak'] / apart['peer']['peak']:.2f}",
        f"{difference:.0e}",
        gradients,
        case.goal,
    ]
    return f"| {' | '.join(cells)} |"


def together(case: Case, options: argparse.Namespace) -> tuple[dict[str, list[float]], float, str]:
    """Compare and time both programs in this process, in turns."""
    ours, peer = our_model(case), peer_model(case, options.peer)
    calls = {"ours": call_of(case, ours), "peer": call_of(case, peer)}
    difference = (calls["ours"]() - calls["peer"]()).abs().max().item()
    gradients = f"{gradient_difference(ours, peer):.0e}" if case.kind == "train" else ""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    started = time.process_time()
    while len(seconds["ours"]) < options.repeats:
        for who, call in calls.items():
            seconds[who].append(cpu_seconds(call))
        if time.process_time() - started > options.seconds and len(seconds["ours"]) >= 2:
            break
    return seconds, difference, gradients


def two_sided_rows(options: argparse.Namespace) -> list[str]:
    """Measure the two-sided mixer, and whole model, beside the causal one."""
    lines = ["| length | mixer forward | mixer training step | model training step | goal |"]
    lines.append("|---|---|---|---|---|")
    for length in (1_024, 8_192, 32_768):
        case = Case("train", 2, length, batch=max(1, 8_192 // length))
        models = [our_model(case, objective=o).model for o in ("masked", "next_token")]
        x = torch.randn(case.batch, length, case.width)
        tokens, cells = case.tokens(), [f"{case.batch} x {length:,}"]

        def forward(model: LanguageModel, x: Tensor = x) -> None:
            with torch.no_grad():
                model.backbone.blocks[0].mixer(x)

        def step(model: LanguageModel, x: Tensor = x) -> None:
            model.backbone.blocks[0].mixer(x.requires_grad_()).sum().backward()

        def whole(model: LanguageModel, tokens: Tensor = tokens) -> None:
            model(tokens).logits.square().mean().backward()

        for call in (forward, step, whole):
            ratios = []
            for repeat in range(options.repeats + 1):
                first, second = (cpu_seconds(lambda m=m, c=call: c(m)) for m in models)
                ratios += [first / second] if repeat else []
            cells.append(f"{statistics.median(ratios):.2f}x")
        lines.append(f"| {' | '.join(cells)} | 1.1x |")
    return lines


def described() -> list[str]:
    """Return the lines above the tables."""
    return [
        "# Hyena beside the published HyenaDNA",
        "",
        "    python benchmarks/speed/hyena.py --peer standalone_hyenadna.py "
        "--out reports/speed/hyena.md",
        "",
        "Float32, one thread, CPU time, programs in turns: median ratio (lowest-highest) of the "
        "peer's time to ours. Training is a forward and a backward pass with the next-token loss; "
        "evaluation is a forward pass with the filters cached by an earlier one. Memory is the "
        "growth of the peak resident set, each in a process of its own. Same weights, tokens and "
        "output layer. Differences: largest of any logit; largest of any gradient over the largest "
        "of its parameter.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch "
        f"{torch.__version__}. Load average when it started: {os.getloadavg()[0]:.1f}.",
        "",
    ]


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Speed and memory of Hyena beside HyenaDNA")
    parser.add_argument("--peer", type=Path, required=True, help="path of standalone_hyenadna.py")
    parser.add_argument("--repeats", type=int, default=5, help="most repeats of a row")
    parser.add_argument("--seconds", type=float, default=12, help="CPU time of a row")
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of some rows alone, from 0")
    parser.add_argument("--out", type=Path, help="Markdown file to write the tables to")
    parser.add_argument("--alone", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--logits", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.alone:
        run_alone(options)
        return
    heads = ["", "width", "layers", "batch", "ours, bases/s", "faster", "ours, MiB", "peer, MiB"]
    heads += ["ratio", "logits", "gradients", "goal"]
    lines = [*described(), f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    print("\n".join(lines), flush=True)
    for number, case in enumerate(CASES):
        if options.rows is None or number in options.rows:
            lines.append(row(case, options))
            print(lines[-1], flush=True)
    if options.rows is None:
        title = "The two-sided mixer: its cost over that of the causal one"
        section = ["", f"## {title}", "", *two_sided_rows(options)]
        print("\n".join(section), flush=True)
        lines += section
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

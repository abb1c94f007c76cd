"""Arms of equal size: one setting of each is changed until it is as large as its reference.

Without matching, an arm may win because it is larger. Matched arms differ in what they change and
in one size besides, which the plan, the record and the report name as a change of the arm.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.models.config import ModelConfig

if TYPE_CHECKING:
    from lightning_dna.study.recipe import Arm

SizeField = Literal["feedforward_width", "width", "layers"]

_LIMIT = 4  # a size is made at most this many times larger or smaller
_ALIKE = 1e-3  # arms this near are left as they are
_QUANTITY = {"parameters": "trunk parameters", "flops": "training FLOPs per base"}


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """What sizes of arms have in common; ``match: flops`` is short for ``match: {by: flops}``.

    Attributes:
        by: ``"parameters"``: those of the blocks, which embeddings, heads and the norm at the end
            are not part of. ``"flops"``: floating-point operations per base of a training step at
            ``data.length``. ``"none"``: arms keep the sizes they declare.
        to: The arm that the others are brought to; ``None`` is the baseline.
        change: The setting that is changed: ``"feedforward_width"`` in steps of 1; ``"width"`` in
            steps that the heads divide, with the feed-forwards four times as wide unless
            ``feedforward_width`` is declared; ``"layers"`` in whole patterns of mixers. Between a
            quarter and four times of what the arm has. An arm that declares this setting itself
            keeps it.
        tolerance: Largest relative distance to the reference.
    """

    by: Literal["parameters", "flops", "none"] = "none"
    to: str | None = None
    change: SizeField = "feedforward_width"
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        """Check ranges, and that nothing is declared in vain."""
        if not 0.0 < self.tolerance < 1.0:
            raise ConfigError(f"match.tolerance is {self.tolerance}; allowed: above 0, below 1.")
        if self.by == "none" and (self.to, self.change) != (None, "feedforward_width"):
            raise ConfigError(
                "match.by is none, so match.to and match.change have no effect; set match.by to "
                "parameters or flops, or leave match out."
            )


def match_arms(
    arms: Mapping[str, "Arm"], match: MatchConfig, baseline: str, *, where: str
) -> dict[str, "Arm"]:
    """Bring every arm to the size of its reference.

    Args:
        arms: Resolved arms by name.
        match: What is matched, to which arm, by changing what.
        baseline: The reference, unless ``match`` names one.
        where: File named in messages.

    Returns:
        The arms, in order. One that was changed has the new size among its changes, and says in
        ``matched`` what was done.

    Raises:
        ConfigError: If the reference is not an arm, an arm cannot come near enough, or it is a
            checkpoint, whose size is given.
    """
    if match.by == "none":
        return dict(arms)
    to = match.to or baseline
    if to not in arms:
        raise unknown_name("arm", to, arms, where=f"{where}: match.to")
    target = _size(arms[to], match)(arms[to].settings.model)
    return {
        name: arm if name == to else _matched(arm, match, to, target, where=where)
        for name, arm in arms.items()
    }


def _matched(arm: "Arm", match: MatchConfig, to: str, target: float, *, where: str) -> "Arm":
    """Bring one arm to the size of its reference."""
    if arm.source is not None:
        raise ConfigError(
            f"{where}: arm '{arm.name}' is a checkpoint (model.pretrained), and its size cannot be "
            "matched; leave it out, or set match: none."
        )
    model, size, key = arm.settings.model, _size(arm, match), f"model.{match.change}"
    before, values = _current(model, match.change), _values(model, match.change)
    best, ratio = before, size(model) / target
    declared = key in arm.changes
    if values and not declared and abs(ratio - 1) > _ALIKE:
        best, ratio = _nearest(values, lambda n: size(_with(model, match.change, n)) / target)
    if abs(ratio - 1) > match.tolerance:
        raise _too_far(arm, match, to, best, ratio, values, declared=declared, where=where)
    if best == before:
        return arm
    settings = replace(arm.settings, model=_with(model, match.change, best))
    text = f"{match.change} {before} -> {best} to match {match.by}: {ratio:.3f}x of {to}"
    return replace(arm, settings=settings, changes={**arm.changes, key: best}, matched=text)


def _size(arm: "Arm", match: MatchConfig) -> Callable[[ModelConfig], float]:
    """Return the function from a model's settings to what is matched."""
    from lightning_dna.models.cost import flops_per_base, parameter_counts  # loads torch

    if match.by == "parameters":
        return lambda model: parameter_counts(model).trunk
    return lambda model: flops_per_base(model, arm.settings.data.length).training_total


def _current(model: ModelConfig, change: SizeField) -> int:
    """Return the size in force."""
    return model.mlp_width if change == "feedforward_width" else int(getattr(model, change))


def _with(model: ModelConfig, change: SizeField, value: int) -> ModelConfig:
    """Return the settings with another size."""
    if change == "feedforward_width":
        return replace(model, feedforward_width=value)
    return replace(model, width=value) if change == "width" else replace(model, layers=value)


def _values(model: ModelConfig, change: SizeField) -> Sequence[int]:
    """Return the sizes that may be tried, rising; none where the model lacks that size."""
    if change == "feedforward_width" and model.feedforward in ("linear", "none"):
        return ()
    step = 1
    if change == "width":  # heads of equal width, even where RoPE turns pairs of channels
        step = model.heads * (2 if model.position_scheme == "rope" else 1)
    elif change == "layers" and not isinstance(model.mixer, str):
        step = len(model.mixer)
    now = _current(model, change)
    first = -(-now // (_LIMIT * step)) * step
    return range(first, _LIMIT * now + 1, step)


def _nearest(values: Sequence[int], ratio: Callable[[int], float]) -> tuple[int, float]:
    """Return the value whose ratio is nearest to 1, and that ratio; ratios rise with values."""
    above = bisect_left(values, 1.0, key=ratio)
    around = values[max(0, above - 1) : above + 1]
    return min(((value, ratio(value)) for value in around), key=lambda pair: abs(pair[1] - 1))


def _too_far(
    arm: "Arm",
    match: MatchConfig,
    to: str,
    best: int,
    ratio: float,
    values: Sequence[int],
    *,
    declared: bool,
    where: str,
) -> ConfigError:
    """Build the error for an arm that does not come near enough."""
    near = f"{ratio:.3f}x the {_QUANTITY[match.by]} of '{to}'; match allows {match.tolerance:.1%}."
    if declared:
        return ConfigError(
            f"{where}: arm '{arm.name}' declares model.{match.change} {best}, and so has {near} "
            f"Leave model.{match.change} out of the arm, and it is chosen for you."
        )
    at_edge = best in (*values[:1], *values[-1:])
    edge = f", tried from {values[0]} to {values[-1]}," if at_edge else ""
    others = [name for name in ("feedforward_width", "width", "layers") if name != match.change]
    return ConfigError(
        f"{where}: arm '{arm.name}' comes no nearer by model.{match.change}{edge} than {best}, "
        f"with {near} Set match.change to {' or '.join(others)}, or match.tolerance higher, or "
        "match: none."
    )

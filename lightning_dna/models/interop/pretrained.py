"""Load a checkpoint of any known layout from its folder, and save one in our own or its published.

Our own layout is ``config.json`` (the settings, and what is needed to write the published files
again) and ``model.safetensors`` (our names).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop import (
    dnabert2,
    files,
    hyenadna,
    nucleotide_transformer,
)
from lightning_dna.models.interop.layout import (
    Layout,
    Origin,
    rename_all,
    to_ours,
    to_published,
)
from lightning_dna.models.language_model import LanguageModel, ModelOutput

SaveLayout = Literal["own", "published"]
LAYOUTS: tuple[Layout, ...] = (hyenadna.LAYOUT, dnabert2.LAYOUT, nucleotide_transformer.LAYOUT)
FORMAT, VERSION = "lightning_dna", 1
_CONSTANT = "origin:"  # before the names of published tensors in our own files


class PretrainedModel(LanguageModel):
    """A language model that was read from files, and knows how to write them.

    Attributes:
        config: Its settings, as if it had been built here.
        origin: What is kept of the published files, ``None`` if it never came from any.
    """

    def __init__(self, config: ModelConfig, origin: Origin | None = None) -> None:
        super().__init__(config)
        self.origin = origin

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Bool[Tensor, "batch length"]
        | Int[Tensor, "batch length"]
        | Float[Tensor, "batch length"]
        | None = None,
    ) -> ModelOutput:
        """Score a batch.

        Args:
            input_ids: Token ids of the checkpoint's own tokenizer.
            attention_mask: True or 1 at real positions, False or 0 at padded ones; ``None`` means
                that all are real.

        Returns:
            Logits and last hidden states; those of padded positions mean nothing.

        Raises:
            ConfigError: The batch is longer than Hyena filters reach.
            DataError: A token id is beyond the vocabulary (found on the CPU; CUDA says it in its
                own way).
        """
        try:
            return super().forward(input_ids, attention_mask)
        except IndexError as error:
            lowest, highest = (int(end) for end in input_ids.aminmax())
            if lowest >= 0 and highest < self.config.vocab_size:
                raise
            raise DataError(
                f"token ids reach from {lowest} to {highest}, but the checkpoint has "
                f"{self.config.vocab_size} tokens, 0 to {self.config.vocab_size - 1}; use the "
                "tokenizer that was published with it."
            ) from error

    def with_settings(self, **changes: Any) -> "PretrainedModel":
        """Return the model with other settings, those that change no weight.

        Args:
            **changes: Fields of :class:`ModelConfig`: ``dropout``, ``strand``,
                ``attention_backend``.

        Returns:
            A model of its own with the same weights, in evaluation mode; this one where nothing
            changes.

        Raises:
            ConfigError: The settings are inconsistent, or would need other weights.
        """
        config = replace(self.config, **changes)
        if config == self.config:
            return self
        other = _empty(config)
        weights = self.state_dict()
        if other.state_dict().keys() != weights.keys():
            raise ConfigError(
                f"{', '.join(changes)}: with these settings the model has other weights than the "
                "checkpoint; allowed: settings that change none, such as dropout."
            )
        other.load_state_dict(weights)
        other.origin = self.origin
        if self.origin is not None:
            _layout_called(self.origin.layout).finish(other)
        return other.eval()

    def save_pretrained(self, folder: str | Path, *, layout: SaveLayout = "own") -> None:
        """Write the model, see :func:`save_pretrained`."""
        save_pretrained(self, folder, layout=layout)


def load_pretrained(folder: str | Path) -> PretrainedModel:
    """Load a checkpoint; the files say of which layout.

    HyenaDNA, DNABERT-2 and Nucleotide Transformer v2 are loaded as published, without code from
    elsewhere, and compute what the published code does (to 1e-5 in float32); so is what
    :func:`save_pretrained` wrote.

    Args:
        folder: Folder with ``config.json`` and weights: ``model.safetensors``,
            ``pytorch_model.bin`` (either also as an index of parts) or ``weights.ckpt``.

    Returns:
        The model in float32, on the CPU, in evaluation mode. ``model(input_ids, attention_mask)``
        gives an object with ``logits`` and ``hidden``.

    Raises:
        DataError: Files are missing or damaged, of no known layout, the weights are not those of
            the model that ``config.json`` describes (then every key is listed), or a tokenizer
            beside them has more tokens.
        ConfigError: ``config.json`` describes a model that cannot be built here.
    """
    folder = Path(folder)
    published = files.read_config(folder)
    where = str(folder / files.CONFIG)
    if published.get("format") == FORMAT:
        return _load_own(folder, published, where)
    layout = _layout_of(published, where)
    tensors, path = files.read_weights(folder)
    tensors = rename_all(layout, tensors, str(path))
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    try:
        config = layout.read_config(published, shapes, where)
    except ConfigError as error:
        if str(error).startswith(where):
            raise
        raise ConfigError(f"{where} ({layout.name}): {error}") from error
    model = _empty(config)
    expected = {name: value.shape for name, value in model.state_dict().items()}
    ours, constants = to_ours(layout, config, tensors, expected, str(path))
    files.check_vocabulary(folder, config.vocab_size)
    model.load_state_dict(ours)
    layout.finish(model)
    model.origin = Origin(
        layout=layout.name, config=published, names=frozenset(tensors), constants=constants
    )
    return model.eval()


def save_pretrained(
    model: LanguageModel, folder: str | Path, *, layout: SaveLayout = "own"
) -> None:
    """Write ``config.json`` and ``model.safetensors``.

    Args:
        model: Any language model of this package, loaded, trained or new.
        folder: Where to write; made when missing. Files of these names are replaced.
        layout: ``"own"``, or ``"published"``: the layout that the model came from or, for one that
            was built here, that of the family whose shape it has. A loaded checkpoint gives its
            published ``config.json`` and float32 tensors back unchanged.

    Raises:
        ConfigError: The layout is unknown, or no published family has such a model.
        UnwritableError: The folder cannot be written to.
    """
    if layout not in get_args(SaveLayout):
        raise unknown_name("layout", layout, get_args(SaveLayout), where="save_pretrained")
    folder = Path(folder)
    origin = model.origin if isinstance(model, PretrainedModel) else None
    state = model.state_dict()
    if layout == "own":
        constants = {} if origin is None else origin.constants
        tensors = state | {_CONSTANT + name: value for name, value in constants.items()}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model": settings.plain(model.config),
            "origin": None if origin is None else _plain(origin),
        }
    else:
        family, content = _family_of(model.config, origin)
        tensors = to_published(family, model.config, state, origin)
    # The config comes last: a folder that has one has its weights too.
    files.write_safetensors(folder / files.WEIGHTS, tensors)
    atomic.write_json(folder / files.CONFIG, content)


def _layout_of(published: Mapping[str, Any], where: str) -> Layout:
    """Find the layout that a published ``config.json`` belongs to."""
    for layout in LAYOUTS:
        if layout.claims(published):
            return layout
    kind = published.get("model_type", published.get("architectures"))
    raise DataError(
        f"{where} is of no known layout (model_type or architectures: {kind!r}); known: "
        f"{', '.join(layout.name for layout in LAYOUTS)}, and folders written by save_pretrained."
    )


def _family_of(config: ModelConfig, origin: Origin | None) -> tuple[Layout, dict[str, Any]]:
    """Return the layout to publish in and the content of its ``config.json``."""
    if origin is not None:
        return _layout_called(origin.layout), dict(origin.config)
    for layout in LAYOUTS:
        content = layout.write_config(config)
        if content is not None:
            return layout, content
    raise ConfigError(
        "save_pretrained: layout 'published' needs a model as one of the families "
        f"{', '.join(layout.name for layout in LAYOUTS)} has them, and this one differs from all; "
        "start from one of their rows of the variant table, or use layout 'own'."
    )


def _layout_called(name: str) -> Layout:
    """Return a layout by name."""
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise unknown_name("layout", name, [layout.name for layout in LAYOUTS])


def _load_own(folder: Path, content: Mapping[str, Any], where: str) -> PretrainedModel:
    """Load what ``save_pretrained`` wrote."""
    if content.get("version") != VERSION or not isinstance(content.get("model"), dict):
        raise DataError(
            f"{where}: version {content.get('version')!r} of our own layout; this package reads "
            f"version {VERSION}, with the settings under 'model'. Use the version of the package "
            "that wrote it."
        )
    model = _empty(settings.build(ModelConfig, content["model"], where=where))
    tensors, path = files.read_weights(folder)
    constants = {
        name.removeprefix(_CONSTANT): tensors.pop(name)
        for name in [*tensors]
        if name.startswith(_CONSTANT)
    }
    expected = model.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    shapes = sorted(
        f"{name} {[*tensors[name].shape]} instead of {[*expected[name].shape]}"
        for name in expected.keys() & tensors.keys()
        if expected[name].shape != tensors[name].shape
    )
    if missing or unknown or shapes:
        raise DataError(
            f"{path}: these are not the weights of the model in {where}: missing "
            f"{missing or 'none'}, unknown {unknown or 'none'}, of another shape "
            f"{shapes or 'none'}. Nothing was loaded."
        )
    model.load_state_dict(tensors)
    if content.get("origin") is not None:
        model.origin = _origin(content["origin"], constants, where)
        _layout_called(model.origin.layout).finish(model)
    return model.eval()


def _plain(origin: Origin) -> dict[str, Any]:
    """Return what ``config.json`` tells of an origin; its constants stand with the weights."""
    named = {"layout": origin.layout, "names": sorted(origin.names)}
    return named | {"config": json.loads(json.dumps(dict(origin.config)))}


def _origin(content: Any, constants: Mapping[str, Tensor], where: str) -> Origin:
    """Return the origin that ``config.json`` tells of."""
    try:
        layout = _layout_called(content["layout"]).name
        names, config = frozenset(content["names"]), dict(content["config"])
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where}: 'origin' is damaged: {error!r}.") from error
    return Origin(layout=layout, config=config, names=names, constants=constants)


def _empty(config: ModelConfig) -> PretrainedModel:
    """Build a model whose weights are about to be replaced, beside the global generator."""
    with torch.random.fork_rng(devices=[]):
        return PretrainedModel(config)

"""Where an arm's model comes from: settings, a named variant, or a published checkpoint.

``model: {variant: NAME, ...}`` lays a row of the variant table under the arm's other model
settings. ``model: {pretrained: FOLDER}`` takes a checkpoint as it is: such an arm is not trained
here, its settings are those of the checkpoint, and what the recipe shares between trained models
does not apply to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_dna import atomic, settings
from lightning_dna.data.tokenization import CHARACTER, table_rows
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.variants import VARIANTS

if TYPE_CHECKING:
    from lightning_dna.data.encoding import Encoding
    from lightning_dna.models.interop.pretrained import PretrainedModel
    from lightning_dna.models.language_model import LanguageModel

PRETRAINED, VARIANT = "pretrained", "variant"
# Settings of a checkpoint that change no weight, and the sections that say how it is used.
RUNTIME_KEYS = ("dropout", "strand", "attention_backend")
SECTIONS = ("model", "finetune", "trainer")
_BASE_TOKENS = 16  # rows of a padded table of single bases


@dataclass(frozen=True, kw_only=True)
class PretrainedSource:
    """A checkpoint as the model of an arm.

    Attributes:
        folder: Where it lies; no part of its identity.
        digest: Hash of its settings, weights and tokenizer.
        layout: Whose layout it was published in; ``own`` for what was built here.
        changes: Runtime settings of the arm.
    """

    folder: Path
    digest: str
    layout: str
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the model, as plain content."""
        return {"digest": self.digest, "changes": dict(self.changes)}

    def load(self) -> "PretrainedModel":
        """Load the model with the arm's runtime settings.

        Raises:
            DataError: If the checkpoint is damaged, or no longer the one of the recipe.
            ConfigError: If the runtime settings do not go with it.
        """
        from lightning_dna.models.interop.files import digest
        from lightning_dna.models.interop.pretrained import load_pretrained

        if digest(self.folder) != self.digest:
            raise DataError(
                f"the checkpoint in {self.folder} has changed since this study was resolved; run "
                "the study again, into a new --out folder."
            )
        return load_pretrained(self.folder).with_settings(**dict(self.changes))


def open_source(
    folder: Path, changes: Mapping[str, Any], *, where: str
) -> tuple[PretrainedSource, ModelConfig]:
    """Check a checkpoint whole, with its tokenizer, and return its source and its settings.

    Args:
        folder: The checkpoint's folder.
        changes: Runtime settings that the arm states.
        where: File and arm, for messages.

    Raises:
        ConfigError: If a setting is not one of the runtime, or does not go with the checkpoint.
        DataError: If the checkpoint cannot be loaded, or its tokenizer is another one's.
    """
    from lightning_dna.models.interop.files import digest
    from lightning_dna.models.interop.pretrained import load_pretrained

    try:
        model = load_pretrained(folder)
        config = model.with_settings(**changes).config
        encoding = encoding_of(folder, config)
        if config.strand != "single" and not encoding.by_base:
            raise ConfigError(
                f"strand '{config.strand}' complements single bases, and this checkpoint reads "
                "tokens of several; use strand single."
            )
        source = PretrainedSource(
            folder=folder,
            digest=digest(folder),
            layout="own" if model.origin is None else model.origin.layout,
            changes=tuple(sorted(changes.items())),
        )
    except DataError as error:
        raise DataError(f"{where}: model.pretrained: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: model.pretrained: {error}") from error
    return source, config


def encoding_of(folder: Path, config: ModelConfig) -> "Encoding":
    """Return the tokenizer of a checkpoint and whether its special tokens are used.

    A checkpoint over single bases is read like our own models, without special tokens: HyenaDNA's
    end of sequence stands after all bases and cannot change what a causal model makes of them.

    Raises:
        DataError: If there is no tokenizer, or it has more tokens than the model.
    """
    from lightning_dna.data.encoding import CHARACTERS, Encoding
    from lightning_dna.models.interop import files
    from lightning_dna.models.interop.pretrained import FORMAT
    from lightning_dna.tokenizers.character import CharacterTokenizer

    content = atomic.read_json(folder / files.CONFIG)
    beside = any((folder / name).is_file() for name in files.TOKENIZERS)
    if content.get("format") == FORMAT and not beside:
        if config.vocab_size > _BASE_TOKENS:
            raise DataError(
                f"{folder} holds a model over {config.vocab_size} tokens and no tokenizer; put the "
                f"{' or '.join(files.TOKENIZERS)} of the checkpoint that it came from beside it."
            )
        encoding = CHARACTERS
    else:
        from lightning_dna.tokenizers.loading import load_tokenizer

        tokenizer = load_tokenizer(folder)
        by_base = isinstance(tokenizer, CharacterTokenizer)
        # What was trained here saw no special tokens.
        special = content.get("format") != FORMAT or content.get("origin") is not None
        encoding = CHARACTERS if by_base else Encoding(tokenizer=tokenizer, special=special)
    encoding.check_vocabulary(config, where=str(folder))
    return encoding


def encoding_of_run(folder: Path, config: ModelConfig) -> "Encoding":
    """Return how a finished run reads sequences: by bases, or with the tokenizer in its folder.

    No special tokens stood around the sequences of its training, so none are used.

    Raises:
        DataError: If the run was trained on longer tokens and its folder holds no tokenizer, or one
            with more tokens than the model.
    """
    from lightning_dna.data.encoding import CHARACTERS, Encoding
    from lightning_dna.models.interop import files
    from lightning_dna.tokenizers.loading import load_tokenizer

    name = atomic.read_json(folder / "run.json").get("data", {}).get("tokenizer", CHARACTER)
    if name == CHARACTER:
        return CHARACTERS
    if not any((folder / one).is_file() for one in files.TOKENIZERS):
        raise DataError(
            f"{folder} was trained with data.tokenizer '{name}' and holds no "
            f"{' or '.join(files.TOKENIZERS)}; copy its tokenizer there."
        )
    encoding = Encoding(tokenizer=load_tokenizer(folder), special=False)
    encoding.check_vocabulary(config, where=str(folder))
    return encoding


def resolve_model(
    shared: Mapping[str, Any], changes: Mapping[str, Any], *, where: str
) -> tuple[dict[str, Any], PretrainedSource | None]:
    """Resolve the settings of one arm as far as its model comes from a table or a checkpoint.

    Args:
        shared: Settings of every arm.
        changes: Settings of this arm.
        where: File and arm, for messages.

    Returns:
        The settings laid over each other, with plain model settings; and the checkpoint, if the arm
        is one.

    Raises:
        ConfigError: If the recipe names an unknown variant, or states for a checkpoint what would
            have no effect on it.
        DataError: If a checkpoint cannot be loaded.
    """
    general, own = _model(shared), _model(changes)
    if PRETRAINED in general:
        raise ConfigError(
            f"{where}: shared.model.pretrained would make every arm the same checkpoint; name it "
            "under 'arms', in the arm that it is to be."
        )
    merged = settings.merge(shared, changes)
    if not isinstance(merged.get("model"), Mapping):
        return merged, None
    if PRETRAINED not in own:
        rows = [] if VARIANT in own else _row(general, where=where)
        model = {**dict(rows), **_without(general, VARIANT)}
        model |= dict(_row(own, where=where))
        model |= _without(own, VARIANT)
        return {**merged, "model": model}, None
    _check_checkpoint_arm(changes, own, where=where)
    runtime = _without(own, PRETRAINED)
    source, config = open_source(Path(str(own[PRETRAINED])), runtime, where=where)
    return {**merged, "model": settings.plain(config)}, source


def with_vocabulary(merged: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Give a model as many rows as its tokenizer needs, unless the recipe says how many.

    Args:
        merged: The settings of one arm, with plain model settings.
        where: File and arm, for messages.

    Raises:
        ConfigError: If ``data.tokenizer`` names none.
        DataError: If its file cannot be used.
    """
    data, model = merged.get("data"), merged.get("model") or {}
    name = data.get("tokenizer", CHARACTER) if isinstance(data, Mapping) else CHARACTER
    if not isinstance(name, str) or name == CHARACTER or not isinstance(model, Mapping):
        return merged
    try:
        return {**merged, "model": {"vocab_size": table_rows(name), **model}}
    except (ConfigError, DataError) as error:
        raise type(error)(f"{where}: {error}") from error


def with_places(content: Mapping[str, Any], place: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a recipe's content with the folder of every checkpoint written in another way.

    Args:
        content: The recipe as read.
        place: Called with the folder of each checkpoint; its result takes the folder's place.
    """
    changed = dict(content)
    if isinstance(changed.get("arms"), Mapping):
        changed["arms"] = {name: _placed(arm, place) for name, arm in changed["arms"].items()}
    if isinstance(changed.get("factors"), Mapping):
        changed["factors"] = {
            name: {level: _placed(arm, place) for level, arm in levels.items()}
            if isinstance(levels, Mapping)
            else levels
            for name, levels in changed["factors"].items()
        }
    return changed


def _placed(arm: Any, place: Callable[[Any], Any]) -> Any:
    """Return one arm's changes with the folder of its checkpoint written in another way."""
    if not isinstance(arm, Mapping) or PRETRAINED not in _model(arm):
        return arm
    return {**arm, "model": {**arm["model"], PRETRAINED: place(arm["model"][PRETRAINED])}}


def _model(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model settings of a part of a recipe; what is no mapping is refused later."""
    model = content.get("model")
    return model if isinstance(model, Mapping) else {}


def _without(model: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return model settings without one key."""
    return {name: value for name, value in model.items() if name != key}


def _row(model: Mapping[str, Any], *, where: str) -> list[tuple[str, Any]]:
    """Return the settings of the named variant, if one is named."""
    if VARIANT not in model:
        return []
    name = str(model[VARIANT])
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS, where=f"{where}: model.variant")
    return list(VARIANTS[name].changes.items())


def _check_checkpoint_arm(
    changes: Mapping[str, Any], own: Mapping[str, Any], *, where: str
) -> None:
    """Refuse what an arm states beside a checkpoint and what would have no effect on it."""
    beside = sorted(set(own) - {PRETRAINED, *RUNTIME_KEYS})
    if beside:
        raise ConfigError(
            f"{where}: model.{', model.'.join(beside)} beside model.pretrained; a checkpoint has "
            f"its own architecture. Allowed beside it: {', '.join(RUNTIME_KEYS)}. Leave the others "
            "out of this arm."
        )
    foreign = sorted(set(changes) - set(SECTIONS))
    if foreign:
        raise ConfigError(
            f"{where}: {', '.join(foreign)} beside model.pretrained; a checkpoint is not trained "
            f"here, so this would have no effect. Allowed: {', '.join(SECTIONS)}."
        )


@dataclass(frozen=True, kw_only=True)
class PretrainedCheckpoint:
    """A checkpoint in the place of a finished run.

    Attributes:
        folder: The cell's folder, where scores go.
        source: The checkpoint.
        config: Its settings.
        seed: Seed of the cell: of the controls' initial weights, and of fine-tuning.
    """

    folder: Path
    source: PretrainedSource
    config: ModelConfig
    seed: int

    @cached_property
    def _loaded(self) -> "PretrainedModel":
        return self.source.load()

    def model(self) -> "LanguageModel":
        """Return the model with the published weights, in evaluation mode."""
        return self._loaded

    def untrained(self) -> "LanguageModel":
        """Return a model of the same shape with initial weights of our own rule and the seed."""
        from lightning_dna.models.language_model import build_model

        return build_model(self.config, seed=self.seed).eval()

    def record(self, tokens_per_base: float) -> dict[str, Any]:
        """Return what ``fit.json`` holds: nothing was trained, and where the weights are from."""
        return {
            "steps": 0,
            "tokens": 0,
            "seconds": 0.0,
            "tokens_per_second": None,
            "padding_fraction": 0.0,
            "peak_memory_mib": None,
            "parameters": sum(part.numel() for part in self._loaded.parameters()),
            "seed": self.seed,
            "valid_loss": None,
            "valid_accuracy": None,
            "tokens_per_base": tokens_per_base,
            "source": {
                "layout": self.source.layout,
                "digest": self.source.digest,
                "settings": settings.plain(self.config),
            },
        }

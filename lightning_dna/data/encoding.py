"""How a sequence of bases becomes the ids that a model reads. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.config import ModelConfig
from lightning_dna.tokenizers.base import Ids, Tokenizer
from lightning_dna.tokenizers.character import CharacterTokenizer


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """A tokenizer, and whether its special tokens go around a sequence.

    Attributes:
        tokenizer: The tokenizer.
        special: Whether a model reads the special tokens of its publication around each sequence.

    Example:
        >>> CHARACTERS.rows([np.array([0, 1, 4], np.uint8)])[0].tolist()
        [7, 8, 11]
    """

    tokenizer: Tokenizer
    special: bool = False

    @property
    def by_base(self) -> bool:
        """Whether every token is one base with the ids of our own models."""
        return isinstance(self.tokenizer, CharacterTokenizer) and not self.special

    @property
    def pad_id(self) -> int:
        """Id that fills a batch up."""
        return self.tokenizer.pad_id

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that stand for no base: averages over a sequence leave them out."""
        if not self.special:
            return ()
        ends = (self.tokenizer.cls_id, self.tokenizer.sep_id)
        return tuple(token for token in ends if token is not None)

    def row(self, codes: Codes) -> Ids:
        """Turn the base codes of one sequence into the ids that the model reads."""
        ids = self.tokenizer.encode_codes(codes)
        return self.tokenizer.with_special(ids) if self.special else ids

    def rows(self, codes: Sequence[Codes]) -> list[Ids]:
        """Turn sequences into ids."""
        return [self.row(one) for one in codes]

    def longest(self, config: ModelConfig) -> int | None:
        """Return the most tokens that a model takes, special ones included; ``None``: no limit.

        Our own models keep to ``max_length``. A published model with ALiBi has no limit: as its own
        code does, it reads on beyond the lengths that it was trained on.
        """
        reaches = config.position_scheme == "alibi" and "hyena" not in config.mixers
        return None if reaches and not self.by_base else config.max_length

    def check_vocabulary(self, config: ModelConfig, *, where: str) -> None:
        """Refuse a tokenizer whose ids a model has no rows for.

        Raises:
            DataError: There are more tokens than rows.
        """
        if self.tokenizer.vocab_size > config.vocab_size:
            raise DataError(
                f"{where}: the tokenizer has {self.tokenizer.vocab_size} tokens, and the model has "
                f"rows for {config.vocab_size} (model.vocab_size); they do not belong together: "
                "use the tokenizer that was published with these weights."
            )

    def check_lengths(self, rows: Sequence[Ids], config: ModelConfig, *, where: str) -> None:
        """Refuse sequences that have more tokens than a model takes.

        Args:
            rows: Ids of each sequence, special ones included.
            config: The model's settings.
            where: What the sequences are, for the message.

        Raises:
            DataError: A sequence is too long.
        """
        longest = self.longest(config)
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        if longest is None or not len(rows) or lengths.max() <= longest:
            return
        extra = " with the special ones around it" if self.special else ""
        raise DataError(
            f"{where}: sequence {int(lengths.argmax())} (from 0) has {int(lengths.max())} tokens"
            f"{extra}, and the checkpoint takes {longest} (model.max_length); shorten the sequences"
            " of the task or the windows, or leave this checkpoint out."
        )


CHARACTERS = Encoding(tokenizer=CharacterTokenizer())
"""One token per base and nothing around: what every model trained here reads."""

"""``tokenizer.json`` files of the library ``tokenizers``: what they ask for, read and written.

What is not supported is refused by its name, so that ids are the library's or there are none.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_dna.errors import DataError

_UNCHANGED = {"NFC", "NFD", "NFKC", "NFKD", "StripAccents"}  # on ASCII text they change nothing
_PUNCTUATION = r"!-/:-@\[-`{-~"
_WORDS = {
    "Whitespace": r"\w+|[^\w\s]+",
    "WhitespaceSplit": r"\S+",
    "BertPreTokenizer": rf"[{_PUNCTUATION}]|[^\s{_PUNCTUATION}]+",
}
_BYTE_LEVEL = r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
# The library shows the bytes that have no glyph as letters from U+0100 on.
_VISIBLE = {byte: chr(256 + byte) for byte in range(33)} | {127: chr(256 + 33)}


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is found in the text before anything else is done to it."""

    content: str
    id: int
    left_space: bool
    right_space: bool
    after_normalizing: bool


@dataclass(frozen=True, kw_only=True)
class TokenizerFile:
    """A checked tokenizer file.

    Attributes:
        vocabulary: Id of each token of the model, without added ones.
        merges: The pairs that merge, in order.
        unknown: The unknown token, ``None`` if unknown characters are left out.
        fuse_unknown: Whether a row of unknown characters is one token.
        ignore_merges: Whether a word that is in the vocabulary is one token whatever the merges.
        added: The added tokens.
        lower_case: Whether text is turned into lower case.
        pattern: What a word is; ``None`` if the whole text is one.
        byte_level: Whether spaces and control characters are written as visible letters.
        before: Ids that stand before a sequence.
        after: Ids that stand after a sequence.
        content: The file as it was read.
    """

    vocabulary: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    unknown: str | None
    fuse_unknown: bool
    ignore_merges: bool
    added: tuple[AddedToken, ...]
    lower_case: bool
    pattern: re.Pattern[str] | None
    byte_level: bool
    before: tuple[int, ...]
    after: tuple[int, ...]
    content: Mapping[str, Any]

    def words(self, text: str) -> Iterator[tuple[int, int, str | int]]:
        """Yield start, end and letters of the words of ASCII text; of added tokens their ids."""
        for start, end, piece in _split(text, [t for t in self.added if not t.after_normalizing]):
            if isinstance(piece, int):
                yield start, end, piece
                continue
            piece = piece.lower() if self.lower_case else piece
            later = [token for token in self.added if token.after_normalizing]
            for first, last, part in _split(piece, later):
                if isinstance(part, int):
                    yield start + first, start + last, part
                elif self.pattern is None:
                    yield start + first, start + last, self._shown(part)
                else:
                    for word in self.pattern.finditer(part):
                        place = start + first + word.start()
                        yield place, place + len(word[0]), self._shown(word[0])

    def _shown(self, word: str) -> str:
        """Return a word in the letters of the vocabulary."""
        return word.translate(_VISIBLE) if self.byte_level else word


def _split(text: str, added: list[AddedToken]) -> Iterator[tuple[int, int, str | int]]:
    """Yield the pieces of a text between added tokens, and these; the longest token counts."""
    if not added:
        if text:
            yield 0, len(text), text
        return
    tokens = sorted(added, key=lambda token: len(token.content), reverse=True)
    space = {True: r"\s*", False: ""}
    pattern = "|".join(
        f"({space[token.left_space]}{re.escape(token.content)}{space[token.right_space]})"
        for token in tokens
    )
    end = 0
    for found in re.finditer(pattern, text, re.ASCII):
        if found.start() > end:
            yield end, found.start(), text[end : found.start()]
        yield found.start(), found.end(), tokens[(found.lastindex or 1) - 1].id
        end = found.end()
    if end < len(text):
        yield end, len(text), text[end:]


def read_tokenizer_file(path: Path) -> TokenizerFile:
    """Read and check a ``tokenizer.json``.

    Raises:
        DataError: If the file is missing, damaged, inconsistent, or asks for something that is not
            supported; the message names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the tokenizer file {path}: {error}; expected the JSON file"
            " tokenizer.json of the library tokenizers."
        ) from error
    return parse_tokenizer_file(content, str(path))


def parse_tokenizer_file(content: Any, where: str) -> TokenizerFile:
    """Check the content of a ``tokenizer.json``; see ``read_tokenizer_file``."""
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise DataError(f"{where}: no model with a vocabulary; expected a tokenizer.json of a BPE.")
    _refuse_unsupported(model, where)
    vocabulary = {str(token): int(number) for token, number in model["vocab"].items()}
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in vocabulary:
        raise DataError(f"{where}: the unknown token {unknown!r} is not in the vocabulary.")
    added = tuple(_added(token, where) for token in content.get("added_tokens") or [])
    names = vocabulary | {token.content: token.id for token in added}
    before, after = _template(content.get("post_processor"), names, where)
    pattern, byte_level = _pattern(content.get("pre_tokenizer"), where)
    lower_case = _lower_case(content.get("normalizer"), where)
    return TokenizerFile(
        vocabulary=vocabulary,
        merges=_merges(model.get("merges") or [], vocabulary, where),
        unknown=unknown,
        fuse_unknown=bool(model.get("fuse_unk")),
        ignore_merges=bool(model.get("ignore_merges")),
        added=tuple(_normalized(token, lower_case) for token in added),
        lower_case=lower_case,
        pattern=pattern,
        byte_level=byte_level,
        before=before,
        after=after,
        content=content,
    )


def _unsupported(where: str, name: str, found: object, allowed: str) -> DataError:
    """Return the error for a part of a file that cannot be honoured."""
    return DataError(f"{where}: {name} {found!r} is not supported; allowed: {allowed}.")


def _refuse_unsupported(model: Mapping[str, Any], where: str) -> None:
    """Raise for settings of the model that would change ids and are not supported."""
    if model.get("type", "BPE") != "BPE":
        raise _unsupported(where, "a model of type", model["type"], "BPE")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise _unsupported(where, f"the model setting {name}", model[name], "null or false")


def _merges(
    found: list[Any], vocabulary: Mapping[str, int], where: str
) -> tuple[tuple[str, str], ...]:
    """Return the merges, written as ``"A B"`` or as ``["A", "B"]``."""
    merges = []
    for number, merge in enumerate(found):
        pair = tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)
        if len(pair) != 2:
            raise DataError(f"{where}: merge {number} is {merge!r}; expected two tokens.")
        for token in (*pair, "".join(pair)):
            if token not in vocabulary:
                raise DataError(
                    f"{where}: merge {number} {merge!r} needs the token {token!r}, which is not in"
                    " the vocabulary; merges and vocabulary are not of the same tokenizer."
                )
        merges.append((pair[0], pair[1]))
    return tuple(merges)


def _added(token: Mapping[str, Any], where: str) -> AddedToken:
    """Return one added token."""
    if token.get("single_word"):
        raise _unsupported(where, "the setting single_word of", token["content"], "false")
    return AddedToken(
        content=str(token["content"]),
        id=int(token["id"]),
        left_space=bool(token.get("lstrip")),
        right_space=bool(token.get("rstrip")),
        after_normalizing=bool(token.get("normalized")),
    )


def _normalized(token: AddedToken, lower_case: bool) -> AddedToken:
    """Return an added token as it looks in normalized text."""
    if not (lower_case and token.after_normalizing):
        return token
    return AddedToken(
        content=token.content.lower(),
        id=token.id,
        left_space=token.left_space,
        right_space=token.right_space,
        after_normalizing=True,
    )


def _parts(setting: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """Return the parts of a setting that may be a sequence of others."""
    if setting is None:
        return []
    if setting.get("type") == "Sequence":
        return [part for one in setting.get(key) or [] for part in _parts(one, key)]
    return [setting]


def _lower_case(setting: Mapping[str, Any] | None, where: str) -> bool:
    """Tell whether the normalizer lowers the case."""
    kinds = [part.get("type") for part in _parts(setting, "normalizers")]
    for kind in kinds:
        if kind != "Lowercase" and kind not in _UNCHANGED:
            allowed = ", ".join(["null", "Sequence", "Lowercase", *sorted(_UNCHANGED)])
            raise _unsupported(where, "the normalizer", kind, allowed)
    return "Lowercase" in kinds


def _pattern(setting: Mapping[str, Any] | None, where: str) -> tuple[re.Pattern[str] | None, bool]:
    """Return the pattern of words, and whether bytes are shown as letters."""
    parts = _parts(setting, "pretokenizers")
    if not parts:
        return None, False
    kind = parts[0].get("type")
    if len(parts) == 1 and kind in _WORDS:
        return re.compile(_WORDS[kind], re.ASCII), False
    if len(parts) == 1 and kind == "ByteLevel":
        if parts[0].get("add_prefix_space", True):
            raise _unsupported(where, "the ByteLevel setting add_prefix_space", True, "false")
        whole = not parts[0].get("use_regex", True)
        return None if whole else re.compile(_BYTE_LEVEL, re.ASCII), True
    found = " + ".join(str(part.get("type")) for part in parts)
    allowed = ", ".join(["null", *_WORDS, "ByteLevel", "or a Sequence of one of them"])
    raise _unsupported(where, "the pre-tokenizer", found, allowed)


def _template(
    setting: Mapping[str, Any] | None, names: Mapping[str, int], where: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids before and after a sequence."""
    parts = [p for p in _parts(setting, "processors") if p.get("type") != "ByteLevel"]
    if not parts:
        return (), ()
    kind = parts[0].get("type")
    if len(parts) > 1 or kind not in ("TemplateProcessing", "BertProcessing", "RobertaProcessing"):
        found = " + ".join(str(part.get("type")) for part in parts)
        allowed = "null, TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel"
        raise _unsupported(where, "the post-processor", found, allowed)
    if kind != "TemplateProcessing":
        return (int(parts[0]["cls"][1]),), (int(parts[0]["sep"][1]),)
    before: list[int] = []
    after: list[int] = []
    seen = 0
    for piece in parts[0]["single"]:
        if "Sequence" in piece:
            seen += 1
            continue
        name = piece["SpecialToken"]["id"]
        listed = (parts[0].get("special_tokens") or {}).get(name)
        ids = listed["ids"] if listed else [names[name]] if name in names else None
        if ids is None:
            raise DataError(f"{where}: the template names {name!r}, which has no id.")
        (after if seen else before).extend(int(number) for number in ids)
    if seen != 1:
        raise _unsupported(where, "a template with", f"{seen} sequences", "one")
    return tuple(before), tuple(after)

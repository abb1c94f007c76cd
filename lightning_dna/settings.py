"""YAML text into frozen dataclasses; unknown keys, wrong types and repeated keys are errors.

``jsonargparse`` does the typing (what LightningCLI itself uses); this module adds what it lacks:
the file and nearest name in the message, whole numbers written as ``2e8``, repeated keys refused.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import re
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import yaml

from lightning_dna.errors import ConfigError, unknown_name

Settings = TypeVar("Settings")

OURS = {"set_by": "the program"}
"""Metadata of a field that the program fills in: messages do not offer it to a user."""

# What a parser of Python types says, in the words of a YAML file.
_KIND_WORDS = {
    "<class 'tuple'>": "a list",
    "<class 'list'>": "a list",
    "<class 'dict'>": "a mapping of keys to values",
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a text",
}


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe YAML loader that refuses a key written twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *shared` may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ConfigError(
                    f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: "
                    f"{key!r} stands where a key is expected; write a name."
                )
            if key in seen:
                raise ConfigError(
                    f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: "
                    f"key '{key}' stands twice; keep one of them."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: If the file is missing, is not YAML, repeats a key or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        loader = _UniqueKeyLoader(text)
        loader.name = str(path)
        content = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds {type(content).__name__}, not a mapping of keys to values."
        )
    return content


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested ``changes`` over ``base`` without touching either.

    Example:
        >>> merge({"model": {"width": 64, "layers": 2}}, {"model": {"width": 128}})
        {'model': {'width': 128, 'layers': 2}}
    """
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_dotted(text: str) -> tuple[list[str], Any]:
    """Split ``"data.genome=PATH"`` into its keys and its value, which is read as YAML.

    Example:
        >>> parse_dotted("model.width=64")
        (['model', 'width'], 64)

    Raises:
        ConfigError: If the text has no ``=`` or an empty key, or the value is not YAML.
    """
    key, found, value = text.partition("=")
    keys = key.strip().split(".")
    if not found or not all(keys):
        raise ConfigError(f"override '{text}' is not of the form key.subkey=value.")
    try:
        return keys, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{text}': the value is not valid YAML ({error}).") from error


def assign(content: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """Set one nested key without touching ``content``; a mapping given as the value replaces.

    Example:
        >>> assign({"split": {"valid_fraction": 0.1}, "length": 9}, ["split"], {"folds": 3})
        {'split': {'folds': 3}, 'length': 9}
    """
    head, *rest = keys
    if rest:
        below = content.get(head)
        value = assign(below if isinstance(below, Mapping) else {}, rest, value)
    return {**content, head: value}


def nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    """Write keys and a value as nested mappings.

    Example:
        >>> nest(["model", "width"], 64)
        {'model': {'width': 64}}
    """
    return assign({}, keys, value)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """List nested settings by dotted key.

    Example:
        >>> flatten({"model": {"mixer": "hyena"}, "seed": 1})
        {'model.mixer': 'hyena', 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def build(kind: type[Settings], values: Mapping[str, Any], *, where: str) -> Settings:
    """Fill a frozen dataclass from nested mappings, checking every key and type.

    Args:
        kind: The dataclass to make; nested dataclasses are filled from nested mappings.
        values: Keys and values as read from YAML.
        where: File or origin, put at the front of every message.

    Returns:
        An instance of ``kind``.

    Raises:
        ConfigError: On an unknown key (with the nearest name), a wrong type, or a value that the
            dataclass refuses.
    """
    checked = _check_keys(kind, values, where=where, path="")
    parser = _parser(kind)  # type: ignore[arg-type]  # a class is hashable, whatever it is of
    try:
        parsed = parser.parse_object({"root": checked})
        return parser.instantiate(parsed).root  # type: ignore[no-any-return]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (argparse.ArgumentError, TypeError) as error:
        raise ConfigError(f"{where}: {_plain(_own_words(str(error)))}") from error
    except ValueError as error:
        raise ConfigError(f"{where}: {_own_words(str(error))}") from error


@functools.cache
def _parser(kind: type) -> jsonargparse.ArgumentParser:
    """Return the parser of a dataclass; making one costs more than using it."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "root")
    return parser


def _own_words(message: str) -> str:
    r"""Return what a dataclass said, where it is one of several types that a value may have.

    Example:
        >>> _own_words("Does not validate against any of the Union subtypes\nErrors:\n"
        ...            "  - seed is -1.\n  - Expected a <class 'NoneType'>\nGiven value: x")
        'seed is -1.'
    """
    if "any of the Union subtypes" not in message:
        return message
    said = re.findall(r"^ *- (?!Expected a |Problem with given )(.*)$", message, re.MULTILINE)
    return said[0] if len(said) == 1 else message


def _plain(message: str) -> str:
    r"""Turn jsonargparse's lines about types into one about the user's own key.

    Of nested keys it repeats all, of alternatives every one; the last key and what may stand there
    say it.

    Example:
        >>> _plain("Parser key \"root.carve\":\n  - Parser key \"seed\":\n      Expected a <class "
        ...        "'int'>. Got value: x\n  - Expected a <class 'NoneType'>\nGiven value: {...}")
        "key 'carve.seed' holds x; expected a whole number."
    """
    path = ".".join(re.findall(r'Parser key "([^"]+)"', message)).removeprefix("root.")
    innermost = message[message.rfind("Parser key") :]
    kinds = re.findall(r"Expected an? (<class '[\w.]+'>|tuple with \d+ elements)", innermost)
    value = re.search(r"Got value: (.*)", innermost) or re.search(r"Given value: (.*)", innermost)
    plain = (re.sub(r"tuple with (\d+) elements", r"a list of \1 values", kind) for kind in kinds)
    wanted = dict.fromkeys(_KIND_WORDS.get(kind, kind) for kind in plain if "None" not in kind)
    if not (path and wanted and value):
        return " ".join(message.replace("root.", "").split())
    quote = "; put it in quotes" if [*wanted] == ["a text"] and value[1][:1] not in "[{" else ""
    return f"key '{path}' holds {value[1]}; expected {' or '.join(wanted)}{quote}."


def _check_keys(kind: type, values: Mapping[str, Any], *, where: str, path: str) -> dict[str, Any]:
    """Refuse unknown keys with the nearest name; write whole floats as the integers expected."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{where}: key '{path.rstrip('.')}' holds {values!r}; expected a mapping with the keys "
            f"{', '.join(field.name for field in dataclasses.fields(kind))}."
        )
    hints = typing.get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            place = f"{where}: {path.rstrip('.')}" if path else where
            ours = {one.name for one in dataclasses.fields(kind) if one.metadata == OURS}
            raise unknown_name("key", str(key), fields.keys() - ours, where=place)
        alternatives = _alternatives(fields[key])
        nested = _dataclass_in(alternatives)
        choices = _choices_in(alternatives)
        if nested is not None and (value is not None or types.NoneType not in alternatives):
            checked[key] = _check_keys(nested, value, where=where, path=f"{path}{key}.")
        elif (named := _named_dataclass_in(alternatives)) and isinstance(value, Mapping):
            checked[key] = {
                str(name): _check_keys(named, one, where=where, path=f"{path}{key}.{name}.")
                for name, one in value.items()
            }
        elif value is None and not {types.NoneType, Any} & set(alternatives):
            raise ConfigError(f"{where}: key '{path}{key}' is empty; give a value or leave it out.")
        elif choices and not isinstance(value, bool | None):
            checked[key] = _chosen(value, choices, alternatives, where=f"{where}: {path}{key}")
        elif int in alternatives and float not in alternatives and bool not in alternatives:
            checked[key] = _whole(value)
        else:
            checked[key] = value
    return checked


def _chosen(
    value: Any, choices: tuple[str, ...], alternatives: tuple[Any, ...], *, where: str
) -> Any:
    """Return one of the allowed texts, or a list of them; refuse any other."""
    listed = isinstance(value, list | tuple) and _has_list(alternatives)
    for one in value if listed else (value,):
        if str(one) not in choices:
            raise unknown_name("value", str(one), choices, where=where)
    if not listed and all(typing.get_origin(one) is not typing.Literal for one in alternatives):
        raise ConfigError(f"{where} is {value}; expected a list, such as [{value}].")
    return str(value) if type(value) is int else value  # `precision: 32`


def _dataclass_in(alternatives: tuple[Any, ...]) -> type | None:
    """Return the dataclass among the alternatives, if there is one."""
    for alternative in alternatives:
        if isinstance(alternative, type) and dataclasses.is_dataclass(alternative):
            return alternative
    return None


def _named_dataclass_in(alternatives: tuple[Any, ...]) -> type | None:
    """Return the dataclass of a mapping from names to it, if there is one."""
    for alternative in alternatives:
        if typing.get_origin(alternative) is dict:
            return _dataclass_in(_alternatives(typing.get_args(alternative)[1]))
    return None


def _choices_in(alternatives: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the texts that are allowed, alone or listed, where nothing else is, else nothing."""
    listed = [typing.get_args(one)[0] for one in alternatives if typing.get_origin(one) is tuple]
    literals = {one for one in (*alternatives, *listed) if typing.get_origin(one) is typing.Literal}
    if len(literals) != 1:
        return ()
    literal = literals.pop()
    lists = {one for one in alternatives if typing.get_args(one) == (literal, ...)}
    if set(alternatives) - {literal, types.NoneType} - lists:
        return ()
    return tuple(str(choice) for choice in typing.get_args(literal))


def _has_list(alternatives: tuple[Any, ...]) -> bool:
    """Tell whether a list of values is among the alternatives."""
    return any(typing.get_origin(one) is tuple for one in alternatives)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """List the members of a union, or the annotation itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _whole(value: Any) -> Any:
    """Return ``2e8`` and ``"2e8"`` as the integer they mean; leave the rest for the type check."""
    if not isinstance(value, float | str):
        return value
    try:
        return int(value) if isinstance(value, str) else _exact(value, value)
    except ValueError:
        pass
    try:
        return _exact(float(value), value)
    except ValueError:
        return value


def _exact(number: float, value: Any) -> Any:
    """Return a whole number as an integer, and ``value`` where it is not whole."""
    return int(number) if number.is_integer() else value


def plain(settings: Any) -> Any:
    """Return a settings object as plain dicts, lists and scalars, ready for JSON or YAML."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def fingerprint(content: Any, *, length: int = 12) -> str:
    """Hash plain content, independent of key order, into ``length`` hexadecimal digits.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]

"""YAML into dataclasses: strict keys, kind messages, exact numbers."""

import math
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from lightning_dna import settings
from lightning_dna.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A nested section."""

    rate: float = 0.1
    count: int = 3

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.count < 0:
            raise ConfigError(f"inner.count is {self.count}; allowed: 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A section with every kind of field."""

    name: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    mode: Literal["fast", "slow"] = "fast"
    bits: Literal["auto", "32"] = "auto"
    limit: int | None = None
    flag: bool = False
    names: tuple[str, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    kinds: Literal["a", "b"] | tuple[Literal["a", "b"], ...] = "a"
    many: tuple[Literal["lora", "full"], ...] | None = None
    place: str | None = field(default=None, metadata=settings.OURS)


def build(**values):
    return settings.build(Outer, {"name": "x", **values}, where="file.yaml")


def test_every_kind_of_field_is_filled():
    made = build(
        inner={"rate": "1e-4", "count": "2e8"},
        maybe={"count": 1},
        mode="slow",
        bits=32,
        limit=4.0,
        flag=True,
        names=["a", "b"],
        table={"m": 1},
    )
    assert made == Outer(
        name="x",
        inner=Inner(rate=1e-4, count=200_000_000),
        maybe=Inner(count=1),
        mode="slow",
        bits="32",
        limit=4,
        flag=True,
        names=("a", "b"),
        table={"m": 1.0},
    )
    assert type(made.inner.count) is int
    assert build() == Outer(name="x")
    assert build(maybe=None).maybe is None


def test_one_choice_or_a_list_of_them():
    assert build(kinds="b").kinds == "b"
    assert build(kinds=["b", "a"]).kinds == ("b", "a")
    made = build(kinds=["a", "b"])
    assert settings.build(Outer, settings.plain(made), where="x") == made


def test_large_whole_numbers_keep_every_digit():
    assert build(limit="9007199254740993").limit == 9007199254740993


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nmae": "y"}, ["file.yaml: unknown key 'nmae'", "Did you mean 'name'?"]),
        ({"inner": {"rat": 1}}, ["file.yaml: inner: unknown key 'rat'", "'rate'"]),
        ({"inner": None}, ["key 'inner' holds None", "rate, count"]),
        ({"inner": [1]}, ["key 'inner' holds [1]"]),
        ({"inner": {"count": 1.5}}, ["inner.count", "1.5"]),
        ({"inner": {"count": "many"}}, ["inner.count", "many"]),
        ({"inner": {"count": math.inf}}, ["inner.count", "inf"]),
        ({"inner": {"count": True}}, ["inner.count", "True"]),
        ({"inner": {"count": -1}}, ["file.yaml: inner.count is -1"]),
        ({"inner": {"rate": "quick"}}, ["inner.rate", "quick"]),
        ({"mode": "fats"}, ["file.yaml: mode: unknown value 'fats'", "Did you mean 'fast'?"]),
        ({"bits": 31}, ["unknown value '31'", "32, auto"]),
        ({"mode": ["fast"]}, ["mode: unknown value '['fast']'"]),
        ({"kinds": "c"}, ["file.yaml: kinds: unknown value 'c'", "a, b"]),
        ({"kinds": ["a", "c"]}, ["file.yaml: kinds: unknown value 'c'", "a, b"]),
        ({"kinds": {"a": 1}}, ["kinds: unknown value"]),
        (
            {"many": ["full", "lorra"]},
            ["many: unknown value 'lorra'; allowed: full, lora. Did you"],
        ),
        ({"many": "lora"}, ["file.yaml: many is lora; expected a list, such as [lora]."]),
        ({"mode": None}, ["key 'mode' is empty"]),
        ({"inner": {"count": None}}, ["key 'inner.count' is empty"]),
        ({"flag": "perhaps"}, ["key 'flag' holds perhaps; expected true or false."]),
        ({"names": "a"}, ["key 'names' holds a; expected a list."]),
        ({"names": ["a", 17]}, ["key 'names' holds 17; expected a text; put it in quotes."]),
        ({"name": 5}, ["key 'name' holds 5; expected a text; put it in quotes."]),
        ({"limit": "many"}, ["key 'limit' holds many; expected a whole number."]),
        ({"maybe": {"rate": "quick"}}, ["key 'maybe.rate' holds quick; expected a number."]),
        ({"table": [1]}, ["key 'table' holds [1]; expected a mapping of keys to values."]),
        ({3: 1}, ["unknown key '3'"]),
    ],
)
def test_what_is_wrong_is_named_on_one_line(values, words):
    with pytest.raises(ConfigError) as caught:
        settings.build(Outer, {"name": "x", **values}, where="file.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("file.yaml")
    for word in words:
        assert word in message


def test_a_key_that_the_program_sets_is_taken_and_never_offered():
    assert build(place="here", many=["full"]).place == "here"
    with pytest.raises(ConfigError) as caught:
        build(plac="here")
    assert "allowed: bits, flag, inner, kinds, limit, many, maybe, mode, name, names, table." in (
        str(caught.value)
    )


def test_a_required_key_that_is_missing_is_named():
    with pytest.raises(ConfigError, match="name"):
        settings.build(Outer, {}, where="file.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", r"x.yaml, line 3: key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 2\n", r"line 3: key 'b' stands twice"),
        ("? [1]\n: 2\n", r"line 1: \[1\] stands where a key is expected"),
        ("a: [1\n", "not valid YAML"),
        ("a: !!python/object:os.system {}\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("- 1\n", "holds list"),
        ("", "holds NoneType"),
    ],
)
def test_yaml_that_cannot_be_used_is_refused(tmp_path, text, words):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        settings.load_yaml(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    for name in ("none.yaml", "bytes.yaml", "."):
        with pytest.raises(ConfigError, match="cannot read"):
            settings.load_yaml(tmp_path / name)


def test_anchors_and_merges_are_yaml(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("base: &base {width: 1, layers: 2}\nwide:\n  <<: *base\n  width: 9\n")
    assert settings.load_yaml(path)["wide"] == {"width": 9, "layers": 2}


def test_merge_lays_one_over_the_other_and_touches_neither():
    base, changes = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}, {"a": {"c": {"f": 4}}, "e": {"g": 5}}
    assert settings.merge(base, changes) == {"a": {"b": 1, "c": {"d": 2, "f": 4}}, "e": {"g": 5}}
    assert base == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert settings.merge({"a": {"b": 1}}, {"a": None}) == {"a": None}


def test_dotted_texts_are_keys_and_a_yaml_value():
    assert settings.parse_dotted("a.b = [1, 2]") == (["a", "b"], [1, 2])
    assert settings.parse_dotted("a=b=c") == (["a"], "b=c")
    assert settings.parse_dotted("a=") == (["a"], None)
    for text in ("a", "=3", "a.=3", ".a=3"):
        with pytest.raises(ConfigError, match="not of the form"):
            settings.parse_dotted(text)


def test_flatten_and_assign_are_inverse():
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f": None}
    flat = settings.flatten(nested)
    assert flat == {"a.b": 1, "a.c.d": [2], "e": {}, "f": None}
    rebuilt = {}
    for key, value in flat.items():
        rebuilt = settings.assign(rebuilt, key.split("."), value)
    assert rebuilt == nested


def test_plain_is_what_yaml_and_json_can_hold():
    made = Outer(name="x", names=("a",), maybe=Inner())
    plain = settings.plain(made)
    assert plain["names"] == ["a"]
    assert plain["maybe"] == {"rate": 0.1, "count": 3}
    assert settings.build(Outer, yaml.safe_load(yaml.safe_dump(plain)), where="x") == made


def test_fingerprints_see_values_and_not_the_order_of_keys():
    one = settings.fingerprint({"a": [1, 2], "b": {"c": 0.1}})
    assert one == settings.fingerprint({"b": {"c": 0.1}, "a": [1, 2]})
    assert one != settings.fingerprint({"b": {"c": 0.1}, "a": [2, 1]})
    # The first 12 digits of sha256 of '{"a":1}', by coreutils' sha256sum.
    assert settings.fingerprint({"a": 1}) == "015abd7f5cc5"
    assert len(settings.fingerprint({}, length=20)) == 20
    with pytest.raises(ValueError, match="JSON"):
        settings.fingerprint({"a": math.nan})

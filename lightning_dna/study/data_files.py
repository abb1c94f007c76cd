"""Where a recipe names the files of its data: to write their places in another way."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning_dna.data.source import SIMULATED
from lightning_dna.data.tokenization import file_of, in_file

_KEYS = ("genome", "repeat_bed", "annotation", "vcf")


def with_data_files(content: Mapping[str, Any], place: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a recipe's content with the path of every data file written in another way.

    Args:
        content: The recipe as read: ``shared``, and ``arms`` if there are any.
        place: Called with each path; its result takes the path's place.

    Example:
        >>> content = {"shared": {"data": {"genomes": {"yeast": {"genome": "/a/y.fa"}}}}}
        >>> with_data_files(content, lambda path: path.rpartition("/")[2])
        {'shared': {'data': {'genomes': {'yeast': {'genome': 'y.fa'}}}}}
    """
    changed = dict(content)
    if isinstance(changed.get("shared"), Mapping):
        changed["shared"] = _placed(changed["shared"], place)
    if isinstance(changed.get("arms"), Mapping):
        changed["arms"] = {
            name: _placed(arm, place) if isinstance(arm, Mapping) else arm
            for name, arm in changed["arms"].items()
        }
    return changed


def _placed(settings: Mapping[str, Any], place: Callable[[Any], Any]) -> Mapping[str, Any]:
    """Return the settings of an arm, or those of all, with the paths of their data changed."""
    data = settings.get("data")
    if not isinstance(data, Mapping):
        return settings
    changed = _genome_placed(data, place)
    tokenizer = file_of(str(data.get("tokenizer")))
    if tokenizer:
        changed["tokenizer"] = in_file(place(tokenizer))
    if isinstance(data.get("genomes"), Mapping):
        changed["genomes"] = {
            name: _genome_placed(one, place) if isinstance(one, Mapping) else one
            for name, one in data["genomes"].items()
        }
    return {**settings, "data": changed}


def _genome_placed(one: Mapping[str, Any], place: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the settings of one genome with its paths changed."""
    paths = {key: one[key] for key in _KEYS if one.get(key)}
    if paths.get("genome") == SIMULATED:
        del paths["genome"]
    return {**one, **{key: place(path) for key, path in paths.items()}}

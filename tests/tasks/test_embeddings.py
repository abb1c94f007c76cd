"""Embeddings kept on disk: the same numbers, made once, and never those of another question."""

import dataclasses
import os

import numpy as np
import pytest

from lightning_dna.genome.alphabet import encode
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.tasks import embeddings
from lightning_dna.tasks.embeddings import EmbeddingCache, embeddings_of
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import embed

MODEL = build_model(ModelConfig(width=16, layers=2, heads=2, max_length=32), seed=0)
CODES = [encode("ACGTACGTTA"), encode("GGGTTTC"), encode("A"), encode("TTTTTTTTTTTTTTT")]
SETTINGS = FineTuneConfig()


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Count how often the model is run."""
    calls: list[int] = []

    def counting(model, codes, **settings):
        calls.append(len(codes))
        return embed(model, codes, **settings)

    monkeypatch.setattr(embeddings, "embed", counting)
    return calls


@pytest.fixture
def cache(tmp_path) -> EmbeddingCache:
    return EmbeddingCache(folder=tmp_path / "embeddings")


def test_the_second_request_reads_what_the_first_wrote(cache, computed):
    first = embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    second = embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    assert computed == [4]
    np.testing.assert_array_equal(first, embed(MODEL, CODES))
    np.testing.assert_array_equal(first, second)
    assert second.dtype == np.float32


def test_without_a_cache_nothing_is_kept(computed):
    for _ in range(2):
        embeddings_of(MODEL, CODES, SETTINGS)
    assert computed == [4, 4]


@pytest.mark.parametrize(
    ("model", "codes", "settings"),
    [
        (build_model(MODEL.config, seed=1), CODES, SETTINGS),
        (MODEL, CODES[::-1], SETTINGS),
        (MODEL, CODES[:3], SETTINGS),
        (MODEL, CODES, dataclasses.replace(SETTINGS, pooling="max")),
        (MODEL, CODES, dataclasses.replace(SETTINGS, layer=1)),
    ],
    ids=["weights", "order", "fewer", "pooling", "layer"],
)
def test_another_question_is_computed_anew(cache, computed, model, codes, settings):
    embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    found = embeddings_of(model, codes, settings, cache=cache)
    assert len(computed) == 2
    expected = embed(model, codes, pooling=settings.pooling, layer=settings.layer)
    np.testing.assert_array_equal(found, expected)


def test_what_a_probe_chooses_among_does_not_matter(cache, computed):
    embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    other = dataclasses.replace(SETTINGS, probe_c=(7.0,), epochs=99, lr=0.5)
    embeddings_of(MODEL, CODES, other, cache=cache)
    assert computed == [4]


def test_one_weight_that_changes_by_the_last_bit_counts(cache, computed):
    embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    changed = build_model(MODEL.config, seed=0)
    weight = next(changed.parameters())
    flat = weight.data.view(-1)
    flat[0] = float(np.nextafter(np.float32(flat[0].item()), np.float32(9.0)))
    embeddings_of(changed, CODES, SETTINGS, cache=cache)
    assert len(computed) == 2


@pytest.mark.parametrize("damage", ["empty", "half", "foreign", "rows"])
def test_a_damaged_file_is_computed_again_and_replaced(cache, computed, damage):
    expected = embeddings_of(MODEL, CODES, SETTINGS, cache=cache)
    (path,) = cache.folder.glob("*.npy")
    whole = path.read_bytes()
    if damage == "rows":
        np.save(path, np.zeros((3, 16), dtype=np.float32))
    else:
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "foreign": b"x"}[damage])
    np.testing.assert_array_equal(embeddings_of(MODEL, CODES, SETTINGS, cache=cache), expected)
    assert len(computed) == 2
    assert path.read_bytes() == whole


def test_the_folder_stays_within_its_bound_and_the_oldest_go_first(tmp_path):
    row = np.zeros((10, 16), dtype=np.float32)  # 640 bytes and a header of 128
    cache = EmbeddingCache(folder=tmp_path, max_bytes=2_000)
    for at, name in enumerate("abc"):
        cache.write(name, row)
        os.utime(tmp_path / f"{name}.npy", ns=(at, at))
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == ["b", "c"]
    assert cache.read("b", 10) is not None  # read last, so "c" is the oldest now
    cache.write("d", row)
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == ["b", "d"]
    cache.write("large", np.zeros((1000, 16), dtype=np.float32))
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == ["b", "d"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

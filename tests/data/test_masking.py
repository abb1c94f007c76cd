"""Training masks by step, evaluation masks by position."""

import subprocess
import sys
import zlib

import numpy as np

from lightning_dna.data.masking import draw_masks, evaluation_mask


def splitmix(value: int) -> int:
    """SplitMix64's output function in plain Python integers."""
    word = (1 << 64) - 1
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & word
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & word
    return value ^ (value >> 31)


def by_hand(seed: int, chrom: str, position: int, fraction: float) -> bool:
    word, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15
    key = splitmix(((seed + 1) * golden + zlib.crc32(chrom.encode())) & word)
    return splitmix(((position + 1) * golden + key) & word) < int(fraction * 2**64)


def test_evaluation_mask_is_the_stated_hash():
    positions = np.arange(1_000_000, 1_000_200)
    mask = evaluation_mask(7, "chrIV", positions, 0.15)
    assert mask.tolist() == [by_hand(7, "chrIV", int(p), 0.15) for p in positions]


def test_evaluation_mask_does_not_depend_on_window_order_or_process():
    whole = evaluation_mask(0, "chrI", np.arange(5000), 0.15)
    shuffled = np.random.default_rng(1).permutation(5000)
    assert (evaluation_mask(0, "chrI", shuffled, 0.15) == whole[shuffled]).all()
    code = (
        "import numpy as np; from lightning_dna.data.masking import evaluation_mask as m;"
        "print(''.join(map(str, m(0, 'chrI', np.arange(5000), 0.15).astype(int))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "".join(map(str, whole.astype(int)))


def test_evaluation_masks_differ_between_seeds_and_chromosomes_and_hit_the_fraction():
    positions = np.arange(200_000)
    masks = [evaluation_mask(s, c, positions, 0.15) for s in (0, 1) for c in ("chrI", "chrII")]
    for mask in masks:
        assert abs(mask.mean() - 0.15) < 5 * np.sqrt(0.15 * 0.85 / 200_000)
    for i, first in enumerate(masks):
        for second in masks[i + 1 :]:
            assert abs((first & second).mean() - 0.0225) < 0.002


def test_training_masks_follow_80_10_10_and_are_pure_in_seed_and_step():
    draw = draw_masks(3, 11, 400_000, 0.15)
    again = draw_masks(3, 11, 400_000, 0.15)
    assert all((a == b).all() for a, b in zip(draw, again, strict=True))
    assert abs(len(draw.targets) / 400_000 - 0.15) < 0.003
    assert abs(len(draw.hidden) / len(draw.targets) - 0.8) < 0.01
    assert abs(len(draw.replaced) / len(draw.targets) - 0.1) < 0.01
    assert not set(draw.hidden) & set(draw.replaced)
    counts = np.bincount(draw.bases, minlength=4)
    expected = len(draw.replaced) / 4
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 df, p = .001


def test_training_masks_differ_between_steps_and_seeds():
    first = set(draw_masks(0, 0, 50_000, 0.15).targets)
    for seed, step in ((0, 1), (1, 0)):
        other = set(draw_masks(seed, step, 50_000, 0.15).targets)
        assert abs(len(first & other) / 50_000 - 0.0225) < 0.004


def test_a_step_of_more_tokens_begins_with_the_same_masks():
    """So that arms whose tokens_per_step differ still share what they can."""
    short, long = draw_masks(5, 2, 1000, 0.2), draw_masks(5, 2, 4000, 0.2)
    assert short.targets.tolist() == [t for t in long.targets if t < 1000]

"""Digests against the published refget example and a direct computation."""

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from lightning_dna.genome.digest import genome_digest, refget_digest, truncated_digest


def test_published_example():
    # GA4GH refget specification: the digest of ACGT.
    assert refget_digest("ACGT") == "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2"


def test_published_digest_of_nothing():
    # GA4GH VRS specification, example of sha512t24u: the digest of an empty string.
    assert truncated_digest(hashlib.sha512(b"").digest()) == "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXc"


@given(st.text("ACGTN", min_size=1))
def test_is_the_url_safe_start_of_sha512(sequence):
    full = base64.urlsafe_b64encode(hashlib.sha512(sequence.encode()).digest()).decode()
    assert refget_digest(sequence) == "SQ." + full[:32]


def test_case_does_not_matter_and_letters_do():
    assert refget_digest("acGT") == refget_digest("ACGT")
    assert refget_digest("ACGR") != refget_digest("ACGN")
    assert refget_digest(b"ACGT") == refget_digest("ACGT")


def test_genome_digest_depends_on_every_part_and_on_order():
    parts = [("chr1", "SQ.a", "m"), ("chr2", "SQ.b", "m")]
    digests = {
        genome_digest(parts),
        genome_digest(parts[::-1]),
        genome_digest([("chrI", "SQ.a", "m"), parts[1]]),
        genome_digest([("chr1", "SQ.c", "m"), parts[1]]),
        genome_digest([("chr1", "SQ.a", "n"), parts[1]]),
        genome_digest(parts[:1]),
    }
    assert len(digests) == 6
    assert genome_digest(parts) == genome_digest(list(parts))

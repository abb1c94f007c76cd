"""Names for sequences that depend on nothing but the sequence: GA4GH refget digests.

A digest is the first 24 bytes of the SHA-512 of the upper-case letters, in URL-safe base64, with
``SQ.`` in front. It is what pins the identity of a genome in every result.

References:
    The GA4GH refget 2.0 specification; ``sha512t24u`` as in the GA4GH VRS specification.
"""

import base64
import hashlib
import json
from collections.abc import Iterable


def truncated_digest(digest: bytes) -> str:
    """Return the ``sha512t24u`` form of a finished SHA-512 (64 bytes): 32 characters."""
    return base64.urlsafe_b64encode(digest[:24]).decode("ascii")


def refget_digest(sequence: str | bytes) -> str:
    """Return the refget digest of a whole sequence; case does not matter, every other letter does.

    Example:
        >>> refget_digest("acgt")
        'SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2'
    """
    raw = sequence.encode("ascii") if isinstance(sequence, str) else sequence
    return "SQ." + truncated_digest(hashlib.sha512(raw.upper()).digest())


def genome_digest(parts: Iterable[tuple[str, str, str]]) -> str:
    """Digest a whole genome from its (name, sequence digest, soft-mask digest), in file order."""
    text = json.dumps([list(part) for part in parts], separators=(",", ":"))
    return truncated_digest(hashlib.sha512(text.encode("utf-8")).digest())

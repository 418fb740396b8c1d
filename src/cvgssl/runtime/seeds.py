"""Seeds for independent streams of random numbers, by name instead of by order."""

import hashlib


def seed_for(seed: int, *names: int | str) -> int:
    """A 63-bit seed for the stream called `names`, the same on every machine.

    Streams do not depend on one another, so an interrupted run continues with the numbers that
    it would have had, and a new use of random numbers changes no old one.
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

"""
Randomness, in as many streams as there are things to draw.

Pure.  Every stream follows from the seed and its own name and from nothing
else, so that leaving a fault out, or a clerk, redraws nobody else's part.
"""

from __future__ import annotations

from random import Random


def stream(seed: int, name: str) -> Random:
    """The stream of that name, from its beginning."""
    return Random(f"{seed} {name}")

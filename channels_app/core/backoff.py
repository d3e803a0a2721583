"""How long to wait before trying again. Pure, and imports nothing of Django."""

import random
from collections.abc import Callable, Iterator


def pauses(attempts: int, *, first: float, most: float, chance: Callable[[], float] = random.random) -> Iterator[float]:
    """The seconds between so many attempts: at most `first`, then twice that, and so on up to `most`.

    How much of it is left to `chance` (0 to 1), so that those who failed together do not come back together.
    """
    longest = min(first, most)
    for _ in range(attempts - 1):
        yield longest * chance()
        longest = min(2 * longest, most)

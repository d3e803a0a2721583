"""Pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from channels_app.core.backoff import pauses


def test_pauses_double_up_to_the_longest() -> None:
    assert list(pauses(6, first=1, most=10, chance=lambda: 1.0)) == [1, 2, 4, 8, 10]


def test_one_attempt_has_no_pause() -> None:
    assert list(pauses(1, first=1, most=10)) == []


@given(attempts=st.integers(1, 50), first=st.floats(0, 100), most=st.floats(0, 100))
def test_chance_only_ever_shortens_them(attempts: int, first: float, most: float) -> None:
    longest = list(pauses(attempts, first=first, most=most, chance=lambda: 1.0))
    assert all(
        0 <= pause <= limit <= most for pause, limit in zip(pauses(attempts, first=first, most=most), longest, strict=True)
    )

"""Targets: what is kept at most, read exactly, in MACs or parameters."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon import Cost
from convsurgeon.base.errors import TargetError
from convsurgeon.planning.targets import human, parse_quantity, parse_targets

ORIGINAL = Cost(macs=4_089_184_256, params=25_557_032)


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("macs=50%", "macs", 2_044_592_128),
        ("macs=2.0G", "macs", 2_000_000_000),
        ("flops=4G", "macs", 2_000_000_000),
        ("flops=50%", "macs", 2_044_592_128),
        ("flops=501", "macs", 250),
        ("params=12M", "params", 12_000_000),
        ("params=33.3%", "params", 8_510_491),
        ("macs=300k", "macs", 300_000),
        ("macs=1T", "macs", 10**12),
        ("macs=123456", "macs", 123_456),
        (" MACs = 12.5 % ", "macs", 511_148_032),
        ("macs=100%", "macs", 4_089_184_256),
    ],
)
def test_targets_are_read_exactly(text: str, metric: str, limit: int) -> None:
    """Shares, k/M/G/T and plain numbers give exact integers; FLOPs are 2 × MACs; a share rounds down."""
    (target,) = parse_targets(text)
    assert (target.metric, target.limit(ORIGINAL), target.text) == (metric, limit, text)


@pytest.mark.parametrize("text", ["macs", "macs=", "=50%", "mac=50%", "macs=half", "macs=-1G", "50%", ""])
def test_what_is_no_target_is_refused_with_examples(text: str) -> None:
    """A text that can't be read is refused; the message shows the forms."""
    with pytest.raises(TargetError, match=r"can't be read; expected what to keep at most, e\.g\. macs=50%"):
        parse_targets(text)


@pytest.mark.parametrize("form", ["macs={}", "flops={}T", "params={}k", "latency={}ms", "macs=1.{}%"])
def test_numbers_without_end_are_refused(form: str) -> None:
    """Eighteen digits are more than any network has; more of them, which no solver takes, can't be read."""
    assert parse_targets(form.format("9" * 18))
    for digits in (19, 400, 5000):
        with pytest.raises(TargetError, match="can't be read"):
            parse_targets(form.format("9" * digits))


@pytest.mark.parametrize("text", ["macs=0%", "macs=101%", "params=150%"])
def test_shares_outside_0_to_100_are_refused(text: str) -> None:
    """A share says what is kept, so it is more than 0 % and at most 100 %."""
    with pytest.raises(TargetError, match="expected more than 0 % and at most 100 %"):
        parse_targets(text)
    assert parse_targets("macs=100%")


@pytest.mark.parametrize("text", ["macs=0", "params=0.0M", "macs=0.4"])
def test_nothing_can_not_be_kept(text: str) -> None:
    """An amount of nothing is refused."""
    with pytest.raises(TargetError, match="can't be read"):
        parse_targets(text)


def test_several_targets_come_in_order() -> None:
    """One text, several, or none."""
    assert [t.metric for t in parse_targets(["macs=50%", "params=12M"])] == ["macs", "params"]
    assert parse_targets(None) == parse_targets([]) == ()


@given(st.integers(1, 10**6), st.integers(0, 3), st.sampled_from(["k", "M", "G", "T", "K", "g"]))
def test_quantities_are_exact(digits: int, decimals: int, suffix: str) -> None:
    """Decimal quantities are read without floating point."""
    text = f"{Fraction(digits, 10**decimals).__float__():.{decimals}f}"
    scale = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}[suffix.lower()]
    assert parse_quantity(f"{text}{suffix}") == digits * scale // 10**decimals


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.000 k"), (12_345_678, "12.346 M"), (4_089_184_256, "4.089 G")],
)
def test_numbers_for_people(value: int, text: str) -> None:
    """Three decimals and a suffix from a thousand on."""
    assert human(value) == text


@pytest.mark.parametrize(
    ("text", "share"), [("macs=50", "macs=50%"), ("params=7", "params=7%"), ("flops=100", "flops=100%")]
)
def test_a_share_without_its_sign_is_not_taken_for_an_amount(text: str, share: str) -> None:
    """Nobody keeps fifty multiply-accumulates; the same with a percent sign, or a real amount, is a target."""
    with pytest.raises(TargetError, match=f"for a share of the original write {share}"):
        parse_targets(text)
    assert parse_targets(share)[0].share
    assert parse_targets(f"{text}0k")[0].amount

"""Amounts and limits as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsurgeon.base.errors import TargetError
from convsurgeon.budgets.limits import parse_limit
from convsurgeon.budgets.metrics import METRICS, Metric, exact, paste, read_amount, short


@pytest.mark.parametrize(
    ("metric", "text", "amount"),
    [
        ("macs", "4.2G", 4_200_000_000),
        ("macs", 1000, 1000),
        ("flops", "8.4 g", 8_400_000_000),
        ("params", "26M", 26_000_000),
        ("weights_size", "100MB", 100_000_000),
        ("weights_size", "1 MiB", 1_048_576),
        ("activation_memory", "512", 512),
        ("latency", "20ms", 20),
        ("latency", "0.5 s", 500),
        ("latency", "250us", Fraction(1, 4)),
    ],
)
def test_absolute_amounts_are_read_exactly(metric: Metric, text: str | int, amount: int) -> None:
    """k, M, G are powers of 1000 for counts, bytes know both scales, times are milliseconds."""
    limit = parse_limit(metric, text)
    assert (limit.kind, limit.amount) == ("absolute", amount)


@pytest.mark.parametrize(
    ("text", "kind", "amount", "entry"),
    [
        ("+2%", "baseline", Fraction(102, 100), ""),
        ("+0%", "baseline", 1, ""),
        ("-10 %", "baseline", Fraction(9, 10), ""),
        ("50% of resnet50", "entry", Fraction(1, 2), "resnet50"),
        ("33.3 % OF the big one", "entry", Fraction(333, 1000), "the big one"),
    ],
)
def test_relative_limits_are_read_exactly(text: str, kind: str, amount: Fraction, entry: str) -> None:
    """A signed percentage is against the baseline, "of" is against another entry."""
    limit = parse_limit("macs", text)
    assert (limit.kind, limit.amount, limit.entry) == (kind, amount, entry)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("macs", "4.2X"),
        ("macs", "-5G"),
        ("macs", "0"),
        ("macs", "2%"),
        ("macs", "-100%"),
        ("macs", "0% of a"),
        ("macs", "50% of"),
        ("macs", "9" * 5000),
        ("params", "3MB"),
        ("weights_size", "3 parsecs"),
        ("latency", "20"),
        ("latency", "+2%"),
        ("latency", "20MB"),
    ],
)
def test_what_is_no_limit_is_refused_with_an_example(metric: Metric, text: str) -> None:
    """A limit that can't be read says what a readable one looks like."""
    with pytest.raises(TargetError, match=METRICS[metric].example):
        parse_limit(metric, text)


@given(value=st.integers(1, 10**13), metric=st.sampled_from(["macs", "params", "weights_size", "activation_memory"]))
def test_a_pasted_limit_holds_today_and_is_close(value: int, metric: Metric) -> None:
    """The limit that a first run proposes allows today's number and at most one percent more."""
    limit = read_amount(metric, paste(metric, value))
    assert limit is not None
    assert value <= limit <= value * Fraction(101, 100)


def test_numbers_are_written_with_their_unit() -> None:
    """Tables round to three decimals, messages round nothing away."""
    assert short("macs", 4_089_184_256) == "4.089 G"
    assert short("weights_size", 102_549_160) == "102.549 MB"
    assert short("weights_size", 12) == "12 B"
    assert short("latency", 12.3144) == "12.31 ms"
    assert exact("macs", 4_089_184_256) == "4,089,184,256 MACs"
    assert exact("weights_size", 102_549_160) == "102,549,160 bytes"
    assert exact("latency", 12.3144) == "12.314 ms"

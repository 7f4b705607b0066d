"""Rules that choose channels, beside each other: each keeps what it should, and the fits are what they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.selection.__main__ import SHARES, table
from benchmarks.selection.cases import Case, cases
from benchmarks.selection.judge import Found, Judge
from benchmarks.selection.rules import WAYS, Way

IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _net() -> nn.Sequential:
    """Its first stream has 8 channels, of which the last 4 are the first 4 again; the second one is read flattened."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 5)
    )
    with torch.no_grad():
        for tensor in (net[0].weight, net[0].bias):
            tensor[4:] = tensor[:4]
    return net.eval()


@pytest.fixture(scope="module")
def found() -> tuple[nn.Module, dict[str, Case]]:
    """The network and its open streams, by name."""
    net = _net()
    return net, {case.stream.name: case for case in cases(net, IMAGES.split(16), 0)}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_every_rule_keeps_as_many_as_it_should(way: Way, found: tuple[nn.Module, dict[str, Case]]) -> None:
    """Ascending, each once; with all channels no fit changes the network."""
    net, every = found
    assert set(every) == {"0", "2"}
    for case in every.values():
        kept = way.choose(case, 3)
        assert kept.tolist() == sorted(set(kept.tolist()))
        assert len(kept) == 3
    whole = Judge(net, IMAGES).judge(every["0"], way, 1.0)
    assert whole.output_error < 1e-3
    assert whole.changed == 0


@pytest.mark.parametrize("way", [WAYS[0], WAYS[3]], ids=lambda way: way.title)
def test_channels_that_repeat_others_go_first(way: Way, found: tuple[nn.Module, dict[str, Case]]) -> None:
    """The rules that look at how channels depend on each other keep one of each pair, and lose next to nothing."""
    net, every = found
    kept = way.choose(every["0"], 4)
    assert sorted(kept.remainder(4).tolist()) == [0, 1, 2, 3]
    assert Judge(net, IMAGES).judge(every["0"], way, 0.5).output_error < 1e-3


def test_least_squares_is_what_the_elimination_leaves(found: tuple[nn.Module, dict[str, Case]]) -> None:
    """On the samples to fit on no other weights on the same channels, the merged ones included, err less."""
    case = found[1]["2"]
    (reading,) = case.readings
    moments, original = reading.site.ridged, reading.site.original.weight
    kept = torch.tensor([0, 2, 5])
    errors = [moments.relative_error(original - way.fit(case, reading, kept)) for way in (WAYS[0], WAYS[4])]
    assert errors[0] < errors[1] < 1


def test_the_table_has_a_row_for_each_rule() -> None:
    """Means over streams, then each stream at the last share, in percent."""
    found = {("a", s, share): Found(0.01, 0.02 * n, 0.5) for n, s in ((1, "x"), (2, "y")) for share in SHARES}
    lines = table(found).splitlines()
    assert lines[2] == "| a |" + " 1 | 3 | 50.00 |" * len(SHARES)
    assert lines[-1] == "| a | 2 | 4 |"

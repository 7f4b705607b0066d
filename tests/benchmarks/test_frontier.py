"""The benchmark of accuracy against latency: what is kept is what was made, and every row is shown."""

import torch
from torch import nn

from benchmarks.accuracy.nets import build
from benchmarks.frontier.__main__ import ROWS
from benchmarks.frontier.networks import of_these_widths
from benchmarks.frontier.page import pictures, tables
from benchmarks.frontier.rows import Row, merged
from benchmarks.rows import read_rows


def row(machine: str, changed: float) -> Row:
    """One point of the VGG-style net."""
    return Row(
        net="vgg",
        machine=machine,
        method="auto",
        target="macs=40%",
        in_time=False,
        macs=39.9,
        changed=changed,
        lost=0.2,
        lost_after_training=None,
        times={"eager": 61.0},
    )


def thinner(model: nn.Module) -> nn.Module:
    """The VGG-style net without half of the channels between its first two convolutions."""
    first, norm, second = (model.features[index] for index in (0, 1, 4))
    first.weight.data = first.weight.data[:16]
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).data = getattr(norm, name).data[:16]
    second.weight.data = second.weight.data[:, :16]
    first.out_channels = norm.num_features = second.in_channels = 16
    return model.eval()


def test_pruned_networks_are_kept():
    """A pruned network is built again from its tensors alone, with the same outputs."""
    pruned, x = thinner(build("vgg")), torch.rand(2, 1, 28, 28)
    again = of_these_widths(build("vgg"), pruned.state_dict()).eval()
    assert torch.equal(again(x), pruned(x))
    assert again.features[4].in_channels == 16


def test_merging():
    """A network timed again on a machine replaces its rows there alone."""
    old, other, new = row("a", 1.0), row("b", 1.0), row("a", 2.0)
    assert merged([old, other], [new]) == [other, new]


def test_page(tmp_path):
    """Table and picture show each row."""
    found = [row("a", 0.05)]
    assert "| auto, swaps alone | macs=40% | 39.9 | 61.0 | 0.05 | 0.20 | – |" in tables(found)
    (path,) = pictures(found, tmp_path)
    # Less than the test images resolve is drawn as what they resolve.
    assert "% 61, images with another class than before, % 0.1" in path.read_text().replace("of the original's ", "")


def test_the_lab_book_shows_the_rows_that_are_kept():
    """Every line of the tables stands in the lab book."""
    book = (ROWS.parents[2] / "docs" / "lab" / "accuracy.md").read_text(encoding="utf-8").splitlines()
    found = [line for line in tables(read_rows(Row, ROWS)).splitlines() if line]
    assert found
    assert set(found) <= set(book)

import torch
from torch import nn

from benchmarks.accuracy.nets import build
from benchmarks.frontier.networks import of_these_widths
from benchmarks.frontier.page import pictures, tables
from benchmarks.frontier.rows import Row, merged


def row(machine: str, changed: float) -> Row:
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


def test_a_pruned_network_is_built_again_from_its_tensors_alone():
    pruned, x = thinner(build("vgg")), torch.rand(2, 1, 28, 28)
    again = of_these_widths(build("vgg"), pruned.state_dict()).eval()
    assert torch.equal(again(x), pruned(x))
    assert again.features[4].in_channels == 16


def test_a_network_timed_again_on_a_machine_replaces_its_rows_there_alone():
    old, other, new = row("a", 1.0), row("b", 1.0), row("a", 2.0)
    assert merged([old, other], [new]) == [other, new]


def test_the_table_and_the_picture_show_each_row(tmp_path):
    found = [row("a", 0.05)]
    assert "| auto, swaps alone | macs=40% | 39.9 | 61.0 | 0.05 | 0.20 | – |" in tables(found)
    (path,) = pictures(found, tmp_path)
    # Less than the test images resolve is drawn as what they resolve.
    assert "% 61, images with another class than before, % 0.1" in path.read_text().replace("of the original's ", "")

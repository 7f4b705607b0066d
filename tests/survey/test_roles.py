"""What the graph says about each convolution: stem, shortcut, the norm and activation behind it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.models.loading import build_model
from convsurgeon.survey.roles import Role, read_roles
from tests.nets import Residual, Residual64, Sized, Untraceable
from tests.transfer.networks import trained


def _names(roles: dict[str, Role], flag: str) -> list[str]:
    return [name for name, role in roles.items() if getattr(role, flag)]


def test_resnet50_has_one_stem_and_four_shortcuts() -> None:
    """In ResNet-50 exactly conv1 comes first and the four downsample convolutions are shortcuts."""
    roles = read_roles(build_model("resnet50", device="meta"))
    assert _names(roles, "first") == ["conv1"]
    assert _names(roles, "shortcut") == [f"layer{stage}.0.downsample.0" for stage in (1, 2, 3, 4)]
    assert len(roles) == 53
    assert (roles["layer1.0.conv1"].norm, roles["layer1.0.conv1"].activation) == ("layer1.0.bn1", "layer1.0.relu")


def test_projections_of_inverted_residuals_are_no_shortcuts() -> None:
    """MobileNetV2's 1×1 projections end in an addition too, but stand on the long side of it."""
    assert _names(read_roles(build_model("mobilenet_v2", device="meta")), "shortcut") == []


def test_a_block_that_is_added_to_its_own_input_has_no_shortcut_convolution() -> None:
    """Of a residual block's convolutions only the 1×1 on the short side is a shortcut."""
    assert _names(read_roles(Residual()), "shortcut") == ["shortcut.0"]
    assert _names(read_roles(Residual64()), "shortcut") == ["shortcut"]


class _Branches(nn.Module):
    """Two convolutions read the image; their norm is shared by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.after = nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.norm(self.left(x)) + self.right(x).relu())


def test_every_convolution_that_reads_the_image_comes_first() -> None:
    """Both branches are first; what comes behind them is not. A norm counts where it is the only reader."""
    roles = read_roles(_Branches())
    assert _names(roles, "first") == ["left", "right"]
    assert (roles["left"].norm, roles["right"].norm, roles["after"].norm) == ("norm", None, None)


def test_parts_are_traced_where_the_whole_is_not() -> None:
    """A block inside an untraceable model still knows its shortcut; the loose convolution has no role."""
    roles = read_roles(Untraceable())
    assert {name: role.traced_by for name, role in roles.items()} == {
        "block.conv1": "parts",
        "block.conv2": "parts",
        "block.shortcut": "parts",
    }
    assert _names(roles, "shortcut") == ["block.shortcut"]


class _Branching(nn.Conv2d):
    """A convolution whose own forward no trace survives."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.shape[-1] % 2 else torch.nn.functional.pad(x, (0, 1, 0, 1)))


def test_a_convolution_subclass_is_a_leaf() -> None:
    """A convolution class that branches on shapes does not spoil the trace of the whole model."""
    roles = read_roles(nn.Sequential(nn.Conv2d(3, 8, 3), _Branching(8, 8, 3), nn.BatchNorm2d(8)))
    assert {role.traced_by for role in roles.values()} == {"fx"}
    assert roles["1"].norm == "2"


class _Parallel(nn.Module):
    """A 1×1 convolution beside one convolution, or beside a chain of two."""

    def __init__(self, chain: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(8, 8, 1)
        self.chain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(chain)))

    def forward(self, x: Tensor) -> Tensor:
        return self.point(x) + self.chain(x)


def test_a_shortcut_goes_past_two_convolutions_or_more() -> None:
    """Beside a chain of two a 1×1 convolution is a shortcut; beside a single one it is a branch like the other."""
    assert _names(read_roles(_Parallel(1)), "shortcut") == []
    assert _names(read_roles(_Parallel(2)), "shortcut") == ["point"]


def test_names_are_those_of_the_whole_model_where_only_parts_are_traced() -> None:
    """A part's norm and activation are named from the root, by their first name, as the same graph's whole would."""
    whole, parts = read_roles(Sized(False)), read_roles(Sized(True))
    inside = ["one.conv", "two.0.conv", "two.1.conv"]
    assert {name: (parts[name].norm, parts[name].activation) for name in inside} == {
        name: (whole[name].norm, whole[name].activation) for name in inside
    }
    assert parts["two.0.conv"].norm == "two.0.bn"
    assert {role.traced_by for role in parts.values()} == {"parts"}


def test_a_size_check_changes_nothing_about_a_fit() -> None:
    """A network that can only be traced by parts is fitted to the bit like its twin, outside of its own stem."""
    free, checked = trained(Sized(False)), Sized(True).eval()
    checked.load_state_dict(free.state_dict())
    data = [torch.randn(8, 3, 16, 16) for _ in range(4)]
    rules = convsurgeon.Rules(skip=("conv",))
    done = [
        convsurgeon.convert(net, data[0], method="igc-l1m1-w4", rules=rules, calibration=data)
        for net in (free, checked)
    ]
    assert [row.name for row in done[1].plan.replaced] == ["one.conv", "two.0.conv", "two.1.conv"]
    assert done[0].report.fidelity == done[1].report.fidelity
    for name, value in done[0].model.state_dict().items():
        assert torch.equal(value, done[1].model.state_dict()[name]), name
    assert torch.equal(checked.bn.running_mean, done[1].model.bn.running_mean)

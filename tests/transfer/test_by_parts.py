"""Networks that no trace reads as a whole: they are calibrated and recovered like those that trace."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

import convsurgeon
from convsurgeon import Rules
from tests.nets import Residual, Sized
from tests.recovery.lessons import equal, settings
from tests.transfer.networks import trained


def test_a_detectors_backbone_is_calibrated() -> None:
    """Of a detector's norms exactly those right behind fitted convolutions change, and the network still runs."""
    net = trained(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3))
    data = [([torch.rand(3, 64, 64)],) for _ in range(3)]
    done = convsurgeon.convert(
        net, data[0], method="igc-l1m1-w8", rules=Rules(only=("backbone.features.0.[123].*",)), calibration=data
    )
    replaced = [row.name for row in done.plan.replaced]
    assert len(replaced) >= 4
    before, after = net.state_dict(), done.model.state_dict()
    means = [name for name in before if name.endswith("running_mean")]
    # In torchvision's blocks the norm behind X.0 is X.1.
    behind = {f"{name.removesuffix('.0')}.1.running_mean" for name in replaced}
    assert {name for name in means if not torch.equal(before[name], after[name])} == behind
    assert done.report.fidelity is not None
    assert len(done.model(*data[0])) == 1


def test_a_size_check_changes_nothing_about_a_recovery() -> None:
    """Two steps of training end in the same bits with and without a check that stands in the way of a trace."""
    free, checked = trained(Sized(False)), trained(Sized(True))
    checked.load_state_dict(free.state_dict())
    data = [torch.randn(8, 3, 16, 16) for _ in range(2)]
    found = []
    for net in (free, checked):
        half = convsurgeon.convert(net, data[0], method="igc-l1m1-w4", rules=Rules(skip=("conv",)), calibration=data)
        found.append(convsurgeon.recover(net, half, data, settings=settings(steps=2)))
        assert not equal(half.model, found[-1].model)
    assert equal(found[0].model, found[1].model)


@pytest.mark.parametrize("net", [Residual(), nn.Sequential(Sized(True))])
def test_a_calibrated_conversion_reads_each_graph_once(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Survey, measured damage and the fits share one reading; nothing that traced is traced again."""
    traced: list[type] = []
    trace = fx.Tracer.trace

    def counted(self: fx.Tracer, root: nn.Module, *args: object) -> fx.Graph:
        graph = trace(self, root, *args)  # type: ignore[arg-type]
        traced.append(type(root))
        return graph

    monkeypatch.setattr(fx.Tracer, "trace", counted)
    data = [torch.randn(16, 3, 16, 16) for _ in range(4)]
    done = convsurgeon.convert(trained(net), data[0], method="igc", target="macs=80%", calibration=data)
    assert done.plan.objective.startswith("measured")
    assert len(traced) == (1 if isinstance(net, Residual) else 3)

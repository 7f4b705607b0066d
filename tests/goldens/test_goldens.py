"""What the first format promised still holds: plans to the letter, saved folders to the bit, reports to the word."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import convsurgeon
from convsurgeon import Rules
from convsurgeon.cli.app import run
from convsurgeon.report.folder import read_report

HERE = Path(__file__).parent
# Each plan's SHA-256 (of solved ones the damage), or a refusal's words, from before the package was divided into rooms.
PLANS: dict[str, dict[str, str | float]] = json.loads((HERE / "plans.json").read_text(encoding="utf-8"))
NETWORKS = {"resnet18": 224, "mobilenet_v3_small": 224, "fasterrcnn_mobilenet_v3_large_320_fpn": 320}
CASES: dict[str, dict[str, object]] = {
    **{
        name: {"method": name}
        for name in ("compconv", "compconv32", "compconv128", "compconv512", "igc", "igc-b16", "igc-l4m2", "dgconv")
    },
    "compconv at half": {"method": "compconv", "target": "macs=50%"},
    "igc at half": {"method": "igc", "target": "macs=50%"},
    "dgconv at half": {"method": "dgconv", "target": "macs=50%"},
    "igc under two targets": {"method": "igc", "target": ["macs=60%", "params=50%"]},
    "rules": {"method": "compconv128", "rules": Rules(skip=("layer1.*",), shortcuts=True, stem=True)},
}


def plans_of(network: str) -> dict[str, str | float]:
    """A digest of each case's plan, or what it is refused with."""
    size = NETWORKS[network]
    extra = {"weights_backbone": None} if "rcnn" in network else {}
    model = models.get_model(network, weights=None, **extra).eval()
    image = torch.zeros(3, size, size)
    inputs = ([image],) if "rcnn" in network else image[None]
    found = {}
    for case in PLANS[network]:
        try:
            text = convsurgeon.plan(model, inputs, **CASES[case]).to_json()  # type: ignore[arg-type]
            found[case] = _damage(text) if json.loads(text)["target"] else hashlib.sha256(text.encode()).hexdigest()
        except convsurgeon.UsageError as error:
            found[case] = f"{type(error).__name__}: {error}"
    return found


def _damage(text: str) -> float:
    """Of a solved plan what it does in sum: solvers of different releases may pick others that are as good."""
    return math.fsum(row["damage"] or 0.0 for row in json.loads(text)["layers"])


@pytest.mark.parametrize("network", NETWORKS)
def test_plans_stay_what_they_were(network: str) -> None:
    """The same model and request give the same plan, to the last character where nothing was to be solved."""
    found = plans_of(network)
    assert list(found) == list(PLANS[network])
    for case, wanted in PLANS[network].items():
        assert found[case] == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=2e-6)), case


class _Net(nn.Module):
    """What the folder was converted from."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 32, 3, padding=1)
        self.bn = nn.BatchNorm2d(32)
        self.b = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.c = nn.Conv2d(64, 64, 3, padding=1, groups=2)
        self.d = nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.f = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.b(self.bn(self.a(x)).relu())).relu()
        return self.f(self.d(self.c(x).relu()).relu().mean((2, 3)))


def test_a_folder_of_the_first_format_loads_to_the_bit() -> None:
    """Weights, orders and outputs are those that were saved."""
    network = convsurgeon.load(HERE / "released", model=_Net())
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    assert digest.hexdigest() == "dedaad3e54b859318c856e4a13126dfe751597042eec5bf4c2d149f7de33cc7c"


def test_a_report_of_the_first_format_reads_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    """Its Markdown is what stands beside it, word for word: every figure that the release that wrote it printed."""
    assert run(["report", str(HERE / "released"), "--markdown"]) == 0
    assert capsys.readouterr().out == (HERE / "released.md").read_text(encoding="utf-8")
    report = read_report(HERE / "released")
    assert (list(report.errors), report.notes, report.schema_version) == (["b"], (), 2)


def test_a_damaged_report_is_refused_and_its_twin_is_not(tmp_path: Path) -> None:
    """A report that is no mapping, or lacks what it must have, ends in one sentence; the whole one is read."""
    folder = tmp_path / "saved"
    shutil.copytree(HERE / "released", folder)
    assert read_report(folder).before.macs == 3_105_088
    damaged = {"[]": "is damaged", "{}": "is damaged", '{"schema_version": 1}': "is damaged", "nonsense": "is not JSON"}
    for text, words in damaged.items():
        (folder / "report.json").write_text(text, encoding="utf-8")
        with pytest.raises(convsurgeon.UsageError, match=words):
            read_report(folder)

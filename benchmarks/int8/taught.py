"""Networks of torchvision and timm, taught a little: random weights have nothing that int8 could lose.

What a random network returns hardly depends on its input: by its largest output int8 looks perfect where the class
never changes, and useless where noise decides it. A hundred steps of training give it activations that tell classes
apart, and least squares on these its last layer, which so few steps leave far behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.accuracy.data import CLASSES, load_test, load_train

__all__ = ["NAMES", "Images", "taught"]

STEPS, BATCH, PEAK = 100, 64, 2e-3
MEASURED, JUDGED, MARGIN = 128, 1000, 2
NOISE = 0.1

NAMES = (
    # Dense kernels, groups and residual blocks, which learn quickly.
    *("timm:test_resnet", "timm:test_byobnet", "timm:regnetx_002", "timm:regnety_002", "timm:hgnetv2_b0"),
    *("timm:ese_vovnet19b_slim_dw", "timm:dla46x_c", "timm:regnetz_005", "timm:resnet10t", "timm:cs3darknet_focus_s"),
    *("timm:gernet_s", "timm:nf_regnet_b0", "timm:test_nfnet", "timm:repvgg_a0", "timm:resnetv2_18", "timm:seresnet18"),
    *("timm:legacy_seresnet18", "timm:skresnet18", "regnet_x_400mf", "regnet_y_400mf", "regnet_x_800mf"),
    *("regnet_y_800mf", "resnet18", "resnet34", "resnet50"),
    # Depthwise ones.
    *("timm:test_efficientnet", "timm:ghostnet_050", "timm:starnet_s050", "timm:fasternet_t0", "timm:cspnext_tiny"),
    *("timm:inception_next_atto", "timm:mobileone_s1", "timm:efficientnet_lite0", "timm:rexnet_100"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "mnasnet1_0"),
)


@dataclass(frozen=True)
class Images:
    """Fashion-MNIST, with a margin to [N, 3, 32, 32]: to learn from, to measure on, and to judge on."""

    learnt: Tensor
    labels: Tensor
    measured: Sequence[Tensor]
    judged: Sequence[Tensor]
    right: Tensor

    @classmethod
    def of(cls, folder: Path) -> Images:
        """The first ones of both parts; no image of the test part is learnt from or measured on."""
        train, test = load_train(folder), load_test(folder)
        end = STEPS * BATCH
        return cls(
            _framed(train.images[:end]),
            train.labels[:end],
            _framed(train.images[end : end + MEASURED]).split(BATCH),
            _framed(test.images[:JUDGED]).split(250),
            test.labels[:JUDGED],
        )


def _framed(images: Tensor) -> Tensor:
    edge = float(images.min())
    return nn.functional.pad(images, (MARGIN,) * 4, value=edge).expand(-1, 3, -1, -1).contiguous()


def taught(name: str, images: Images) -> nn.Module:
    """The network after ``STEPS`` steps of AdamW, in eval mode, its norms and last layer fitted to what they left."""
    torch.manual_seed(0)
    model = _built(name).train()
    optimiser = torch.optim.AdamW(model.parameters(), PEAK)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=STEPS)
    for batch, labels in zip(images.learnt.split(BATCH), images.labels.split(BATCH), strict=True):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(batch), labels).backward()
        optimiser.step()
        schedule.step()
    _settle_norms(model, images.measured)
    _fit_last(model, images)
    return model


def _built(name: str) -> nn.Module:
    library, _, plain = name.rpartition(":")
    model: nn.Module
    if library == "timm":
        import timm

        model = timm.create_model(plain, num_classes=CLASSES)
    else:
        from torchvision.models import get_model

        model = get_model(plain, weights=None, num_classes=CLASSES)
    return model


@torch.no_grad()
def _settle_norms(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Batch norms' own averages are behind after so few steps; some libraries let them move by 0.0003 a step."""
    model.eval()
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.reset_running_stats()
            # The mean over all batches.
            norm.momentum = None
            norm.train()
    for batch in batches:
        model(batch)
    model.eval()


@torch.no_grad()
def _fit_last(model: nn.Module, images: Images) -> None:
    """A ridge classifier on the features [N, F] before the last linear layer, as if each had a tenth of noise.

    Without it the layer would rest on differences between features that no rounding leaves.
    """
    from sklearn.linear_model import RidgeClassifier

    last = next((one for one in reversed(list(model.modules())) if isinstance(one, nn.Linear)), None)
    if last is None:
        # A convolution gives the classes; it stays as it was trained.
        return
    parts: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, args: parts.append(args[0]))
    for batch in images.learnt.split(BATCH):
        model(batch)
    hook.remove()
    features = torch.cat(parts)
    ridge = len(features) * float((NOISE * features.std(0)).square().mean())
    found = RidgeClassifier(ridge).fit(features.numpy(), images.labels.numpy())
    last.weight.copy_(torch.from_numpy(found.coef_))
    last.bias.copy_(torch.from_numpy(found.intercept_))

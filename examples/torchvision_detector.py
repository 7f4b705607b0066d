"""A torchvision detector whose backbone costs less: heads, anchors and boxes stay as they are.

Pass weights="DEFAULT" and random_weights=False for a trained one, and calibration=[...] to keep what it knows.
"""

import torch
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import convsurgeon
from convsurgeon import Rules


def main() -> None:
    """Convert the backbone, keep the detector working, save and load it."""
    detector = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).eval()
    images = ([torch.rand(3, 200, 320)],)  # a detector takes one argument: a list of images [3, H, W]

    done = convsurgeon.convert(
        detector, images, target="params=90%", rules=Rules(only=("backbone.body.*",)), random_weights=True
    )
    with torch.no_grad():
        (found,) = done.model(*images)
    print(f"backbone: {len(done.plan.replaced)} convolutions replaced, e.g. {done.plan.replaced[0].name}")
    print(f"params: {done.plan.before.params:,} → {done.plan.after.params:,}; answers: {sorted(found)}")


if __name__ == "__main__":
    main()

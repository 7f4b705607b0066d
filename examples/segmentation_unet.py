"""A U-Net from segmentation_models_pytorch: half of its MACs in encoder and decoder, the masks keep their size."""

import segmentation_models_pytorch as smp
import torch

import convsurgeon
from convsurgeon import LayerRule, Rules


def main() -> None:
    """Let the solver choose everywhere, with another method for the decoder."""
    unet = smp.Unet("resnet18", encoder_weights=None, classes=4).eval()
    image = torch.rand(1, 3, 128, 128)

    rules = Rules(skip=("segmentation_head.*",), layers=(LayerRule(match="decoder.*", method="igc"),))
    done = convsurgeon.convert(unet, image, target="macs=50%", rules=rules, random_weights=True)
    with torch.no_grad():
        masks = done.model(image)
    decoder = [layer for layer in done.plan.replaced if layer.name.startswith("decoder.")]
    print(f"{len(done.plan.replaced)} convolutions replaced, {len(decoder)} of them in the decoder")
    print(f"MACs: {done.plan.before.macs:,} → {done.plan.after.macs:,}; masks {list(masks.shape)}")


if __name__ == "__main__":
    main()

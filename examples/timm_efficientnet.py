"""A timm EfficientNet, whose cost is in 1×1 convolutions: fitted to its own weights on unlabelled images.

Pass pretrained=True for trained weights, and your images, preprocessed, in place of random ones.
"""

import timm
import torch

import convsurgeon


def main() -> None:
    """Convert with calibration inputs, and say how close the result is."""
    network = timm.create_model("test_efficientnet", pretrained=False).eval()  # or "efficientnet_b0"
    batches = [torch.rand(16, 3, 64, 64) for _ in range(2)]

    done = convsurgeon.convert(network, batches[0][:1], method="igc-l2m2", target="macs=75%", calibration=batches)
    print(f"{len(done.plan.replaced)} of {len(done.plan.layers)} convolutions replaced")
    print(f"MACs: {done.plan.before.macs:,} → {done.plan.after.macs:,}")
    if done.report.fidelity is not None:
        print(f"output error on held-back images: {done.report.fidelity.output_error}")


if __name__ == "__main__":
    main()

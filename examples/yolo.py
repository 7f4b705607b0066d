"""A YOLO from its YAML file, or YOLO("yolov8n.pt") for a trained one; the rest of ultralytics works as before.

Validation and prediction fuse batch norms into convolutions, which reads convolutions' weights: fuse before converting.
"""

import torch
from ultralytics import YOLO

import convsurgeon


def main() -> None:
    """Convert the network inside, and put it back into ultralytics' own object."""
    yolo = YOLO("yolov8n.yaml")
    network = yolo.model.eval()
    image = torch.rand(1, 3, 160, 160)

    done = convsurgeon.convert(network, image, target="macs=60%", random_weights=True)
    yolo.model = done.model
    with torch.no_grad():
        boxes, *_ = yolo.model(image)
    print(f"{len(done.plan.replaced)} of {len(done.plan.layers)} convolutions replaced")
    print(f"MACs: {done.plan.before.macs:,} → {done.plan.after.macs:,}; predictions {list(boxes.shape)}")


if __name__ == "__main__":
    main()

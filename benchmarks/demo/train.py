"""Make the two files of the demonstration: ``python -m benchmarks.demo.train`` (about two minutes on one core).

digits.safetensors: scikit-learn's digits (``pip install scikit-learn``) as bytes; digits-resnet.safetensors: the
network trained on the train split, in half precision. Other processors or versions of torch round otherwise, so the
weights may differ in their last digits; the data may not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from convsurgeon.demo.data import DIGITS, Digits, Epochs, digits
from convsurgeon.demo.net import WEIGHTS, DigitNet, trained
from convsurgeon.transfer.accuracy import top1_accuracy

HOME = Path(__file__).parents[2] / "convsurgeon" / "demo"
EPOCHS, BATCH, PEAK_LR, WEIGHT_DECAY, SEED = 30, 64, 4e-3, 5e-2, 0


def write_digits(path: Path) -> None:
    """Images [1797, 8, 8] with values 0…16 and labels [1797], both uint8."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels, labels = torch.from_numpy(found.images), torch.from_numpy(found.target)
    path.write_bytes(save({"images": pixels.to(torch.uint8), "labels": labels.to(torch.uint8)}))


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by −1, 0 or 1 pixels along each axis, dark where nothing was: [N, 1, 8, 8]."""
    moves = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    padded = F.pad(images, (1, 1, 1, 1))
    return torch.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, moves, strict=True)])


def train(data: Digits) -> DigitNet:
    """AdamW with one cycle of the learning rate, on images shifted at random."""
    torch.manual_seed(SEED)
    net, generator = DigitNet().train(), torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(net.parameters(), PEAK_LR, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * (len(data.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps)
    epochs = Epochs(data.images, BATCH, SEED)
    for epoch in range(EPOCHS):
        epochs.set_epoch(epoch)
        for chosen in epochs.orders():
            images, labels = data.images[chosen], data.labels[chosen]
            loss = F.cross_entropy(net(shifted(images, generator)), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def write_weights(net: DigitNet, path: Path) -> None:
    """Numbers in half precision, counters as they are."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()}
    path.write_bytes(save(state))


def main() -> None:
    """Write both files and say what the network reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-only", action="store_true", help="write the digits, train nothing")
    options = parser.parse_args()
    write_digits(HOME / DIGITS)
    if options.data_only:
        return
    train_split, test_split = digits()
    write_weights(train(train_split), HOME / WEIGHTS)
    for name, split in (("train", train_split), ("test", test_split)):
        print(f"top-1 on the {name} split: {top1_accuracy(trained(), split.batches(256)).top1:.2%}")


if __name__ == "__main__":
    main()

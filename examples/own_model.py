"""A model of one's own: any nn.Module, with control flow that no tracer reads, saved and loaded again."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import convsurgeon


class Recurrent(nn.Module):
    """One convolution, called until the map is still."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, image: Tensor, most: int = 3) -> dict[str, Tensor | int]:
        """[N, 3, H, W] → {"map": [N, 64, H, W], "steps": int}."""
        state, steps = self.stem(image), 0
        while steps < most and float(state.abs().mean()) > 1e-3:
            state, steps = torch.tanh(self.again(state)), steps + 1
        return {"map": state, "steps": steps}


def main() -> None:
    """Convert, save, and load into a fresh instance of the same class."""
    inputs = {"image": torch.rand(1, 3, 32, 32), "most": 2}
    done = convsurgeon.convert(Recurrent(), inputs, target="macs=50%", random_weights=True)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        again = convsurgeon.load(done.save(Path(folder) / "half"), model=Recurrent())
        same = torch.equal(again(**inputs)["map"], done.model.eval()(**inputs)["map"])
    print(f"MACs: {done.plan.before.macs:,} → {done.plan.after.macs:,}; equal after loading: {same}")


if __name__ == "__main__":
    main()

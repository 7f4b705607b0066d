"""Is the floor kept on images that nobody saw, how far from the smallest network, and what does a search cost?

Five small networks (five seeds and splits of the digits that ship with the package), four floors each. Every network
is trained on 700 digits, fitted on 112 and judged on some 600 others; 397 are for the test alone. A fine sweep fits
one network for every 2 % of the MACs and finds the smallest that keeps each floor on the same inputs.

    python -m benchmarks.floor
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import silent
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.judge import Judge
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.steps import fitted
from convsurgeon.conversion.to_floor.verdicts import Court
from convsurgeon.demo.data import digits
from convsurgeon.demo.net import DigitNet
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.floors import Floor, parse_floors

FLOORS = ("agreement=97%", "agreement=95%", "top1=-2", "output-error=2%")
SEEDS = range(5)
TRAINED, FITTED, TESTED = 700, 128, 397
EPOCHS, BATCH = 12, 64
SHARES = range(6, 62, 2)
MOVES = "swap"


@dataclass(frozen=True)
class Case:
    """A trained network and its three parts of the digits, as (images, labels)."""

    net: nn.Module
    calibration: list[Tensor]
    judging: list[tuple[Tensor, Tensor]]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, seed: int) -> Case:
        """Train on one split of the digits."""
        first, second = digits()
        images, labels = torch.cat([first.images, second.images]), torch.cat([first.labels, second.labels])
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        images, labels = images[order], labels[order]
        ends = (TRAINED, TRAINED + FITTED, len(images) - TESTED)
        x, y = (part.tensor_split(ends) for part in (images, labels))
        net = _trained(x[0], y[0], seed)
        return cls(net, list(x[1].split(64)), list(zip(x[2].split(64), y[2].split(64), strict=True)), (x[3], y[3]))


def _trained(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = DigitNet().train()
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def main() -> None:
    """Print a row for each network and floor, and the sums."""
    torch.set_num_threads(1)
    kept = near = 0
    ratios = []
    print("| seed | floor | MACs kept | fine sweep | probes | × one conversion | on the test images | kept |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in SEEDS:
        case = Case.of(seed)
        once = _seconds(case, target="macs=50%")[0]
        swept = _sweep(case)
        for text in FLOORS:
            seconds, done = _seconds(case, at_least=text, evaluation=case.judging)
            assert done.plan.floor is not None
            share, tested = done.report.after.macs / done.report.before.macs, _on_test(case, text, done.model)
            kept, near = kept + tested[1], near + (share - swept[text] <= 0.05)
            ratios.append(seconds / once)
            print(
                f"| {seed} | {text} | {share:.1%} | {swept[text]:.1%} | {len(done.plan.floor.probes)} "
                f"| {seconds / once:.2f} | {tested[0]:+.2%} | {'yes' if tested[1] else 'no'} |",
                flush=True,
            )
    runs = len(FLOORS) * len(SEEDS)
    print(f"\nkept on the test images in {kept} of {runs}; within 5 points of the fine sweep in {near} of {runs}")
    print(f"an exploration of five targets takes {_exploring(Case.of(0)):.2f} times one conversion")
    print(f"a search takes {sum(ratios) / runs:.2f} times one conversion on average, {max(ratios):.2f} at most")


def _seconds(case: Case, **asked: object) -> tuple[float, convsurgeon.Conversion]:
    """CPU seconds of a conversion that finds nothing in the cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CONVSURGEON_CACHE"] = folder
        start = time.process_time()
        done = convsurgeon.convert(
            case.net,
            case.calibration[0][:1],
            moves=MOVES,
            calibration=case.calibration,
            progress=False,
            **asked,  # type: ignore[arg-type]
        )
        return time.process_time() - start, done


def _exploring(case: Case) -> float:
    """CPU seconds of an exploration of the default targets, over those of one conversion."""
    once = _seconds(case, target="macs=50%", evaluation=case.judging)[0]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CONVSURGEON_CACHE"] = folder
        start = time.process_time()
        example = case.calibration[0][:1]
        data = {"calibration": case.calibration, "evaluation": case.judging}
        convsurgeon.explore(case.net, example, moves=MOVES, progress=False, **data)
        return (time.process_time() - start) / once


def _sweep(case: Case) -> dict[str, float]:
    """The smallest share of the MACs that keeps each floor."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CONVSURGEON_CACHE"] = folder
        origin = WeightsOrigin("caller", "trained here")
        patient = Patient.admit(case.net, as_inputs(case.calibration[0][:1]), origin)
        data = Data(calibration=case.calibration, evaluation=case.judging)
        judge = Judge(patient, data, silent)
        court = Court(parse_floors(FLOORS), judge.original, case.net)
        smallest = dict.fromkeys(FLOORS, 1.0)
        for percent in reversed(SHARES):
            chosen = convsurgeon.plan(
                case.net,
                case.calibration[0][:1],
                moves=MOVES,
                target=f"macs={percent}%",
                calibration=case.calibration,
                progress=False,
            )
            network = fitted(patient, chosen, data, seed=0, refine=0, progress=silent).network
            for verdict in court.verdicts(judge.judged(network), network):
                if verdict.kept:
                    smallest[verdict.floor] = chosen.after.macs / chosen.before.macs
        return smallest


def _on_test(case: Case, text: str, network: nn.Module) -> tuple[float, bool]:
    """The measure on the test images, and whether it is on the right side of the floor."""
    (floor,) = parse_floors(text)
    images, labels = case.test
    with torch.no_grad():
        one, other = case.net(images), network(images)
    seen = _seen(floor, one, other, labels)
    return seen, seen <= floor.limit if floor.measure == "output-error" else seen >= floor.limit


def _seen(floor: Floor, one: Tensor, other: Tensor, labels: Tensor) -> float:
    if floor.measure == "output-error":
        return float((one - other).square().sum() / (one - one.mean()).square().sum())
    if floor.measure == "agreement":
        return float((one.argmax(1) == other.argmax(1)).float().mean())
    right = [(output.argmax(1) == labels).float().mean() for output in (one, other)]
    return float(right[1] - right[0])


if __name__ == "__main__":
    main()

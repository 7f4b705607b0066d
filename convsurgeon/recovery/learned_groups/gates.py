"""The gates of a network: their own steps, which of them are frozen, which are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Gates"]

# A gate that matters has, once closed, a gradient a hundred times the others': it shall come back, not fly off.
_LONGEST_STRIDE = 3.0
# One batch says little about a gate; what counts is the pull over about the last ten.
_MEMORY = 0.9
# Where a gate stands that the budget closes though its own gradient would not.
_BRINK = 1e-3
# A latent gate never leaves ±1: one that drifted far off could not come back in time.
_REACH = 1.0
# Where gates begin, open or closed: a choice that was made with care takes more than a few noisy gradients to change.
_START = 0.5


class Gates:
    """Latent gates [K] by layer name. A gate is open from 0 on, closed below."""

    def __init__(self, latent: Mapping[str, nn.Parameter]) -> None:
        self._latent = dict(latent)
        self._pull = {name: torch.zeros(len(gates), dtype=torch.float64) for name, gates in latent.items()}
        self._frozen = {name: torch.zeros(len(gates), dtype=torch.bool) for name, gates in latent.items()}

    def closed(self) -> dict[str, frozenset[int]]:
        """Numbers of the closed gates, 0 for U_1, by layer."""
        return {
            name: frozenset(k for k, value in enumerate(gates.detach().tolist()) if value < 0)
            for name, gates in self._latent.items()
        }

    def frozen_share(self) -> float:
        """The share of all gates that learn no more."""
        flat = torch.cat(list(self._frozen.values()))
        return float(flat.float().mean())

    def step(self, rate: float, prices: Mapping[str, Tensor], too_dear: Callable[[Mapping[str, int]], bool]) -> None:
        """One step of gradient descent on all gates that are not frozen.

        Gradients are taken per unit of cost (``prices`` [K], dζ/dg), because gates compete for one budget, and divided
        by their median over the network, so that ``rate`` is how far a typical gate moves.
        ``too_dear`` says of numbers of closed gates whether one more must close: the gates compete for what the budget
        leaves, those with the lowest values close, the others stay at the brink.
        """
        gradients = {name: _plain(g.grad) for name, g in self._latent.items() if g.grad is not None}
        if not gradients or not all(bool(g.isfinite().all()) for g in gradients.values()):
            return
        for name, gradient in gradients.items():
            self._pull[name] = _MEMORY * self._pull[name] + (1 - _MEMORY) * gradient / prices[name]
        median = torch.cat(list(self._pull.values())).abs().median()
        if median == 0:
            return
        strides = {n: (pull / median).clamp(-_LONGEST_STRIDE, _LONGEST_STRIDE) for n, pull in self._pull.items()}
        proposals = {name: self._moved(name, rate * stride) for name, stride in strides.items()}
        self._write(self._within(proposals, too_dear))

    def _moved(self, name: str, by: Tensor) -> Tensor:
        now = _plain(self._latent[name])
        return torch.where(self._frozen[name], now, (now - by).clamp(-_REACH, _REACH))

    def _within(self, proposals: dict[str, Tensor], too_dear: Callable[[Mapping[str, int]], bool]) -> dict[str, Tensor]:
        """The proposals, in which as many gates are closed as the budget asks for, the least wanted first."""
        before = self.closed()
        still = {n: {k for k in before[n] if n not in proposals or float(proposals[n][k]) < 0} for n in before}
        counts = {name: len(closed) for name, closed in still.items()}
        candidates = sorted(
            (float(value), name, k)
            for name, proposal in proposals.items()
            for k, value in enumerate(proposal.tolist())
            if k not in still[name] and not self._frozen[name][k]
        )
        for value, name, k in candidates:
            close = too_dear(counts)
            counts[name] += close
            proposals[name][k] = min(value, -_BRINK) if close else max(value, 0.0)
        return proposals

    def freeze(self, share: float) -> None:
        """Freeze until ``share`` of all gates are, those furthest from the brink first."""
        names = [(name, k) for name, gates in self._latent.items() for k in range(len(gates))]
        wanted = int(min(max(share, 0.0), 1.0) * len(names))
        frozen = sum(int(mask.sum()) for mask in self._frozen.values())
        values = {name: gates.detach().abs().tolist() for name, gates in self._latent.items()}
        free = [(name, k) for name, k in names if not self._frozen[name][k]]
        free.sort(key=lambda gate: -values[gate[0]][gate[1]])
        for name, k in free[: max(wanted - frozen, 0)]:
            self._frozen[name][k] = True

    def begin(self, closed: Mapping[str, Iterable[int]]) -> None:
        """Close exactly these gates, and let all learn on from there."""
        values = {}
        for name, gates in self._latent.items():
            value = torch.full((len(gates),), _START, dtype=torch.float64)
            value[list(closed[name])] = -_START
            values[name] = value
            self._pull[name].zero_()
        self._write(values)

    def set_closed(self, closed: Mapping[str, Iterable[int]]) -> None:
        """Close exactly these gates, and freeze all."""
        values = {}
        for name, gates in self._latent.items():
            value = torch.ones(len(gates), dtype=torch.float64)
            value[list(closed[name])] = -1.0
            values[name] = value
            self._frozen[name][:] = True
        self._write(values)

    def _write(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self._latent[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs beside the latent gates themselves."""
        frozen = {f"frozen.{name}": mask for name, mask in self._frozen.items()}
        return {**frozen, **{f"pull.{name}": pull for name, pull in self._pull.items()}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        self._frozen = {name: state[f"frozen.{name}"].clone() for name in self._frozen}
        self._pull = {name: state[f"pull.{name}"].clone() for name in self._pull}


def _plain(values: Tensor) -> Tensor:
    """The numbers alone: on the CPU, in float64, whatever device and precision the network trains in."""
    return values.detach().double().cpu()

"""Random numbers of ours that leave the caller's generators as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["kept_generators", "reseed_torch", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generator on the CPU starts from ``seed`` inside, and is as before outside."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the caller's GPUs as well.
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def kept_generators(device: torch.device | None = None) -> Iterator[None]:
    """Whatever is drawn inside, torch's generators on the CPU and on CUDA are as before outside.

    CUDA's count from its first use on, which costs seconds and memory; ``device`` may be first used inside.
    """
    with torch.random.fork_rng(devices=_cuda_devices(device is not None and device.type == "cuda")):
        yield


def reseed_torch(seed: int) -> None:
    """Set torch's generators on the CPU and on CUDA; meant for use inside `kept_generators`."""
    torch.default_generator.manual_seed(seed)
    if _cuda_devices():
        torch.cuda.manual_seed_all(seed)


def _cuda_devices(at_once: bool = False) -> list[int]:
    """All of them, once CUDA is in use: until then nothing draws there."""
    used = at_once or torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return list(range(torch.cuda.device_count())) if used else []

"""What the loop trains on: one process with plain torch, or several through Hugging Face accelerate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convsurgeon.base.devices import best_device, usable_device
from convsurgeon.base.errors import UsageError
from convsurgeon.recovery.settings import Precision

__all__ = ["Engine", "make_engine"]

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Engine(Protocol):
    """A device, a precision and a group of processes; ``rank`` 0 is the main one."""

    device: torch.device
    precision: str
    rank: int
    processes: int

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model to call in training; the one given shares its parameters."""
        ...

    def mixed(self) -> AbstractContextManager[Any]:
        """Forward passes run inside."""
        ...

    def total(self, values: Tensor) -> Tensor:
        """Sums over all processes; every process must call it alike."""
        ...

    def step(self, loss: Tensor, optimizer: Optimizer, parameters: Iterable[nn.Parameter], clip: float | None) -> float:
        """Backward, clip, update; returns the gradient's norm before clipping."""
        ...

    def wait(self) -> None:
        """Until every process is here."""
        ...

    def state(self) -> dict[str, float]:
        """What a resumed run needs: the loss scale of fp16."""
        ...

    def load_state(self, state: dict[str, float]) -> None:
        """Put it back."""
        ...


class PlainEngine:
    """One process, no package beyond torch."""

    rank = 0
    processes = 1

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision = _precision(precision, device)
        # fp16 gradients underflow without a loss scale.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def mixed(self) -> AbstractContextManager[Any]:
        """Autocast in half precision; nothing in fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, _TYPES[self.precision])

    def total(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def step(self, loss: Tensor, optimizer: Optimizer, parameters: Iterable[nn.Parameter], clip: float | None) -> float:
        """Backward, clip, update; a gradient that is not finite changes nothing (and lowers the scale of fp16)."""
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(optimizer)
        norm = float(nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip))
        if math.isfinite(norm) or self.precision == "fp16":
            self._scaler.step(optimizer)
        self._scaler.update()
        return norm

    def wait(self) -> None:
        """There is nobody else."""

    def state(self) -> dict[str, float]:
        """The loss scale."""
        return {key: float(value) for key, value in self._scaler.state_dict().items()}

    def load_state(self, state: dict[str, float]) -> None:
        """Put the loss scale back."""
        if state:
            whole = {"growth_interval", "_growth_tracker"}
            self._scaler.load_state_dict({k: int(v) if k in whole else v for k, v in state.items()})


class AccelerateEngine(PlainEngine):
    """Several processes with replicated weights (DistributedDataParallel), set up by Hugging Face accelerate."""

    def __init__(self, device: str, precision: Precision) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.utils import DistributedType
        except ImportError as error:
            raise UsageError(
                "this is one of several processes (WORLD_SIZE > 1), which needs Hugging Face accelerate: "
                "pip install 'convsurgeon[train]'. One process needs nothing more."
            ) from error
        # Precision stays with torch, as in one process, so accelerate is asked for none.
        self._accelerator = Accelerator(mixed_precision="no", cpu=device == "cpu")
        kind = self._accelerator.distributed_type
        if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
            raise UsageError(
                f"the processes were launched for {kind.value}; recover replicates the weights. Launch with "
                "accelerate launch --multi_gpu, or with torchrun."
            )
        super().__init__(self._accelerator.device, precision)
        self.rank = self._accelerator.process_index
        self.processes = self._accelerator.num_processes

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model in DistributedDataParallel; every parameter that learns must get a gradient in every step."""
        return self._accelerator.prepare_model(model)

    def total(self, values: Tensor) -> Tensor:
        """All-reduced sums."""
        return self._accelerator.reduce(values, reduction="sum")

    def wait(self) -> None:
        """A barrier."""
        self._accelerator.wait_for_everyone()


def make_engine(device: str, precision: Precision) -> Engine:
    """The engine for this process: accelerate's where a launcher started several, plain torch otherwise.

    ``device`` is ``auto`` (an accelerator where there is one) or a torch device.

    Raises:
        UsageError: a device or precision that is not there, or accelerate missing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return AccelerateEngine(device, precision)
    return PlainEngine(best_device() if device == "auto" else usable_device(device), precision)


def _precision(wanted: Precision, device: torch.device) -> str:
    """What auto stands for: half precision where a GPU computes it in hardware, float32 elsewhere."""
    if wanted == "fp16" and device.type == "cpu":
        raise UsageError("fp16 needs a GPU; take --precision bf16 or fp32 on a CPU.")
    if wanted != "auto":
        return wanted
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"

"""Models that surgery can't or should not open, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsurgeon.base.errors import ModelLoadError
from convsurgeon.survey.altered import calls_other_modules

__all__ = ["refuse_unfinite", "refuse_unusable"]

_SHOWN = 3


def refuse_unusable(model: nn.Module) -> None:
    """Refuse what surgery can't or should not open.

    Raises:
        ModelLoadError: models that are wrapped (DDP, FSDP, DataParallel), scripted, exported, compiled, quantised or
            lazy, inside of themselves, or with a forward that their copy could not follow.
    """
    if not isinstance(model, nn.Module):
        raise ModelLoadError(f"the model is a {type(model).__name__}; expected a torch.nn.Module.")
    for name, module in model.named_modules():
        if (problem := _unusable(module)) is not None:
            where = f" (at '{name}')" if name else ""
            raise ModelLoadError(f"{problem}{where}")


def refuse_unfinite(model: nn.Module) -> None:
    """Refuse weights from which nothing sensible can be computed; buffers may be infinite on purpose (masks).

    Raises:
        ModelLoadError: NaN or infinity in a parameter or a batch norm's statistics, or a negative variance.
    """
    if broken := [name for name, tensor in _trained(model) if not _usual(name, tensor)]:
        more = ", …" if len(broken) > _SHOWN else ""
        raise ModelLoadError(
            f"the model's {', '.join(broken[:_SHOWN])}{more} {'hold' if len(broken) > 1 else 'holds'} NaN, infinity or "
            "a negative variance, so that nothing sensible can be computed; take weights of an earlier step."
        )


def _trained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            yield from module.named_buffers(name, recurse=False)


def _usual(name: str, tensor: Tensor) -> bool:
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    return bool(tensor.isfinite().all()) and not (name.endswith("running_var") and bool((tensor < 0).any()))


def _unusable(module: nn.Module) -> str | None:
    kind, home = type(module).__name__, type(module).__module__
    if kind in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"):
        return f"the model is wrapped in {kind}: convert model.module first and wrap the result afterwards"
    if any(module is inner for child in module.children() for inner in child.modules()):
        return f"the model's {kind} is inside of itself: keep it in a list there, not as a child"
    if isinstance(module, torch.jit.ScriptModule):
        return "the model is a TorchScript module, which can't be edited: convert the Python model it came from"
    if any(base.__module__.startswith("torch.export.") for base in type(module).__mro__):
        return "the model is an exported program, which can't be edited: pass the Python model it came from"
    if kind == "OptimizedModule":
        return "the model is compiled: convert model._orig_mod first and compile the result afterwards"
    if home.startswith(
        ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
    ) and kind not in (
        "FloatFunctional",
        "FXFloatFunctional",
    ):
        return f"the model is quantised ({kind}): convert the float model first and quantise the result afterwards"
    if calls_other_modules(module):
        return (
            "a forward was put on the object that calls the original's modules, which a copy would call too: define it "
            "in a class, or bind it, model.forward = types.MethodType(function, model)"
        )
    if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
        return "the model has uninitialised lazy layers: run it once on real inputs first"
    return None

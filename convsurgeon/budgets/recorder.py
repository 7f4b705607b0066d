"""What one forward does, layer by layer: MACs where they happen, and the bytes that are alive."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from convsurgeon.base.inputs import tensors_in
from convsurgeon.base.observe import observe

__all__ = ["WHOLE_MODEL", "Recorder"]

WHOLE_MODEL = "(model)"  # the name of the root module's own share

# operators that write into a copy of their first argument
_WRITES = frozenset({"index_put", "scatter", "scatter_add", "index_add", "index_copy", "masked_scatter"})


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches one forward of a module between its first and its last hook.

    After it, ``macs`` holds MACs by the qualified name of the innermost module at work, except those of operators
    that work on as many things as the data has (proposals, masked positions), which ``varying_macs`` holds: whatever
    comes from an operator with a data-dependent output shape counts as such, and ``varies`` says that there was one.

    ``peak`` is the most bytes that were alive at once: the inputs and every tensor made in the forward, each storage
    once from its creation until Python and PyTorch drop it; parameters, buffers and the kernels' own workspace are
    left out. In-place operations and views take nothing. ``peak_at`` is the module at work at that moment.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reset()

    def _reset(self) -> None:
        self.macs: Counter[str] = Counter()
        self.varying_macs: Counter[str] = Counter()
        self.varies = False
        self.peak = 0
        self.peak_at = WHOLE_MODEL
        self._alive = 0
        self._seen: set[int] = set()
        self._stack: list[str] = []
        self._inside = False
        self._weights: list[torch.UntypedStorage] = []
        self._varying = WeakTensorKeyDictionary()
        self._lengths: set[int] = set()

    def attach(self, model: nn.Module) -> None:
        """Start anew on this module; it must be a copy that nobody else uses."""
        self._reset()
        self._weights = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
        self._seen.update(map(id, self._weights))
        inside = [(module, self._enter(name or WHOLE_MODEL)) for name, module in model.named_modules()]
        # the root's hooks go first on the way in and last on the way out
        observe(before=[(model, self._start)], foremost=True)
        observe(before=inside, after=[(module, self._leave) for module, _ in inside], always=True)
        observe(after=[(model, self._stop)], always=True)

    def _start(self, args: Any, kwargs: Any) -> None:
        self._note((args, kwargs))
        self.__enter__()  # type: ignore[no-untyped-call]
        self._inside = True

    def _stop(self, *_: Any) -> None:
        self._inside = False
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Stop watching a forward that left by no Exception (sys.exit), after which torch calls no hook."""
        if self._inside:
            self._stop()

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            self._stack.append(name)

        return enter

    def _leave(self, *_: Any) -> None:
        self._stack.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
        result = func(*args, **kwargs)
        varying = self._follow(func, args, kwargs, result)
        if packet in flop_registry:
            counter = self.varying_macs if varying else self.macs
            # the registry speaks of FLOPs, which are 2 × MACs
            counter[self._here()] += int(flop_registry[packet](*args, **kwargs, out_val=result)) // 2
        self._note(result)
        return result

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> bool:
        """Whether the operator takes something of data-dependent size; if so, what it makes is such a thing too."""
        starts = _has_dynamic_output(func, args)
        self.varies |= starts
        if not self.varies:
            return False
        given = tensors_in((args, kwargs))
        varying = any(tensor in self._varying for tensor in given)
        if varying or starts:
            for tensor in tensors_in(result):
                # What is only written into keeps its size, so it counts only where it was made for such things.
                into = func._overloadpacket.__name__.rstrip("_") in _WRITES or any(tensor is one for one in given)
                if not into or (tensor.dim() and len(tensor) in self._lengths):
                    self._varying[tensor] = True
                    self._lengths.update(tensor.shape[:1])
        return varying

    def _here(self) -> str:
        return self._stack[-1] if self._stack else WHOLE_MODEL

    def _note(self, values: Any) -> None:
        for leaf in tensors_in(values):
            if leaf.layout is not torch.strided:
                continue
            storage = leaf.untyped_storage()
            if id(storage) in self._seen:
                continue
            self._seen.add(id(storage))
            self._alive += storage.nbytes()
            weakref.finalize(storage, self._forget, id(storage), storage.nbytes()).atexit = False
        if self._alive > self.peak:
            self.peak, self.peak_at = self._alive, self._here()

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._alive -= size


def _has_dynamic_output(func: Any, args: Any) -> bool:
    if func._schema.name == "torchvision::nms":
        return True
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    if func is not torch.ops.aten.index.Tensor:
        return True
    return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1]))

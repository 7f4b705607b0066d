"""Names in a state dict as the model has them: without what trainers put in front of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from convsurgeon.base.errors import UsageError
from convsurgeon.models.checkpoints import CHOOSE, Checkpoint
from convsurgeon.models.state_dict import StateDict, below, renamed

__all__ = ["Named", "named_for"]

# What torch itself puts around a compiled, sharded or checkpointed module, at any depth.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_COUNTER = "num_batches_tracked"  # which batch norms of old files lack
_SHOWN = 3


@dataclass(frozen=True)
class Named:
    """A state dict under the model's own names, and what was done for it."""

    state: StateDict
    notes: tuple[str, ...] = ()


def named_for(model: nn.Module, checkpoint: Checkpoint, source: str) -> Named:
    """Take off the one prefix under which a state dict has all of the model's names; what stands beside it is left out.

    Where there is no such prefix, the one that fits best is taken off and nothing is left out, so that the strict fit
    can tell what is missing.

    Raises:
        UsageError: the model's names and shapes are there under several prefixes.
    """
    own = {name: value.shape for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    state = checkpoint.state
    notes: tuple[str, ...] = ()
    if not any(_unwrapped(name) != name for name in own) and any(_unwrapped(name) != name for name in state):
        # wrappers change no name's meaning, so they go wherever they stand
        notes = (f"'{'.'.join(_wrappers_in(state))}.' was taken off the weights' names",)
        state = renamed(state, _unwrapped)
    needed = {name: shape for name, shape in own.items() if not name.endswith(_COUNTER)}
    counts = Counter(prefix for name in state for prefix in _prefixes(name, needed))
    whole = [prefix for prefix, count in counts.items() if count == len(needed)]
    if not whole:
        return Named(_best_effort(state, counts), notes)
    if "" in whole:
        return Named(state, notes)
    fitting = [prefix for prefix in whole if _fits(state, prefix, needed)]
    if len(fitting) > 1:
        keys = ", ".join(f"'{'.'.join(filter(None, (checkpoint.key, prefix[:-1])))}'" for prefix in fitting)
        raise UsageError(f"{source} holds weights for this model several times: {keys}. {CHOOSE}.")
    prefix = (fitting or whole)[0]
    beside = [name for name in state if not name.startswith(prefix)]
    return Named(below(state, prefix), (*notes, _told(prefix, beside)))


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _wrappers_in(state: Mapping[str, torch.Tensor]) -> list[str]:
    parts = {part for name in state for part in name.split(".")}
    return [wrapper for wrapper in _WRAPPERS if wrapper in parts]


def _prefixes(name: str, own: Mapping[str, torch.Size]) -> Iterator[str]:
    """Every prefix behind which ``name`` is one of the model's own; an empty one where it is so by itself."""
    cuts = (0, *(place + 1 for place, letter in enumerate(name) if letter == "."))
    return (name[:cut] for cut in cuts if name[cut:] in own)


def _fits(state: Mapping[str, torch.Tensor], prefix: str, needed: Mapping[str, torch.Size]) -> bool:
    return all(state[prefix + name].shape == shape for name, shape in needed.items())


def _best_effort(state: StateDict, counts: Counter[str]) -> StateDict:
    prefix, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return state if count == counts[""] else renamed(state, lambda name: name.removeprefix(prefix))


def _told(prefix: str, beside: list[str]) -> str:
    words = f"the prefix '{prefix}' was taken off the weights' names"
    if not beside:
        return words
    more = ", …" if len(beside) > _SHOWN else ""
    return f"{words}; {len(beside)} of the file's tensors are not under it and were passed over " + (
        f"({', '.join(beside[:_SHOWN])}{more})"
    )

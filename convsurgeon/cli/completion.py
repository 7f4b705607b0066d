"""What a shell completes: methods, and models by name or by file."""

from __future__ import annotations

from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

from convsurgeon.base.cache_file import CacheFile, cache_directory
from convsurgeon.families import FAMILIES
from convsurgeon.models.timm_names import PREFIX, timm_names

__all__ = ["complete_method", "complete_methods", "complete_model"]


def complete_method(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of methods, with what each is good for."""
    names = {"auto": "every family competes at every layer"}
    names |= {example: family.card.idea for family in FAMILIES for example in family.examples}
    return [CompletionItem(name, help=words) for name, words in names.items() if name.startswith(incomplete)]


def complete_methods(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Methods with commas between, of which the last is being typed."""
    before, comma, last = incomplete.rpartition(",")
    found = complete_method(context, parameter, last)
    return [CompletionItem(before + comma + str(item.value), help=item.help) for item in found]


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of models, timm's once its prefix is typed; a path is the shell's own business."""
    if "/" in incomplete or incomplete.endswith(".py"):
        return [CompletionItem(incomplete, type="file")]
    names = timm_names() if incomplete.startswith(PREFIX) else _models()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _models() -> list[str]:
    """Listing them takes the seconds that torch takes to import, so the names are kept in a file."""
    cache = CacheFile(cache_directory(), "models", [version("torchvision")], list[str])
    if "torchvision" not in cache.entries:
        from convsurgeon.models.loading import known_models

        cache.add("torchvision", {"names": known_models()})
    return cache.entries["torchvision"]["names"]

"""A model by its name, with a word where its input had to be guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convsurgeon.cli.screen import warn

if TYPE_CHECKING:
    from convsurgeon.models.loading import LoadedModel

__all__ = ["load_telling"]


def load_telling(spec: str, **options: Any) -> LoadedModel:
    """``load_model``, and a warning where nothing says what the model is called with."""
    from convsurgeon.models.loading import load_model

    loaded = load_model(spec, **options)
    if loaded.guessed_input:
        from convsurgeon.models.input_sizes import assumption

        warn(f"{assumption(loaded.spec, loaded.example_inputs)}.")
    return loaded

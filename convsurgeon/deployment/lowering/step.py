"""What a pass did, as data."""

from __future__ import annotations

from convsurgeon.base.records import Record

__all__ = ["Step"]


class Step(Record):
    """One thing that a pass did to, or left alone at, one module.

    Attributes:
        pass_name: the pass, e.g. ``fold batch norm``.
        where: the module's qualified name in the original model; empty for the whole model.
        what: in words.
        done: False for something that stays as it was, with the reason in ``what``.
    """

    pass_name: str
    where: str
    what: str
    done: bool = True

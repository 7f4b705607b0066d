"""What a budget's numbers are compared with: another revision's lock first, then the lock that lies here."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.budgets.entries import Budget
from convsurgeon.budgets.lock import Lock, LockedModel
from convsurgeon.budgets.measurement import Measured

__all__ = ["Baselines", "Comparison"]

_REMEDY = "Run convsurgeon check --update and commit the result"


@dataclass(frozen=True)
class Comparison:
    """The counts that one entry is held against (None: there are none), whose they are, and what to say about it."""

    locked: LockedModel | None
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baselines:
    """``here`` is the lock beside the configuration, ``there`` the one of ``revision``; None: no such lock."""

    file: str
    here: Lock | None
    revision: str | None = None
    there: Lock | None = None

    @property
    def name(self) -> str | None:
        """What the table's column is called; None without any lock."""
        if self.revision is not None:
            return self.revision
        return None if self.here is None else self.file

    def compare(self, budget: Budget, found: Measured) -> Comparison:
        """Choose the counts to compare with; what does not match its entry is said, not used."""
        own = None if self.here is None else self.here.models.get(budget.name)
        notes = self._about_own(own, budget, found)
        own = own if own is not None and _mismatch(own, budget, found) is None else None
        if self.there is None:
            return Comparison(own, self.file, notes)
        base = self.there.models.get(budget.name)
        problem = "it is not in it" if base is None else _mismatch(base, budget, found)
        if problem is None:
            return Comparison(base, str(self.revision), notes)
        return Comparison(own, self.file, (f"not compared with {self.revision}: {problem}", *notes))

    def _about_own(self, own: LockedModel | None, budget: Budget, found: Measured) -> tuple[str, ...]:
        if self.here is None:
            return ()
        if own is None:
            return (f"not in {self.file} yet. {_REMEDY}",)
        problem = _mismatch(own, budget, found)
        if problem is not None:
            return (f"not compared with {self.file}: {problem}. {_REMEDY}",)
        if own != LockedModel.of(budget.source, found):
            return (f"differs from {self.file}. If that is meant: {_REMEDY[0].lower()}{_REMEDY[1:]}",)
        return ()

    def leftovers(self, budgets: tuple[Budget, ...]) -> tuple[str, ...]:
        """Names in the lock that no entry has any more."""
        known = {budget.name for budget in budgets}
        return () if self.here is None else tuple(sorted(set(self.here.models) - known))


def _mismatch(locked: LockedModel, budget: Budget, found: Measured) -> str | None:
    """Why locked counts can't be compared with these; None if they can."""
    if locked.source != budget.source:
        return f"there it stands for '{locked.source}', here for '{budget.source}'"
    if locked.input_shapes != found.input_shapes:
        then, now = (", ".join(str(list(s)) for s in x) for x in (locked.input_shapes, found.input_shapes))
        return f"there it was counted on inputs {then}, here on {now}"
    return None

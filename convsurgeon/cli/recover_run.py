"""One run of ``recover``: what may be written, training, saving, and the outcome in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convsurgeon.cli.conversion_screen import with_command
from convsurgeon.cli.given_images import warn_of_skipped
from convsurgeon.cli.page_file import refuse_foreign_page, write_page
from convsurgeon.cli.recover_images import Pictures
from convsurgeon.cli.screen import answer, is_main_process, say, warn
from convsurgeon.cli.training import training_display
from convsurgeon.recovery import RecoverSettings

if TYPE_CHECKING:
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.recovery import History
    from convsurgeon.recovery.callback import Callback
    from convsurgeon.report.record import Report

__all__ = ["RecoverRun"]


@dataclass(frozen=True)
class RecoverRun:
    """Where a run comes from and where it goes; ``named`` where the original's name was given beside the folder."""

    folder: Path
    target: Path
    force: bool
    resume: bool
    checkpoints: Path | None
    page: Path | None
    named: bool

    @property
    def training_folder(self) -> Path:
        """Where checkpoints go."""
        return self.checkpoints or self.target.with_name(f"{self.target.name}.training")

    def refuse_existing(self) -> None:
        """Refuse to replace what is there, before any work is done."""
        from convsurgeon.base.files import refuse_existing
        from convsurgeon.recovery.checkpoint import Checkpoints
        from convsurgeon.report.folder import SAVED_FILES

        refuse_existing(self.target, self.force, SAVED_FILES)
        refuse_foreign_page(self.page)
        if not self.resume and not self.force:
            Checkpoints(self.training_folder).refuse_existing()

    def train(
        self,
        original: LoadedModel,
        pictures: Pictures,
        settings: RecoverSettings,
        device: str,
        callbacks: tuple[Callback, ...],
        as_json: bool,
    ) -> None:
        """Train, save, tell."""
        from convsurgeon.conversion.recover import open_conversion, recover
        from convsurgeon.recovery.checkpoint import Checkpoints

        data, evaluation = pictures.split(original)
        conversion = open_conversion(self.folder, original.model)
        if self.force and not self.resume:
            # Only now: an earlier run must not be lost to a request that turns out to be wrong.
            Checkpoints(self.training_folder).remove()
        with training_display() as progress:
            done = recover(
                original.model,
                conversion,
                data,
                evaluation=evaluation,
                settings=settings,
                images=pictures.settings,
                callbacks=callbacks,
                checkpoints=self.training_folder,
                resume=self.resume,
                device=device,
                progress=progress,
            )
        if not is_main_process() or done.conversion is None:
            return
        conversion = with_command(done.conversion)
        conversion.save(self.target, force=self.force)
        if self.page is not None:
            write_page(self.page, conversion.to_html())
        warn_of_skipped(evaluation)
        self._tell(conversion.report, done.history, as_json)

    def _tell(self, report: Report, history: History, as_json: bool) -> None:
        if history.skipped:
            warn(
                f"{history.skipped} training images can't be read and were passed over, "
                f"e.g. {history.skipped_examples[0] if history.skipped_examples else 'on another process'}."
            )
        if as_json:
            answer(report.to_json())
            return
        from convsurgeon.models.loading import is_factory

        for line in _lines(report, history):
            say(line)
        named = report.plan.model
        more = ", model=..." if self.named else ", trust_factory=True" if is_factory(named) else ""
        say(f'saved to {self.target}; load it with: convsurgeon.load("{self.target}"{more})')


def _lines(report: Report, history: History) -> list[str]:
    """The outcome as sentences."""
    steps = f"{history.steps} steps on {history.images} images ({history.device})"
    lines = [f"{report.plan.model} with {report.plan.method}: {steps}"]
    if history.rows:
        lines.append(f"loss {history.rows[0].loss:.4f} → {history.rows[-1].loss:.4f}")
    if history.after.images:
        lines.append(f"{history.after.held_out()}:")
        named = (("original", history.original), ("before", history.before), ("after", history.after))
        lines.extend(f"  {name:9}{score.describe()}" for name, score in named if score.describe())
        lines.append(f"kept: the weights of step {history.kept_step}")
    lines.extend(history.extras)
    return lines

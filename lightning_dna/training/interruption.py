"""Signals while a model trains: the step ends, a resume point is written, then the signal acts.

Lightning alone would turn SIGTERM into exit status 0, which a scheduler reads as success, and
Ctrl-C into ``SystemExit``, which no caller expects.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lightning_dna.data.batches import Batch
from lightning_dna.training.ranks import ALONE, Ranks

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop(BaseException):
    """Carries a pending signal through Lightning, which cleans up and lets it pass."""


class Interruption(Callback):
    """Ends the training between two steps when SIGINT or SIGTERM came.

    It must stand after every other callback. A second SIGINT does not wait for the step to end.

    Of several processes that train one model, all stop after the same step when one was told to.

    Args:
        save: Writes a resume point; ``None`` for a process that only looks after others.
        ranks: The processes of this training.
    """

    def __init__(self, save: Callable[[Trainer], None] | None = None, ranks: Ranks = ALONE) -> None:
        self._save = save
        self._ranks = ranks
        self._owner = os.getpid()
        self._pending: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hold signals back within the block; what they end there ends without an error.

        Outside the main thread, Python handles no signals and the block runs as it is.
        """
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._hold()
        try:
            yield
        except BaseException:
            # An error beside a signal is its consequence: loader processes get signals as well.
            if self._pending is None:
                raise
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @property
    def pending(self) -> bool:
        """Whether a signal came."""
        return self._pending is not None

    def act(self) -> None:
        """Let a signal that came do what it would have done outside the block.

        By default SIGINT raises ``KeyboardInterrupt`` and SIGTERM ends the process.

        Raises:
            SystemExit: With the conventional 128 + number, if the caller's own handler returns.
        """
        number = self._agreed()
        if number:
            signal.raise_signal(number)
            raise SystemExit(128 + number)

    def _hold(self) -> None:
        """Set our handlers, but let a signal that the caller ignores be ignored."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler == signal.SIG_IGN else self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal."""
        if os.getpid() != self._owner:  # a loader process; its owner tells it when to end
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        again = self._pending is not None and number == signal.SIGINT
        self._pending = signal.Signals(number)
        if again:
            raise _Stop

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of the handlers that Lightning has set by now."""
        self._hold()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Stop here when a signal came, leaving a resume point."""
        if self._agreed():
            if self._save is not None:
                self._save(trainer)
            raise _Stop

    def _agreed(self) -> int:
        """Return the number of a signal that came to any process of this training; 0 for none.

        One that comes meanwhile is for the next time: all processes must say the same.
        """
        number = int(self._ranks.most(self._pending or 0))
        if number:
            self._pending = signal.Signals(number)
        return number

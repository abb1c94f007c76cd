"""One training on several devices: a process for each, and this one looks after them.

Lightning starts such processes by running the user's script again from the top, once for each
device, which neither a study's runner nor a notebook survives. Here each is a fresh interpreter
that runs `lightning_dna.training.rank_start` and is told over a pipe what to train. This process
does no work of its own: it keeps its claim on the cell alive, hands signals on, calls back at
validations, and ends all of them when one fails. They end by themselves when it is gone.

They meet through a file in a private folder, so no port has to be free, and talk over this
machine's own network device. Pipes are handed down by number, which Windows does not do.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from lightning_dna.errors import ResultsError
from lightning_dna.training.callbacks import OnValidation
from lightning_dna.training.config import RunConfig
from lightning_dna.training.interruption import Interruption

_LOOK_SECONDS = 0.1
_LAST_WORDS_SECONDS = 2.0  # in which the others may tell what went wrong before they are ended
_PROGRAM = "lightning_dna.training.rank_start"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is told to do.

    Attributes:
        run: The training.
        folder: Where its files go.
        rank: Number of the process.
        count: How many there are.
        meeting: File through which they find each other; must not exist before the first one.
        progress: Whether the one that leads shows a bar.
        reports: Whether it tells of validations, and waits for an answer.
        microbatches: Parts of a batch that are computed one after the other.
    """

    run: RunConfig
    folder: Path
    rank: int
    count: int
    meeting: Path
    progress: bool
    reports: bool
    microbatches: int


@dataclass(frozen=True)
class Validated:
    """The process that leads has validated."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Done:
    """A process has come to the end of the training, with this record."""

    record: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A process ends with an error.

    Attributes:
        time: When, in seconds of the clock of this machine.
        error: The error, or one that stands for it where it cannot be sent.
        traceback: Its traceback.
    """

    time: float
    error: Exception
    traceback: str


class RankError(Exception):
    """The traceback of an error in another process; the cause of the error that is raised here."""

    def __str__(self) -> str:
        """Return the traceback as it was there."""
        return f"\n{self.args[0]}"


class _Process:
    """One process, and the pipe to it."""

    def __init__(self, rank: int, threads: int) -> None:
        self.rank = rank
        self.pipe, theirs = multiprocessing.Pipe()
        self.failed: Failed | None = None
        self.record: dict[str, Any] | None = None
        command = [sys.executable, "-m", _PROGRAM, str(theirs.fileno()), str(os.getpid())]
        self.popen = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,  # whatever a library prints there is no data
            pass_fds=[theirs.fileno()],
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
        )
        theirs.close()

    def tell(self, content: Order | None) -> None:
        """Send an order, or the answer that the training may go on; how it died shows later."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(content)

    def listen(self, on_validation: OnValidation | None) -> None:
        """Take one message, and answer it where that is expected."""
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.pipe.close()
            return
        if isinstance(message, Done):
            self.record = message.record
        elif isinstance(message, Failed):
            self.failed = message
        elif isinstance(message, Validated) and on_validation is not None:
            on_validation(message.step, message.metrics)
            self.tell(None)

    def end(self) -> None:
        """End the process at once."""
        self.popen.kill()
        self.popen.wait()
        self.pipe.close()


def train_on_devices(
    run: RunConfig,
    folder: Path,
    *,
    count: int,
    progress: bool,
    on_validation: OnValidation | None,
    microbatches: int,
) -> dict[str, Any]:
    """Train in as many processes as there are devices, and return the record.

    Args:
        run: Everything that decides the weights.
        folder: Where the files go.
        count: Devices.
        progress: Whether to show a bar on stderr.
        on_validation: Called here, in this process; may raise to stop all of them.
        microbatches: Parts of a device's rows that are computed one after the other.

    Raises:
        Exception: The error of the process that failed first, caused by a `RankError` with its
            traceback.
        ResultsError: If one was killed.
    """
    interruption = Interruption()
    record: dict[str, Any] = {}
    with ExitStack() as stack:
        meeting = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lightning-dna-")))
        stack.enter_context(interruption.watching())
        orders = [
            Order(
                run=run,
                folder=Path(folder).absolute(),
                rank=rank,
                count=count,
                meeting=meeting / "processes",
                progress=progress,
                reports=on_validation is not None,
                microbatches=microbatches,
            )
            for rank in range(count)
        ]
        crew = stack.enter_context(_crew(orders))
        record = _look_after(crew, on_validation, interruption)
    interruption.act()
    return record


@contextmanager
def _crew(orders: Sequence[Order]) -> Iterator[list[_Process]]:
    """Start the processes; whatever happens in the block, none of them is left."""
    threads = max(1, torch.get_num_threads() // len(orders))
    crew: list[_Process] = []
    try:
        for order in orders:
            crew.append(_Process(order.rank, threads))
            crew[-1].tell(order)
        yield crew
    finally:
        for process in crew:
            process.end()


def _look_after(
    crew: Sequence[_Process], on_validation: OnValidation | None, interruption: Interruption
) -> dict[str, Any]:
    """Listen to the processes until all have ended well; hand the first signal on to them.

    Returns:
        The record of the one that leads.
    """
    told = False
    while any(process.popen.poll() is None for process in crew):
        if interruption.pending and not told:
            told = True
            for process in crew:
                process.popen.send_signal(signal.SIGTERM)
        _listen(crew, on_validation)
        if any(process.failed or process.popen.poll() for process in crew) and not told:
            raise _first_error(crew)
    _listen(crew, on_validation)
    if any(process.popen.returncode or process.failed for process in crew):
        raise _first_error(crew)
    return crew[0].record or {}


def _listen(crew: Sequence[_Process], on_validation: OnValidation | None) -> None:
    """Take what the processes have sent, waiting a moment for it."""
    pipes: dict[Any, _Process] = {p.pipe: p for p in crew if not p.pipe.closed}
    if not pipes:
        time.sleep(_LOOK_SECONDS)
    for pipe in wait(pipes, timeout=_LOOK_SECONDS):
        pipes[pipe].listen(on_validation)


def _first_error(crew: Sequence[_Process]) -> Exception:
    """Return what went wrong first: the others fail because one does not answer any more."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while time.monotonic() < deadline and any(p.popen.poll() is None for p in crew):
        _listen(crew, None)
    killed = [p for p in crew if p.popen.returncode and p.failed is None]
    failures = [p for p in crew if p.failed is not None]
    if killed or not failures:
        return _died(killed, len(crew))
    first = min((p.failed for p in failures if p.failed is not None), key=lambda one: one.time)
    first.error.__cause__ = RankError(first.traceback)
    return first.error


def _died(killed: Sequence[_Process], count: int) -> ResultsError:
    """Return the error for processes that ended without a word."""
    if not killed:
        return ResultsError(f"the {count} processes of the training ended without a record.")
    code = killed[0].popen.returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return ResultsError(
        f"process {killed[0].rank} of the {count} that train this model {how}; often that is"
        " memory: take smaller steps or more devices. It goes on from its last resume point."
    )

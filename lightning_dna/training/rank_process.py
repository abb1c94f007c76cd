"""What each process of a training on several devices does: see `lightning_dna.training.launch`."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from types import FrameType

import torch
import torch.distributed as dist

from lightning_dna.data.source import open_genome
from lightning_dna.errors import ResultsError
from lightning_dna.training.callbacks import OnValidation
from lightning_dna.training.devices import devices_here
from lightning_dna.training.launch import Done, Failed, Order, Validated
from lightning_dna.training.process import train_here
from lightning_dna.training.ranks import Ranks

_PATIENCE = timedelta(hours=12)  # with the slowest; one that is gone is noticed at once


def main(pipe_number: int) -> int:
    """Do what the order that comes over a pipe says; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent hands it on
    signal.signal(signal.SIGTERM, _exit)
    pipe = Connection(pipe_number)
    try:
        order = pipe.recv()
        with together(order) as ranks:
            record = train_here(
                order.run,
                open_genome(order.run.data),
                order.folder,
                progress=order.progress,
                on_validation=_reporter(pipe) if order.reports else None,
                microbatches=order.microbatches,
                ranks=ranks,
            )
        pipe.send(Done(record))
    except Exception as error:
        pipe.send(Failed(time.time(), _sendable(error), traceback.format_exc()))
        return 1
    return 0


@contextmanager
def together(order: Order) -> Iterator[Ranks]:
    """Meet the other processes, each with a device of its own."""
    # All are on this machine; its name may not resolve, and its network may be cut off.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    os.environ |= {"LOCAL_RANK": str(order.rank), "NODE_RANK": "0"}  # what Lightning looks for
    kind, _ = devices_here(order.run.trainer)
    device = None
    if kind == "cuda":
        device = torch.device("cuda", order.rank)
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        init_method=f"file://{order.meeting}",
        rank=order.rank,
        world_size=order.count,
        device_id=device,
    )
    try:
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Ranks(order.rank, order.count, group)
    finally:
        dist.destroy_process_group()


def _reporter(pipe: Connection) -> OnValidation:
    """Return what tells of a validation and waits until the training may go on."""

    def report(step: int, metrics: Mapping[str, float]) -> None:
        pipe.send(Validated(step, dict(metrics)))
        pipe.recv()

    return report


def _sendable(error: Exception) -> Exception:
    """Return the error, or one with its message where it cannot be sent as it is."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return ResultsError(f"{type(error).__name__}: {error}")
    return error


def _exit(number: int, frame: FrameType | None) -> None:
    """End with the conventional status of a process that a signal ended."""
    sys.exit(128 + number)

"""Running what is missing on a Ray cluster, for those who have outgrown one machine.

Ray places the work and starts it again where a node was lost; everything else is as in worker
processes: a cell is claimed in its own folder, goes on from its resume point and writes the same
files, so that the scores are those of an in-process run to the digit. The results folder and the
data must be on storage that every node sees under the same path.
"""

import importlib
import math
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.study.executors import MAX_DEATHS_PER_CELL
from lightning_dna.study.jobs import Job, Outcome, steps, summary

LOCAL = "local"
_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_GPU_SHARES = 10  # a GPU is handed out in tenths: Ray counts shares, it does not fence memory


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one cell asks of the cluster.

    Attributes:
        cpus: Cores, also the threads of torch.
        gpus: Share of a GPU; 0 without one.
        memory: Bytes of main memory.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory: int = 0


def gpu_share(needed: float, available: float) -> float:
    """Return the share of a GPU for a predicted peak of memory, in tenths, at most all of it.

    Example:
        >>> gpu_share(7e9, 80e9), gpu_share(9e9, 80e9), gpu_share(1e12, 80e9)
        (0.1, 0.2, 1.0)
    """
    return min(1.0, max(1, math.ceil(_GPU_SHARES * needed / available)) / _GPU_SHARES)


def run_with_ray(
    jobs: Sequence[Job],
    *,
    address: str,
    work: Callable[[str], None],
    needs: Mapping[str, Needs],
) -> Outcome:
    """Run the jobs on a Ray cluster and wait until all are finished.

    Args:
        jobs: All cells of the study.
        address: ``"local"`` for a cluster of this machine alone, started now; ``"auto"`` for the
            one that runs here; or ``HOST:PORT`` or ``ray://HOST:PORT``.
        work: Does the cell of a name; it is sent to the nodes, so it must be a function of a module
            or a partial of one.
        needs: What each cell asks for, by its name; nothing but one core otherwise.

    Returns:
        How many jobs are done and failed.

    Raises:
        ConfigError: If Ray is not installed, the address does not answer, or no node of the
            cluster could ever run a cell.
        ResultsError: If the cluster fails while cells are left.
    """
    left = {job.name: job for job in jobs if not job.finished()}
    if not left:
        return summary(jobs)
    ray = _ray()
    _connect(ray, address)
    try:
        _check_needs(ray, [needs.get(name, Needs()) for name in left])
        _run(ray, left, work=work, needs=needs, total=len(jobs))
    finally:
        ray.shutdown()
    return summary(jobs)


def _run(
    ray: Any,
    left: dict[str, Job],
    *,
    work: Callable[[str], None],
    needs: Mapping[str, Needs],
    total: int,
) -> None:
    """Hand out all cells and follow them to their ends."""
    remote = ray.remote(_call)
    handed = {}
    for name in left:
        asked = needs.get(name, Needs())
        task = remote.options(
            name=name,
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            memory=asked.memory,
            max_retries=MAX_DEATHS_PER_CELL,  # of nodes and processes; errors are recorded instead
        )
        handed[task.remote(work, name)] = left[name]
    bar = tqdm(
        total=total,
        initial=total - len(left),
        unit="cell",
        desc="study",
        file=sys.stderr,
        dynamic_ncols=True,
    )
    try:
        while handed:
            ready, _ = ray.wait(list(handed), num_returns=1, timeout=_LOOK_SECONDS)
            for reference in ready:
                _take(ray, reference, handed.pop(reference))
                bar.update()
            bar.refresh()
    finally:
        bar.close()
        for reference in handed:
            ray.cancel(reference, force=True)


def _call(work: Callable[[str], None], name: str) -> None:
    """Do one cell; Ray takes functions, and no partials of them."""
    work(name)


def _take(ray: Any, reference: Any, job: Job) -> None:
    """Take a finished task: its cell is done or failed, or its processes died too often."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise ResultsError(f"cell '{job.name}': {error.cause or error}") from error
    except ray.exceptions.RayError as error:
        if job.finished():
            return
        folder = next(step.job.folder for step in steps([job]) if not step.finished())
        message = (
            f"Ray gave it up after {MAX_DEATHS_PER_CELL} more tries: {type(error).__name__}; often"
            " that is memory: ask for more with --ray-memory, then `lightning-dna retry`."
        )
        with folder.claim() as free:
            if free and not folder.finished():
                folder.record_failure(kind=type(error).__name__, message=message, traceback="")


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or start one on this machine.

    Raises:
        ConfigError: If nobody answers at the address.
    """
    _check_answer(address)
    try:
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            logging_level="error",
            include_dashboard=False if address == LOCAL else None,
        )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"--ray {address}: {lines[0]} Give `local`, `auto` where a cluster runs on this "
            "machine (`ray start --head`), or its HOST:PORT; a cluster with tokens needs "
            "RAY_AUTH_MODE=token and its token here too."
        ) from error


def _check_answer(address: str) -> None:
    """Try the address: Ray itself would wait for minutes.

    Raises:
        ConfigError: If it is not one, or nobody answers.
    """
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"--ray {address}: not an address; allowed: local, auto, HOST:PORT, ray://HOST:PORT."
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
            pass
    except OSError as error:
        raise ConfigError(
            f"--ray {address}: nobody answers there ({error}); check the address with `ray status` "
            "on the head node, and that this machine may reach it."
        ) from error


def _check_needs(ray: Any, asked: Sequence[Needs]) -> None:
    """Refuse what no single node has: Ray would wait for such a node for ever.

    Raises:
        ConfigError: If a cell asks for more than the largest node has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    keys = (("CPU", "cpus"), ("GPU", "gpus"), ("memory", "memory"))
    for needs in asked:
        if any(
            all(node.get(key, 0) >= getattr(needs, field) for key, field in keys) for node in nodes
        ):
            continue
        largest = {key: max((node.get(key, 0) for node in nodes), default=0) for key, _ in keys}
        raise ConfigError(
            f"a cell asks for {needs.cpus} cores, {needs.gpus:g} GPUs and "
            f"{needs.memory / 2**30:.1f} GiB, and no node has all of it; the most on one node: "
            f"{largest['CPU']:g} cores, {largest['GPU']:g} GPUs, {largest['memory'] / 2**30:.1f} "
            "GiB. Lower --ray-cpus or --ray-memory, or add such a node."
        )


def _ray() -> Any:
    """Import Ray.

    Raises:
        ConfigError: If it is not installed.
    """
    # It warns about a choice that does not concern us: cells set their own devices.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            "--ray needs the package ray; install lightning-dna[cluster], or use --workers."
        ) from error

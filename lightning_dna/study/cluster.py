"""A study on a Ray cluster: what its cells ask for, and what a node does with one."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lightning_dna.errors import ConfigError
from lightning_dna.study.executors import work_through
from lightning_dna.study.jobs import Job, Outcome
from lightning_dna.study.machine import devices_of, step_memory, where_it_runs
from lightning_dna.study.ray_executor import Needs, gpu_share, run_with_ray
from lightning_dna.study.recipe import Arm
from lightning_dna.study.study import Study, open_study

_PROCESS_BYTES = 3 * 2**29  # of a process with torch and its data before any model is built
_UNKNOWN_GPU_BYTES = 16 * 2**30  # where the runner itself has no GPU to ask


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """How cells are handed to a cluster.

    Attributes:
        address: ``local``, ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        cpus: Cores for each cell.
        gpus: Share of a GPU for each cell; ``None`` takes it from the predicted memory, on arms
            that may train on one, where the cluster has any.
        memory_gib: Main memory for each cell; ``None`` takes the prediction.

    Raises:
        ConfigError: If a value is not allowed.
    """

    address: str
    cpus: int = 1
    gpus: float | None = None
    memory_gib: float | None = None

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ConfigError(f"--ray-cpus is {self.cpus}; allowed: 1 or more.")
        if self.gpus is not None and not self.gpus >= 0:
            raise ConfigError(f"--ray-gpus is {self.gpus}; allowed: 0 or more.")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise ConfigError(f"--ray-memory is {self.memory_gib}; allowed: above 0 (GiB).")


def run_on_cluster(study: Study, jobs: list[Job], folder: Path, options: RayOptions) -> Outcome:
    """Run the jobs of a study on a Ray cluster; errors as in `run_with_ray`."""
    place = folder.expanduser().resolve()
    return run_with_ray(
        jobs,
        address=options.address,
        work=functools.partial(work_on_cell, str(place), options.cpus),
        needs=cell_needs(study, options),
    )


def cell_needs(study: Study, options: RayOptions) -> Mapping[str, Needs]:
    """Return what each cell asks of the cluster, by its name, from the cost model.

    A job that is not named here, as the baselines of a task, asks for the cores alone.
    """
    by_arm = {arm.name: _arm_needs(arm, options) for arm in study.arms.values()}
    return {cell.name: by_arm[cell.arm.name] for cell in study.cells()}


def _arm_needs(arm: Arm, options: RayOptions) -> Needs:
    """Return what a cell of an arm asks for."""
    settings = arm.settings
    device, precision = where_it_runs(settings.trainer)
    devices = devices_of(settings.trainer)
    peak = step_memory(settings, precision=precision, devices=devices).peak
    gpus = options.gpus
    if gpus is None:
        gpus = gpu_share(peak, _gpu_bytes()) if device == "cuda" else 0.0
        gpus = float(devices) if gpus and devices > 1 else gpus  # Ray shares out one GPU at most
    memory = devices * (_PROCESS_BYTES + (0 if gpus else peak))
    if options.memory_gib is not None:
        memory = int(options.memory_gib * 2**30)
    return Needs(cpus=options.cpus, gpus=gpus, memory=memory)


def _gpu_bytes() -> int:
    """Return the memory of this machine's smallest GPU."""
    found = [
        torch.cuda.get_device_properties(index).total_memory
        for index in range(torch.cuda.device_count())
    ]
    return min(found, default=_UNKNOWN_GPU_BYTES)


def work_on_cell(folder: str, threads: int, name: str) -> None:
    """Do one cell on a node; a process that did one of this study has everything open already.

    Args:
        folder: Results folder, as every node sees it.
        threads: Threads of torch.
        name: The cell.

    Raises:
        ResultsError: If the node does not see the folder, or it holds another study.
    """
    torch.set_num_threads(threads)
    root = Path(folder)
    record = root / "study.json"
    stamp = record.stat().st_mtime_ns if record.is_file() else 0
    job = _jobs_of(folder, stamp)[name]
    from lightning_dna.study.run import journal_of

    work_through([job], progress=False, journal=journal_of(root))


@functools.lru_cache(maxsize=1)
def _jobs_of(folder: str, stamp: int) -> dict[str, Job]:
    """Open a study, once for each state of its record; genome and tasks stay open with it."""
    from lightning_dna.study.run import study_jobs
    from lightning_dna.study.scoring import Scorer

    study = open_study(Path(folder))
    return {job.name: job for job in study_jobs(Scorer(study), Path(folder))}

"""Looks at test scores through their files: `lightning-dna compare` on the tables of a study."""

from collections.abc import Iterable
from pathlib import Path

from lightning_dna.errors import LightningDNAError
from lightning_dna.study.looks import record_look

_TABLES = ("runs", "baselines")  # folders of a results folder that hold tables of scores


def results_folders(files: Iterable[Path]) -> list[Path]:
    """List the results folders that files lie in as tables of scores, each once."""
    found = []
    for file in files:
        place = file.resolve()
        for folder in place.parents:
            inside = place.relative_to(folder).parts
            if inside[0] in _TABLES and (folder / "study.json").is_file():
                found.append(folder)
    return [*dict.fromkeys(found)]


def record_file_looks(files: Iterable[Path], *, command: str) -> None:
    """Record that test scores are about to be seen, in every study whose tables are among files.

    A folder whose study cannot be opened here is a copy in which nothing goes on, and is left as
    it is.

    Args:
        files: Files that are read.
        command: The command that shows what is in them.

    Raises:
        UnwritableError: If a folder cannot be written to: then nothing may be shown.
    """
    for folder in results_folders(files):
        # Here, so that comparing files of other origin stays as quick as it is.
        from lightning_dna.study.run import study_jobs
        from lightning_dna.study.scoring import Scorer
        from lightning_dna.study.study import open_study

        try:
            study = open_study(folder)
            jobs = study_jobs(Scorer(study), folder)
        except LightningDNAError:
            continue
        cells = {cell.name for cell in study.cells()}
        states = {job.name: str(job.state()) for job in jobs if job.name in cells}
        record_look(folder, states, command=command)

"""Tuning with its record in a real PostgreSQL, a server of this test on a port of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
from optuna.exceptions import StorageInternalError

from lightning_dna import atomic
from lightning_dna.cli import main
from lightning_dna.errors import ResultsError
from lightning_dna.study import trials
from lightning_dna.study import tune as tuning
from lightning_dna.study.study import load_study

PASSWORD = "p@ss:word"  # noqa: S105 - of a server that lives for a test; the URL needs quoting
QUOTED = "p%40ss%3Aword"
SPACE = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}

# Runners are forked after the imports, so that they are at the database at the same moment.
CREW = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from lightning_dna.study import trials
from lightning_dna.study.study import load_study
from lightning_dna.study.tune import tune

recipe, out, url, runners, kill = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]

def fit(run, folder, *, progress, on_validation):
    time.sleep(0.2)
    on_validation(1, {"valid_loss": 1.0 + run.optimizer.lr})
    return SimpleNamespace(record={"valid_loss": 1.0 + run.optimizer.lr})

trials.fit = fit
study, crew = load_study(recipe), []
for _ in range(int(runners)):
    crew.append(os.fork())
    if not crew[-1]:
        tune(study, out, storage=url)
        os._exit(0)
if int(kill):
    while not [*out.glob("slots/*/*/result.json")]:
        time.sleep(0.01)
    os.kill(crew[0], signal.SIGKILL)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in crew])
"""


def program(name: str) -> str:
    """Find a program of the server, which Debian keeps out of the path."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return found


@pytest.fixture(scope="module")
def server():
    """Start a server; yields the start of its URL, without user and with the port."""
    pytest.importorskip("psycopg", reason="no driver: pip install 'lightning-dna[postgresql]'")
    initdb, postgres = program("initdb"), program("postgres")
    # The server refuses to run as root; its folder then belongs to nobody.
    other = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path may have 107 bytes only
    (home / "password").write_text(PASSWORD)
    if other:
        for path in (home, home / "password"):
            shutil.chown(path, "nobody", other["group"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-U", "dna", "--auth=scram-sha-256", f"--pwfile={home}/password", "--no-sync"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home, **other}
    subprocess.run([initdb, "-D", home / "data", *options], check=True, **quiet)
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(home), "-c", "fsync=off"]
    process = subprocess.Popen([postgres, "-D", home / "data", *options], **quiet)
    try:
        wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # its way to end without waiting for clients
        process.wait(timeout=60)
        shutil.rmtree(home, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        assert process.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the server did not answer for a minute")


@pytest.fixture
def recipe(make_study, tmp_path):
    make_study(tune={"trials": 5, "space": SPACE, "sampler": "random", "pruner": "none"})
    return tmp_path / "toy.yaml"


def run_crew(recipe: Path, out: Path, url: str, *, runners: int, kill: bool) -> str:
    words = [str(recipe), str(out), url, str(runners), str(int(kill))]
    done = subprocess.run([sys.executable, "-c", CREW, *words], capture_output=True, check=True)
    return done.stdout.decode() + done.stderr.decode()


def test_four_runners_on_a_new_database_one_killed_give_each_arm_its_budget(
    server, recipe, tmp_path
):
    url, out = f"postgresql+psycopg://dna:{QUOTED}@{server}/postgres", tmp_path / "out"
    # All four make the tables at once, in a database that has none; the first is then killed.
    assert run_crew(recipe, out, url, runners=4, kill=True).strip() == "[-9, 0, 0, 0]"
    assert run_crew(recipe, out, url, runners=1, kill=False).strip() == "[0]"
    done = pd.read_csv(out / "trials.csv")
    assert done.groupby("arm")["trial"].apply(list).to_dict() == {
        "attention": [0, 1, 2, 3, 4],
        "hyena": [0, 1, 2, 3, 4],
    }
    assert (done["state"] == "complete").all()
    one, other = (frame for _, frame in done.groupby("arm"))
    assert one["optimizer.lr"].tolist() == other["optimizer.lr"].tolist()
    # The database says the same: every finished trial is there, and no other.
    storage = optuna.storages.RDBStorage(url)
    try:
        name = atomic.read_json(out / "tune.json")["search"]
        studies = [one for one in storage.get_all_studies() if one.study_name.startswith(name)]
        assert len(studies) == 2
        for study in studies:
            found = [trial.value for trial in storage.get_all_trials(study._study_id)]
            mine = done[done["arm"] == study.study_name.rpartition("-")[2]]
            assert sorted(v for v in found if v) == sorted(mine["valid_bits_per_base"])
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_a_database_that_is_lost_on_the_way_takes_no_trial_with_it(
    server, recipe, tmp_path, monkeypatch
):
    url, out, calls = f"postgresql+psycopg://dna:{QUOTED}@{server}/postgres", tmp_path / "out", []
    works = tuning.run_slot

    def cut(slot, search, **options):
        calls.append(slot.index)
        if len(calls) == 2:
            raise StorageInternalError("commit") from OSError(f"no answer from {url}")
        works(slot, search, **options)

    def fit(run, folder, *, progress, on_validation):
        return SimpleNamespace(record={"valid_loss": 1.0 + run.optimizer.lr})

    monkeypatch.setattr(trials, "fit", fit)
    monkeypatch.setattr(tuning, "run_slot", cut)
    with pytest.raises(ResultsError, match=r"cannot be written: no answer from .*:\*\*\*@") as said:
        tuning.tune(load_study(recipe), out, storage=url)
    assert QUOTED not in str(said.value)
    tuning.tune(load_study(recipe), out, storage=url)
    assert len(pd.read_csv(out / "trials.csv")) == 10
    assert len(calls) == 11


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("dna:wrong@{server}/postgres", 'password authentication failed for user "dna"'),
        (f"dna:{QUOTED}@{{server}}/nosuch", 'database "nosuch" does not exist'),
        (f"dna:{QUOTED}@127.0.0.1:1/postgres", "onnection refused"),
    ],
)
def test_a_database_that_lets_nobody_in_is_one_line_without_the_password(
    server, recipe, tmp_path, capsys, place, words
):
    url = f"postgresql+psycopg://{place.format(server=server)}"
    out = tmp_path / "out"
    assert main(["tune", str(recipe), "--out", str(out), "--storage", url]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("lightning-dna: --storage postgresql+psycopg://dna:***@127.0.0.1:")
    assert words in said
    assert "wrong@" not in said
    assert QUOTED not in said
    assert not out.exists()

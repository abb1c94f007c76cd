"""A real Ray cluster of two nodes, one of which is killed in the middle; and what needs none."""

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

import pandas as pd
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.study import ray_executor
from lightning_dna.study.cluster import RayOptions, cell_needs, work_on_cell
from lightning_dna.study.ray_executor import Needs, gpu_share, run_with_ray
from lightning_dna.study.run import execute
from lightning_dna.tasks.base import Scores

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="install lightning-dna[cluster] for this"
)
PORT = 6399
TOKEN = secrets.token_hex(16)

# Runs in a network of its own, in which there is nothing but the loopback device.
DRIVER = """
import os, signal, socket, subprocess, sys, time
from pathlib import Path

recipe, out, port, scratch = sys.argv[1:5]
ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1",
       "--node-ip-address=127.0.0.1"]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
limit = time.monotonic() + 240

def wait_for(condition, what):
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.1)

def raylet_of(node):
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if words[0].endswith(b"raylet/raylet") and parent == node.pid:
            return int(entry.name)
    return 0

def answers():
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0

head = subprocess.Popen([*ray, "--head", f"--port={port}", "--include-dashboard=false",
                         f"--temp-dir={scratch}"], **quiet)
nodes = [head]
try:
    wait_for(lambda: raylet_of(head) and answers(), "the head did not start")
    nodes.append(subprocess.Popen([*ray, f"--address=127.0.0.1:{port}"], **quiet))
    wait_for(lambda: raylet_of(nodes[1]), "the second node did not start")
    time.sleep(5)
    study = subprocess.Popen([sys.executable, "-m", "lightning_dna", "run", recipe, "--out", out,
                              "--ray", f"127.0.0.1:{port}"])
    begun = lambda: len(list(Path(out).glob("runs/*/attempts/0001.json"))) >= 3
    wait_for(lambda: begun() or study.poll() is not None, "no cell was begun")
    left = study.poll() is None
    os.kill(raylet_of(nodes[1]), signal.SIGKILL)
    code = study.wait(timeout=400)
finally:
    for node in reversed(nodes):
        node.terminate()
        node.wait(timeout=60)
print("killed in the middle" if left else "the study was over before", flush=True)
sys.exit(code)
"""


def isolated(command: list[str]) -> list[str]:
    """Run a command where there is only loopback, if this system allows it."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return command
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    allowed = subprocess.run(["unshare", "-n", *inside, "true"], capture_output=True, check=False)
    return ["unshare", "-n", *inside, *command] if allowed.returncode == 0 else command


@pytest.mark.slow
@needs_ray
def test_a_node_is_killed_and_no_score_changes(make_study, tmp_path):
    study = make_study(
        seeds=[0, 1, 2],
        shared={
            "budget": {"tokens": 400 * 256},
            "trainer": {"checkpoint_every_seconds": 0.3, "threads": 1},
        },
    )
    out, whole = tmp_path / "cluster", tmp_path / "whole"
    # Ray's own folder holds sockets, whose paths may not be long.
    driver = [str(tmp_path / "toy.yaml"), str(out), str(PORT), tempfile.mkdtemp()]
    done = subprocess.run(
        isolated([sys.executable, "-c", DRIVER, *driver]),
        env={
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "killed in the middle" in done.stdout
    execute(study, whole, workers=1)
    tables = sorted(path.relative_to(whole) for path in whole.rglob("*.parquet"))
    assert tables == sorted(path.relative_to(out) for path in out.rglob("*.parquet"))
    assert len(tables) == 8
    for name in tables:
        frames = (Scores.read(folder / name).frame for folder in (whole, out))
        pd.testing.assert_frame_equal(*frames)
    attempts = [len(list(place.glob("*.json"))) for place in out.glob("runs/*/attempts")]
    assert sum(attempts) > len(attempts), "the node was killed between two cells"
    assert list(out.rglob("failure.json")) == []


def test_a_node_does_a_cell_as_the_runner_would(make_study, tmp_path):
    study = make_study(seeds=[0, 1])
    out = tmp_path / "out"
    execute(study, out, workers=1, only=["attention/0"])
    work_on_cell(str(out), 1, "hyena/1")
    execute(study, tmp_path / "whole", workers=1, only=["hyena/1"])
    (table,) = (tmp_path / "whole").rglob("scores/*.parquet")
    pd.testing.assert_frame_equal(
        Scores.read(table).frame,
        Scores.read(out / table.relative_to(tmp_path / "whole")).frame,
    )


@pytest.mark.parametrize("address", ["nowhere", "host:port", ":1", "ray://x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match=r"not an address; allowed: local, auto, HOST:PORT"):
        ray_executor._check_answer(address)


def test_an_address_that_does_not_answer_is_refused_soon():
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"--ray 127.0.0.1:9: nobody answers there"):
        ray_executor._check_answer("127.0.0.1:9")
    assert time.monotonic() - began < 20


def test_without_the_package_the_message_names_the_extra(make_study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"install lightning-dna\[cluster\]"):
        execute(make_study(), tmp_path / "out", workers=1, cluster=RayOptions(address="local"))


def test_a_cluster_has_its_own_workers(make_study, tmp_path):
    with pytest.raises(ConfigError, match="--ray takes no --workers"):
        execute(make_study(), tmp_path / "out", workers=2, cluster=RayOptions(address="local"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpus": 0}, "--ray-cpus is 0; allowed: 1 or more"),
        ({"gpus": -0.5}, "--ray-gpus is -0.5"),
        ({"memory_gib": 0}, "--ray-memory is 0"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        RayOptions(address="local", **changes)


class FakeRay:
    """A cluster of two nodes, as `ray.nodes` describes them."""

    @staticmethod
    def nodes():
        return [
            {"Alive": True, "Resources": {"CPU": 4.0, "memory": 8.0 * 2**30}},
            {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0, "memory": 64.0 * 2**30}},
            {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0, "memory": 1e15}},
        ]


def test_what_no_node_has_is_refused_before_waiting_for_it():
    ray_executor._check_needs(FakeRay, [Needs(cpus=4), Needs(cpus=2, gpus=0.5, memory=2**33)])
    with pytest.raises(ConfigError, match=r"asks for 4 cores, 1 GPUs .* the most on one node: 4"):
        ray_executor._check_needs(FakeRay, [Needs(cpus=4, gpus=1.0)])


def test_shares_of_a_gpu_are_rounded_up():
    assert gpu_share(1, 80e9) == 0.1
    assert gpu_share(41e9, 80e9) == pytest.approx(0.6)
    assert gpu_share(200e9, 80e9) == 1.0


def test_cells_ask_for_what_their_training_needs(make_study):
    study = make_study(arms={"wide": {"model": {"width": 64, "layers": 3}}})
    needs = cell_needs(study, RayOptions(address="local", cpus=2))
    assert set(needs) == {cell.name for cell in study.cells()}
    assert needs["wide/0"].memory > needs["attention/0"].memory > 2**30
    assert (needs["wide/0"].cpus, needs["wide/0"].gpus) == (2, 0.0)
    fixed = cell_needs(study, RayOptions(address="local", memory_gib=0.5, gpus=0.25))
    assert fixed["wide/0"] == Needs(cpus=1, gpus=0.25, memory=2**29)


def test_a_study_that_is_done_asks_nobody(tmp_path):
    outcome = run_with_ray([], address="127.0.0.1:9", work=print, needs={})
    assert (outcome.done, outcome.failed) == (0, 0)

"""Workers on Ray: where they are, what they refuse, and what is said when one is lost.

The short tests need no cluster; one cluster of two nodes serves those that do. The long ones run stage extract.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.extraction import cluster
from gap_ensemble.extraction.cluster import Actor, Actors, Place, Refusal, Worker, open_pool, places_of
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.workers import CHUNKS_IN_WORK, Threads
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Cluster
from tools.sample import draw_competition
from tools.workspace import ROOT, change_params


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "NodeID": "abc", "NodeManagerAddress": "10.0.0.3", "Resources": resources}


@dataclass(frozen=True)
class Echo:
    """Returns every chunk with the process that had it; refuses one."""

    folder: Path
    bad: int = -1
    seconds: float = 0.02
    known_as: str = "echo"

    def needs(self, chunk: int) -> list[Path]:  # noqa: ARG002 - all need the same
        return [self.folder]

    def identity(self) -> str:
        return self.known_as

    def worker(self) -> "EchoWorker":
        return EchoWorker(self)


class EchoWorker:
    def __init__(self, job: Echo):
        self.job = job

    def __call__(self, chunk: int) -> tuple[int, int]:
        time.sleep(self.job.seconds)
        if chunk == self.job.bad:
            raise UserError(f"{chunk}.jpg: is not a picture")
        return chunk, os.getpid()

    def close(self) -> None: ...


# --- without a cluster -----------------------------------------------------------------------------------------------


def test_no_address_is_this_process() -> None:
    assert isinstance(open_pool(None), Threads)
    assert isinstance(open_pool("auto"), Actors)


@pytest.mark.parametrize("address", [None, "local", "auto", "10.0.0.3:6379", "head:6379", "[::1]:6379", "ray://head"])
def test_addresses_that_are_accepted(address: str | None) -> None:
    assert Cluster(address=address).address == address


@pytest.mark.parametrize("address", ["locale", "10.0.0.3", "http://head:8265", "ray://", "head:port", ""])
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="null, local, auto, HOST:PORT, ray://HOST"):
        Cluster(address=address)


def test_a_worker_a_gpu_with_its_share_of_the_cores() -> None:
    places = places_of(node(CPU=16.0, GPU=4.0), with_gpus=True)
    assert [(place.number, place.n_cores, place.n_gpus) for place in places] == [(i, 4, 1) for i in range(4)]


def test_a_job_without_a_network_takes_a_node_of_gpus_whole() -> None:
    assert places_of(node(CPU=16.0, GPU=4.0), with_gpus=False) == [Place("abc", "10.0.0.3", 0, 16, 0)]


def test_a_node_without_cores_or_that_is_gone_has_no_place() -> None:
    assert places_of(node(memory=1.0), with_gpus=True) == []
    assert places_of(node(alive=False, CPU=4.0), with_gpus=True) == []


def test_a_node_without_the_repository_is_refused_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(Actor(0).look(str(tmp_path / "repository")), Refusal)
    answer = Actor(0).start(Echo(tmp_path), [str(tmp_path), str(tmp_path / "raw/cat.1.jpg")], "echo")
    assert f"{tmp_path}/raw/cat.1.jpg: not found" in answer.problems[0]


def test_a_node_with_other_weights_is_refused(tmp_path: Path) -> None:
    assert isinstance(Actor(0).start(Echo(tmp_path, known_as="another"), [], "echo"), Refusal)
    assert Actor(0).start(Echo(tmp_path), [], "echo") is None


@dataclass(frozen=True)
class FakeDevice:
    name: str
    precision: str

    def identity(self) -> tuple[str, ...]:
        return (self.precision,)


def test_nodes_that_compute_differently_are_refused_by_name() -> None:
    pool = Actors("auto")
    old, new = (Worker(f"worker {i} on 10.0.0.{i}", Place("", "", 0, 1, 0), None) for i in (1, 2))
    pool._refuse_mixture({old: FakeDevice("Old", "float32"), new: FakeDevice("New", "float32")})
    with pytest.raises(UserError) as caught:
        pool._refuse_mixture({old: FakeDevice("Old", "float32"), new: FakeDevice("New", "bfloat16")})
    (line,) = caught.value.problems
    for text in ("worker 1 on 10.0.0.1", "worker 2 on 10.0.0.2", "float32 and bfloat16", "extract.precision: float32"):
        assert text in line


def test_libraries_of_another_version_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "versions", lambda: {"numpy": "2.4.0", "pillow": "12.0.0"})
    worker = Worker("worker 1 on 10.0.0.1", Place("", "", 0, 1, 0), None)
    with pytest.raises(UserError, match=r"numpy 2\.3\.0 .* 2\.4\.0.*worker 1 on 10\.0\.0\.1"):
        Actors("auto")._welcome(worker, {"numpy": "2.3.0", "pillow": "12.0.0"})


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is missing.*pip install.*address: null"):
        next(Actors("auto").map(Echo(tmp_path), range(3)))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_one_line(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:1 does not answer"):
        next(Actors(address).map(Echo(tmp_path), range(3)))


def test_a_file_left_by_an_earlier_cluster_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = pytest.importorskip("ray._private.services")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: "127.0.0.1:1")
    with pytest.raises(UserError, match=r"ray_current_cluster, perhaps left by an earlier cluster.*address: local"):
        next(Actors("auto").map(Echo(tmp_path), range(3)))


def test_nothing_to_do_connects_to_nothing(tmp_path: Path) -> None:
    assert list(Actors("127.0.0.1:1").map(Echo(tmp_path), [])) == []


# --- on a cluster of two nodes, one core each ------------------------------------------------------------------------


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes, one core each, that this process did not start as `local`; tests add and remove nodes."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as RayCluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Workers can't import this module.
    nodes = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def run_with(
    pool: Actors, job: Echo, n_chunks: int, at: int = 5, act: Callable[[int], object] = lambda _: None
) -> list[tuple[int, int]]:
    """Return all results; after `at` of them call `act` with the process of the last."""
    results = []
    for result in pool.map(job, range(n_chunks)):
        results.append(result)
        if len(results) == at:
            act(result[1])
    return results


@pytest.mark.long
def test_two_nodes_share_the_work_in_order_and_within_their_cores(two_nodes: Any, tmp_path: Path) -> None:
    pool = Actors(two_nodes.address)
    assert pool.call(usable_cores) == 1
    results = run_with(pool, Echo(tmp_path), 40)
    assert [number for number, _ in results] == list(range(40))
    assert len({pid for _, pid in results}) == 2
    assert len([one for one in two_nodes.list_all_nodes() if one.any_processes_alive()]) == 2


@pytest.mark.long
def test_chunks_are_read_only_as_results_are_used(two_nodes: Any, tmp_path: Path) -> None:
    read: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(200):
            read.append(number)
            yield number

    results = Actors(two_nodes.address).map(Echo(tmp_path), chunks())
    for n_used in range(1, 20):
        next(results)
        assert len(read) <= n_used + 2 * CHUNKS_IN_WORK * 2
    results.close()  # type: ignore[attr-defined]


@pytest.mark.long
def test_a_refused_chunk_ends_the_run_by_name_and_is_not_tried_again(two_nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"7\.jpg: is not a picture \(worker \d on "):
        run_with(Actors(two_nodes.address), Echo(tmp_path, bad=7), 40)


@pytest.mark.long
def test_a_killed_worker_is_named_and_its_chunks_go_to_the_other(
    two_nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_with(Actors(two_nodes.address), Echo(tmp_path), 40, act=lambda pid: os.kill(pid, signal.SIGKILL))
    assert [number for number, _ in results] == list(range(40))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "is lost: its process ended; 1 other goes on" in lines[0]


@pytest.mark.long
def test_no_worker_left_is_an_error_that_says_how_to_go_on(two_nodes: Any, tmp_path: Path) -> None:
    def kill_all() -> list[tuple[int, int]]:
        pids: set[int] = set()
        for result in Actors(two_nodes.address).map(Echo(tmp_path), range(400)):
            pids.add(result[1])
            if len(pids) == 2:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                pids.clear()
        return []

    with pytest.raises(UserError, match=r"no worker is left.*what is computed is kept.*dvc repro"):
        kill_all()


@pytest.mark.long
def test_a_removed_node_is_named_and_one_that_joins_takes_part(
    two_nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SECONDS_BETWEEN_LOOKS", 0.5)
    added = two_nodes.add_node(num_cpus=1)
    two_nodes.wait_for_nodes()

    def change(_: int) -> None:
        two_nodes.remove_node(added, allow_graceful=False)
        two_nodes.add_node(num_cpus=1)

    results = run_with(Actors(two_nodes.address), Echo(tmp_path, seconds=0.2), 300, act=change)
    assert [number for number, _ in results] == list(range(300))
    assert "is lost: " in capsys.readouterr().out
    assert len({pid for _, pid in results}) == 4


# --- stage extract ---------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(project: Path, run_module: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """Return a project in which link has run on a drawn competition, with one small network."""
    draw_competition(project / "data/raw", 120, 40)
    small = {"MobileNet": {"weights": "random", "input_size": 32}}
    change_params(project / "params.yaml", lambda params: params.update(backbones=small))
    done = run_module("stages.link")
    assert done.returncode == 0, done.stderr
    return project


# Runs stage extract in small chunks, saves after each, and waits in the middle, so that a test can do harm.
PAUSED = """
import os, sys, time
from gap_ensemble.extraction import cluster, picture_features
from stages import extract

def open_pool(address):
    global pool
    pool = cluster.open_pool(address)
    return pool

def add(progress, n):
    original(progress, n)
    if progress.done - n < 60 <= progress.done:
        pids = pool.ray.get([worker.actor.call.remote(os.getpid, (), {}) for worker in pool.workers])
        print("paused", *pids, flush=True)
        time.sleep(5)

original, picture_features.Progress.add, extract.open_pool = picture_features.Progress.add, add, open_pool
picture_features.CHUNK, picture_features.SECONDS_BETWEEN_SAVES = 4, 0
sys.argv = ["stages.extract", "MobileNet"]
extract.run(extract.main)
"""
FEATURES = "features/gap/MobileNet.h5"


@pytest.fixture
def extract(linked: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts stage extract with an address, a store of its own, and arguments of Python."""

    def start(address: str | None, store: str, *arguments: str) -> subprocess.Popen[str]:
        change_params(linked / "params.yaml", lambda params: params["cluster"].update(address=address))
        return subprocess.Popen(
            [sys.executable, *(arguments or ("-m", "stages.extract", "MobileNet"))],
            cwd=linked,
            env={**os.environ, "GAP_ENSEMBLE_STORE": str(linked / store)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return start


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def wait_for_pause(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of the workers."""
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("paused"))
    return [int(word) for word in line.split()[1:]]


@pytest.mark.long
@pytest.mark.parametrize("address", ["local", "two nodes"])
def test_features_are_the_same_bytes_as_those_of_one_process(
    address: str, two_nodes: Any, linked: Path, extract: Callable[..., subprocess.Popen[str]]
) -> None:
    finish(extract(None, "store"))
    alone = (linked / FEATURES).read_bytes()
    (linked / FEATURES).unlink()
    output = finish(extract(two_nodes.address if address == "two nodes" else "local", "another"))
    assert (linked / FEATURES).read_bytes() == alone
    assert "Traceback" not in output
    assert "(raylet)" not in output


@pytest.mark.long
@pytest.mark.parametrize("what", ["worker", "node", "driver", "interrupt"])
def test_what_is_lost_in_the_middle_changes_no_byte(
    what: str, two_nodes: Any, linked: Path, extract: Callable[..., subprocess.Popen[str]]
) -> None:
    finish(extract(None, "store"))
    alone = (linked / FEATURES).read_bytes()
    (linked / FEATURES).unlink()
    added = two_nodes.add_node(num_cpus=1)
    two_nodes.wait_for_nodes()
    process = extract(two_nodes.address, "another", "-c", PAUSED)
    pids = wait_for_pause(process)
    assert len(pids) == 3
    if what == "worker":
        os.kill(pids[0], signal.SIGKILL)
    elif what == "node":
        two_nodes.remove_node(added, allow_graceful=False)
    else:
        os.kill(process.pid, signal.SIGKILL if what == "driver" else signal.SIGINT)
    if what in ("worker", "node"):
        output = finish(process)
        assert output.count("is lost: ") == 1
    else:
        output = finish(process, status=-signal.SIGKILL if what == "driver" else 130)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))  # Ours are gone, the nodes are not.
        assert "in the store" in finish(extract(two_nodes.address, "another"))
    if what == "interrupt":
        assert "Interrupted: MobileNet keeps " in output
    assert (linked / FEATURES).read_bytes() == alone
    if what != "node":
        two_nodes.remove_node(added)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.long
def test_a_picture_that_is_gone_bad_ends_the_run_by_name(
    two_nodes: Any, linked: Path, extract: Callable[..., subprocess.Popen[str]]
) -> None:
    (linked / "data/raw/train/cat.7.jpg").write_bytes(b"no picture")
    output = finish(extract(two_nodes.address, "store"), status=1)
    assert output.count("ERROR") == 1
    assert "data/raw/train/cat.7.jpg: is not the picture that stage link has checked" in output


@pytest.mark.long
def test_the_check_of_link_runs_on_the_cluster(
    two_nodes: Any, linked: Path, run_module: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    manifest = (linked / "data/manifest.csv").read_bytes()
    change_params(linked / "params.yaml", lambda params: params["cluster"].update(address=two_nodes.address))
    done = run_module("stages.link")
    assert done.returncode == 0, done.stderr
    assert "160 of 160 pictures, " in done.stdout
    assert " a second, 1 worker\n" in done.stdout or " a second, 2 workers\n" in done.stdout
    assert (linked / "data/manifest.csv").read_bytes() == manifest


def test_no_stage_depends_on_where_pictures_are_computed() -> None:
    assert "cluster" not in [
        word.strip(" -[],:")
        for line in (ROOT / "dvc.yaml").read_text().splitlines()
        if not line.lstrip().startswith("#")
        for word in line.split()
    ]

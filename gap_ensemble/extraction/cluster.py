"""Workers on Ray: the GPUs and the nodes of a cluster, behind the same methods as the threads of this process.

    pool = open_pool(params.cluster.address)

| address | where the workers are |
| --- | --- |
| null | in this process |
| local | on this machine: one worker a GPU, or one for all cores |
| auto, HOST:PORT, ray://HOST | on a cluster that runs: one worker a GPU, or one a node with all its cores |

A worker is an actor of Ray: a process that holds a network. This process, the driver, gives chunks to workers, takes
the results in order, and writes them down. It computes nothing itself, so that it takes no GPU from the workers. A
bounded number of chunks is in work or waits for an earlier one: memory does not grow with the number of pictures.

What a worker needs (this repository, pictures, weights) lies at the same path on every node.
"""

import contextlib
import importlib.metadata
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

import gap_ensemble
from gap_ensemble.extraction.cores import limit_cores
from gap_ensemble.extraction.ray_connection import connect
from gap_ensemble.extraction.workers import (
    CHUNKS_IN_WORK,
    Arguments,
    Chunk,
    ChunkWorker,
    Job,
    Pool,
    Result,
    Threads,
)
from gap_ensemble.messages.errors import UserError, listed, one_line

# The folder that holds this package, from which workers import it.
CODE = Path(gap_ensemble.__file__).parents[1]
# Libraries that change pixels or features.
LIBRARIES = ("jax", "jaxlib", "keras", "numpy", "openvino", "pillow", "tensorflow", "tensorflow-cpu")
SAME_PATH = "repository, pictures and weights must lie at the same path on every node: mount them there"

# Once a first worker is there, so long may the others take before the work begins. Later ones join it.
SECONDS_FOR_OTHERS = 15
SECONDS_BETWEEN_LOOKS = 5  # for new nodes
SECONDS_BETWEEN_REMINDERS = 60  # while no worker is free


def open_pool(address: str | None) -> Pool:
    """Return the workers that `cluster.address` of params.yaml names. Nothing is started yet."""
    return Threads() if address is None else Actors(address)


class Place(NamedTuple):
    """Where a worker may be: a GPU, or a node with all its cores."""

    node: str  # Ray's name of the node
    host: str
    number: int  # of the place on its node
    n_cores: int
    n_gpus: int


def places_of(node: dict[str, Any], with_gpus: bool) -> list[Place]:
    """Return the places on a node of `ray.nodes()`: one a GPU, or one for all cores.

    Parameters
    ----------
    node : dict
        What Ray knows of it.
    with_gpus : bool
        Whether the job computes on GPUs, where there are any.
    """
    resources = node["Resources"] if node["Alive"] else {}
    n_cores, n_gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if with_gpus and n_gpus:
        return [Place(node["NodeID"], node["NodeManagerAddress"], i, n_cores // n_gpus, 1) for i in range(n_gpus)]
    return [Place(node["NodeID"], node["NodeManagerAddress"], 0, n_cores, 0)] if n_cores else []


# --- in the process of a worker --------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """What a worker answers instead of a result: lines for the user."""

    problems: list[str]


def answer(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function. A `UserError` becomes a value: Ray would wrap it in a traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        return Refusal(error.problems)


class Actor:
    """One worker's process. Ray calls `compute` from several threads."""

    def __init__(self, n_cores: int):
        if n_cores:  # Else whoever started the node has not counted them.
            limit_cores(n_cores)
        self.work: ChunkWorker[Any, Any] | None = None

    def look(self, folder: str) -> Any:
        """Go to the folder that the project's paths are relative to; return the versions of libraries."""
        if not os.path.isdir(folder):
            return Refusal([f"{folder}: no such folder; {SAME_PATH}"])
        os.chdir(folder)
        return versions()

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function here."""
        return answer(lambda: function(*arguments, **options))

    def start(self, job: Job[Any, Any], needed: list[str], identity: str) -> Any:
        """Build the job's worker, if all that it needs is here, and is the same."""
        missing = [path for path in needed if not os.path.exists(path)]
        if missing:
            return Refusal([f"{listed(missing)}: not found; {SAME_PATH}"])
        if isinstance(here := answer(job.identity), Refusal):
            return here
        if here != identity:
            return Refusal([f"the code of {CODE}, or the weights, differ from the driver's; {SAME_PATH}"])
        self.work = answer(job.worker)
        return self.work if isinstance(self.work, Refusal) else None

    def compute(self, chunk: Any) -> Any:
        """Return the result of a chunk."""
        assert self.work is not None
        return answer(self.work, chunk)


def versions() -> dict[str, str]:
    """Return the versions of those libraries that change pixels or features and are installed."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name.removesuffix("-cpu")] = importlib.metadata.version(name)
    return found


# --- in the driver ---------------------------------------------------------------------------------------------------


@dataclass
class Task:
    """A chunk by its place in the order, and its result once it is there."""

    number: int
    chunk: Any
    done: bool = False
    result: Any = None


@dataclass(eq=False)
class Worker:
    """What the driver knows of a worker."""

    name: str
    place: Place
    actor: Any
    placed: bool = False  # Its process runs, and can do this project's work.
    ready: bool = False  # It has built the job's worker.
    tasks: dict[int, Task] = field(default_factory=dict)  # in work, by their numbers


class Question(NamedTuple):
    """What a worker was asked."""

    worker: Worker
    about: Literal["look", "call", "start", "compute"]
    task: Task | None = None


class Actors:
    """Workers that are actors of Ray.

    Parameters
    ----------
    address : str
        `cluster.address` of params.yaml: local, auto, HOST:PORT or ray://HOST.
    """

    def __init__(self, address: str):
        self.address = address
        self._forget()

    def _forget(self) -> None:
        self.ray: Any = None
        self.workers: list[Worker] = []
        self.places: set[Place] = set()
        self.questions: dict[Any, Question] = {}
        self.again: list[Task] = []  # of lost workers
        self.start_with: tuple[Any, ...] = ()
        self.started = False  # Workers build the job's worker as they come.
        self.begun = False  # There is a first result.
        self.next_look = 0.0

    @property
    def n_workers(self) -> int:
        """How many workers are ready to compute."""
        return sum(worker.ready for worker in self.workers)

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Call a function in all workers, and return the result, such as the device on which they compute.

        Raises
        ------
        UserError
            If the cluster can't be reached, or the workers return different results: they would compute on different
            devices or in different precisions, which gives different features.
        """
        try:
            self._gather(with_gpus=True)
            found: dict[Worker, Any] = {}
            asked = [worker for worker in self.workers if worker.placed]
            for worker in asked:
                self._ask(worker, "call", function, arguments, options)
            while any(worker not in found for worker in asked if worker in self.workers):
                found.update((question.worker, result) for question, result in self._answers())
            self._refuse_mixture(found)
        except BaseException:
            self._leave()
            raise
        return next(iter(found.values()))

    def map(self, job: Job[Chunk, Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
        """Return the results in the order of the chunks, once the first worker is ready.

        Raises
        ------
        UserError
            If a chunk is refused, or if a node lacks what a worker needs, or if no worker is left.
        """
        unread = iter(chunks)
        try:
            first = next(unread)
        except StopIteration:
            return iter(())
        try:
            # What this machine lacks, too, is not a node's fault.
            needed = [str(path) for path in job.needs(first) if path.exists()]
            self.start_with = (job, needed, job.identity())
            self._gather(with_gpus=hasattr(job, "device"))
            self.started = True
            for worker in self.workers:
                if worker.placed:
                    self._ask(worker, "start", *self.start_with)
            while not self.n_workers:
                self._answers()
        except BaseException:
            self._leave()
            raise
        return self._results(itertools.chain([first], unread))

    def _results(self, chunks: Iterable[Any]) -> Iterator[Any]:
        unread = (Task(number, chunk) for number, chunk in enumerate(chunks))
        order: deque[Task] = deque()  # Given to workers, in part done, not yielded yet.

        def next_task() -> Task | None:
            if self.again:
                return self.again.pop(0)
            if len(order) < 2 * CHUNKS_IN_WORK * self.n_workers and (task := next(unread, None)):
                order.append(task)
                return task
            return None

        try:
            while True:
                while (worker := self._free_worker()) and (task := next_task()):
                    worker.tasks[task.number] = task
                    self._ask(worker, "compute", task.chunk, task=task)
                if not order and self.n_workers:  # A worker is free, and was given nothing: nothing is left.
                    return
                if order and order[0].done:
                    yield order.popleft().result
                    continue  # There is room for another chunk.
                for question, result in self._answers():
                    if question.task:
                        del question.worker.tasks[question.task.number]
                        question.task.done, question.task.result = True, result
                        self.begun = True
        finally:
            self._leave()

    # How workers come.

    def _gather(self, with_gpus: bool) -> None:
        """Connect, and ask for a worker in every place. Return when they are there, or some are and others late."""
        if not self.ray:
            self.ray = connect(self.address, CODE)
            self.with_gpus = with_gpus
            self._look_for_nodes()
            if not self.places:
                raise UserError(
                    f"cluster.address: {self.address}: no node offers a core or a GPU; start some, with `ray start`"
                )
        first_placed, reminder = None, time.monotonic() + SECONDS_BETWEEN_REMINDERS
        while any(not worker.placed for worker in self.workers):
            now = time.monotonic()
            if first_placed is None and any(worker.placed for worker in self.workers):
                first_placed = now
            if first_placed is not None and now > first_placed + SECONDS_FOR_OTHERS:
                late = [worker.name for worker in self.workers if not worker.placed]
                say(
                    f"begins without {listed(late)}, where other work holds the cores or GPUs; joins in when it is free"
                )
                break
            if first_placed is None and now > reminder:
                say("waits for a worker: other work holds all cores or GPUs of the cluster")
                reminder = now + SECONDS_BETWEEN_REMINDERS
            self._answers()

    def _look_for_nodes(self) -> None:
        """Ask for a worker in every new place."""
        self.next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        for node in self.ray.nodes():
            for place in places_of(node, self.with_gpus):
                if place not in self.places:
                    self.places.add(place)
                    self._hire(place)

    def _hire(self, place: Place) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "num_cpus": place.n_cores,
            "num_gpus": place.n_gpus,
            "max_concurrency": CHUNKS_IN_WORK,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.node, soft=False),
        }
        actor = self.ray.remote(Actor).options(**options).remote(place.n_cores)
        worker = Worker(f"worker {len(self.places)} on {place.host}", place, actor)
        self.workers.append(worker)
        self._ask(worker, "look", str(Path.cwd()))

    def _welcome(self, worker: Worker, found: dict[str, str]) -> None:
        """Take a worker whose process runs."""
        here = versions()
        for name in sorted(found.keys() & here):
            if found[name] != here[name]:
                self._refuse(
                    worker,
                    [
                        f"{name} {found[name]} is not this machine's {name} {here[name]}, and may give other features; "
                        "install the same lock file on every node"
                    ],
                )
                return
        worker.placed = True
        if self.started:
            self._ask(worker, "start", *self.start_with)

    def _refuse_mixture(self, found: dict[Worker, Any]) -> None:
        kinds: dict[object, list[Worker]] = {}
        for worker, result in found.items():
            kinds.setdefault(result.identity() if hasattr(result, "identity") else result, []).append(worker)
        if len(kinds) > 1:
            groups = [f"{listed(worker.name for worker in kind)}: {found[kind[0]]}" for kind in kinds.values()]
            raise UserError(
                f"cluster.address: {self.address}: the workers compute differently, which gives different features "
                f"({'; '.join(groups)}; they differ in {_difference(list(kinds))}); take nodes of one kind: start the "
                "others with --num-cpus=0 --num-gpus=0, or set extract.precision: float32 if only precisions differ"
            )

    # How workers answer.

    def _free_worker(self) -> Worker | None:
        """Return the worker with the fewest chunks; None if all have enough."""
        free = [worker for worker in self.workers if worker.ready and len(worker.tasks) < CHUNKS_IN_WORK]
        return min(free, key=lambda worker: len(worker.tasks), default=None)

    def _ask(self, worker: Worker, about: Any, *arguments: Any, task: Task | None = None) -> None:
        reference = getattr(worker.actor, about).remote(*arguments)
        self.questions[reference] = Question(worker, about, task)

    def _answers(self) -> list[tuple[Question, Any]]:
        """Wait for answers, for a second at most; look after workers that come and go; return devices and results."""
        errors = self.ray.exceptions
        lost = (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.NodeDiedError)
        if time.monotonic() > self.next_look:
            self._look_for_nodes()
        references = list(self.questions)
        answered, _ = self.ray.wait(references, num_returns=1, timeout=1)
        if answered:  # And all others that are there by now.
            answered, _ = self.ray.wait(references, num_returns=len(references), timeout=0)
        results = []
        for reference in answered:
            question = self.questions.pop(reference, None)
            if question is None:  # Its worker was lost a moment ago.
                continue
            try:
                result = self.ray.get(reference)
            except lost as error:
                self._lose(question.worker, error)
                continue
            if isinstance(result, Refusal):
                self._refuse(question.worker, result.problems, chunk=question.about == "compute")
            elif question.about == "look":
                self._welcome(question.worker, result)
            elif question.about == "start":
                question.worker.ready = True
            else:
                results.append((question, result))
        return results

    def _refuse(self, worker: Worker, problems: list[str], chunk: bool = False) -> None:
        """End the run; or, if it goes well without a worker that has come late, go on without it."""
        problems = [f"{problem} ({worker.name})" for problem in problems]
        if chunk or not self.begun:
            raise UserError(problems)
        say(f"goes on without a new worker: {problems[0]}")
        self._dismiss(worker)

    def _lose(self, worker: Worker, error: Exception) -> None:
        """Give the chunks of a lost worker to the others.

        Raises
        ------
        UserError
            If there are none.
        """
        self._dismiss(worker)
        text = str(error).strip() or type(error).__name__
        if "node has died" in text:
            why = "its node is gone"
        elif isinstance(error, self.ray.exceptions.ActorUnavailableError):
            why = "it does not answer"
        elif worker.placed:
            why = "its process ended"
        else:  # The last line says what could not be imported, or why there was no process.
            why = f"it could not start ({one_line(Exception(text.splitlines()[-1]), 200)}); {SAME_PATH}"
        self.again = sorted([*self.again, *worker.tasks.values()], key=lambda task: task.number)
        if not self.workers:
            raise UserError(
                f"cluster.address: {self.address}: no worker is left; the last was {worker.name}: {why}; what is "
                "computed is kept: start nodes again (or set address: null), and `dvc repro` goes on from there"
            )
        n_left = self.n_workers
        others = "1 other goes on" if n_left == 1 else f"{n_left} others go on" if n_left else "waits for others"
        say(f"{worker.name} is lost: {why}; {others}; {len(worker.tasks)} chunks are computed again")

    def _dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.questions = {key: question for key, question in self.questions.items() if question.worker is not worker}
        with contextlib.suppress(Exception):  # It may be gone.
            self.ray.kill(worker.actor)

    def _leave(self) -> None:
        """End our workers, and the cluster if it was started here; leave one that others started."""
        if self.ray:
            for worker in self.workers:
                with contextlib.suppress(Exception):
                    self.ray.kill(worker.actor)
            self.ray.shutdown()
        self._forget()


def _difference(kinds: list[Any]) -> str:
    """Return in what the identities of devices differ."""
    if not all(isinstance(kind, tuple) for kind in kinds):
        return " and ".join(map(str, kinds))
    return ", ".join(" and ".join(values) for values in zip(*kinds, strict=False) if len(set(values)) > 1)


def say(text: str) -> None:
    """Print a line, also between those of a progress bar."""
    tqdm.write(f"cluster: {text}")

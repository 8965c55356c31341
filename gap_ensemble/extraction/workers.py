"""Extraction is a map over chunks of pictures by workers that hold what they need, such as a network.

    pool = Threads()                                   # or another kind, with the same two methods
    device = pool.call(find_device, "auto")            # what the workers compute on, before any network is loaded
    for rows in pool.map(ExtractJob(…), chunks): …     # in the order of the chunks

A job says what is to be done, in values that can be pickled and sent to another process. A process that works builds
the job's worker once, which loads the network, and calls it for every chunk. The worker uses all cores of its process
by itself. A result depends on its chunk alone, never on which worker computed it, nor on what came before.

Kinds of pools: the threads of this process (`Threads`), and actors of Ray (`cluster.py`). Jobs: the features of
pictures (`picture_features.py`), the check of stage link (`competition/check.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from gap_ensemble.extraction.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Chunk = TypeVar("Chunk")
Given = TypeVar("Given", contravariant=True)
Answer = TypeVar("Answer", covariant=True)
Arguments = ParamSpec("Arguments")

# Chunks in work at once in one process: while the last pictures of one are computed, the next one has begun.
CHUNKS_IN_WORK = 3


class Job(Protocol[Given, Answer]):
    """What is done with every chunk; it can be pickled."""

    def worker(self) -> "ChunkWorker[Given, Answer]":
        """Return what turns a chunk into a result. Called once in every process."""

    def needs(self, chunk: Given) -> list[Path]:
        """Return the folders and files that a worker must find at the same path, wherever it is: those of one chunk."""

    def identity(self) -> str:
        """Identify what results depend on except for the chunk, as it is found where this is called."""


class ChunkWorker(Protocol[Given, Answer]):
    """What works in one process, with all cores that the process may use."""

    def __call__(self, chunk: Given, /) -> Answer:
        """Turn a chunk into a result. May be called from several threads."""

    def close(self) -> None:
        """Begin nothing more; what is in work is given up."""


class Pool(Protocol):
    """Workers of one kind."""

    @property
    def n_workers(self) -> int:
        """How many other processes are at work; 0 where this one works."""

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Call a function where the workers are, and return its result."""

    def map(self, job: Job[Chunk, Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
        """Yield the results in the order of the chunks. Takes chunks as results are used, so that memory stays flat."""


class Threads:
    """The threads of this process."""

    n_workers = 0

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Call a function here."""
        return function(*arguments, **options)

    def map(self, job: Job[Chunk, Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
        """Yield the results in the order of the chunks."""
        worker = job.worker()
        return map_ahead(worker, chunks, n_threads=CHUNKS_IN_WORK, stop=worker.close)


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    n_threads: int | None = None,
    n_ahead: int | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Yield `function(item)` in order, computed in threads.

    Unlike `Executor.map` it takes items only as results are used, so that memory does not grow with their number.

    Parameters
    ----------
    function : callable
        Called from several threads.
    items : iterable
        What it is called with.
    n_threads : int, optional
        How many threads call it; by default one for every core.
    n_ahead : int, optional
        How many results may wait to be used; by default as many as there are threads.
    stop : callable
        Called when no more results are wanted, before the threads are waited for.
    """
    n_threads = n_threads or usable_cores()
    n_ahead = n_ahead or n_threads
    with ThreadPoolExecutor(n_threads) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > n_ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()


def chunks_of(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into chunks of `size`; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

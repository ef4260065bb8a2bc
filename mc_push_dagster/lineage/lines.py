"""Lines of JSON in, lines of JSON out, over several processes, in order, as soon as they are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from multiprocessing import get_context
from queue import Empty, Queue
from threading import Thread
from typing import Any, Final

import orjson

from mc_push_dagster.lineage.cases import EMPTY, answer

ALONE: Final = 64
"""So many lines are answered without starting processes, which takes longer than the lines do."""
_CHUNK = 32
_WAITING = 4
"""Chunks held for each process."""

Line = bytes
Pending = tuple[list[Line], "Future[list[bytes]]"]


def answered(lines: Iterable[Line], *, workers: int) -> Iterator[bytes]:
    """The answer to each line, in order; a line that is no case gives an object that says so in `error`.

    What can be answered is answered before more input is waited for, so that a peer may write a line and read a line.
    """
    queue: Queue[Line | None] = Queue(maxsize=4 * _CHUNK * workers)
    Thread(target=_fill, args=(queue, lines), daemon=True).start()
    for _ in range(ALONE) if workers > 1 else count():
        line = queue.get()
        if line is None:
            return
        if line.strip():
            yield answer_line(line)
    yield from _by_processes(queue, workers)


def _fill(queue: Queue[Line | None], lines: Iterable[Line]) -> None:
    try:
        for line in lines:
            queue.put(line)
    finally:
        queue.put(None)


def _by_processes(queue: Queue[Line | None], workers: int) -> Iterator[bytes]:
    pool = _Pool(workers)
    waiting: deque[Pending] = deque()
    ended = False
    try:
        while not ended or waiting:
            chunk: list[Line] = []
            while not ended and len(waiting) < _WAITING * workers and len(chunk) < _CHUNK:
                try:
                    line = queue.get(block=not (waiting or chunk))
                except Empty:
                    break
                if line is None:
                    ended = True
                elif line.strip():
                    chunk.append(line)
            if chunk:
                waiting.append((chunk, pool.submit(chunk)))
            elif waiting:
                yield from pool.result(*waiting.popleft())
    finally:
        pool.close()


class _Pool:
    """Processes that are replaced when one dies; the line that killed it gets an error."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._new(workers)

    @staticmethod
    def _new(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))

    def submit(self, chunk: list[Line]) -> Future[list[bytes]]:
        try:
            return self._pool.submit(_answer_chunk, chunk)
        except BrokenProcessPool:
            self.close()
            self._pool = self._new(self._workers)
            return self._pool.submit(_answer_chunk, chunk)

    def result(self, chunk: list[Line], future: Future[list[bytes]]) -> Iterator[bytes]:
        try:
            yield from future.result()
        except BrokenProcessPool:
            yield from self._one_by_one(chunk)

    def _one_by_one(self, chunk: list[Line]) -> Iterator[bytes]:
        """The answers to a chunk whose process died, perhaps by another chunk's fault."""
        pool = self._new(1)
        for line in chunk:
            try:
                yield pool.submit(_answer_chunk, [line]).result()[0]
            except BrokenProcessPool:
                pool = self._new(1)
                yield _failed(_id_of(line), "the analysis ended its process")
        pool.shutdown()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _answer_chunk(lines: list[Line]) -> list[bytes]:
    return [answer_line(line) for line in lines]


def answer_line(line: Line) -> bytes:
    """The answer to one line, without a line break at its end."""
    try:
        case = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _failed(None, f"not JSON: {error}")
    if not isinstance(case, dict):
        return _failed(None, "not a JSON object")
    return orjson.dumps(answer(case))


def _id_of(line: Line) -> Any:
    try:
        case = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return case.get("id") if isinstance(case, dict) else None


def _failed(identity: Any, error: str) -> bytes:
    return orjson.dumps({"id": identity, **EMPTY, "error": error})

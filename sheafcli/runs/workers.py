"""Worker processes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, Queue, SimpleQueue
from threading import Event, Thread
from typing import Protocol

from sheafcli.runs.job import Job, Outcome

# A run whose worker was killed is given to a new one; so often, and it counts as failed.
ATTEMPTS = 3
PATIENCE_SECONDS = 15.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers(Protocol):
    """Whatever performs the jobs of a sweep."""

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Perform jobs, as many at a time as there are workers, and yield their outcomes as they end."""

    def close(self) -> None:
        """Begin no further job, and wait a while for those under way, which the sweep's end interrupts."""


class LocalWorkers:
    """Up to `n` processes on this machine, each with one BLAS thread, which take one job after the other."""

    def __init__(self, n: int):
        self._n = n
        self._closing = Event()
        self._threads: list[Thread] = []

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Perform jobs; see `Workers`."""
        waiting: SimpleQueue[Job] = SimpleQueue()
        for job in jobs:
            waiting.put(job)
        ended: Queue[Outcome] = Queue()
        for _ in range(min(self._n, len(jobs))):
            thread = Thread(target=self._serve, args=(waiting, ended), daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in jobs:
            yield ended.get()

    def close(self) -> None:
        """Wait until the processes have ended; see `Workers`. One that takes longer ends by itself later."""
        self._closing.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _serve(self, waiting: SimpleQueue[Job], ended: Queue[Outcome]) -> None:
        """Let a worker do what is waiting, until nothing is, and end it."""
        worker = _Worker(self._closing)
        with suppress(Empty):
            while not self._closing.is_set():
                ended.put(worker.perform(waiting.get_nowait()))
        worker.end()


class _Worker:
    """Performs jobs in a process of its own, and in the next one where that is killed."""

    def __init__(self, closing: Event):
        self._closing = closing
        self._process: _Process | None = None

    def perform(self, job: Job) -> Outcome:
        """Return the outcome of a job: interrupted only if the whole sweep is."""
        why = None
        for _ in range(ATTEMPTS):
            try:
                self._process = self._process or _Process()
                outcome = self._process.perform(job)
            except (OSError, ValueError) as error:
                return Outcome(job.number, "failed", f"its worker cannot be used: {error}")
            # Ctrl-C interrupts all of the sweep; else somebody has stopped this one worker.
            if outcome.status != "interrupted" or self._closing.wait(0.5):
                return outcome
            why = outcome.message or "its worker was interrupted"
            self.end()
        return Outcome(job.number, "failed", f"{why}, {ATTEMPTS} times")

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """One worker process, spoken to over its standard input and output."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sheafcli.runs.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | ONE_THREAD,
                encoding="utf-8",
            )
        except BaseException:
            self._errors.close()
            raise

    def perform(self, job: Job) -> Outcome:
        """Wait for the outcome of a job; if the process ends before, it is interrupted, and says how."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(job.to_line())
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer.endswith("\n"):
            return Outcome(**json.loads(answer))
        return Outcome(job.number, "interrupted", self._how_it_ended())

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its worker was killed by signal {-code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its worker ended with status {code}: {lines[-1] if lines else 'it said nothing'}"

    def end(self) -> None:
        """Let the process go: it ends as its input does, or is killed if that takes too long."""
        try:
            self._process.communicate(timeout=PATIENCE_SECONDS)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            self._process.kill()
            self._process.wait()
        self._errors.close()

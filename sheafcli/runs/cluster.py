"""Workers of a running Dask cluster."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from threadpoolctl import threadpool_limits

from sheafcli.errors import InputError, RunFailed
from sheafcli.interop.contents import library
from sheafcli.runs.job import Job, Outcome, perform
from sheafcli.runs.sweep import SweepDirectory

SCHEMES, DEFAULT_PORT = ("tcp", "tls"), 8786
CONNECT_SECONDS = 5
PATIENCE_SECONDS = 15


class DaskWorkers:
    """The workers of a Dask cluster, by the address of its scheduler, such as tcp://node:8786.

    Each must have this version of sheafcli, and see the sweep's directory under the same path, with its
    lock: InputError says which do not. Workers may join and leave at any time; one that joins without
    meeting these terms fails its runs. A run whose worker is lost goes to another one.
    """

    def __init__(self, address: str, directory: SweepDirectory):
        try:
            self._distributed = library("distributed", "cluster", "--scheduler")
        except ImportError as error:
            raise InputError(str(error)) from error
        try:
            _knock(address, self._distributed)
            self._client = self._distributed.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            reason = str(error) or f"not within {CONNECT_SECONDS} seconds"
            raise InputError(
                f"--scheduler {address}: no Dask scheduler answers there ({reason}); start one with `dask "
                "scheduler`, and give the address that it prints, such as tcp://127.0.0.1:8786"
            ) from error
        self._address, self._directory = address, directory
        self._futures: list[Any] = []

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Perform jobs; see `Workers`. The sweep's directory must be held."""
        self._check()
        token = uuid4().hex
        keys = [f"sheaf-{token}-{job.number}" for job in jobs]
        self._futures = self._client.map(_perform, jobs, key=keys, pure=False)
        numbers = {key: job.number for key, job in zip(keys, jobs, strict=True)}
        for future in self._distributed.as_completed(self._futures):
            if future.status == "finished":
                yield future.result()
            elif future.status == "error":
                error = future.exception()
                yield Outcome(numbers[future.key], "failed", f"{type(error).__name__}: {error}")
            else:
                raise RunFailed(f"the scheduler at {self._address} went away; call again to go on")

    def close(self) -> None:
        """Leave the cluster; see `Workers`."""
        with suppress(OSError, RuntimeError, self._distributed.CancelledError):
            begun = {key for keys in self._client.processing().values() for key in keys}
            left = [future for future in self._futures if not future.done()]
            self._client.cancel([future for future in left if future.key not in begun])
            under_way = [future for future in left if future.key in begun]
            with suppress(TimeoutError):
                self._distributed.wait(under_way, timeout=PATIENCE_SECONDS)
            self._client.cancel(under_way)
        self._client.close()

    def _check(self) -> None:
        """Raise InputError if a worker that is there now cannot do runs of this sweep."""

        # A function of the inside is sent whole: a worker needs nothing of ours to answer it.
        def facts(path: str) -> dict[str, Any]:
            found: dict[str, Any] = {"version": None, "sees": os.path.isdir(path), "locked": False}
            with suppress(PackageNotFoundError):
                found["version"] = version("sheafcli")
            if found["sees"]:
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    found["locked"] = True
                finally:
                    os.close(descriptor)
            return found

        place = self._directory.path.resolve()
        for worker, found in self._client.run(facts, str(place), on_error="return").items():
            if problem := _problem(found, place):
                raise InputError(f"--scheduler {self._address}: the worker {worker} {problem}")


def _knock(address: str, distributed: Any) -> None:
    """Raise OSError or ValueError where no Dask scheduler listens: a client goes on trying, or waits."""
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    if place.scheme not in SCHEMES or not place.hostname:
        raise ValueError(f"an address is {' or '.join(f'{scheme}://HOST:PORT' for scheme in SCHEMES)}")
    with socket.create_connection((place.hostname, place.port or DEFAULT_PORT), timeout=CONNECT_SECONDS):
        pass

    async def shake_hands() -> None:
        security = distributed.Security().get_connection_args("client")
        comm = await distributed.core.connect(address, timeout=CONNECT_SECONDS, **security)
        try:
            who = await distributed.core.send_recv(comm, op="identity")
        finally:
            comm.abort()
        if who["type"] != "Scheduler":
            raise ValueError(f"what listens there is a Dask {who['type']}")

    try:
        asyncio.run(asyncio.wait_for(shake_hands(), CONNECT_SECONDS))
    except (OSError, ValueError):
        raise
    except Exception as error:  # of reading whatever another service answers
        raise ValueError("what listens there is some other service") from error


def _problem(found: Mapping[str, Any] | Exception, place: Path) -> str | None:
    """Say why a worker that answered so cannot take part; None if it can."""
    if isinstance(found, Exception):
        return f"did not answer: {found}"
    if found["version"] is None:
        return f"has no sheafcli; install version {version('sheafcli')} there"
    if found["version"] != version("sheafcli"):
        return f"has sheafcli {found['version']}, and here is {version('sheafcli')}; use the same on both"
    if not found["sees"]:
        return f"does not see {place}; choose a directory that all share with --output"
    if not found["locked"]:
        return f"sees {place}, but not that it is locked; choose a file system with locks with --output"
    return None


def _perform(job: Job) -> Outcome:
    """Perform a job on a worker, whose process keeps to one BLAS thread from now on."""
    threadpool_limits(1, user_api="blas")
    return perform(job)

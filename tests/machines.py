"""Run the numerical tests under several kernels of OpenBLAS and several numbers of threads.

Each kernel sums in another order, so that last digits differ as they do from machine to machine: what hangs
on them fails under one of them. A kernel that this processor cannot run, or this OpenBLAS does not have, is
left out with a word.

    python tests/machines.py [--kernels Prescott Haswell] [--threads 1 2] [test ...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ("Prescott", "Haswell", "SkylakeX", "Zen")
TESTS = ("tests/core", "tests/diagnostics", "tests/docs", "tests/benchmarks")
# A product of two matrices, for a kernel that the processor lacks dies of its first instruction.
PROBE = """\
import numpy, scipy.linalg, threadpoolctl
numpy.ones((64, 64)) @ numpy.ones((64, 64))
print(*sorted({library["architecture"] for library in threadpoolctl.threadpool_info()
               if library["internal_api"] == "openblas"}))
"""


def environment(kernel: str, threads: int) -> dict[str, str]:
    """Return the environment of a process that computes so."""
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return os.environ | numbers | {"OPENBLAS_CORETYPE": kernel}


def taken(kernel: str) -> str | None:
    """Return the name of the kernels that OpenBLAS takes when asked for one; None if it cannot be run."""
    probe = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment(kernel, 1), capture_output=True, text=True, check=False
    )
    return probe.stdout.strip() or None if probe.returncode == 0 else None


def runnable(kernels: list[str]) -> list[str]:
    """Return the kernels that are run, each once, and say why the others are not."""
    asked: dict[str, str] = {}
    for kernel in kernels:
        name = taken(kernel)
        if name is None:
            print(f"{kernel}: left out, it does not run here")
        elif name in asked:
            print(f"{kernel}: left out, OpenBLAS takes the same kernels here as for {asked[name]} ({name})")
        else:
            asked[name] = kernel
    return list(asked.values())


def main() -> int:
    """Run the tests; return 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kernels", nargs="+", default=list(KERNELS), metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("tests", nargs="*", default=list(TESTS))
    options = parser.parse_args()
    failed = []
    for kernel in runnable(options.kernels):
        for threads in options.threads:
            name = f"{kernel}, {threads} thread{'s' if threads > 1 else ''}"
            print(f"{name}:", flush=True)
            began = time.monotonic()
            code = subprocess.call(
                [sys.executable, "-m", "pytest", "-q", "-n", "2", *options.tests],
                cwd=ROOT,
                env=environment(kernel, threads),
            )
            print(
                f"{name}: {'passed' if code == 0 else 'FAILED'}, {time.monotonic() - began:.0f} s", flush=True
            )
            failed += [name] * (code != 0)
    print(f"failed: {'; '.join(failed)}" if failed else "all passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

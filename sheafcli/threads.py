"""One BLAS thread, unless the user says otherwise by an environment variable.

Small products gain nothing from more threads, which wait for one another and make some steps a hundred times
slower. Jobs side by side lose much, and with one thread a run gives the same digits however many processors
there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CHOSEN_BY = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Of each BLAS the variable that it alone reads, and reads first: OMP_NUM_THREADS would slow others down, too.
OWN = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def chosen() -> bool:
    """Return whether the user has chosen a number of threads."""
    return any(name in os.environ for name in CHOSEN_BY)


def limit_what_is_loaded_later() -> None:
    """Give one thread to every BLAS that is loaded from now on, as programs do before they import NumPy."""
    if not chosen():
        os.environ.update(dict.fromkeys(OWN, "1"))


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that gives every BLAS one thread while it runs, and then as many as before."""

    @wraps(function)
    def limited(*arguments: P.args, **options: P.kwargs) -> T:
        if chosen():
            return function(*arguments, **options)
        import scipy.linalg  # noqa: PLC0415, F401  # brings a BLAS of its own, which is to be limited, too
        from threadpoolctl import threadpool_limits  # noqa: PLC0415  # programs can do without

        with threadpool_limits(1, user_api="blas"):
            return function(*arguments, **options)

    return limited

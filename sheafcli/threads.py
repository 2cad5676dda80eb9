"""One BLAS thread, unless the user says otherwise by an environment variable.

Small products gain nothing from more threads, which wait for one another and make some steps a hundred times
slower. Jobs side by side lose much, and with one thread a run gives the same digits however many processors
there are.
"""

from __future__ import annotations

import os

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

"""The command `sheaf`: one file a command; each parses, calls, renders."""

import os

# One BLAS thread unless the user says otherwise: small products gain nothing from more, several jobs at
# once lose much, and a run gives the same digits however many processors there are. Set before NumPy loads.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

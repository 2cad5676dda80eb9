"""What the modules of the core call their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 or float64: what goes in decides what comes out.
Array = NDArray[np.floating[Any]]
Shape = tuple[int, ...]

# What numpy.random.default_rng takes: a number, a sequence of its own, or a generator.
Seed = int | np.random.SeedSequence | np.random.Generator

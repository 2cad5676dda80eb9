"""The kernel J J^T of every operation with parameters, against finite differences in each of them."""

from dataclasses import replace

import numpy as np
import pytest
from operations.operation_cases import CASES

from sheafcli.core.fault import kernel as module
from sheafcli.core.fault.kernel import kernel
from sheafcli.core.operation import Learnable

LEARNABLE = [case for case in CASES if isinstance(case.operation, Learnable)]


def rows(operation, x, G):
    """Return J, a row a sample and direction: all operations are linear in their parameters."""
    columns = []
    for name, array in operation.parameters.items():
        for place in np.ndindex(array.shape):
            moved = []
            for sign in (1.0, -1.0):
                changed = array.astype(float)
                changed[place] += sign
                moved.append(replace(operation, **{name: changed}).forward(x))
            slope = 0.5 * (moved[0] - moved[1])
            columns.append((G * slope).reshape(*G.shape[:2], -1).sum(axis=2).T.ravel())
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("limit", [1, 1 << 22])
@pytest.mark.parametrize("case", LEARNABLE, ids=lambda case: case.name)
def test_it_is_what_differences_in_the_parameters_say(case, limit, monkeypatch):
    if limit == 1:  # a block a parameter's output
        monkeypatch.setattr(module, "blocks", lambda n, entries: (slice(i, i + 1) for i in range(n)))
    (x,) = case.values()
    G = np.random.default_rng(5).normal(size=(2, *case.operation.forward(x).shape))
    J = rows(case.operation, x, G)
    K = kernel(case.operation, x, G)
    assert K.dtype == np.float64
    np.testing.assert_allclose(K, J @ J.T, rtol=1e-10, atol=1e-10 * np.max(np.abs(K)))

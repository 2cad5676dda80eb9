"""Sheaf training written plainly, with lists of arrays and no care for speed: an oracle for the core."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name):
    """Return the arrays of a golden file by name."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def golden_names(prefix):
    """Return the names of the golden files that start so."""
    names = sorted(path.stem for path in GOLDEN.glob(f"{prefix}_*.npz"))
    assert names, f"no golden file starts with {prefix}"
    return names


def golden_network(arrays, prefix=""):
    """Return the network whose weights a golden file holds under `prefix`."""
    layers = range(1, 1 + sum(name.startswith(f"{prefix}W") for name in arrays))
    return Network(
        tuple(arrays[f"{prefix}W{layer}"] for layer in layers),
        tuple(arrays[f"{prefix}b{layer}"] for layer in layers),
        output_named(str(arrays.get("output", "identity"))),
    )


def assert_golden(actual, expected, scale, name):
    """Demand 1e-9 relative, with a floor for entries that exact arithmetic makes zero."""
    np.testing.assert_array_less(
        np.abs(actual - expected), 1e-9 * np.max(np.abs(expected)) + 1e-14 * scale, err_msg=name
    )


def assert_golden_discord(actual, expected, scale, name):
    """Demand the same of a discord through its root, the norm of a residual, which rounds as stalks do."""
    assert abs(np.sqrt(actual) - np.sqrt(expected)) <= 5e-10 * np.sqrt(expected) + 1e-14 * scale, name


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)


PHI = {"identity": lambda z: z, "sigmoid": sigmoid, "softmax": softmax}


@dataclass(frozen=True)
class Plain:
    """Weights and stalks as lists: W[0] is W_1, z[0] is z_1, a[0] is a_1. Nothing is changed in place."""

    phi: object
    W: list
    b: list
    z: list
    a: list

    @classmethod
    def of(cls, network, stalks):
        """Take the weights of a network and stalks by name."""
        layers = range(1, network.depth + 2)
        return cls(
            PHI[network.output.name],
            [W.copy() for W in network.weights],
            [b.copy() for b in network.biases],
            [np.array(stalks[f"z{layer}"]) for layer in layers],
            [np.array(stalks[f"a{layer}"]) for layer in layers[:-1]],
        )

    def residuals(self, X):
        """Return the residuals (r_1, ..., r_{k+1}) and (s_1, ..., s_k)."""
        before = [X, *self.a]
        r = [a @ W.T + b - z for W, b, z, a in zip(self.W, self.b, self.z, before, strict=True)]
        s = [np.where(z >= 0, z, 0.0) - a for z, a in zip(self.z, self.a, strict=False)]
        return r, s

    def velocity(self, X, y, alpha=1.0, beta=1.0):
        """Return the time derivative of weights and stalks, in the same shape as they are held."""
        r, s = self.residuals(X)
        k = len(s)
        dz = [r[i] - np.where(self.z[i] >= 0, s[i], 0.0) for i in range(k)]
        dz.append(r[k] - (self.phi(self.z[k]) - y))
        da = [s[i] - r[i + 1] @ self.W[i + 1] for i in range(k)]
        return Plain(
            self.phi,
            [-beta * np.einsum("ni,nj->ij", r_l, a) for r_l, a in zip(r, [X, *self.a], strict=True)],
            [-beta * np.sum(r_l, axis=0) for r_l in r],
            [alpha * d for d in dz],
            [alpha * d for d in da],
        )

    def moved(self, velocity, dt):
        """Return the state after one Euler step along `velocity`."""
        parts = {
            name: [v + dt * d for v, d in zip(getattr(self, name), getattr(velocity, name), strict=True)]
            for name in ("W", "b", "z", "a")
        }
        return replace(self, **parts)

    def after(self, X, y, steps, dt, alpha=1.0, beta=1.0):
        """Return the state after so many joint Euler steps."""
        state = self
        for _ in range(steps):
            state = state.moved(state.velocity(X, y, alpha, beta), dt)
        return state

    def forward(self, X):
        """Return the state with stalks of the forward pass."""
        z, a = [], [X]
        for W, b in zip(self.W, self.b, strict=True):
            z.append(a[-1] @ W.T + b)
            a.append(np.where(z[-1] > 0, z[-1], 0.0))
        return replace(self, z=z, a=a[1:-1])

    def vector(self):
        """Return all numbers in one vector: W, b, z, a."""
        return np.concatenate([v.ravel() for part in (self.W, self.b, self.z, self.a) for v in part])

    def from_vector(self, vector):
        """Return the state of these shapes that `vector` holds: the inverse of `vector`."""
        parts, start = {}, 0
        for name in ("W", "b", "z", "a"):
            parts[name] = []
            for v in getattr(self, name):
                parts[name].append(vector[start : start + v.size].reshape(v.shape))
                start += v.size
        return replace(self, **parts)


def jacobian(function, v, step=1e-4):
    """Return the Jacobian of a vector function by central differences, columns as coordinates of v."""
    columns = []
    for direction in np.eye(len(v)):
        columns.append((function(v + step * direction) - function(v - step * direction)) / (2 * step))
    return np.array(columns).T


def assert_state(session, plain, tolerance=1e-10):
    """Demand that a session's weights and stalks are those of the plain state."""
    network, stalks = session.network(), session.stalks()
    for layer, (W, b, z) in enumerate(zip(plain.W, plain.b, plain.z, strict=True), start=1):
        for actual, expected, name in (
            (network.weights[layer - 1], W, f"W{layer}"),
            (network.biases[layer - 1], b, f"b{layer}"),
            (stalks[f"z{layer}"], z, f"z{layer}"),
        ):
            scale = tolerance * max(1.0, np.max(np.abs(expected)))
            np.testing.assert_allclose(actual, expected, rtol=0, atol=scale, err_msg=name)
    for layer, a in enumerate(plain.a, start=1):
        scale = tolerance * max(1.0, np.max(np.abs(a)))
        np.testing.assert_allclose(stalks[f"a{layer}"], a, rtol=0, atol=scale, err_msg=f"a{layer}")


def problem(output="identity", hidden=(4, 3), samples=7, features=2, outputs=None, seed=0):
    """Return a small network with biases, inputs and targets that fit its output."""
    rng = np.random.default_rng(seed)
    outputs = outputs or {"identity": 2, "sigmoid": 1, "softmax": 3}[output]
    drawn = Network.he([features, *hidden, outputs], output, rng)
    network = Network(
        drawn.weights, tuple(0.3 * rng.normal(size=b.shape) for b in drawn.biases), drawn.output
    )
    X = rng.normal(size=(samples, features))
    y = {
        "identity": lambda: rng.normal(size=(samples, outputs)),
        "sigmoid": lambda: rng.integers(0, 2, size=(samples, outputs)).astype(float),
        "softmax": lambda: np.eye(outputs)[rng.integers(0, outputs, size=samples)],
    }[output]()
    return network, X, y

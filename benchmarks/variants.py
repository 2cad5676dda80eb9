"""What might go further than plain local Adam: variants of equilibrium training, step against step.

Every variant trains the paper's eight rows from the reference's data and start weights (seeds 0, 1, 2) in
tests/golden/, through the one descent session, full batch, for equally many steps with a cosine schedule.
Nothing is timed: what a step costs is said in products, of one edge's weight matrix and the batch. Prints
tables, and keeps each run as a row of benchmarks/results/variants.csv: a killed script goes on behind them.

    python benchmarks/variants.py

Notation is that of `sheafcli.core.training.equilibrium`: at the equilibrium under an output edge of stiffness
gamma, edge l holds v_l = -r_l and a_{l-1}, and its gradient is -v_l a_{l-1}^T; e = phi(f) - y is the error of
the forward output f, and c the loss in units of the mean potential.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import BackpropRule
from sheafcli.core.chain.training.equilibrium import EquilibriumRule
from sheafcli.core.chain.training.layers import Batch, Parameters, pull_back
from sheafcli.core.discord import residuals
from sheafcli.core.edge import affine_edge
from sheafcli.core.outputs import output_named
from sheafcli.core.relaxation import relax
from sheafcli.core.training.descent import Descent, DescentSession, Rule
from sheafcli.core.training.optimizers import SGD, Adam, Momentum, Optimizer
from sheafcli.core.training.protocol import Diverged
from sheafcli.core.types import Array
from sheafcli.render.console import stderr
from sheafcli.runs.files import GrowingTable, write_text
from sheafcli.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
KEY = ("variant", "task", "widths", "learning_rate", "seed")
COLUMNS = (*KEY, "steps", "train_loss", "test_loss_at_best_validation")
TABLE = GrowingTable(ROOT / "benchmarks" / "results" / "variants.csv", COLUMNS)

PROBLEMS = (
    ("paraboloid", (2, 30, 1)),
    ("saddle", (2, 30, 1)),
    ("circular", (2, 25, 1)),
    ("blobs", (2, 25, 4)),
    ("paraboloid", (2, 10, 8, 1)),
    ("saddle", (2, 10, 8, 1)),
    ("circular", (2, 10, 8, 1)),
    ("blobs", (2, 10, 8, 4)),
)
SEEDS = (0, 1, 2)
STEPS, LOOK_EVERY = 8_000, 100
ANGLES_AT = (0, 10, 30, 100, 300, 1_000, 3_000, STEPS)
VALIDATION_SAMPLES, VALIDATION_SEED = 2_000, 20_260
REFRESH_EVERY = 20  # steps between two refreshes of a preconditioner
GAMMAS = (1e-5, 1e-3, 0.01, 0.1, 1.0, 10.0)
GAMMA = 1e-3  # small enough for one hidden layer


@dataclass(frozen=True, eq=False)
class Held:
    """What an edge holds at an equilibrium: `v` is v_l, `a` is a_{l-1} with its row of ones."""

    v: Array
    a: Array


def at_equilibrium(parameters: Parameters, batch: Batch, pull: Array) -> list[Held]:
    """Return what edges 1..k+1 hold under the pull lambda, samples x n_{k+1}, on the forward pattern.

    All arrays have one column a sample.
    """
    v, u = [pull.T.copy()], []
    for W, R in zip(parameters.W[:0:-1], batch.R[::-1], strict=True):
        u.append(pull_back(W, v[-1]))
        v.append(R * u[-1])
    v.reverse()
    u.reverse()
    inputs, d = [batch.a[0]], np.zeros_like(batch.a[0][:-1])
    for layer, (W, R) in enumerate(zip(parameters.W, batch.R, strict=False)):
        d = u[layer] + v[layer] + R * (W @ d)
        inputs.append(batch.a[layer + 1].copy())
        inputs[-1][:-1] += d
    return [Held(*both) for both in zip(v, inputs, strict=True)]


def forward_output(parameters: Parameters, batch: Batch) -> Array:
    """Return f of a batch whose forward pass is done, samples x n_{k+1}."""
    return (parameters.H[-1] @ batch.a[-1]).T


def loss_factor(parameters: Parameters, batch: Batch) -> float:
    """Return c / samples: it turns a sum of potentials into the reported loss."""
    return parameters.output.loss_scale(len(batch.y)) / batch.size


class Annealed(EquilibriumRule):
    """gamma falls geometrically from 1 to 1e-3: gamma_t = 1e-3^(t / T) at step t of T.

    It begins on the paper's energy and ends at back-propagation's limit.
    """

    def __init__(self, steps: int):
        super().__init__(1.0)
        self._steps, self._step = steps, 0

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array | None:
        """Write the gradient of the coming step's E_gamma / gamma."""
        self.gamma = GAMMA ** (self._step / self._steps)
        self._step += 1
        return super().evaluate(parameters, batch, guess)


class ErrorWeighted(EquilibriumRule):
    """S^-1 undone: the error e itself is sent back, to meet the inputs a_{l-1} of the equilibrium, gamma = 1.

        G_l = c mean e_l a_{l-1}^T,   e_{k+1} = e,   e_l = R_l W_{l+1}^T e_{l+1}.

    With the identity the equilibrium's own pull is lambda = -(S + I)^-1 e, so that this is v_l weighted by
    S + I at the output. The a_{l-1} are all that is left of the equilibrium.
    """

    def __init__(self) -> None:
        super().__init__(1.0)

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array | None:
        """Write G; guess and result are lambda."""
        guess = super().evaluate(parameters, batch, guess)
        held = at_equilibrium(parameters, batch, self.pull)
        error = parameters.output.value(forward_output(parameters, batch)).T - batch.y
        error *= loss_factor(parameters, batch)
        for layer in range(len(parameters.H) - 1, -1, -1):
            np.matmul(error, held[layer].a.T, out=parameters.G[layer])
            if layer > 0:
                error = batch.R[layer - 1] * pull_back(parameters.W[layer], error)
        return guess


class OneRound(EquilibriumRule):
    """The equilibrium on its own pattern rather than the forward pass's, after one round of active sets.

    The state of each neuron is read from h_l = W_l a_{l-1} + b_l and a_l of the closed form,

        active where h + a > 0 (and h >= 0 or active before),   inactive where h < 0,   else held at the kink,

    and for the samples where one has changed, the quadratic energy of these states is minimised exactly, a
    neuron at the kink counting (h^2 + a^2) / 2: one undamped Newton step of `extend`. Then

        v_l = z_l - h_l,   z_l = (h_l + a_l) / 2, h_l, 0 where active, inactive, at the kink.
    """

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array | None:
        """Write the gradient; guess and result are lambda of the closed form."""
        guess = super().evaluate(parameters, batch, guess)
        held = at_equilibrium(parameters, batch, self.pull)
        kept = np.ones(batch.size, bool)
        for edge, H, R in zip(held, parameters.H, batch.R, strict=False):
            kept &= ((H @ edge.a + edge.v >= 0.0) == (R > 0.0)).all(axis=0)
        moved = np.flatnonzero(~kept)
        if len(moved) > 0:
            self._solve_again(parameters, batch, held, moved)
            factor = -loss_factor(parameters, batch) / self.gamma
            for edge, G in zip(held, parameters.G, strict=True):
                np.matmul(factor * edge.v, edge.a.T, out=G)
        return guess

    def _solve_again(
        self, parameters: Parameters, batch: Batch, held: list[Held], moved: NDArray[np.intp]
    ) -> None:
        """Replace what the edges hold in some samples by the second solve's."""
        X, y = batch.a[0][:-1, moved].T, batch.y[:, moved].T
        start = {}
        for layer, (edge, H) in enumerate(zip(held, parameters.H, strict=True), start=1):
            start[f"z{layer}"] = (H @ edge.a[:, moved] + edge.v[:, moved]).T
            if layer < len(held):
                start[f"a{layer}"] = held[layer].a[:-1, moved].T
        network = parameters.network()
        again = relax(network, X, target=y, stiffness=self.gamma, start=start, max_iterations=1)
        for layer, (edge, H) in enumerate(zip(held, parameters.H, strict=True), start=1):
            edge.v[:, moved] = again.stalks[f"z{layer}"].T - H @ edge.a[:, moved]
            if layer < len(held):
                held[layer].a[:-1, moved] = again.stalks[f"a{layer}"].T


def sensitivities(parameters: Parameters, batch: Batch) -> list[Array]:
    """Return (df / dh_l)^T for l = 1..k+1, samples x n_l x n_{k+1}: edge l's residual under unit pulls."""
    outputs = len(batch.y)
    found = [np.broadcast_to(np.eye(outputs), (batch.size, outputs, outputs))]
    for W, R in zip(parameters.W[:0:-1], batch.R[::-1], strict=True):
        found.append(R.T[:, :, None] * (W.T @ found[-1]))
    return found[::-1]


class Kronecker(EquilibriumRule):
    """Each edge's gradient preconditioned by a Kronecker product of its own, as in K-FAC.

        P_l = (V_l + delta / pi I)^-1 G_l (A_l + delta pi I)^-1,   A_l = mean a_{l-1} a_{l-1}^T,
        V_l = c mean J_l^T J_phi J_l,   J_l = df / dh_l,

    V_l being E[v v^T] for pulls of covariance J_phi on the output: V_l (x) A_l would be the edge's block of
    Gauss-Newton's matrix if its factors were uncorrelated over the samples. For the sizes n and m,
    pi^2 = (tr A_l / n) / (tr V_l / m) shares the damping delta^2 out (Martens & Grosse 2015). No edge may
    promise to lower the loss by more than `trust` a step: P_l shrinks where <P_l, G_l> is larger. Without
    that, no damping below 0.3 kept all rows from diverging.
    """

    def __init__(self, damping: float, trust: float):
        super().__init__(GAMMA)
        self._damping, self._trust, self._step = damping, trust, 0
        self._inverses: list[tuple[Array, Array]] = []

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> Array | None:
        """Write P; guess and result are lambda."""
        guess = super().evaluate(parameters, batch, guess)
        if self._step % REFRESH_EVERY == 0:
            self._inverses = list(self._refreshed(parameters, batch))
        self._step += 1
        for (V, A), G in zip(self._inverses, parameters.G, strict=True):
            P = V @ G @ A
            promised = float(np.sum(P * G))
            np.multiply(P, np.sqrt(self._trust / max(promised, self._trust)), out=G)
        return guess

    def _refreshed(self, parameters: Parameters, batch: Batch) -> Iterator[tuple[Array, Array]]:
        """Yield the two damped inverses of every edge, of V_l and of A_l."""
        J_phi = parameters.output.jacobian(forward_output(parameters, batch))
        factor = loss_factor(parameters, batch)
        for J, a in zip(sensitivities(parameters, batch), batch.a, strict=True):
            A = a @ a.T / batch.size
            V = factor * np.tensordot(J @ J_phi, J, axes=((0, 2), (0, 2)))
            # Dead layers have no trace; their gradient is zero too.
            pi = np.sqrt(np.trace(A) / len(A) / max(np.trace(V) / len(V), 1e-12))
            yield (
                np.linalg.inv(V + self._damping / pi * np.eye(len(V))),
                np.linalg.inv(A + self._damping * pi * np.eye(len(A))),
            )


class Soap:
    """SOAP (Vyas et al. 2024): Adam in the eigenbasis of Shampoo's preconditioner, edge by edge.

    L and R average G G^T and G^T G, m averages G; with the eigenvectors Q_L and Q_R of L and R,

        v averages (Q_L^T G Q_R)^2,   H <- H - learning_rate Q_L (Q_L^T m Q_R / (sqrt(v) + epsilon)) Q_R^T,

    m and v corrected for their zero start as Adam's. The first bases are those of the first gradient; a step
    of orthogonal iteration, Q_L <- qr(L Q_L), refreshes them. It needs the columns in falling order of their
    eigenvalues, else the largest drown the others.
    """

    slots: ClassVar[int] = 2

    def __init__(self, learning_rate: float, beta1: float, beta2: float, widths: Sequence[int]):
        self.learning_rate = learning_rate
        self._beta1, self._beta2, self._epsilon = beta1, beta2, 1e-8
        self._shapes = [(n, m + 1) for m, n in zip(widths[:-1], widths[1:], strict=True)]
        self._factors = [(np.zeros((n, n)), np.zeros((m, m))) for n, m in self._shapes]
        self._bases: list[tuple[Array, Array]] = []

    def update(
        self, weights: Array, gradient: Array, memory: list[Array], step: int, learning_rate: float
    ) -> None:
        """Take one step of Adam in the rotated coordinates of every edge."""
        ends = np.cumsum([n * m for n, m in self._shapes])[:-1]
        parts = [np.split(flat, ends) for flat in (weights, gradient, *memory)]
        for edge, (shape, *flat) in enumerate(zip(self._shapes, *parts, strict=True)):
            H, G, m, v = (part.reshape(shape) for part in flat)
            L, R = self._factors[edge]
            L += (1.0 - self._beta2) * (G @ G.T - L)
            R += (1.0 - self._beta2) * (G.T @ G - R)
            if step == 1:
                self._bases.append((np.linalg.eigh(L)[1][:, ::-1], np.linalg.eigh(R)[1][:, ::-1]))
            elif step % REFRESH_EVERY == 0:
                (left, rows), (right, columns) = map(_iterated, (L, R), self._bases[edge])
                self._bases[edge] = left, right
                v[:] = v[np.ix_(rows, columns)]
            left, right = self._bases[edge]
            rotated = left.T @ G @ right
            m += (1.0 - self._beta1) * (G - m)
            v += (1.0 - self._beta2) * (rotated * rotated - v)
            mean = left.T @ m @ right / (1.0 - self._beta1**step)
            root = np.sqrt(v / (1.0 - self._beta2**step)) + self._epsilon
            H -= learning_rate * (left @ (mean / root) @ right.T)


def _iterated(L: Array, Q: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the basis after one step of orthogonal iteration, and how its columns were sorted before."""
    LQ = L @ Q
    order = np.argsort(-np.sum(Q * LQ, axis=0), kind="stable")
    return np.linalg.qr(LQ[:, order])[0], order


class BlockNewton(BackpropRule):
    """Levenberg-Marquardt with one block an edge: all edges step at once, each by its own block alone.

        (B_l + mu I) step_l = G_l,   B_l = c mean (J_l^T J_phi J_l) (x) (a_{l-1} a_{l-1}^T),

    with J_l = df / dh_l, in the limit gamma -> 0: v_l and a_{l-1} are back-propagation's. One mu for all
    edges is trebled until the loss falls, and divided by three after each step that was taken. Where no mu is
    large enough, the step is zero: the loss is stationary to rounding. Plain gradient descent of rate 1 takes
    what is written.
    """

    LEAST, LARGEST = 1e-12, 1e12

    def __init__(self) -> None:
        self._mu = 1.0

    def evaluate(self, parameters: Parameters, batch: Batch, guess: Array | None) -> None:
        """Write the step where a gradient is expected."""
        super().evaluate(parameters, batch, guess)
        output, y = parameters.output, batch.y.T
        loss = output.loss(forward_output(parameters, batch), y)
        gradients = [G.copy() for G in parameters.G]
        blocks = self._blocks(parameters, batch)
        while self._mu <= self.LARGEST:
            for G, g, B in zip(parameters.G, gradients, blocks, strict=True):
                G[:] = np.linalg.solve(B + self._mu * np.eye(len(B)), g.ravel()).reshape(g.shape)
            trial = [H - step for H, step in zip(parameters.H, parameters.G, strict=True)]
            if output.loss(batch.forward(trial).T, y) < loss:
                self._mu = max(self._mu / 3.0, self.LEAST)
                return
            self._mu *= 3.0
        parameters.gradient[:] = 0.0

    def _blocks(self, parameters: Parameters, batch: Batch) -> list[Array]:
        """Return B_l, square in the entries of H_l row by row."""
        J_phi = parameters.output.jacobian(forward_output(parameters, batch))
        factor = loss_factor(parameters, batch)
        found = []
        for J, a in zip(sensitivities(parameters, batch), batch.a, strict=True):
            n, m = J.shape[1], len(a)
            rows = (J @ J_phi @ np.swapaxes(J, 1, 2)).reshape(batch.size, n * n)
            columns = (a[:, None] * a[None]).reshape(m * m, batch.size)
            B = factor * (columns @ rows).reshape(m, m, n, n)
            found.append(B.transpose(2, 0, 3, 1).reshape(n * m, n * m))
        return found


@dataclass(frozen=True)
class Variant:
    """A name, how to begin for some widths and a learning rate, and what a step costs, in words."""

    name: str
    cost: str
    begin: Callable[[Sequence[int], float], tuple[Rule, Optimizer]]
    rates: tuple[float, ...] = (0.01, 0.03)
    schedule: Literal["constant", "cosine"] = "cosine"


def by_adam(name: str, cost: str, rule: Callable[..., Rule], *options: float) -> Variant:
    """Return the variant of a rule whose optimizer is Adam with its usual averages."""
    return Variant(name, cost, lambda _, rate: (rule(*options), Adam(rate)))


def by_default_rule(name: str, cost: str, optimizer: Callable[[Sequence[int], float], Optimizer]) -> Variant:
    """Return the variant of an optimizer that is given the gradient of `Equilibrium` as it comes."""
    return Variant(name, cost, lambda widths, rate: (EquilibriumRule(GAMMA), optimizer(widths, rate)))


CLOSED = (
    "4 passes with one output (forward, back with a pull of one, forward with the response, gradients); with "
    "several, 3 and 2 more for each product by S, of which blobs takes 2 to 3 at gamma 0.001, 6 to 8 at 1"
)
WEIGHTED = "as gamma 1, and with several outputs 1 pass more"
ROUND = (
    "as its gamma, and about 4 passes more on the samples whose pattern changed, with a system of equations "
    "each, as large as outputs and neurons held at the kink behind layer 1"
)
ROTATED = (
    "as gamma 0.001, and 8 products of an edge's own matrices, without the batch; every 20 steps two QR "
    "factorisations an edge"
)
FACTORS = (
    "as gamma 0.001, and 2 products of an edge's own matrices; every 20 steps n_{k+1} passes back, 2 "
    "products with the batch an edge, and two inverses"
)
BLOCKS = (
    "3 + n_{k+1} passes, and an edge with p parameters takes p^2 multiplications a sample for its block and "
    "p^3 / 3 for each trial of mu, which costs 1 pass too"
)

VARIANTS = (
    by_adam("back-propagation", "3 passes: forward, back, gradients", BackpropRule),
    *(by_adam(f"gamma {gamma:g}", CLOSED, EquilibriumRule, gamma) for gamma in GAMMAS),
    by_adam("gamma 1 to 0.001", CLOSED, Annealed, STEPS),
    by_adam("error-weighted", WEIGHTED, ErrorWeighted),
    *(by_adam(f"one round, gamma {gamma:g}", ROUND, OneRound, gamma) for gamma in (0.1, 1.0)),
    by_default_rule("Adam, betas 0.95", CLOSED, lambda _, rate: Adam(rate, 0.95, 0.95)),
    by_default_rule("SOAP", ROTATED, lambda widths, rate: Soap(rate, 0.9, 0.999, widths)),
    by_default_rule("SOAP, betas 0.95", ROTATED, lambda widths, rate: Soap(rate, 0.95, 0.95, widths)),
    Variant(
        "Kronecker factors", FACTORS, lambda _, rate: (Kronecker(0.03, 0.01), Momentum(rate)), (0.03, 0.1)
    ),
    Variant("block Newton", BLOCKS, lambda _, rate: (BlockNewton(), SGD(rate)), (1.0,), "constant"),
)


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and targets."""

    X: Array
    y: Array

    def loss(self, network: Network) -> float:
        """Return the network's loss on them."""
        return network.output.loss(network.logits(self.X), self.y)


@cache
def samples_of(task: str) -> tuple[Samples, Samples, Samples, str]:
    """Return the reference's training and test samples, validation samples of our own, and the output."""
    with np.load(GOLDEN / f"tasks_{task}.npz") as data:
        train, test = (Samples(data[f"X_{part}"], data[f"y_{part}"]) for part in ("train", "test"))
    drawn = TASKS[task](n_train=VALIDATION_SAMPLES, n_test=1).load(
        np.random.SeedSequence(VALIDATION_SEED), None
    )
    return train, test, Samples(drawn.X_train, drawn.y_train), drawn.output


def start_network(widths: Sequence[int], output: str, seed: int) -> Network:
    """Return the reference's start weights, with biases of zero."""
    with np.load(GOLDEN / f"init_{'_'.join(map(str, widths))}.npz") as init:
        weights = tuple(init[f"seed{seed}_W{layer}"] for layer in range(1, len(widths)))
    return Network(weights, tuple(np.zeros(n) for n in widths[1:]), output_named(output))


def run(variant: Variant, task: str, widths: Sequence[int], rate: float, seed: int) -> dict[str, object]:
    """Train once, and return its row of the table; a training that diverged has infinite losses."""
    train, test, validation, output = samples_of(task)
    network = start_network(widths, output, seed)
    rule, optimizer = variant.begin(widths, rate)
    method = Descent(optimizer=optimizer, steps=STEPS, schedule=variant.schedule)
    session = DescentSession(method, rule, network, train.X, train.y, seed)
    looks = [(validation.loss(network), test.loss(network))]
    try:
        while not session.finished:
            session.advance(LOOK_EVERY)
            network = session.network()
            looks.append((validation.loss(network), test.loss(network)))
        losses = train.loss(network), min(looks)[1]
    except Diverged:
        losses = np.inf, np.inf
    return dict(zip(COLUMNS, (*key_of(variant, task, widths, rate, seed), STEPS, *losses), strict=True))


def key_of(variant: Variant, task: str, widths: Sequence[int], rate: float, seed: int) -> tuple[str, ...]:
    """Return what tells a run from all others, as it stands in the table."""
    return variant.name, task, ",".join(map(str, widths)), str(rate), str(seed)


def rows_present() -> list[dict[str, str]]:
    """Return the rows written so far, after dropping a last one that was cut short."""
    if not TABLE.path.exists():
        TABLE.begin()
    lines = TABLE.path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        write_text(TABLE.path, "".join(whole))
    return list(csv.DictReader(whole))


def markdown() -> str:
    """Return what the table of runs shows of the variants run so far: losses, and what a step costs.

    Losses are medians over the seeds. Those of both tables are of the learning rate with the better train
    loss, so that no test sample chooses anything.
    """
    found = defaultdict(list)
    for row in rows_present():
        losses = float(row["train_loss"]), float(row["test_loss_at_best_validation"])
        found[tuple(row[column] for column in KEY[:-1])].append(losses)
    heads = ["variant", *(f"{task} {'-'.join(map(str, widths))}" for task, widths in PROBLEMS)]
    train, test = [], []
    costs = defaultdict(list)
    for variant in VARIANTS:
        best = []
        for task, widths in PROBLEMS:
            keys = [key_of(variant, task, widths, rate, 0)[:-1] for rate in variant.rates]
            best += (
                [min(tuple(np.median(found[key], axis=0)) for key in keys)]
                if all(map(found.get, keys))
                else []
            )
        if len(best) < len(PROBLEMS):
            continue
        train.append([variant.name, *(f"{loss:.2g}" for loss, _ in best)])
        test.append([variant.name, *(f"{loss:.2g}" for _, loss in best)])
        costs[variant.cost].append(variant.name)
    return "\n".join(
        [
            f"Train loss after {STEPS:,} steps:",
            "",
            *table(heads, train),
            "",
            "Test loss at the step of least loss on the validation samples, same learning rates:",
            "",
            *table(heads, test),
            "",
            "What a step costs, where a pass is one product with the batch at every edge:",
            "",
            *(f"- {', '.join(names)}: {cost}." for cost, names in costs.items()),
        ]
    )


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table."""
    return ["| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows]]


def exact_gradient(network: Network, samples: Samples, gamma: float) -> Array:
    """Return mean r_l a_{l-1}^T of the exact equilibrium, packed as `Parameters.gradient` is."""
    settled = extend(network, samples.X, target=samples.y, stiffness=gamma)
    r = residuals(network, samples.X, settled.cochain)
    ones = np.ones((len(samples.X), 1))
    inputs = [samples.X, *(settled.cochain.a[layer] for layer in range(1, network.depth + 1))]
    return np.concatenate(
        [
            (r[affine_edge(layer)].T @ np.hstack([a, ones])).ravel() / len(a)
            for layer, a in enumerate(inputs, start=1)
        ]
    )


def cosines(gamma: float, task: str, widths: Sequence[int]) -> Array:
    """Return, at steps of a training, the cosines between the exact gradient and two others: steps x 2.

    The two are the closed form's, which the training follows, and that after one round of active sets.
    """
    train, _, _, output = samples_of(task)
    method = Descent(optimizer=Adam(0.01), steps=STEPS, schedule="cosine")
    network = start_network(widths, output, SEEDS[0])
    session = DescentSession(method, EquilibriumRule(gamma), network, train.X, train.y, 0)
    batch = Batch(widths, len(train.X), np.float64)
    batch.load(train.X, train.y)
    found = []
    for step in ANGLES_AT:
        session.advance(step - session.step)
        network = session.network()
        exact = exact_gradient(network, train, gamma)
        at_step = []
        for rule in (EquilibriumRule(gamma, 1e-10), OneRound(gamma, 1e-10)):
            parameters = Parameters(network, np.float64)
            rule.evaluate(parameters, batch, None)
            near = parameters.gradient
            at_step.append(exact @ near / (np.linalg.norm(exact) * np.linalg.norm(near)))
        found.append(at_step)
    return np.array(found)


def angles() -> str:
    """Return the least cosine and the last one of every training that `cosines` follows."""
    heads = ["gradient", *(f"{task} {'-'.join(map(str, widths))}" for task, widths in PROBLEMS)]
    rows = []
    for gamma in (0.1, 1.0):
        found = [cosines(gamma, task, widths) for task, widths in PROBLEMS]
        for column, name in enumerate(("closed form", "one round")):
            shown = [f"{cosine[:, column].min():.3f}, {cosine[-1, column]:.3f}" for cosine in found]
            rows.append([f"{name}, gamma {gamma:g}", *shown])
    heading = (
        "Cosine of the angle to the exact equilibrium's gradient, the least over a training and the last:"
    )
    return "\n".join([heading, "", *table(heads, rows)])


def main() -> None:
    """Run what is missing, and print the tables."""
    present = {tuple(row[column] for column in KEY) for row in rows_present()}
    runs = [
        (variant, *problem, rate, seed)
        for variant in VARIANTS
        for problem in PROBLEMS
        for rate in variant.rates
        for seed in SEEDS
    ]
    missing = [one for one in runs if key_of(*one) not in present]
    for one in track(missing, "runs", console=stderr()):
        TABLE.append([run(*one)])
    print(markdown(), angles(), sep="\n\n")


if __name__ == "__main__":
    main()

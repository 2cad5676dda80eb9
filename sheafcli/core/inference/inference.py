"""Information backwards: free coordinates of an input, held by a prior, from what is wanted of the output.

With x ~ N(mu, P^-1) on the free coordinates, conditional on the known ones, a stiffness gamma at the output
edge and 1 / kappa at all inner ones, the energy is

    (x - mu)^T P (x - mu) / 2 + min over stalks of sum |r_v|^2 / (2 kappa) + gamma potential(z, y).

kappa = 0 is the rigid network: a maximum a posteriori, or with a hard target (gamma infinite) the least
change of the input that reaches it. kappa = 1 lets inner edges share the strain. With J = d z / d x there

    (kappa S + J P^-1 J^T + H^-1) lambda = y - z + J (x - mu),   x = mu + P^-1 J^T lambda,   H = gamma J_phi,

and the inverse of P + J^T (kappa S + H^-1)^-1 J, the Schur complement of the sheaf Laplacian, is the
posterior covariance. Whatever the energy, the certificate is the network's own output at x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.inference.aim import Aim
from sheafcli.core.inference.choices import Choice
from sheafcli.core.inference.gaussian import Gaussian
from sheafcli.core.inference.giving import give_way
from sheafcli.core.inference.rigid import FAR_PRICE, Search
from sheafcli.core.inference.starts import STARTS, least
from sheafcli.core.inference.uncertainty import covariance_root
from sheafcli.core.types import Array

# Hard targets that are missed by less, in units of their scale, are met.
MET = 1e-6
# Where a target is out of reach it pulls by a spring: a prior of one standard deviation moves it little.
STIFF = 1e6
# A sparse change costs so much a standard deviation and coordinate, beside its square.
THRESHOLD = 10.0
# Where a choice is tried, steps start from few points; rounds of trying all of them, and trials in all.
FEW_STARTS, ROUNDS, TRIALS = 4, 4, 60
# Options that lie closer, in standard deviations, are not tried one by one.
FINE = 0.02
# So many attempts at which bounds hold, where inner edges give way.
BOUND_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Inferred:
    """Inputs with their free coordinates filled in, one row a sample, and what certifies them.

    `deviation` is the posterior standard deviation, 0 for what is known, for levels of a category, and for
    what is held by a bound.
    `output` is what the network itself gives at X, `logits` before phi. `missed` is by how much hard targets
    and pins are missed there, in units of their scale, summed; 0 for those that pull. `distance` is that of X
    from the prior's mean in units of the prior. `bound` says which coordinates lie at a bound. `settled` says
    whether X is a minimum for certain: of the linear regions around, or an equilibrium.
    """

    X: Array
    deviation: Array
    output: Array
    logits: Array
    missed: Array
    distance: Array
    bound: NDArray[np.bool_]
    settled: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a network: see `infer_inputs`.

    `centre`, samples x coordinates, is where the prior of each sample lies, if not around its own mean.
    """

    aim: Aim
    prior: Gaussian
    low: Array
    high: Array
    choices: tuple[Choice, ...]
    kappa: float
    centre: Array | None
    sparse: bool
    seed: int


@dataclass(frozen=True, eq=False)
class _Answer:
    x: Array
    energy: float
    missed: float
    distance: float
    settled: bool
    known: NDArray[np.bool_]
    conditional: tuple[Array, Array]

    def beats(self, other: _Answer) -> bool:
        """Whether this is better: what is missed counts first, then the energy."""
        mine, others = max(self.missed, MET), max(other.missed, MET)
        if abs(mine - others) > 1e-3 * others:
            return mine < others
        return self.energy < other.energy - 1e-9 * (1.0 + abs(other.energy))


def infer_inputs(
    question: Question,
    X: Array,
    free: NDArray[np.bool_],
    advance: Callable[[int], object] = lambda _: None,
) -> Inferred:
    """Answer a question for samples X, samples x coordinates, of which those in the mask `free` are free.

    The aim has the targets of the samples. Known coordinates are taken from X, and the prior is conditional
    on them. With the samples themselves for `centre` the answer is the least change of each. `advance` is
    called before each sample.
    """
    answers = []
    for i in range(len(X)):
        advance(i)
        centre = None if question.centre is None else question.centre[i]
        aim = question.aim.take(np.array([i]))
        answers.append(_row(replace(question, aim=aim), X[i], free[i], centre))
    found = np.stack([answer.x for answer in answers])
    network = question.aim.network
    logits = question.aim.look(found)[:, : network.n_outputs]
    spread = question.prior.spread
    near = 1e-7 * np.where(spread > 0.0, spread, 1.0)
    bound = free & ((found <= question.low + near) | (found >= question.high - near))
    deviation = np.zeros_like(found)
    for i, answer in enumerate(answers):
        _, root = answer.conditional
        left = covariance_root(question.aim.take(np.array([i])), question.kappa, found[i], root, bound[i])
        deviation[i] = np.where(bound[i], 0.0, np.sqrt(np.sum(left * left, axis=1)))
    return Inferred(
        X=found,
        deviation=deviation,
        output=network.output.value(logits),
        logits=logits,
        missed=np.array([answer.missed for answer in answers]),
        distance=np.array([answer.distance for answer in answers]),
        bound=bound,
        settled=np.array([answer.settled for answer in answers]),
    )


def _row(question: Question, x: Array, free: NDArray[np.bool_], centre: Array | None) -> _Answer:
    """Answer for one sample."""
    if not question.sparse:
        return _answer(question, x, free, centre)
    return _sparse(question, x, free)


def _sparse(question: Question, x: Array, free: NDArray[np.bool_]) -> _Answer:
    """Return a change of few coordinates that meets the aim, each choice counting as one.

    Soft thresholding, with spreads as units, says which may be needed. Those that the rest can do without are
    let go, the smallest first; what is left goes where the prior is nearest.
    """
    groups = [list(choice.columns) for choice in question.choices]
    few = _answer(replace(question, prior=question.prior.apart(groups)), x, free, x)
    taken = np.zeros_like(free)
    for group in groups:
        taken[group] = True
    groups += [[int(j)] for j in np.flatnonzero(~taken)]
    size = np.abs(few.x - x) / np.where(question.prior.spread > 0.0, question.prior.spread, 1.0)
    units = [group for group in groups if free[group].all() and size[group].max() > 1e-6]
    units.sort(key=lambda group: float(size[group].max()))
    exact = replace(question, sparse=False, choices=())

    def with_(units: list[list[int]]) -> _Answer:
        moved = np.isin(np.arange(len(x)), [j for group in units for j in group])
        goal, free = np.where(moved, few.x, x), moved & ~taken
        answer = _answer(exact, goal, free, x)
        chosen = question.prior.given(~free, goal[None], x[None]).distance[0]
        return replace(answer, distance=float(np.hypot(answer.distance, np.sqrt(chosen))))

    enough = max(MET, few.missed * (1.0 + 1e-6))
    answer = with_(units)
    if answer.missed > enough:
        return few
    for group in tuple(units):
        rest = [unit for unit in units if unit is not group]
        trial = with_(rest)
        if trial.missed <= enough:
            answer, units = trial, rest
    return answer


def _answer(question: Question, x: Array, free: NDArray[np.bool_], centre: Array | None) -> _Answer:
    """Answer for one sample; the prior is around `centre`, or around the training mean."""
    base = question.prior.given(~free, x[None], None if centre is None else centre[None])
    around = Gaussian(base.mean[0], base.root)
    answer = _solve(question, around, ~free, x, None)
    if chosen := [choice for choice in question.choices if free[list(choice.columns)].all()]:
        answer = _choose(question, around, ~free, answer, chosen)
    return answer


def _choose(
    question: Question,
    around: Gaussian,
    known: NDArray[np.bool_],
    relaxed: _Answer,
    choices: Sequence[Choice],
) -> _Answer:
    """Return the best answer in which every choice is one of its options, from that without them.

    Each goes to its nearest option, then options are tried one choice at a time, the rest moving freely.
    Choices whose options lie so close that the nearest will do are made last.
    """
    spread = question.prior.spread
    coarse = [choice for choice in choices if choice.step > FINE * spread[choice.columns[0]]]
    best = relaxed
    if coarse:
        held, x = _nearest_options(question, known, relaxed.x, coarse)
        best, tried = _solve(question, around, held, x, relaxed.x), 0
        for _ in range(ROUNDS):
            before = best
            for choice in coarse:
                columns = list(choice.columns)
                for option in choice.options(best.x, question.low, question.high):
                    if np.array_equal(option, best.x[columns]) or tried >= TRIALS:
                        continue
                    tried += 1
                    x = best.x.copy()
                    x[columns] = option
                    trial = _solve(question, around, held, x, best.x)
                    best = trial if trial.beats(best) else best
            if best is before:
                break
    fine = sorted((c for c in choices if c not in coarse), key=lambda c: -c.step / spread[c.columns[0]])
    if fine:
        held, x = _nearest_options(question, known, best.x, choices)
        rounded = _solve(question, around, held, x, best.x)
        if rounded.missed > MET >= best.missed:
            rounded = _one_by_one(question, around, known, best, coarse, fine)
        best = rounded
    # Whole numbers are as uncertain as if they were none: only levels are held for a deviation.
    held = known.copy()
    for choice in choices:
        held[list(choice.columns)] |= np.isinf(choice.step)
    given = around.given(held, best.x[None])
    return replace(best, conditional=(given.mean, given.root))


def _one_by_one(
    question: Question,
    around: Gaussian,
    known: NDArray[np.bool_],
    best: _Answer,
    made: Sequence[Choice],
    fine: Sequence[Choice],
) -> _Answer:
    """Return the answer with fine choices made in turn, the finest last, the rest moving freely each time.

    Where all that is left is held, too, the nearest option that still meets the aim is taken.
    """
    for place, choice in enumerate(fine, start=1):
        held, x = _nearest_options(question, known, best.x, [*made, *fine[:place]])
        options = choice.options(best.x, question.low, question.high)
        reached: _Answer | None = None
        for option in options:
            x[list(choice.columns)] = option
            trial = _solve(question, around, held, x, best.x)
            reached = trial if reached is None or trial.beats(reached) else reached
            if reached.missed <= MET:
                break
        best = reached or best
    return best


def _nearest_options(
    question: Question, known: NDArray[np.bool_], x: Array, choices: Sequence[Choice]
) -> tuple[NDArray[np.bool_], Array]:
    """Return what is held, and x, once choices go to their nearest options."""
    held, x = known.copy(), x.copy()
    for choice in choices:
        columns = list(choice.columns)
        held[columns] = True
        x[columns] = choice.options(x, question.low, question.high)[0]
    return held, x


def _solve(
    question: Question, around: Gaussian, known: NDArray[np.bool_], x: Array, begin: Array | None
) -> _Answer:
    """Return the answer with what is known now; `begin` is an answer to search from."""
    given = around.given(known, x[None])
    if question.kappa > 0.0:
        return _giving(question, around, known, x, begin)
    limits = _limits(question, known)
    search = Search(question.aim, given.mean, given.root, *limits)
    if question.sparse:
        search = Search.sparse(search, THRESHOLD)
    w0 = None if begin is None or question.sparse else _coordinates(given.root, begin - given.mean[0])[None]
    many = STARTS if begin is None else FEW_STARTS
    found = least(search, question.seed, w0, many)
    missed = float(search.aim.missed(search.aim.look(search.inputs(found.w)))[0])
    if missed > MET:
        # Out of reach: the nearest that can be given.
        softened = replace(search, aim=question.aim.pulling(STIFF))
        nearest = least(softened, question.seed, found.w, many)
        there = float(search.aim.missed(search.aim.look(search.inputs(nearest.w)))[0])
        found, missed = (nearest, there) if there < missed else (found, missed)
        if missed <= MET:  # in reach after all, far away: from there back to the nearest point that meets it
            back = least(replace(search, price=FAR_PRICE), question.seed, found.w, many)
            found = back if search.aim.missed(search.aim.look(search.inputs(back.w)))[0] <= MET else found
    inputs = np.clip(search.inputs(found.w), *limits)[0]
    inputs[known] = x[known]
    pulled = float(question.aim.energy(question.aim.look(inputs[None]))[0])
    w = found.w if not question.sparse else found.w[:, : len(given.root.T)] - found.w[:, len(given.root.T) :]
    squared = float(given.distance[0] + np.sum(w * w))
    energy = 0.5 * squared + pulled
    if question.sparse:
        energy += THRESHOLD * float(np.sqrt(given.distance[0]) + np.sum(np.abs(w)))
    missed = float(question.aim.missed(question.aim.look(inputs[None]))[0])
    return _Answer(
        inputs, energy, missed, np.sqrt(squared), bool(found.settled[0]), known, (given.mean, given.root)
    )


def _limits(question: Question, known: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the bounds of what is free, 1 x coordinates."""
    low = np.where(known, -np.inf, question.low)[None]
    return low, np.where(known, np.inf, question.high)[None]


def _coordinates(root: Array, offset: Array) -> Array:
    """Return the w whose A w is nearest to an offset of x, in units of the spreads."""
    spread = np.sqrt(np.sum(root * root, axis=1))
    scale = np.where(spread > 0.0, spread, 1.0)
    return np.asarray(np.linalg.lstsq(root / scale[:, None], offset / scale, rcond=1e-10)[0])


def _giving(
    question: Question, around: Gaussian, known: NDArray[np.bool_], x: Array, begin: Array | None
) -> _Answer:
    """Return the answer where inner edges give way, from that of the rigid network.

    Coordinates beyond a bound are held there until none is beyond; then each is let go again if it stays.
    """
    rigid = _solve(replace(question, kappa=0.0), around, known, x, begin)
    low, high = (limit[0] for limit in _limits(question, known))
    held, tried = known.copy(), set[int]()
    values = x.copy()

    def relaxed_with(held: NDArray[np.bool_]) -> tuple[_Answer, bool]:
        given = around.given(held, values[None])
        w = _coordinates(given.root, rigid.x - given.mean[0])[None]
        found = give_way(question.aim, question.kappa, given.mean, given.root, w)
        inputs = found.x[0]
        inputs[held] = values[held]
        squared = float(given.distance[0] + np.sum(found.w**2))
        energy = float(found.energy[0] + 0.5 * given.distance[0])
        missed = float(question.aim.missed(question.aim.look(inputs[None]))[0])
        rests = bool(found.relaxed.converged[0])
        answer = _Answer(
            inputs, energy, missed, np.sqrt(squared), rests, held.copy(), (given.mean, given.root)
        )
        slack = 1e-9 * np.maximum(1.0, np.abs(inputs))
        return answer, bool(((inputs < low - slack) | (inputs > high + slack))[~held].any())

    for _ in range(BOUND_ROUNDS):
        answer, is_out = relaxed_with(held)
        if not is_out:
            break
        beyond = ~held & ((answer.x < low) | (answer.x > high))
        values = np.where(beyond, np.clip(answer.x, low, high), values)
        held = held | beyond
    for j in np.flatnonzero(held & ~known):
        freed = held.copy()
        freed[j] = False
        trial, is_out = relaxed_with(freed)
        if not is_out and j not in tried:
            answer, held = trial, freed
            tried.add(int(j))
    return answer

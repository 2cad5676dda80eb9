"""Information backwards on arrays: what free inputs must have been, or become, for what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from sheafcli.core.inference.aim import Aim
from sheafcli.core.inference.choices import Choice
from sheafcli.core.inference.gaussian import Gaussian
from sheafcli.core.inference.inference import Inferred, Question, infer_inputs
from sheafcli.core.network import AnyNetwork, as_targets
from sheafcli.core.pins import Pin, as_pins
from sheafcli.core.types import Array

Name: TypeAlias = str | int
Free: TypeAlias = Sequence[Name] | NDArray[np.bool_] | None
MARGIN, ODDS_MARGIN = 1e-3, 1e-6
"""A class that is wanted comes first by so much of a logit, or has the odds that are wanted."""


@dataclass(frozen=True, eq=False)
class Inference:
    """Inputs with what was free filled in, by name, and what the network itself gives there.

    `inferred` has the arrays: see `sheafcli.core.inference.inference.Inferred`. `free` are the inputs that
    were, samples x inputs.
    """

    inferred: Inferred
    names: tuple[str, ...]
    free: NDArray[np.bool_]

    @property
    def X(self) -> Array:  # noqa: N802
        """The inputs, samples x inputs."""
        return self.inferred.X

    @property
    def deviation(self) -> Array:
        """Their posterior standard deviations, 0 for what is known."""
        return self.inferred.deviation

    @property
    def output(self) -> Array:
        """What the network gives at them: the certificate."""
        return self.inferred.output

    @property
    def table(self) -> pd.DataFrame:
        """A row a sample: the inputs that were free, their deviations, outputs, what is missed, distance."""
        columns: dict[str, Array] = {}
        for j in np.flatnonzero(self.free.any(axis=0)).tolist():
            columns[self.names[j]] = self.X[:, j]
            columns[f"{self.names[j]}_std"] = self.deviation[:, j]
        for j in range(self.output.shape[1]):
            columns[f"output_{j}"] = self.output[:, j]
        columns["missed"] = self.inferred.missed
        columns["distance"] = self.inferred.distance
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        free = [self.names[j] for j in np.flatnonzero(self.free.any(axis=0))]
        reached = int(np.sum(self.inferred.missed <= 1e-6))
        return f"Inference({len(self.X)} samples, free: {', '.join(free)}; {reached} reach what is wanted)"

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


def infer(
    network: AnyNetwork,
    X: Array | pd.DataFrame,
    *,
    target: Array | None = None,
    probability: float | None = None,
    free: Free = None,
    prior: Array | tuple[Array, Array] | None = None,
    nearby: bool | None = None,
    stiffness: float | None = None,
    kappa: float | None = None,
    bounds: Mapping[Name, tuple[float, float]] | None = None,
    choices: Sequence[Choice] = (),
    sparse: bool = False,
    pins: Sequence[Pin | str] = (),
    scale: Array | float = 1.0,
    seed: int = 0,
) -> Inference:
    """Return the inputs that make a network give what is wanted, held by a Gaussian prior.

    Parameters
    ----------
    network, X
        The network, and samples x inputs: an array, or a DataFrame, whose columns name the inputs. What is
        free may be NaN.
    target
        Samples x outputs: values, or for classes 0 and 1; None leaves the output alone.
    probability
        How probable the class that `target` says is to be, at least. Left out, it only comes first.
    free
        The inputs that may move, by name or position, or a mask, samples x inputs. Left out, those that are
        NaN, or all inputs if none is.
    prior
        What inputs usually are: samples to take mean and covariance from, such as the training inputs, or a
        mean, or one a sample, and a covariance. Left out, the complete rows of X.
    nearby
        Whether the prior lies around each sample, so that the answer is the least change of it in units of
        the prior, or around the mean, conditional on what is known. Left out, the former where nothing is
        NaN and the target is hard.
    stiffness
        gamma of the output edge: 1 / (what the target's square error usually is) / scale^2. None makes the
        target hard: it is met, or missed by as little as can be.
    kappa
        How easily inner edges give way: 0 is the network as it is, 1 lets them share the strain, so that the
        network is believed less where it magnifies. Left out, 0 where the target is hard, else 1.
    bounds
        The least and the largest value of inputs.
    choices
        Inputs that take some values only: `sheafcli.core.inference.choices`.
    sparse
        Change few inputs.
    pins
        Coordinates of hidden stalks that are held as well, as `Pin` or as texts such as "z1[3]=0.5".
    scale
        What of each output counts as one, for what is missed.
    seed
        The seed for where searches start.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network = sc.Network([[[2.0, 1.0]], [[1.0]]], [[0.0], [0.0]], "identity")  # relu(2 x1 + x2)
    >>> X, usual = np.array([[1.0, 3.0]]), np.random.default_rng(0).normal(size=(50, 2))
    >>> inferred = sc.infer(network, X, target=np.array([[7.0]]), free=["x1"], prior=usual)
    >>> inferred.X.round(6)  # x2 stays
    array([[2., 3.]])
    """
    names = tuple(map(str, X.columns)) if isinstance(X, pd.DataFrame) else ()
    values = np.asarray(X, dtype=np.float64)
    values = values.reshape(len(values), -1)
    n_inputs = int(np.prod(network.input_shape))
    if values.shape[1] != n_inputs or not len(values):
        raise ValueError(f"X must be samples x {n_inputs}, at least one, got shape {np.shape(X)}")
    names = names or tuple(f"x{j + 1}" for j in range(n_inputs))
    mask = _mask(free, values, names)
    if (np.isnan(values) & ~mask).any():
        i, j = np.argwhere(np.isnan(values) & ~mask)[0]
        raise ValueError(f"input {names[j]} of sample {i} is NaN and not free")
    if not np.isfinite(values[~mask]).all():
        raise ValueError("X must be finite where it is not free")
    if kappa is None:
        kappa = 0.0 if target is None or stiffness is None else 1.0
    if not (kappa >= 0.0 and np.isfinite(kappa)):
        raise ValueError(f"kappa must be at least 0 and finite, got {kappa}")
    if stiffness is not None and not 0.0 < stiffness < np.inf:
        raise ValueError(f"stiffness must be above 0 and finite, got {stiffness}")
    if nearby is None:
        nearby = target is not None and stiffness is None and not np.isnan(values).any()
    if sparse and not nearby:
        raise ValueError("a sparse change needs samples to change: nearby, and none of their inputs NaN")
    if nearby and np.isnan(values).any():
        raise ValueError("a change of samples needs all of their inputs; some are NaN")
    m = network.n_outputs
    y = np.zeros((len(values), m)) if target is None else as_targets(network, target, len(values))
    classifies = target is not None and network.output.classifies
    if probability is not None and not (classifies and stiffness is None):
        raise ValueError("a probability is of the class that a hard target says: give target, of 0 and 1")
    if classifies and stiffness is None and not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("a hard target of classes is 0 or 1; give probability= for how sure it is to be")
    aim = Aim(
        network,
        y,
        np.full(m, target is not None),
        None if target is None else stiffness,
        np.broadcast_to(np.asarray(scale, dtype=np.float64), (m,)),
        margin_of(probability),
        tuple(as_pins(pins)),
        probability is not None,
    )
    low, high = _limits(bounds or {}, names)
    around, means = _gaussian(prior, values)
    centre = values if nearby else means
    question = Question(aim, around, low, high, tuple(choices), kappa, centre, sparse, seed)
    filled = np.where(mask & np.isnan(values), around.mean if means is None else means, values)
    return Inference(infer_inputs(question, filled, mask), names, mask)


def margin_of(probability: float | None) -> float:
    """Return by how much of a logit a class is wanted first, or by what log odds for a probability."""
    if probability is None:
        return MARGIN
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability must be above 0 and below 1, got {probability!r}")
    return float(logit(probability)) + ODDS_MARGIN


def _gaussian(prior: Array | tuple[Array, Array] | None, X: Array) -> tuple[Gaussian, Array | None]:
    """Return the prior, and its means where each sample has one of its own."""
    if isinstance(prior, tuple):
        mean = np.asarray(prior[0], dtype=np.float64)
        if mean.shape not in (X.shape, X.shape[1:]):
            raise ValueError(f"the prior's mean must have shape {X.shape[1:]} or {X.shape}, got {mean.shape}")
        one = mean if mean.ndim == 1 else mean.mean(axis=0)
        return Gaussian.of_moments(one, prior[1]), None if mean.ndim == 1 else mean
    samples = X if prior is None else np.asarray(prior, dtype=np.float64).reshape(len(prior), -1)
    samples = samples[~np.isnan(samples).any(axis=1)]
    if len(samples) < 2 or samples.shape[1] != X.shape[1]:
        raise ValueError(
            f"the prior needs at least two complete samples of {X.shape[1]} inputs, got shape "
            f"{samples.shape}; give prior=the training inputs"
        )
    return Gaussian.of(samples), None


def _mask(free: Free, X: Array, names: Sequence[str]) -> NDArray[np.bool_]:
    if free is None:
        missing = np.isnan(X)
        return missing if missing.any() else np.ones(X.shape, dtype=bool)
    given: Any = np.asarray(free)
    if given.dtype == bool:
        if given.shape != X.shape:
            raise ValueError(f"the mask of what is free must have shape {X.shape}, got {given.shape}")
        return np.asarray(given)
    mask = np.zeros(X.shape, dtype=bool)
    for name in free:
        mask[:, _position(name, names)] = True
    return mask


def _position(name: Name, names: Sequence[str]) -> int:
    if isinstance(name, str):
        if name not in names:
            raise ValueError(f"no input is called {name!r}; there are {', '.join(names)}")
        return list(names).index(name)
    if not 0 <= int(name) < len(names):
        raise ValueError(f"inputs are numbered 0 to {len(names) - 1}, got {name}")
    return int(name)


def _limits(bounds: Mapping[Name, tuple[float, float]], names: Sequence[str]) -> tuple[Array, Array]:
    low, high = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    for name, (least, most) in bounds.items():
        if not least <= most:
            raise ValueError(f"the bounds of {name} contradict one another: {least} to {most}")
        j = _position(name, names)
        low[j], high[j] = least, most
    return low, high

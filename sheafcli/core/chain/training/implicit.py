"""A chain as a function of all its weights, for implicit steps (`sheafcli.core.training.implicit`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import BackpropRule
from sheafcli.core.chain.training.equilibrium import EquilibriumRule
from sheafcli.core.chain.training.layers import Batch, Parameters
from sheafcli.core.chain.training.least_squares import (
    ChainLeastSquares,
    Pass,
    forward,
    sensitivities,
    sums_columns,
)
from sheafcli.core.training.descent import Rule
from sheafcli.core.training.least_squares import MOST_TOLD, telling
from sheafcli.core.types import Array


class ChainModel:
    """See `sheafcli.core.training.model.Model`."""

    def __init__(self, network: Network, X: Array):
        self._inputs = np.vstack([X.T, np.ones((1, len(X)))])
        self._parameters = Parameters(network, np.float64)
        self.flat = self._parameters.flat
        # 1 for weights, 0 for biases, packed as the parameters are.
        weighs = [np.hstack([np.ones(W.shape), np.zeros((len(W), 1))]).ravel() for W in self._parameters.W]
        self.weighs: Array = np.concatenate(weighs)

    def prepare(self) -> None:
        """Revive neurons that no sample activates, then balance all."""
        revive(self._parameters, self._inputs)
        balance(self._parameters)

    def forward(self, softness: Sequence[float] = ()) -> Pass:
        """Pass the samples on, through kinks as they are unless they are to be soft."""
        return forward(self._parameters.H, self._inputs, softness or (0.0,) * (len(self._parameters.H) - 1))

    def problem(self, here: Pass, T: Array, rho: Array, w: Array, decay: Array) -> ChainLeastSquares:
        """Return the least-squares problem of the rows T^T df."""
        # One row a sample costs as much as all columns of a sample where these are summed first.
        summed = sums_columns(self._parameters.widths, rho.shape[1])
        samples, T, rho = telling(T, rho, len(rho) if summed else MOST_TOLD * rho.size)
        R = np.ascontiguousarray(T.transpose(2, 1, 0))
        M = sensitivities(self._parameters.W, [slopes[:, samples] for slopes in here.slopes], R)
        a = [inputs[:, samples] for inputs in here.a]
        return ChainLeastSquares(w, a, M, np.ascontiguousarray(rho.T), decay)

    def resistance(self, here: Pass) -> Array:
        """Return S = I + sum_l J_l (1 + rho'(z_l)^2) J_l^T, J_l = dz_{k+1} / da_l."""
        n, outputs = here.f.shape
        unit = np.ascontiguousarray(np.broadcast_to(np.eye(outputs)[:, :, np.newaxis], (outputs, outputs, n)))
        M = sensitivities(self._parameters.W, here.slopes, unit)
        S = np.tile(np.eye(outputs), (n, 1, 1))
        for W, m, slope in zip(self._parameters.W[1:], M[1:], here.slopes, strict=True):
            J = np.einsum("oj,ocn->jcn", W, m)
            S += np.einsum("jcn,jn,jdn->ncd", J, 1.0 + slope * slope, J, optimize=True)
        return S

    def network(self) -> Network:
        """Return the network as it is now."""
        return self._parameters.network()

    def evaluated(self, y: Array, kappa: float) -> Rule:
        """Return the rule whose energy and discord are those of the equilibrium at the weights."""
        rule: Rule = EquilibriumRule(kappa) if kappa > 0.0 else BackpropRule()
        batch = Batch(self._parameters.widths, len(y), np.float64)
        batch.load(self._inputs[:-1].T, y)
        rule.evaluate(self._parameters, batch, None)
        return rule


def balance(parameters: Parameters) -> None:
    """Scale each hidden neuron so that [W_l, b_l] into it and W_{l+1} out of it have the same norm."""
    for layer, following in zip(parameters.H[:-1], parameters.W[1:], strict=True):
        into, out = np.linalg.norm(layer, axis=1), np.linalg.norm(following, axis=0)
        joined = (into > 0.0) & (out > 0.0)
        scale = np.ones_like(into)
        np.sqrt(np.divide(out, into, out=scale, where=joined), out=scale, where=joined)
        np.multiply(layer, scale[:, np.newaxis], out=layer)
        np.divide(following, scale, out=following)


def revive(parameters: Parameters, inputs: Array) -> None:
    """Move each hidden neuron that no sample activates to where half of them do.

    Of a layer that others of are alive, such neurons lose the weights out of them: no output changes.
    """
    a = inputs
    for layer, following in zip(parameters.H[:-1], parameters.W[1:], strict=True):
        z = layer @ a
        dead = np.asarray(~(z >= 0.0).any(axis=1))
        if dead.any():
            layer[dead, -1] -= np.median(z[dead], axis=1)
            if not dead.all():
                following[:, dead] = 0.0
            z = layer @ a
        a = np.vstack([np.maximum(z, 0.0), np.ones((1, z.shape[1]))])

"""Which edge of any graph is at fault: the evidence for a change of its parameters alone, by Laplace's method.

The change theta of one edge's parameters has the prior N(0, tau^2 I). Linearised, the outputs f it leads to
are a Gaussian process with the kernel K = tau^2 J J^T, J the derivatives of the outputs of all samples in the
parameters. With C the negative log likelihood of the targets, as `sheafcli.core.chain.repair` has it (the sum
of the output's potential for classes; N/2 log L for the identity, L the mean squared error, profiled out),

    a = (y - phi(f + K a)) / L                                      the mode, theta = tau^2 J^T a
    log E = -C(f + K a) - a^T K a / 2 - log det(I + R^T K R / L) / 2,   R R^T = J_phi at the mode,

L = 1 for classes, counted from -C(f), no fault at all, in nats. tau is the best of a few multiples of the
edge's root mean square weight, the chain's. On the last layer of a chain, which is linear in its parameters,
this is the chain's evidence.
"""

from __future__ import annotations

from typing import NamedTuple

from sheafcli.core.edge import Edge
from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array


class Blamed(NamedTuple):
    """What a change of one edge's parameters explains.

    `evidence` is the log evidence for a fault there against none, in nats; `loss` the loss that the
    linearised network has after the likeliest change, and `prior` that change's tau, in units of a parameter.
    """

    edge: Edge
    evidence: float
    loss: float
    prior: float


def blame(network: AnyNetwork, X: Array, y: Array) -> list[Blamed]:
    """Return the evidence of every edge with parameters, in topological order.

    X is samples x features or samples x input shape, y is samples x outputs. All samples are used: choose
    them by `samples_tried`. Of more outputs than DIRECTIONS the logits move, sample by sample, in so many
    directions alone: that of the error, and the outputs with the largest errors.
    """
    raise NotImplementedError


def by_layer(blamed: list[Blamed]) -> dict[int, Blamed]:
    """Return for every layer that has parameters its likeliest edge, the first where none is likelier."""
    raise NotImplementedError


def samples_tried(network: AnyNetwork, available: int) -> int:
    """Return on how many of the available samples, to be spread evenly, `blame` is affordable.

    300 at most; fewer where the rows of J, a sample and a direction each, would exceed 1,000, and where
    products of J with its transpose or the pulls on the largest stalk would exceed time or memory.
    """
    raise NotImplementedError


def posterior(evidence: Array) -> Array:
    """Return exp(e_l / T) / (1 + sum_m exp(e_m / T)), the probability of a fault in each place.

    T is 1, or that share, UNCERTAIN, of the highest evidence to which Laplace's method knows it, if that is
    more: places whose evidence differs by less are not told apart. What is missing to 1 is that of no fault.
    """
    raise NotImplementedError

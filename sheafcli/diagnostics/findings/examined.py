"""What the rules look at: a network, its samples and their diagnosis, and the run it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.config.training import TrainingSpec
from sheafcli.core.chain.extension import Extension, extend
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import residuals
from sheafcli.core.graph import Graph, Vertex
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.resistance import resistance_traces
from sheafcli.core.spectrum import Spectrum, spectrum
from sheafcli.core.types import Array
from sheafcli.diagnostics.constant import relative_loss
from sheafcli.diagnostics.discord import squared_residuals
from sheafcli.diagnostics.findings.finding import listed
from sheafcli.diagnostics.findings.reference import Reference, missed, reference
from sheafcli.diagnostics.findings.rows import spread_evenly, spread_rows
from sheafcli.diagnostics.findings.shift import Shift, shift_between
from sheafcli.diagnostics.pinned import BALANCED, PinnedDiscord, settled_graph
from sheafcli.diagnostics.units import Values, gates, is_live, values_of

# From fewer samples nothing is said of what neurons do on all: what has not been seen in n samples happens,
# with 95% confidence, in fewer than 3 / n of all, which is 10% here.
FEWEST_SAMPLES = 30
# Of a class with fewer samples, or without, nothing is said: the spread of so few is hardly known.
FEWEST_OF_CLASS = 10
# So many samples, spread evenly over all, are enough for a mean discord or resistance, and for a spectrum,
# which hardly differs from sample to sample.
MOST_SAMPLES, SPECTRUM_SAMPLES = 1000, 5
# A reference needs all distances between so many.
MOST_REFERENCES = 2000
# And, of very wide samples, a singular value decomposition of so many squared samples times columns.
REFERENCE_WORK = 1e10
# Of a constant prediction's loss a tenth is left where a network has learnt what there is to learn.
POOR = 0.1
# The name of the part that runs train on.
TAUGHT = "train"
# A loss that was computed in single precision, and written down, is the same to so many digits.
SAME_LOSS = 1e-3
# Of an error so far below the predictions, rounding may have made half the digits.
ROUNDING = 1e-8


@dataclass(frozen=True)
class Resistance:
    """The effective resistance S between input and output: 1 where no layer adds to it.

    `typical` is the median over samples of tr S / n_{k+1}. `gains[l-1]`, for l = 2, ..., k+1, is the factor
    ||J_{l-1}||^2 / ||J_l R_l||^2 by which W_l raises it, each norm a mean over samples; NaN for l = 1.
    """

    typical: float
    gains: Array


@dataclass(frozen=True, eq=False)
class Examined:
    """A network under examination, with all that is known of it; what is derived is computed once.

    Attributes
    ----------
    network : the network.
    X, y : the samples that were diagnosed, samples x features and samples x outputs.
    diagnosis : their diagnosis.
    fault : which layer is at fault, as `sheafcli.diagnostics.fault` tells it; None if nobody asked.
    other : inputs and targets of the task's other samples; None if there are none.
    part, other_part : what the two are called, such as test and train.
    features : the names of the inputs; x1, x2, ... if none are given.
    classes : the names of the classes; output 0, output 1, ... if none are given.
    history : history.csv of the run; None for a network from elsewhere.
    status : the run's status, as in its manifest; None likewise.
    training : how the run trains; None likewise.
    start : the network that its training began from; None likewise.
    places : where the samples of each part stand in the user's own data, by the part's name; of parts that
        are not there samples are counted from 0.
    word : what a place is called: line or row.
    unsettled : the numbers, or the places, of samples that were left out, since their equilibrium was not
        found.
    """

    network: AnyNetwork
    X: Array
    y: Array
    diagnosis: PinnedDiscord
    fault: pd.DataFrame | None = None
    other: tuple[Array, Array] | None = None
    part: str = "test"
    other_part: str = "train"
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    history: pd.DataFrame | None = None
    status: str | None = None
    training: TrainingSpec | None = None
    start: AnyNetwork | None = None
    unsettled: tuple[int, ...] = ()
    places: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    word: str = "row"

    def named(self, samples: Sequence[int], part: str, most: int) -> str:
        """Return samples as a user finds them, "lines 3, 12 of the data", or by their numbers in a part."""
        places = self.places.get(part)
        if places is None:
            return f"{'sample' if len(samples) == 1 else 'samples'} {listed(samples, most)} of {part}"
        word = self.word if len(samples) == 1 else f"{self.word}s"
        return f"{word} {listed(places[list(samples)].tolist(), most)} of the data"

    @property
    def n_samples(self) -> int:
        """How many samples there are in both parts."""
        return sum(len(X) for X in self._inputs)

    @property
    def graph(self) -> Graph:
        """The network as a graph."""
        return self.network.graph

    @property
    def chain(self) -> Network | None:
        """The network if it is a plain chain: some rules ask what only such a one can answer."""
        return self.network if isinstance(self.network, Network) else None

    @property
    def last(self) -> int:
        """The number of the last layer."""
        return self.graph.output_edge.layer

    def where(self, vertex: Vertex) -> str:
        """Return what evidence about a vertex begins with: its name, where a layer has more than two."""
        return "" if self.chain else f"{vertex.name}: "

    @property
    def _inputs(self) -> tuple[Array, ...]:
        return (self.X,) if self.other is None else (self.X, self.other[0])

    @property
    def taught(self) -> tuple[Array, Array]:
        """What the network was trained on, as far as that is known: else the samples that were diagnosed."""
        return self.other if self.other is not None and self.part != TAUGHT else (self.X, self.y)

    @property
    def taught_part(self) -> str:
        """What these are called."""
        return self.other_part if self.other is not None and self.part != TAUGHT else self.part

    @property
    def fresh(self) -> tuple[Array, Array] | None:
        """What it was not trained on; None where only one part is known."""
        if self.other is None:
            return None
        return self.other if self.part == TAUGHT else (self.X, self.y)

    @property
    def fresh_part(self) -> str:
        """What these are called."""
        return self.other_part if self.part == TAUGHT else self.part

    def misses(self, samples: tuple[Array, Array]) -> float:
        """Return the share u of the variance of the targets that the network misses on some samples."""
        X, y = samples
        return missed(self.network.predict(X), y)

    def loss(self, samples: tuple[Array, Array]) -> float:
        """Return its loss on some samples."""
        X, y = samples
        return self.network.output.loss(self.network.logits(X), y)

    @cached_property
    def shift(self) -> Shift | None:
        """How the inputs of the fresh samples differ from those of the taught ones, if they do."""
        if self.fresh is None or min(len(self.fresh[0]), len(self.taught[0])) < FEWEST_SAMPLES:
            return None
        X, y = (spread_evenly(array, MOST_SAMPLES) for array in self.taught)
        X_fresh, y_fresh = (spread_evenly(array, MOST_SAMPLES) for array in self.fresh)
        return shift_between(X, X_fresh, (y, y_fresh))

    @property
    def is_shifted(self) -> bool:
        """Whether the diagnosed samples are those whose inputs differ: it is not they that are tense."""
        return self.part == self.fresh_part and self.shift is not None

    @cached_property
    def reference(self) -> tuple[Reference, NDArray[np.intp]]:
        """What a simple predictor makes of taught samples, and which rows these are."""
        X, y = self.taught
        affordable = int((REFERENCE_WORK / X.shape[1]) ** 0.5)
        rows = spread_rows(len(X), min(MOST_REFERENCES, max(FEWEST_SAMPLES, affordable)))
        return reference(X[rows], y[rows]), rows

    @cached_property
    def is_poor(self) -> bool:
        """Whether a tenth or more is missed, and no less than a simple predictor misses of new samples."""
        X, y = self.taught
        if relative_loss(self.network.output, self.network.logits(X), y) < POOR or len(X) < FEWEST_SAMPLES:
            return False
        simple, rows = self.reference
        return self.misses(self.taught) >= missed(simple.predicted, y[rows])

    @cached_property
    def as_trained(self) -> bool:
        """Whether the training of the run has left the network as it is: with the loss that the run tells."""
        told, now = self.told_loss, self.loss(self.taught)
        return bool(abs(told - now) <= SAME_LOSS * max(abs(told), abs(now)))

    @property
    def was_better(self) -> bool:
        """Whether the loss that training ended with was lower than it is now."""
        return not self.as_trained and self.told_loss < self.loss(self.taught)

    @property
    def told_loss(self) -> float:
        """The training loss that the run ended with; NaN where there is none."""
        if self.history is None or len(self.history) == 0:
            return float("nan")
        return float(self.history["train_loss"].iloc[-1])

    def name_of_input(self, i: int) -> str:
        """Return the name of an input."""
        return self.features[i] if self.features else f"x{i + 1}"

    def name_of_output(self, i: int) -> str:
        """Return the name of an output: of its class, if it has one."""
        return self.classes[i] if i < len(self.classes) else f"output {i}"

    @cached_property
    def logits(self) -> Array:
        """The z_{k+1} of the diagnosed samples."""
        return self.network.logits(self.X)

    @cached_property
    def inputs(self) -> Values:
        """What the inputs are over all samples, a number a column each."""
        X = np.concatenate(self._inputs)
        lowest, highest = X.min(axis=0), X.max(axis=0)
        # A constant has no spread at all.
        return Values(lowest, highest, X.mean(axis=0), np.where(lowest == highest, 0.0, X.std(axis=0)))

    @cached_property
    def values(self) -> dict[int, Values]:
        """What every vertex, by its index, does in the forward pass of all samples."""
        return values_of(self.graph, [as_inputs(self.network, X) for X in self._inputs])

    def before(self, gate: Vertex) -> Values:
        """Return the values that an activation reads."""
        return self.values[gate.parents[0]]

    def live(self, gate: Vertex) -> NDArray[np.bool_]:
        """Return which units of a ReLU are active on some sample, at some position."""
        return is_live(self.before(gate).highest)

    def reached(self) -> Iterator[Vertex]:
        """Yield the ReLUs that depend on the input: those that a dead one does not cut off from it."""
        changing = {0}
        relus = {gate.index for gate in gates(self.graph)}
        for vertex in self.graph.vertices[1:]:
            if changing.isdisjoint(vertex.parents):
                continue
            if vertex.index in relus:
                yield vertex
                if not self.live(vertex).any():
                    continue
            changing.add(vertex.index)

    @cached_property
    def relative_loss(self) -> float:
        """The loss of the diagnosed samples over that of the best constant prediction."""
        return relative_loss(self.network.output, self.logits, self.y)

    @cached_property
    def update_gains(self) -> Array | None:
        """How far a unit of pull on the output moves each layer's weights, relative to them, shape (k+1,).

        At the pinned equilibrium a sample's update of W_l is r_l a_{l-1}^T, and the pull is r_{k+1}. A gain
        is mean(|r_l| |a_{l-1}|) / (mean |r_{k+1}| ||W_l||), means over samples of 2-norms, and the Frobenius
        norm: sample by sample, since at an optimum the updates cancel over the samples in every layer. In
        a fresh He network with standardised inputs it is of the order 1. None where no error is left, and
        where the network is not a plain chain.
        """
        settled, network = self.diagnosis.equilibrium, self.chain
        if network is None or not isinstance(settled, Extension):
            return None
        inputs = [self.X, *settled.cochain.a.values()]
        left = residuals(network, self.X, settled.cochain)
        rows = [np.linalg.norm(r, axis=1) for edge, r in left.items() if edge.operation == "affine"]
        pull = float(rows[-1].mean())
        if pull <= ROUNDING * (1.0 + float(np.abs(self.logits).mean())):
            return None
        moved = [float(np.mean(r * np.linalg.norm(a, axis=1))) for r, a in zip(rows, inputs, strict=True)]
        norms = [np.linalg.norm(W) for W in network.weights]
        return np.array(moved) / (pull * np.maximum(norms, np.finfo(np.float64).tiny))

    @cached_property
    def resistance(self) -> Resistance | None:
        """The effective resistance between input and output, on some of the samples; None as `chain` is."""
        network = self.chain
        if network is None:
            return None
        X = spread_evenly(self.X, MOST_SAMPLES)
        parts = resistance_traces(network.graph, X)
        traces = np.zeros((self.last, 2))
        for edge, trace in zip(network.graph.edges, parts.T, strict=True):
            traces[edge.layer - 1, int(edge.operation == "activation")] = trace.sum()
        # Activation l-1 has ||J_{l-1}||^2, affine l has ||J_l R_l||^2, and affine k+1 has ||I||^2.
        after = np.maximum(traces[1:, 0], np.finfo(np.float64).tiny)
        gains = np.concatenate([[np.nan], traces[:-1, 1] / after])
        return Resistance(float(np.median(parts.sum(axis=1))) / network.widths[-1], gains)

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """Both ends of the spectrum of L_Omega, on a few of the diagnosed samples; None as `chain` is."""
        return None if self.chain is None else spectrum(self.chain, spread_evenly(self.X, SPECTRUM_SAMPLES))

    @cached_property
    def discord(self) -> Array:
        """The pinned discord of every diagnosed sample."""
        return self.diagnosis.samples["discord"].to_numpy()

    @cached_property
    def other_discord(self) -> Array:
        """The pinned discord of some of the other samples: of those that settle."""
        if self.other is None:
            return np.zeros(0)
        X, y = (spread_evenly(array, MOST_SAMPLES) for array in self.other)
        if not isinstance(self.network, Network):
            pinned = settled_graph(self.network, X, y)
            return np.asarray(pinned.squares.sum(axis=1)[pinned.left <= BALANCED])
        settled = extend(self.network, X, target=y)
        squared = squared_residuals(residuals(self.network, X, settled.cochain))
        return np.asarray(np.sum([*squared.values()], axis=0)[settled.converged])

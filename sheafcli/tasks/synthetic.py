"""The four tasks of the paper, drawn at random: two surfaces and two classifications in the plane.

Bosca & Ghrist, "Neural Networks as Local-to-Global Computations" (arXiv:2603.14831, 2026).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sheafcli.core.types import Array
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import class_outputs, encode_classes
from sheafcli.tasks.specification import TaskSpecification, choose_output

MAX_SAMPLES = 10_000_000
"""More samples than this in the plane are a slip of the keyboard."""

FEATURES = ("x1", "x2")

SampleCount: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]


class PlanarTask(TaskSpecification):
    """Samples in the plane, the training and the test part drawn from the same distribution."""

    n_train: SampleCount = Field(300, description="Number of training samples.")
    n_test: SampleCount = Field(100, description="Number of test samples.")


class SurfaceTask(PlanarTask):
    """Regression of a noisy surface over a square; the noise is N(0, 0.02^2)."""

    side: ClassVar[tuple[float, float]]

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Draw inputs uniformly on the square, and targets as the surface plus noise."""
        chosen = choose_output(output, ("identity",), "a regression")
        generator = np.random.default_rng(seed)
        X_train, y_train = self._draw(self.n_train, generator)
        X_test, y_test = self._draw(self.n_test, generator)
        return TaskData(X_train, y_train, X_test, y_test, chosen, FEATURES, ("y",), ())

    def _draw(self, n_samples: int, generator: np.random.Generator) -> tuple[Array, Array]:
        X = generator.uniform(*self.side, size=(n_samples, 2))
        y = self.surface(X[:, 0], X[:, 1]) + generator.normal(0.0, 0.02, size=n_samples)
        return X, y[:, np.newaxis]

    @staticmethod
    @abstractmethod
    def surface(x1: Array, x2: Array) -> Array:
        """Evaluate the noise-free surface."""


class Paraboloid(SurfaceTask):
    """Regression of x1^2 + x2^2 - 2/3 over [-2, 2]^2."""

    kind: Literal["paraboloid"] = Field("paraboloid", description="A noisy paraboloid.")
    side: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    @staticmethod
    def surface(x1: Array, x2: Array) -> Array:
        """Evaluate x1^2 + x2^2 - 2/3."""
        return x1**2 + x2**2 - 2 / 3


class Saddle(SurfaceTask):
    """Regression of x1^2 - x2^2 + sin(2 x1) / 2 over [0, 2]^2."""

    kind: Literal["saddle"] = Field("saddle", description="A noisy saddle.")
    side: ClassVar[tuple[float, float]] = (0.0, 2.0)

    @staticmethod
    def surface(x1: Array, x2: Array) -> Array:
        """Evaluate x1^2 - x2^2 + sin(2 x1) / 2."""
        return x1**2 - x2**2 + 0.5 * np.sin(2 * x1)


class RegionTask(PlanarTask):
    """Classification of points of the plane; the classes are equally frequent up to one sample."""

    classes: ClassVar[tuple[str, ...]]

    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Draw labels in equal numbers and random order, and for each a point of its class."""
        n_classes = len(self.classes)
        chosen = choose_output(output, class_outputs(n_classes), f"{n_classes} classes")
        generator = np.random.default_rng(seed)
        labels_train = generator.permutation(np.arange(self.n_train) % n_classes)
        X_train = self.points(labels_train, generator)
        labels_test = generator.permutation(np.arange(self.n_test) % n_classes)
        X_test = self.points(labels_test, generator)
        return TaskData(
            X_train,
            encode_classes(labels_train, n_classes, chosen),
            X_test,
            encode_classes(labels_test, n_classes, chosen),
            chosen,
            FEATURES,
            ("class",),
            self.classes,
        )

    @staticmethod
    @abstractmethod
    def points(labels: NDArray[np.intp], generator: np.random.Generator) -> Array:
        """Draw one point (a row of two coordinates) for each label."""


class Circular(RegionTask):
    """Two classes: the unit disk, and the annulus 1.5 < r < 2.5 around it."""

    kind: Literal["circular"] = Field("circular", description="A disk inside an annulus.")
    classes: ClassVar[tuple[str, ...]] = ("disk", "annulus")

    @staticmethod
    def points(labels: NDArray[np.intp], generator: np.random.Generator) -> Array:
        """Draw points uniform by area in their region, with radial noise N(0, 0.1^2)."""
        # By area: the squared radius is uniform between those of the two rims.
        inner, outer = np.array([0.0, 1.5])[labels], np.array([1.0, 2.5])[labels]
        radius = np.sqrt(generator.uniform(inner**2, outer**2))
        radius += generator.normal(0.0, 0.1, size=len(labels))
        angle = generator.uniform(0.0, 2 * np.pi, size=len(labels))
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


class Blobs(RegionTask):
    """Four classes, each a Gaussian with its own centre and covariance."""

    kind: Literal["blobs"] = Field("blobs", description="Four Gaussian clouds.")
    classes: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3")
    centres: ClassVar[Array] = np.array([[-1.5, -1.5], [1.8, -1.0], [1.0, 2.0], [-2.0, 1.5]])
    covariances: ClassVar[Array] = np.array(
        [
            [[0.8, 0.3], [0.3, 0.4]],
            [[0.3, -0.2], [-0.2, 1.0]],
            [[1.2, 0.5], [0.5, 0.5]],
            [[0.5, 0.0], [0.0, 0.8]],
        ]
    )

    @staticmethod
    def points(labels: NDArray[np.intp], generator: np.random.Generator) -> Array:
        """Draw points from the Gaussians: centre + C g with covariance C C^T, g standard normal."""
        factors = np.linalg.cholesky(Blobs.covariances)
        normal = generator.standard_normal((len(labels), 2))
        spread = np.einsum("sij,sj->si", factors[labels], normal)
        points: Array = Blobs.centres[labels] + spread
        return points

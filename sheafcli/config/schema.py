"""The specification of a run: every key a configuration may hold, with its type, bounds and reason.

The descriptions below are what a user reads in ``docs/configuration.md`` and in the file that
``sheaf init`` writes; both are generated from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sheafcli.config.naming import ALLOWED, LONGEST, NAME
from sheafcli.config.section import FilePath, PositiveInt, Section, conflict
from sheafcli.config.training import BaselineSpec, DescentSpec, HeatSpec, TrainingSpec
from sheafcli.tasks import TaskSpec

StartKeyword = Literal["he"]

MAX_HIDDEN = 64
"""The most hidden layers of a network."""

MAX_LAYERS = 1000
"""The most layers that a configuration lists."""

Length = Annotated[int, Field(ge=1, le=2**20)]
Width = Annotated[int, Field(ge=1, le=65536)]


class NetworkSpec(Section):
    """The network: dense layers and ReLUs of some widths, or other layers, and the weights it starts from."""

    # A tuple, so that the specification is immutable through and through; YAML knows lists only.
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=MAX_HIDDEN)] | None = Field(
        default=None,
        description="Widths of the hidden layers of a ReLU network from input to output: wider or deeper "
        "fits more, and deeper diffuses more slowly; [] is a linear model. Give hidden or layers.",
    )
    layers: Annotated[tuple[Any, ...], Field(strict=False, max_length=MAX_LAYERS)] | None = Field(
        default=None,
        json_schema_extra={"allowed": "a list of layers (see below), or null"},
        description="Instead of hidden, the layers of any network from input to output, without the last: a "
        "dense layer to the outputs that the task needs is added, as after hidden.",
    )
    input: Annotated[tuple[Length, ...], Field(strict=False, min_length=1, max_length=4)] | None = Field(
        default=None,
        description="With layers, the shape of a sample where the data does not say it, channels x rows x "
        "columns: [1, 28, 28] for rows of 784 numbers; null takes what the data says.",
    )
    output: Literal["identity", "sigmoid", "softmax"] | None = Field(
        default=None,
        description="The output function: null takes what the task needs (identity for "
        "regression, sigmoid for two classes, softmax for more); name it to be explicit.",
    )
    start: StartKeyword | FilePath = Field(
        default="he",
        description="The weights training starts from: drawn He-normal from the seed, or a .npz "
        "file of W1, b1, W2, ... or of any network of a run to start where another network stands; then "
        "hidden and layers may be left out.",
    )

    @model_validator(mode="after")
    def _one_architecture(self) -> Self:
        if self.hidden is not None and self.layers is not None:
            raise conflict("layers", "hidden is given too; give one of the two")
        if self.hidden is None and self.layers is None and self.start == "he":
            raise conflict(
                "hidden",
                "missing; must be the widths of a ReLU network, as in [30], unless layers lists others",
            )
        if self.input is not None and self.layers is None:
            raise conflict("input", "belongs to layers, which are not given")
        return self


class DiagnosticsSpec(Section):
    """What is measured while training."""

    every: PositiveInt | None = Field(
        default=None,
        description="Measure the discord of each edge every so many steps, a multiple of "
        "training.log_every: null measures at every row of history; larger saves time.",
    )
    spectrum: bool = Field(
        default=False,
        description="Follow the spectrum of the sheaf Laplacian too, at the same steps, on the first "
        "50 training samples: shows how training slows the flow down; costs time in wide networks.",
    )


class Config(Section):
    """One run, wholly specified: what `sheaf train` needs to give the same numbers again."""

    name: Annotated[str, Field(pattern=rf"\A{NAME.pattern}\z", max_length=LONGEST)] = Field(
        description="The name of the run and of its directory under results/: by default the "
        "configuration file's name without its ending, and without what a name may not hold; change it to "
        "keep runs apart.",
        json_schema_extra={
            "allowed": f"text of at most {LONGEST} {ALLOWED}",
            "default": "the name of the file",
        },
    )
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        default=0,
        description="The one number that everything random derives from: the same seed gives the "
        "same run, another seed an independent repetition.",
    )
    task: TaskSpec = Field(description="The data: what to learn; `kind` says which.")
    network: NetworkSpec = Field(description="The network: what learns.")
    training: TrainingSpec = Field(
        default_factory=HeatSpec,
        description="How it learns; `method` says which way, heat unless it is given.",
    )
    diagnostics: DiagnosticsSpec = Field(
        default_factory=DiagnosticsSpec, description="What is measured on the way."
    )
    baseline: BaselineSpec | None = Field(
        default=None,
        description="Back-propagation beside the training, from the same start weights and in the "
        "same tables: give the section to compare, leave it out to save time.",
    )

    @model_validator(mode="after")
    def _diagnose_at_logged_steps(self) -> Self:
        every, training = self.diagnostics.every, self.training
        if every is None:
            return self
        if isinstance(training, DescentSpec):
            log_every = training.log_steps(steps_per_epoch=None)
        else:
            log_every = training.log_every
        if log_every is None:
            raise conflict(
                "diagnostics.every",
                f"given {every}; with mini-batches, give training.log_every in steps too",
            )
        if every % log_every:
            raise conflict(
                "diagnostics.every",
                f"given {every}; must be a multiple of training.log_every, which is {log_every}",
            )
        return self

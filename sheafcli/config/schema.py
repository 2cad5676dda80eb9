"""The specification of a run: every key a configuration may hold, with its type, bounds and reason.

The descriptions below are what a user reads in ``docs/configuration.md`` and in the file that
``sheaf init`` writes; both are generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sheafcli.config.naming import ALLOWED, LONGEST, NAME
from sheafcli.config.section import FilePath, PositiveInt, Section, conflict
from sheafcli.config.training import BaselineSpec, DescentSpec, HeatSpec, TrainingSpec
from sheafcli.tasks import TaskSpec

StartKeyword = Literal["he"]

MAX_HIDDEN = 64
"""The most hidden layers of a network."""

Width = Annotated[int, Field(ge=1, le=65536)]


class NetworkSpec(Section):
    """The ReLU network: how wide, how deep, and from which weights it starts."""

    # A tuple, so that the specification is immutable through and through; YAML knows lists only.
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=MAX_HIDDEN)] = Field(
        description="Widths of the hidden layers from input to output: wider or deeper fits more, "
        "and deeper diffuses more slowly; [] is a linear model."
    )
    output: Literal["identity", "sigmoid", "softmax"] | None = Field(
        default=None,
        description="The output function: null takes what the task needs (identity for "
        "regression, sigmoid for two classes, softmax for more); name it to be explicit.",
    )
    start: StartKeyword | FilePath = Field(
        default="he",
        description="The weights training starts from: drawn He-normal from the seed, or a .npz "
        "file of W1, b1, W2, ... to start where another network stands.",
    )


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

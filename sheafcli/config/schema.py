"""The specification of a run: every key a configuration may hold, with its type, bounds and reason.

The descriptions below are what a user reads in ``docs/configuration.md`` and in the file that
``sheaf init`` writes; both are generated from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sheafcli.tasks import TaskSpec

StartKeyword = Literal["he"]
StalksKeyword = Literal["random", "zeros", "forward"]

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Width = Annotated[int, Field(ge=1, le=65536)]
# Strict validation knows no way from text to a path; this is the one conversion allowed.
FilePath = Annotated[Path, Field(strict=False)]


class Section(BaseModel):
    """A mapping of the configuration: immutable, no unknown keys, no conversions, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def conflict(key: str, message: str) -> PydanticCustomError:
    """Make an error between several keys, to be shown at one: dotted, from the section on."""
    return PydanticCustomError("conflict", "{message}", {"key": key, "message": message})


class NetworkSpec(Section):
    """The ReLU network: how wide, how deep, and from which weights it starts."""

    # A tuple, so that the specification is immutable through and through; YAML knows lists only.
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=64)] = Field(
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


class HeatSpec(Section):
    """Training by sheaf diffusion: the heat equation of stalks and weights, by forward Euler."""

    method: Literal["heat"] = Field(
        default="heat",
        description="The way to train: heat is sheaf diffusion, in which every edge of the network "
        "reads its own residual only; write backprop, which has keys of its own, to compare.",
    )
    steps: PositiveInt | None = Field(
        default=100_000,
        description="How many Euler steps to take: more steps train longer; null (or left out) "
        "when `time` is given.",
    )
    time: PositiveFloat | None = Field(
        default=None,
        description="The integration time to reach, steps times dt, in place of `steps`: give it "
        "to compare step sizes on the same stretch of the flow.",
    )
    dt: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="The Euler step size: auto follows an estimate of the largest eigenvalue and "
        "does not diverge; fix it to repeat a published experiment.",
    )
    alpha: PositiveFloat = Field(
        default=1.0,
        description="The diffusion rate of the stalks: larger lets them settle faster relative to "
        "the weights, and needs a smaller dt.",
    )
    beta: PositiveFloat | Literal["auto"] = Field(
        default="auto",
        description="The diffusion rate of the weights: auto is one over the number of training "
        "samples; larger learns faster until weights outrun the stalks.",
    )
    stalks: StalksKeyword | FilePath = Field(
        default="random",
        description="The stalks training starts from: drawn at random from the seed, zeros, the "
        "forward pass, or a .npz file of z1, a1, z2, ... with one row a training sample.",
    )
    reset_every: PositiveInt | None = Field(
        default=None,
        description="Restart the stalks every so many steps, as published for classification; "
        "null keeps them for the whole run.",
    )
    reset_time: PositiveFloat | None = Field(
        default=None,
        description="Restart the stalks after every so much integration time, in place of "
        "`reset_every`: give it when dt is auto or step sizes are compared.",
    )
    log_every: PositiveInt = Field(
        default=1000,
        description="Write a row of history every so many steps: smaller draws finer curves and "
        "costs time; a run that was killed goes on from a logged step.",
    )

    @model_validator(mode="before")
    @classmethod
    def _time_replaces_default_steps(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("time") is not None:
            return {"steps": None, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one_length(self) -> Self:
        if self.steps is not None and self.time is not None:
            raise conflict("time", f"given {self.time!r} beside steps {self.steps}; give one of the two")
        if self.steps is None and self.time is None:
            raise conflict("steps", "given null and no time; give a number of steps or a time")
        return self

    @model_validator(mode="after")
    def _at_most_one_reset(self) -> Self:
        if self.reset_every is not None and self.reset_time is not None:
            given = f"given {self.reset_time!r} beside reset_every {self.reset_every}"
            raise conflict("reset_time", f"{given}; give at most one of the two")
        return self


class BaselineSpec(Section):
    """Back-propagation beside the main training, from the same start weights."""

    optimizer: Literal["sgd", "adam"] = Field(
        default="sgd",
        description="The update rule on full-batch gradients: sgd is the published comparison, "
        "adam the stronger one.",
    )
    learning_rate: PositiveFloat = Field(
        default=0.005,
        description="The step size of the optimizer: larger learns faster until the loss "
        "oscillates or diverges.",
    )
    epochs: PositiveInt = Field(
        default=10_000,
        description="How many full-batch updates to take: more train longer.",
    )
    log_every: PositiveInt = Field(
        default=1000,
        description="Write a row of history every so many epochs: smaller draws finer curves and costs time.",
    )


class BackpropSpec(BaselineSpec):
    """Training by full-batch back-propagation."""

    method: Literal["backprop"] = Field(
        default="backprop",
        description="The way to train: backprop is back-propagation, to diagnose a network that "
        "was trained in the ordinary way.",
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


def _heat_by_default(training: Any) -> Any:
    return {"method": "heat", **training} if isinstance(training, dict) else training


TrainingSpec = Annotated[HeatSpec | BackpropSpec, Field(discriminator="method")]


class Config(Section):
    """One run, wholly specified: what `sheaf train` needs to give the same numbers again."""

    name: Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*\z", max_length=100)] = Field(
        description="The name of the run and of its directory under results/: by default the "
        "configuration file's name without its ending; change it to keep runs apart.",
        json_schema_extra={
            "allowed": "text of at most 100 letters, digits, dots, hyphens and underscores, "
            "not starting with a dot",
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
    training: Annotated[TrainingSpec, BeforeValidator(_heat_by_default)] = Field(
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
        every, log_every = self.diagnostics.every, self.training.log_every
        if every is not None and every % log_every:
            raise conflict(
                "diagnostics.every",
                f"given {every}; must be a multiple of training.log_every, which is {log_every}",
            )
        return self

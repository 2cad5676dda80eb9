"""The ways to train: a section of the configuration for each."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from sheafcli.config.section import FilePath, PositiveFloat, PositiveInt, Section, conflict, option
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.descent import DEFAULT_EPOCHS, Descent, Precision, Schedule, StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.heat import Heat, Start
from sheafcli.core.training.implicit import Implicit, Regularise
from sheafcli.core.training.protocol import MOST_STEPS

# With log_every: auto, a row of history every so many steps, unless there are mini-batches.
DEFAULT_LOG_EVERY = 1000


PATIENCE: Any = option(
    StopWhen,
    "patience",
    "End after so many rows of history in a row without a lower validation_loss, and keep the network that "
    "had the lowest; needs a validation part (task.validation_fraction).",
)


class PatienceSpec(Section):
    """The condition to end a training at the network that does best on samples held out."""

    patience: PositiveInt | None = PATIENCE


class HeatSpec(Section):
    """Training by sheaf diffusion: the heat equation of stalks and weights, by forward Euler."""

    method: Literal["heat"] = Field(
        default="heat",
        description="The way to train: heat is sheaf diffusion, in which every edge of the network "
        "reads its own residual only; write implicit or equilibrium to train much faster, backprop to "
        "compare. Each has keys of its own.",
    )
    steps: PositiveInt | None = Field(
        default=100_000,
        description="How many Euler steps to take: more steps train longer; null (or left out) "
        "when `time` is given.",
    )
    time: PositiveFloat | None = option(
        Heat,
        "time",
        "The integration time to reach, steps times dt, in place of `steps`: give it "
        "to compare step sizes on the same stretch of the flow.",
    )
    dt: PositiveFloat | Literal["auto"] = option(
        Heat,
        "dt",
        "The Euler step size: auto follows an estimate of the largest eigenvalue and "
        "does not diverge; fix it to repeat a published experiment.",
    )
    alpha: PositiveFloat = option(
        Heat,
        "alpha",
        "The diffusion rate of the stalks: larger lets them settle faster relative to "
        "the weights, and needs a smaller dt.",
    )
    beta: PositiveFloat | Literal["auto"] = option(
        Heat,
        "beta",
        "The diffusion rate of the weights: auto is one over the number of training "
        "samples; larger learns faster until weights outrun the stalks.",
    )
    stalks: Start | FilePath = option(
        Heat,
        "stalks",
        "The stalks training starts from: drawn at random from the seed, zeros, the "
        "forward pass, or a .npz file of z1, a1, z2, ... with one row a training sample.",
    )
    reset_every: PositiveInt | None = option(
        Heat,
        "reset_every",
        "Restart the stalks every so many steps, as published for classification; "
        "null keeps them for the whole run.",
    )
    reset_time: PositiveFloat | None = option(
        Heat,
        "reset_time",
        "Restart the stalks after every so much integration time, in place of "
        "`reset_every`: give it when dt is auto or step sizes are compared.",
    )
    stop_when: PatienceSpec = Field(
        default_factory=PatienceSpec,
        description="When to end early: `patience` after so many rows of history without a lower validation "
        "loss.",
        json_schema_extra={"allowed": "a mapping of patience, a number above 0 or null"},
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

    @model_validator(mode="after")
    def _ends_some_day(self) -> Self:
        """Refuse a step that is cut short at every restart, and an end that so many steps do not reach.

        The clock is a sum of steps: one of less than 1e-16 of it would not even move it.
        """
        if self.dt == "auto":
            return self
        if self.reset_time is not None and self.reset_time < self.dt:
            raise conflict(
                "reset_time",
                f"given {self.reset_time!r}; must be at least dt, which is {self.dt!r}: stalks that restart "
                "within a step never settle",
            )
        if self.time is not None and self.time / self.dt > MOST_STEPS:
            raise conflict(
                "time",
                f"given {self.time!r}, {self.time / self.dt:.1e} steps of dt {self.dt!r}; must be at most "
                f"{MOST_STEPS * self.dt:.3g} with that dt, {MOST_STEPS:.0e} steps",
            )
        return self


class StopSpec(Section):
    """Conditions to end a training before its last step."""

    train_loss: PositiveFloat | None = option(
        StopWhen, "train_loss", "End at a row of history whose train_loss is this or less."
    )
    seconds: PositiveFloat | None = option(
        StopWhen, "seconds", "End after so many seconds of steps, rows and files not counted."
    )
    patience: PositiveInt | None = PATIENCE


class DescentSpec(Section):
    """What every training along gradients has."""

    optimizer: Literal["sgd", "momentum", "adam"] = Field(
        default="sgd",
        description="The update rule, which sees one edge at a time: sgd is the published comparison, "
        "momentum (0.9) follows narrow valleys faster, adam scales each weight by its own gradients.",
    )
    learning_rate: PositiveFloat = Field(
        default=0.005,
        description="The step size of the optimizer: larger learns faster until the loss "
        "oscillates or diverges.",
    )
    schedule: Schedule = option(
        Descent,
        "schedule",
        "What becomes of the learning rate on the way to the last step: cosine and linear "
        "end at zero, which lowers the final loss; constant leaves it.",
    )
    epochs: PositiveInt | None = Field(
        default=DEFAULT_EPOCHS,
        description="How many times to go through the training data: more train longer; null (or "
        "left out) when `steps` is given.",
    )
    steps: PositiveInt | None = option(
        Descent,
        "steps",
        "How many updates to take, in place of `epochs`: without mini-batches they are the same.",
    )
    batch_size: PositiveInt | None = option(
        Descent,
        "batch_size",
        "How many samples an update reads: null reads all; 32 to 512 suit large data, whose "
        "memory is then bounded by the batch.",
    )
    weight_decay: Annotated[float, Field(ge=0)] = option(
        Descent,
        "weight_decay",
        "By how much of the learning rate weights (not biases) shrink at each step: 0.01 is "
        "a usual value against overfitting.",
    )
    stop_when: StopSpec = Field(
        default_factory=StopSpec,
        description="When to end early: `train_loss` at a row of history with that loss or less, "
        "`seconds` after so long in steps, `patience` after so many rows without a lower validation loss; "
        "several may be given.",
        json_schema_extra={
            "allowed": "a mapping of train_loss, seconds and patience, each a number above 0 or null"
        },
    )
    precision: Precision = option(
        Descent,
        "precision",
        "The precision of the arithmetic: single halves the time of wide networks, with "
        "about 7 digits; auto is double for a plain chain of dense layers and ReLUs, single for every other "
        "network. Results are always stored in double.",
    )
    log_every: PositiveInt | Literal["auto"] = Field(
        default="auto",
        description="Write a row of history every so many steps: auto is 1000, or an epoch with "
        "mini-batches; smaller draws finer curves and costs time.",
    )

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_default_epochs(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("steps") is not None:
            return {"epochs": None, **values}
        return values

    @model_validator(mode="after")
    def _exactly_one_length(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise conflict("steps", f"given {self.steps} beside epochs {self.epochs}; give one of the two")
        if self.epochs is None and self.steps is None:
            raise conflict("epochs", "given null and no steps; give a number of epochs or of steps")
        return self

    @model_validator(mode="after")
    def _decay_keeps_signs(self) -> Self:
        if self.weight_decay * self.learning_rate >= 1.0:
            raise conflict(
                "weight_decay",
                f"given {self.weight_decay!r}; must be below 1 / learning_rate, which is "
                f"{1.0 / self.learning_rate:g}",
            )
        return self

    def log_steps(self, steps_per_epoch: int | None) -> int | None:
        """Return after how many steps a row of history is due; None if that hangs on the unknown epoch."""
        if self.log_every != "auto":
            return self.log_every
        return DEFAULT_LOG_EVERY if self.batch_size is None else steps_per_epoch


class EquilibriumSpec(DescentSpec):
    """Sheaf training with the stalks solved exactly: each edge descends its own residual at equilibrium."""

    method: Literal["equilibrium"] = Field(
        default="equilibrium",
        description="The way to train: equilibrium solves for the stalks at each step and lets each edge "
        "follow its own gradient.",
    )
    gamma: PositiveFloat = option(
        Equilibrium,
        "gamma",
        "The stiffness of the output edge: 1 is the energy of heat; towards 0 the updates "
        "become those of back-propagation, which trains fastest.",
    )
    optimizer: Literal["sgd", "momentum", "adam"] = Field(
        default="adam",
        description="The update rule, which sees one edge at a time: adam scales each weight by its own "
        "gradients; momentum and sgd often generalise as well, more slowly.",
    )
    learning_rate: PositiveFloat = Field(
        default=0.01,
        description="The step size of the optimizer: larger learns faster until the loss "
        "oscillates or diverges; 0.001 to 0.03 suit adam.",
    )


class ImplicitSpec(Section):
    """Sheaf training in implicit steps: stalks and weights relaxed together, in cycles of softened kinks."""

    method: Literal["implicit"] = Field(
        default="implicit",
        description="The way to train: implicit relaxes stalks and weights together in each step, which "
        "trains small and middling networks fastest and needs no learning rate.",
    )
    steps: PositiveInt = option(
        Implicit,
        "steps",
        f"How many steps to take, {CYCLE} a cycle: more cycles find lower minima.",
    )
    kappa: Annotated[float, Field(ge=0)] = option(
        Implicit,
        "kappa",
        "How far the inner edges give way: 0 makes them rigid, which trains fastest; 1 is the energy of "
        "heat.",
    )
    weight_decay: Annotated[float, Field(ge=0)] = option(
        Implicit,
        "weight_decay",
        "Half of this times the squared norm of all weights (not biases) is added to the loss: "
        "0.0001 to 0.01 are usual values against overfitting.",
    )
    regularise: Regularise | None = option(
        Implicit,
        "regularise",
        "What chooses the weight decay instead: evidence makes it, before each cycle, the most likely one by "
        "the training data alone, so that no data need be held back; null leaves it to `weight_decay`.",
    )
    stop_when: StopSpec = Field(
        default_factory=StopSpec,
        description="When to end early: `train_loss` at a row of history with that loss or less, "
        "`seconds` after so long in steps, `patience` after so many rows without a lower validation loss; "
        "several may be given. A loss of exactly 0 ends it, too.",
        json_schema_extra={
            "allowed": "a mapping of train_loss, seconds and patience, each a number above 0 or null"
        },
    )
    log_every: PositiveInt = Field(
        default=CYCLE,
        description="Write a row of history every so many steps: the default is a cycle.",
    )

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        if self.regularise is not None and self.weight_decay > 0.0:
            raise conflict(
                "regularise",
                f"given {self.regularise} beside weight_decay {self.weight_decay:g}; evidence chooses the "
                "weight decay: give one of the two",
            )
        return self


class BaselineSpec(DescentSpec):
    """Back-propagation beside the main training, from the same start weights."""


class BackpropSpec(DescentSpec):
    """Training by back-propagation."""

    method: Literal["backprop"] = Field(
        default="backprop",
        description="The way to train: backprop is back-propagation, to diagnose a network that "
        "was trained in the ordinary way.",
    )


DEFAULT_METHOD = "heat"
"""What a file that names no method means."""


def _heat_by_default(training: Any) -> Any:
    return {"method": DEFAULT_METHOD, **training} if isinstance(training, dict) else training


TrainingSpec: TypeAlias = Annotated[
    Annotated[HeatSpec | EquilibriumSpec | ImplicitSpec | BackpropSpec, Field(discriminator="method")],
    BeforeValidator(_heat_by_default),
]

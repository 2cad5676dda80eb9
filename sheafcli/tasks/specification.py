"""What every task specification is, and how it settles on a network output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from sheafcli.errors import InputError
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.encoding import OutputName

WARNING = "warning: "
"""What a note begins with that is more than that: the data is likely to be meant otherwise."""


class TaskSpecification(BaseModel, ABC):
    """The `task` section of a configuration: says where data comes from, and loads it.

    A kind of task is one subclass with a literal `kind`, its own options as fields, and `load`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    kind: str

    @abstractmethod
    def load(self, seed: np.random.SeedSequence, output: str | None) -> TaskData:
        """Draw or read the data, with targets encoded for a network output.

        What could be read otherwise is said in the notes of the data. All randomness derives from
        `seed`: equal seeds give equal data. `output` is the network output that the configuration
        asks for; None leaves the choice to the task.

        Raises
        ------
        InputError
            If a file is unusable, or if `output` does not fit the data.
        """


def choose_output(asked: str | None, fitting: Sequence[OutputName], task: str) -> OutputName:
    """Return the output asked for, or by default the first fitting one.

    `task` describes the data in an error's message.
    """
    if asked is None:
        return fitting[0]
    for output in fitting:
        if output == asked:
            return output
    raise InputError(
        f"output {asked!r} does not fit {task}; allowed: {', '.join(fitting)} (left out, it is {fitting[0]})"
    )

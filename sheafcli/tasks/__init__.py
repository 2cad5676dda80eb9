"""Where data comes from: one specification a kind of task, and the one registry of them."""

from __future__ import annotations

from typing import Annotated, TypeAlias, get_args

from pydantic import Field

from sheafcli.tasks.arrays import NpzArrays
from sheafcli.tasks.bundled import BreastCancer, Diabetes, Digits
from sheafcli.tasks.data import TaskData
from sheafcli.tasks.specification import TaskSpecification
from sheafcli.tasks.synthetic import Blobs, Circular, Paraboloid, Saddle
from sheafcli.tasks.table import CsvTable

__all__ = ["TASKS", "TaskData", "TaskSpec", "TaskSpecification"]

TaskSpec: TypeAlias = Annotated[
    Paraboloid | Saddle | Circular | Blobs | CsvTable | NpzArrays | Digits | Diabetes | BreastCancer,
    Field(discriminator="kind"),
]
"""Any task specification, told apart by `kind`: the type of a configuration's `task` section."""

TASKS: dict[str, type[TaskSpecification]] = {
    task.model_fields["kind"].default: task for task in get_args(get_args(TaskSpec)[0])
}
"""The specification class of each kind, in the order of `TaskSpec`."""

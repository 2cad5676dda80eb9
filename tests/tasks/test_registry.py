"""One registry: what it lists is what a configuration accepts, and the reference can be written."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from sheafcli.tasks import TASKS, TaskSpec

KINDS = ["paraboloid", "saddle", "circular", "blobs", "csv", "npz", "digits", "diabetes", "breast_cancer"]
NEEDED = {"csv": {"path": "t.csv", "target": ["y", -1]}, "npz": {"path": "t.npz"}}
ADAPTER = TypeAdapter(TaskSpec)


def test_the_kinds():
    assert list(TASKS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_specification_is_chosen_by_kind_and_survives_json(kind):
    task = ADAPTER.validate_python({"kind": kind, **NEEDED.get(kind, {})})
    assert type(task) is TASKS[kind]
    assert ADAPTER.validate_python(task.model_dump(mode="json")) == task
    assert next(iter(task.model_dump())) == "kind"
    with pytest.raises(ValidationError, match="frozen"):
        task.kind = "csv"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_in_one_sentence(kind):
    for name, field in TASKS[kind].model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.description.count(". ") == 0, name


@pytest.mark.parametrize("task", [{}, {"kind": "cvs"}, {"kind": 3}, {"kind": "digits", "n": 1}])
def test_unknown_kinds_and_keys_are_refused(task):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(task)


@pytest.mark.parametrize("kind", ["paraboloid", "blobs", "digits"])
def test_loading_leaves_the_seed_as_it_was(kind):
    seed = np.random.SeedSequence(1)
    first, second = (TASKS[kind]().load(seed, None) for _ in range(2))
    np.testing.assert_array_equal(first.X_train, second.X_train)
    assert seed.n_children_spawned == 0

"""All operations through one suite: their maps against each other, finite differences and PyTorch."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from assembled import matrices_of
from operation_cases import BY_NAME, CASES

from sheafcli.core import operations
from sheafcli.core.operation import Designed, Kinked, Learnable, Patterned

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
known_to_pytorch = pytest.mark.parametrize(
    "case", [case for case in CASES if case.torch is not None], ids=lambda case: case.name
)
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
KINDS = {"affine", "activation", "pool", "normalisation", "multiply", "exact"}


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def directions(case, seed=7, before=(), samples=3):
    return tuple(draw(seed + i, *before, samples, *shape) for i, shape in enumerate(case.parents))


def learnable(case):
    return isinstance(case.operation, Learnable)


def test_every_operation_has_a_case():
    tried = {type(case.operation) for case in CASES}
    known = {
        made for name, made in inspect.getmembers(operations, inspect.isclass) if name in operations.__all__
    }
    assert known == tried


@every
@precisions
def test_the_value_has_the_shape_that_was_said_and_the_precision_of_what_came(case, dtype):
    x = case.values(dtype=dtype)
    y = case.operation.forward(*x)
    assert y.shape == (3, *case.shape)
    assert y.dtype == dtype
    restriction = case.operation.at(*x)
    moved = restriction.jvp(*(d.astype(dtype) for d in directions(case)))
    assert (moved.shape, moved.dtype) == (y.shape, dtype)
    for pulled, value in zip(restriction.vjp(y), x, strict=True):
        assert (pulled.shape, pulled.dtype) == (value.shape, dtype)


@every
def test_values_come_in_and_stay_as_they_are(case):
    x = case.values()
    kept = [value.copy() for value in x]
    v = draw(3, 3, *case.shape)
    v_kept = v.copy()
    case.operation.forward(*x)
    restriction = case.operation.at(*x)
    restriction.jvp(*x)
    restriction.vjp(v)
    for value, before in zip((*x, v), (*kept, v_kept), strict=True):
        np.testing.assert_array_equal(value, before)


@every
def test_samples_do_not_see_each_other(case):
    x = case.values()
    whole = case.operation.forward(*x)
    for i in range(3):
        alone = case.operation.forward(*(value[i : i + 1] for value in x))
        np.testing.assert_allclose(whole[i : i + 1], alone, rtol=1e-12, atol=1e-14)


@every
def test_the_two_directions_are_adjoint(case):
    """u . jvp(dx) = vjp(u) . dx."""
    restriction = case.operation.at(*case.values())
    dx = directions(case)
    u = draw(3, 3, *case.shape)
    forwards = np.sum(u * restriction.jvp(*dx))
    backwards = sum(np.sum(w * d) for w, d in zip(restriction.vjp(u), dx, strict=True))
    assert forwards == pytest.approx(backwards, rel=1e-12, abs=1e-12)


@every
def test_the_derivative_is_what_finite_differences_say(case):
    x, dx, h = case.values(), directions(case), 1e-6
    ahead = case.operation.forward(*(value + h * d for value, d in zip(x, dx, strict=True)))
    behind = case.operation.forward(*(value - h * d for value, d in zip(x, dx, strict=True)))
    moved = case.operation.at(*x).jvp(*dx)
    np.testing.assert_allclose(moved, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)


@every
def test_the_matrix_is_the_same_by_columns_and_by_rows(case):
    restriction, size = case.operation.at(*case.values()), int(np.prod(case.shape))
    for i in range(3):
        units = np.zeros((size, 3, *case.shape))
        units[:, i] = np.eye(size).reshape(size, *case.shape)
        by_columns = matrices_of(restriction, case.parents, 3, i)
        for matrix, rows in zip(by_columns, restriction.vjp(units), strict=True):
            by_rows = rows[:, i].reshape(size, -1)
            np.testing.assert_allclose(matrix.toarray(), by_rows, rtol=1e-12, atol=1e-14)


@every
def test_many_directions_go_at_once(case):
    """Axes before the samples are carried through, in both directions."""
    restriction = case.operation.at(*case.values())
    dx = directions(case, before=(2, 4))
    u = draw(3, 2, 4, 3, *case.shape)
    moved, pulled = restriction.jvp(*dx), restriction.vjp(u)
    assert moved.shape == u.shape
    for i in np.ndindex(2, 4):
        np.testing.assert_allclose(moved[i], restriction.jvp(*(d[i] for d in dx)), rtol=1e-12, atol=1e-12)
        for many, one in zip(pulled, restriction.vjp(u[i]), strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-12, atol=1e-12)


@every
def test_the_norm_bounds_every_sample(case):
    restriction = case.operation.at(*case.values())
    for i in range(3):
        matrices = matrices_of(restriction, case.parents, 3, i)
        for matrix, bound in zip(matrices, restriction.norm(), strict=True):
            assert np.linalg.norm(matrix.toarray(), 2) <= bound * (1 + 1e-9)


@known_to_pytorch
@precisions
def test_it_is_pytorch_s(case, dtype):
    x = case.values(dtype=dtype)
    tensors = [torch.tensor(value, requires_grad=True) for value in x]
    theirs = case.torch(*tensors)
    close = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(case.operation.forward(*x), theirs.detach().numpy(), **close)
    v = draw(3, 3, *case.shape).astype(dtype)
    gradients = torch.autograd.grad(theirs, tensors, torch.tensor(v))
    for ours, gradient in zip(case.operation.at(*x).vjp(v), gradients, strict=True):
        np.testing.assert_allclose(ours, gradient.numpy(), **close)


@every
def test_an_exact_operation_is_linear_and_has_no_parameters(case):
    assert case.operation.kind in KINDS
    if case.operation.kind != "exact":
        return
    assert not learnable(case)
    x = case.values()
    np.testing.assert_allclose(
        case.operation.at(*x).jvp(*x), case.operation.forward(*x), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("case", [case for case in CASES if learnable(case)], ids=lambda case: case.name)
def test_the_gradient_in_the_parameters_is_what_finite_differences_say(case):
    (x,) = case.values()
    v, h = draw(3, 3, *case.shape), 1e-6
    gradient = case.operation.gradient(x, v)
    assert gradient.keys() == case.operation.parameters.keys()
    for i, (name, parameter) in enumerate(case.operation.parameters.items()):
        d = draw(40 + i, *parameter.shape)
        ahead = dataclasses.replace(case.operation, **{name: parameter + h * d}).forward(x)
        behind = dataclasses.replace(case.operation, **{name: parameter - h * d}).forward(x)
        assert gradient[name].shape == parameter.shape
        assert np.sum(gradient[name] * d) == pytest.approx(np.sum(v * (ahead - behind)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if learnable(case)], ids=lambda case: case.name)
def test_the_gradient_has_the_precision_of_what_came(case):
    (x,) = case.values(dtype=np.float32)
    gradient = case.operation.gradient(x, np.ones((3, *case.shape), dtype=np.float32))
    assert {part.dtype for part in gradient.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.operation, Designed)], ids=lambda case: case.name
)
def test_weights_times_the_design_are_the_value_without_its_bias(case):
    (x,) = case.values()
    without = dataclasses.replace(case.operation, bias=None)
    design = case.operation.design(x)
    weight = case.operation.weight.reshape(design.shape[1], -1, design.shape[2])
    np.testing.assert_allclose(
        (weight @ design).reshape(3, *_channels_first(case)), _moved(case, without.forward(x)), rtol=1e-12
    )


def _channels_first(case):
    return case.shape if len(case.operation.weight.shape) > 2 else (case.shape[-1], *case.shape[:-1])


def _moved(case, y):
    return y if len(case.operation.weight.shape) > 2 else np.moveaxis(y, -1, 1)


@pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.operation, Patterned)], ids=lambda case: case.name
)
def test_on_one_pattern_the_operation_is_linear(case):
    (x,) = case.values()
    step = 1e-4 * draw(9, *x.shape)
    same = case.operation.pattern(x) == case.operation.pattern(x + step)
    assert same.any()
    moved = case.operation.forward(x + step) - case.operation.forward(x)
    np.testing.assert_allclose(moved[same], case.operation.at(x).jvp(step)[same], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.operation, Kinked)], ids=lambda case: case.name
)
def test_a_knot_belongs_to_the_piece_on_its_right(case):
    operation = case.operation
    knots = np.array(operation.knots)
    assert np.all(np.diff(knots) > 0)
    shape = (*case.parents[0][:-1], 1) if len(case.parents[0]) > 1 else (1,)
    for i, knot in enumerate(knots):
        at = np.full((1, *shape), knot)
        assert np.all(operation.pattern(at) == i + 1)
        assert np.all(operation.pattern(np.nextafter(at, -np.inf)) == i)
        slopes = [operation.at(x).jvp(np.ones_like(x)) for x in (at, at + 1e-6, at - 1e-6)]
        np.testing.assert_array_equal(slopes[0], slopes[1])
        assert np.all(slopes[0] != slopes[2])


def test_zero_counts_as_active():
    zero = np.zeros((1, 3))
    for name in ("relu", "leaky relu"):
        assert np.all(BY_NAME[name].operation.at(zero).jvp(np.ones_like(zero)) == 1.0)


def test_large_values_neither_overflow_nor_lose_their_slopes():
    far = np.array([[-800.0, -90.0, 90.0, 800.0]])
    for case in CASES:
        if case.parents in (((7,),), ((9,),)):
            with np.errstate(all="raise", under="ignore"):
                y, slope = case.operation.forward(far), case.operation.at(far).jvp(np.ones_like(far))
            assert np.isfinite(y).all()
            assert np.isfinite(slope).all()


def test_equal_entries_give_the_maximum_to_the_first():
    x = np.ones((1, 1, 4, 4))
    (pulled,) = BY_NAME["max pooling"].operation.at(x).vjp(np.ones((1, 1, 2, 2)))
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1.0
    np.testing.assert_array_equal(pulled[0, 0], expected)


def test_padding_is_never_the_maximum():
    x = np.full((1, 2, 6, 8), -5.0)
    assert np.all(BY_NAME["max pooling, ceil"].operation.forward(x) == -5.0)

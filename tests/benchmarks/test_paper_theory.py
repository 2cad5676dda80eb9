"""The paper's theory exhibits against closed forms, reference arrays and planted answers."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats

from sheafcli.core.chain.network import Network
from sheafcli.core.integrators import Euler
from sheafcli.core.outputs import Identity
from sheafcli.runs.subject import Subject

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))
(
    convergence,
    convergence_time,
    determinants,
    gap_by_depth,
    gap_laws,
    laws,
    phase_planes,
    power_law,
    relaxation,
) = (
    importlib.import_module(name)
    for name in (
        "convergence",
        "convergence_time",
        "determinants",
        "gap_by_depth",
        "gap_laws",
        "laws",
        "phase_planes",
        "power_law",
        "relaxation",
    )
)


@pytest.fixture(scope="module")
def small():
    """The paper's network [2, 4, 1]."""
    return relaxation.cases()[0]


def verdicts(rows):
    return [bool(row.holds) for row in rows]


# Lines and power laws


def test_a_line_and_its_errors_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.uniform(1.0, 3.0, 25)
    y = 0.7 - 1.3 * x + 0.2 * rng.standard_normal(25)
    found, expected = power_law.fit_line(x, y), scipy.stats.linregress(x, y)
    assert found.slope == pytest.approx(expected.slope, rel=1e-12)
    assert found.slope_error == pytest.approx(expected.stderr, rel=1e-10)
    assert found.intercept == pytest.approx(expected.intercept, rel=1e-12)
    assert found.intercept_error == pytest.approx(expected.intercept_stderr, rel=1e-10)
    assert found.r_squared == pytest.approx(expected.rvalue**2, rel=1e-12)


def test_a_planted_exponent_is_found_within_the_stated_error():
    rng = np.random.default_rng(1)
    x = np.geomspace(1.0, 100.0, 30)
    fits = [power_law.fit_power(x, 2.0 * x**-1.5 * np.exp(0.3 * rng.standard_normal(30))) for _ in range(500)]
    off = np.array([(fit.slope + 1.5) / fit.slope_error for fit in fits])
    # Student's t with 28 degrees of freedom: its variance is 28 / 26, known from 500 draws to some 7%.
    assert np.mean(off**2) == pytest.approx(28 / 26, rel=0.25)
    assert fits[0].n == 30


def test_an_exact_power_has_no_error_and_is_given_back():
    x = np.array([1.0, 2.0, 5.0, 11.0])
    law = power_law.fit_power(x, 3.0 * x**2.5)
    assert (law.slope, law.r_squared) == (pytest.approx(2.5, rel=1e-12), pytest.approx(1.0))
    assert law.slope_error < 1e-12
    np.testing.assert_allclose(law.power([7.0]), 3.0 * 7.0**2.5, rtol=1e-12)


def test_two_points_have_no_error_to_state():
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        power_law.fit_line([1.0, 2.0], [1.0, 2.0])


# Determinants


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_determinants_of_a_network_by_hand(scale):
    # One neuron: delta_Omega = [[-1, 0, 0], [R, -1, 0], [0, w, -1]].
    network = Network((np.array([[0.3]]), np.array([[scale]])), (np.ones(1), np.zeros(1)), Identity())
    for active in (False, True):
        delta = np.array([[-1.0, 0.0, 0.0], [float(active), -1.0, 0.0], [0.0, scale, -1.0]])
        found = determinants.examine(network, [np.array([active])])
        assert found["det_coboundary"] < 1e-12
        assert found["det_laplacian"] < 1e-9
        assert found["kernel"] == 0
        smallest = scipy.linalg.svdvals(delta)[-1] ** 2
        assert found["smallest"] == pytest.approx(smallest, rel=1e-9)


def test_patterns_begin_with_none_and_all():
    network = Network.he([2, 3, 4, 1])
    patterns = [np.concatenate(p) for p in determinants.random_patterns(network, 6, np.random.default_rng(0))]
    assert [int(pattern.sum()) for pattern in patterns[:2]] == [0, 7]
    assert len({pattern.tobytes() for pattern in patterns}) == 6


def test_the_determinants_hold_until_one_figure_is_off():
    found = determinants.table(patterns=2)
    assert len(found) == 25
    assert verdicts(determinants.rows_of(found)) == [True] * 4
    for row, (column, value) in enumerate(
        [("det_coboundary", 1.1e-9), ("det_laplacian", 1.1e-9), ("margin", 0.9), ("kernel", 1)]
    ):
        worse = found.copy()
        worse.loc[7, column] = value
        assert verdicts(determinants.rows_of(worse)) == [place != row for place in range(4)]


# The gap by depth


@pytest.fixture(scope="module")
def gaps():
    with np.load(GOLDEN / "tasks_paraboloid.npz") as task:
        inputs = task["X_train"][: gap_by_depth.PUBLISHED_INPUTS]
    return gap_by_depth.published_table(inputs), gap_by_depth.draws_table(inputs[:2], draws=3)


@pytest.mark.parametrize(("widths", "file"), [("2 30 1", "1h"), ("2 8 6 4 1", "3h")])
def test_the_gap_is_that_of_the_reference_spectra(gaps, widths, file):
    part = gaps[0].set_index(["widths", "figure"])["ours"].loc[widths]
    with np.load(GOLDEN / f"spectrum_paraboloid_{file}.npz") as reference:
        assert part["median gap"] == pytest.approx(np.median(reference["gap"]), rel=1e-9)
        assert part["std of the gap"] == pytest.approx(np.std(reference["gap"]), rel=1e-9)
        assert part["median largest"] == pytest.approx(np.median(reference["largest"]), rel=1e-9)


def test_each_published_gap_is_judged_by_itself(gaps):
    published, drawn = gaps
    rows = gap_by_depth.rows_of(published, drawn)
    file = json.loads((GOLDEN / "published.json").read_text())["spectral_gap_at_start"]
    assert len(rows) == 3 * len(file) + len(gap_by_depth.SHAPES)
    assert verdicts(rows) == [True] * len(rows)
    for off, holds in ((0.009, True), (-0.011, False)):
        worse = published.copy()
        worse.loc[4, "error"] = off
        judged = verdicts(gap_by_depth.rows_of(worse, drawn))
        assert judged == [holds or place != 4 for place in range(len(rows))]


def test_a_gap_that_does_not_fall_fails_for_its_shape(gaps):
    published, drawn = gaps
    worse = drawn.copy()
    worse.loc[2, "gap"] = worse.loc[1, "gap"]
    assert verdicts(gap_by_depth.rows_of(published, worse))[-2:] == [False, True]


# Convergence


def recorded(times, distances):
    """Return what a recorder would hold of these distances, times x samples."""
    return SimpleNamespace(
        sightings=[SimpleNamespace(time=t, distance=d) for t, d in zip(times, distances, strict=True)]
    )


def test_the_slowest_sample_s_planted_rate_is_found():
    times = np.linspace(0.0, 200.0, 2001)
    fast, slow = np.exp(-0.5 * times), 5.0 * np.exp(-0.2 * times)
    early = 100.0 * np.exp(-3.0 * times)  # gone when the stretch begins
    line = convergence.decay(recorded(times, np.stack([fast + early, slow + early], axis=1)))
    assert -line.slope == pytest.approx(0.2, rel=1e-6)
    assert line.r_squared == pytest.approx(1.0)


def test_both_networks_stalks_are_the_reference_s(small):
    for case in relaxation.cases():
        assert sorted(case.after) == [1, 200, 4000]
        assert convergence.difference_from_reference(case) <= 1e-12
    assert convergence.difference_from_reference(dataclasses.replace(small, dt=0.0101)) > convergence.SAME


def ended_at(recorder, distance):
    """Return the recorder with one more sighting, where one sample is at a distance."""
    last = recorder.sightings[-1]
    distances = last.distance.copy()
    distances[3] = distance
    return dataclasses.replace(
        recorder, sightings=[*recorder.sightings, dataclasses.replace(last, distance=distances)]
    )


def test_convergence_holds_until_a_figure_is_off(small, monkeypatch):
    euler = relaxation.relax(small, small.start, small.X, Euler("auto"))
    anywhere = convergence.from_anywhere(small, starts=2)
    rows = convergence.rows_of(small, 1e-16, euler, euler, anywhere)
    assert verdicts(rows) == [True] * 5
    assert verdicts(convergence.rows_of(small, 2e-9, euler, euler, anywhere)) == [False] + [True] * 4
    # A bound that no flow of this network keeps; then a recorder whose energy rises.
    monkeypatch.setattr(convergence, "chain_decay_bound", lambda network, recorder: 1.0)
    assert verdicts(convergence.rows_of(small, 1e-16, euler, euler, anywhere)) == [
        True,
        True,
        False,
        True,
        True,
    ]
    monkeypatch.undo()
    sightings = list(euler.sightings)
    sightings[5] = dataclasses.replace(sightings[5], energy=1.1 * sightings[4].energy)
    worse = dataclasses.replace(euler, sightings=sightings)
    assert verdicts(convergence.rows_of(small, 1e-16, worse, euler, anywhere)) == [
        True,
        False,
        True,
        True,
        True,
    ]
    # One sample of all that ends elsewhere.
    astray = ended_at(anywhere, 1.1e-6)
    assert verdicts(convergence.rows_of(small, 1e-16, euler, euler, astray)) == [True] * 4 + [False]
    astray = ended_at(euler, 1e-8)
    assert verdicts(convergence.rows_of(small, 1e-16, astray, euler, anywhere)) == [
        True,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("case", relaxation.cases(), ids=convergence.DIFFUSED)
def test_the_configurations_have_the_same_networks(case):
    subject = Subject.load(ROOT / "experiments" / "paper" / f"{case.stem}.yaml")
    assert subject.name == case.stem
    assert (subject.network.widths, subject.network.output) == (case.network.widths, case.network.output)
    for ours, theirs in zip(subject.network.weights, case.network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(subject.network.biases, case.network.biases, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Phase planes


def planted_paths(case, jump):
    """Return the path of a neuron up across z = 0, where dz/dt jumps and a = 0.5, beside one that rests."""
    before, after = 1.0, 1.0 + jump
    z = np.concatenate([before * case.dt * np.arange(-3.5, 0.0), after * case.dt * np.arange(0.5, 4.0)])
    z[4:] += z[3] + before * case.dt - z[4]
    z = np.stack([z, np.full(len(z), -1.0)], axis=1)[:, None, :]
    a = np.full_like(z, 0.5)
    goal = np.array([1.0, -1.0])
    return phase_planes.Paths(case, np.arange(len(z)), z, a, goal, np.maximum(goal, 0.0), left=1e-7)


@pytest.mark.parametrize(("jump", "holds"), [(0.5, True), (0.52, True), (0.53, False), (-0.5, False)])
def test_a_planted_corner_is_measured(small, jump, holds):
    paths = planted_paths(small, jump)
    found, expected = paths.jumps()
    assert found == pytest.approx([jump])
    assert expected == pytest.approx([0.5])
    assert verdicts(phase_planes.rows_of(paths)) == [True, holds]
    astray = dataclasses.replace(paths, left=2e-6)
    assert verdicts(phase_planes.rows_of(astray)) == [False, holds]
    assert (paths.neuron(active=True), paths.neuron(active=False)) == (0, 1)


def test_neurons_are_named_by_layer_and_place():
    case = relaxation.cases()[1]
    paths = SimpleNamespace(case=case)
    names = [phase_planes.Paths.stalks_of(paths, neuron)[0] for neuron in range(14)]
    expected = [f"z{layer}[{i}]" for layer, n in ((1, 6), (2, 4), (3, 4)) for i in range(n)]
    assert names == expected


def test_paths_of_the_flow_end_at_the_forward_pass_with_their_corners(small):
    paths = phase_planes.follow(small, starts=4)
    z = small.X[:1] @ small.network.weights[0].T + small.network.biases[0]
    np.testing.assert_allclose(paths.z[-1], np.repeat(z, 4, axis=0), atol=1e-6)
    np.testing.assert_allclose(paths.a[-1], np.repeat(np.maximum(z, 0.0), 4, axis=0), atol=1e-6)
    assert verdicts(phase_planes.rows_of(paths)) == [True, True]


# Convergence time


def test_planted_times_are_found():
    times = np.linspace(0.0, 400.0, 1501)
    constant, time = convergence_time.settling(times, 3.0 * np.exp(-times / 12.5))
    assert constant == pytest.approx(12.5, rel=1e-9)
    assert time == pytest.approx(convergence_time.REDUCTION * 12.5, rel=1e-9)
    # A fast part of nine tenths: ln 10 time constants earlier, and the same tail.
    mixed = 0.9 * np.exp(-times) + 0.1 * np.exp(-times / 12.5)
    constant, time = convergence_time.settling(times, mixed)
    assert constant == pytest.approx(12.5, rel=1e-6)
    assert time == pytest.approx((convergence_time.REDUCTION - np.log(10.0)) * 12.5, rel=1e-3)


def test_a_decay_that_is_cut_short_is_refused():
    times = np.linspace(0.0, 50.0, 501)
    with pytest.raises(ArithmeticError, match=r"came to 1\.8e-02 of its start, not to 1e-09"):
        convergence_time.settling(times, np.exp(-times / 12.5))


@pytest.mark.parametrize("depth", [1, 3])
def test_the_path_of_identity_maps_settles_as_its_gap_says(depth):
    found = convergence_time.timed(gap_laws.path_network(depth), np.array([[1.0]]), seed=3)
    n = 2 * depth + 1
    pinned_path = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    pinned_path[-1, -1] = 1.0
    gap = np.linalg.eigvalsh(pinned_path)[0]
    assert found["gap"] == pytest.approx(gap, rel=1e-10)
    assert gap_laws.path_gap(np.array([n])) == pytest.approx([gap], rel=1e-10)
    assert found["constant"] == pytest.approx(1.0 / gap, rel=0.02)
    assert found["smallest"] <= gap * (1.0 + 1e-10)


# The laws


def planted_times(exponent=1.0, constant_exponent=1.0, factor=1.0, scatter=0.1):
    """Return a table whose times are powers of 1 / gap, with some scatter in T."""
    rng = np.random.default_rng(5)
    hidden = np.repeat(np.arange(1, 6), 10)
    gap = 0.2 * hidden**-2.5 * np.exp(0.1 * rng.standard_normal(50))
    noise = np.exp(scatter * np.resize([1.0, -1.0], 50))
    return pd.DataFrame(
        {
            "hidden": hidden,
            "gap": gap,
            "smallest": 0.9 * gap,
            "time": 5.0 * noise * gap**-exponent,
            "constant": factor * gap**-constant_exponent,
            "at_kinks": 0,
        }
    )


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({}, [True, True, True, True, True]),
        ({"constant_exponent": 0.97}, [False, False, True, True, True]),
        ({"factor": 1.03}, [True, False, True, True, True]),
        ({"factor": 1.2}, [True, False, True, False, True]),
        ({"exponent": 0.85}, [True, True, False, True, True]),
        ({"scatter": 0.5}, [True, True, False, True, True]),
        ({"exponent": -1.0}, [True, True, False, True, False]),
    ],
)
def test_the_first_law_is_judged_by_planted_times(planted, expected):
    assert verdicts(laws.time_rows(planted_times(**planted))) == expected


def planted_gaps(law):
    depths = np.arange(1, 9)
    gap = law(depths)
    return pd.DataFrame(
        {
            "width": 4,
            "hidden": depths,
            "vertices": 2 * depths + 1,
            "draws": 1,
            "quartile_1": gap,
            "gap": gap,
            "quartile_3": gap,
        }
    )


@pytest.mark.parametrize(
    ("law", "expected", "better"),
    [
        (lambda k: 0.3 * k**-2.5, [True, True, True, True], "a power"),
        (lambda k: 0.3 * np.exp(-0.8 * k), [True, True, True, True], "an exponential"),
        (lambda k: 0.3 * (2.0 * k + 1.5) ** -1.5, [True, True, True, False], "a power"),
        (lambda k: 0.3 * np.where(k % 2, 1.0, 0.1), [True, False, False, False], None),
    ],
)
def test_the_second_law_is_judged_by_planted_gaps(law, expected, better):
    rows = laws.depth_rows(planted_gaps(law))
    assert verdicts(rows) == expected
    if better is not None:
        assert rows[2].ours.endswith(f"{better} fits better")


def test_planted_exponents_are_found():
    power, _, _ = gap_laws.depth_laws(planted_gaps(lambda k: 0.3 * k**-2.5))[4]
    _, exponential, _ = gap_laws.depth_laws(planted_gaps(lambda k: 0.3 * np.exp(-0.8 * k)))[4]
    _, _, refined = gap_laws.depth_laws(planted_gaps(lambda k: 0.3 * (2.0 * k + 1.5) ** -3.0))[4]
    assert (power.slope, exponential.slope, refined.slope) == pytest.approx((-2.5, -0.8, -3.0), rel=1e-10)

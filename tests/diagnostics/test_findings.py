"""Every rule on both sides of its threshold, on networks small enough for closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from closed_form import effective_resistance

from sheafcli.config.training import BackpropSpec, HeatSpec
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import NeuralSheaf
from sheafcli.core.outputs import output_named
from sheafcli.core.training.heat import CHEBYSHEV_PAIR
from sheafcli.diagnostics.findings import COLUMNS, RULES, Examined, Finding, examine, findings_frame, neurons
from sheafcli.diagnostics.findings.data import class_discord, sample_discord
from sheafcli.diagnostics.findings.fit import parts_apart
from sheafcli.diagnostics.findings.inputs import constant_inputs, unread_inputs
from sheafcli.diagnostics.findings.layers import exploding_updates, vanishing_updates
from sheafcli.diagnostics.findings.neurons import (
    always_active,
    dead_relu,
    duplicate_neurons,
    held_at_kink,
    unread_neurons,
)
from sheafcli.diagnostics.findings.output import constant_output, out_of_range, saturated_output
from sheafcli.diagnostics.findings.rows import spread_evenly
from sheafcli.diagnostics.findings.training import (
    diverging_run,
    exploding_resistance,
    slow_settling,
    unstable_step,
)
from sheafcli.diagnostics.pinned import diagnose

LINE = np.linspace(-1.0, 1.0, 40)[:, None]
NOISE = np.random.default_rng(0).normal(size=(400, 3))


def network_of(*maps, output="identity"):
    """Make a network of pairs W_l, b_l."""
    weights = tuple(np.array(W, dtype=float) for W, _ in maps)
    return Network(weights, tuple(np.array(b, dtype=float) for _, b in maps), output_named(output))


def examined(network, X, y=None, **known):
    y = np.zeros((len(X), network.widths[-1])) if y is None else y
    return Examined(network, X, y, diagnose(network, X, y), **known)


def one_of(findings):
    (finding,) = findings
    return finding


def biased(*biases, outgoing=1.0):
    """Make neurons z = x + b on x in [-1, 1], all read by one output with the same or given weights."""
    n = len(biases)
    return network_of((np.ones((n, 1)), biases), (np.ones((1, n)) * outgoing, [0.0]))


@pytest.mark.parametrize(
    ("biases", "severity", "which"),
    [
        ((-1.5, 0.0, 0.0, 0.5, 0.0), "info", (0,)),
        ((-1.5, 0.0, -1.2), "warning", (0, 2)),
        ((-1.5, -1.2), "error", (0, 1)),
    ],
)
def test_dead_neurons_are_graded_by_what_is_left_of_their_layer(biases, severity, which):
    finding = one_of(dead_relu(examined(biased(*biases), LINE)))
    assert (finding.severity, finding.layer, finding.neurons) == (severity, 1, which)
    nearest = -1.0 - max(b for b in biases if b < -1.0)
    assert f"{nearest:.3g} below zero" in finding.evidence
    assert "on 40 samples" in finding.evidence


def test_a_neuron_that_reaches_zero_once_or_on_other_samples_is_not_dead():
    assert not [*dead_relu(examined(biased(-1.0, 0.0), LINE))]
    network = biased(-1.5, 0.0)
    assert [*dead_relu(examined(network, LINE))]
    assert not [*dead_relu(examined(network, LINE, other=(2 * LINE, np.zeros((40, 1)))))]


def test_on_few_samples_nothing_is_said_of_neurons_never_seen_active():
    few, enough = LINE[::-1][:29], LINE[::-1][:30]
    for rule, network in ((dead_relu, biased(-1.5, 0.0)), (always_active, biased(1.5, 0.0))):
        assert not [*rule(examined(network, few))]
        assert [*rule(examined(network, enough))]


def test_a_layer_whose_live_neurons_nobody_reads_is_cut():
    finding = one_of(dead_relu(examined(biased(-1.5, 0.0, 0.5, outgoing=[1.0, 0.0, 0.0]), LINE)))
    assert finding.severity == "error"


def test_layers_behind_a_dead_one_are_not_blamed():
    network = network_of(([[1.0]], [-2.0]), ([[1.0]], [-1.0]), ([[1.0]], [0.0]))
    assert [finding.layer for finding in dead_relu(examined(network, LINE))] == [1]
    assert not [*always_active(examined(network, LINE))]


def test_one_neuron_is_one_and_several_are_several():
    for rule, sign, one, several in (
        (dead_relu, -1.0, "Leave it out", "Leave them out"),
        (always_active, 1.0, "this neuron adds", "these neurons add"),
    ):
        biases = sign * np.array([1.5, 1.5, 0.0])
        assert several in one_of(rule(examined(biased(*biases), LINE))).advice
        assert one in one_of(rule(examined(biased(*biases[1:]), LINE))).advice


@pytest.mark.parametrize(
    ("biases", "severity", "which"), [((1.5, 0.0), "info", (0,)), ((1.5, 1.2), "warning", (0, 1))]
)
def test_a_layer_that_is_always_active_is_a_warning(biases, severity, which):
    finding = one_of(always_active(examined(biased(*biases), LINE)))
    assert (finding.severity, finding.layer, finding.neurons) == (severity, 1, which)
    assert not [*always_active(examined(biased(1.0, 0.0), LINE))]


@pytest.mark.parametrize(("held", "severity"), [(9, None), (10, "warning")])
def test_neurons_are_held_at_the_kink_from_a_quarter_of_the_samples(held, severity):
    case = examined(biased(0.0, 0.0, 0.0, 0.0), LINE)
    states = np.zeros((40, 4), dtype=np.int8)
    states[:held, 2] = 2
    extension = replace(case.diagnosis.equilibrium, states=(states,))
    findings = [*held_at_kink(replace(case, diagnosis=replace(case.diagnosis, equilibrium=extension)))]
    assert [(f.severity, f.neurons) for f in findings] == ([] if severity is None else [(severity, (2,))])


def test_a_neuron_that_receives_nothing_is_held_where_the_pull_on_it_is_negative():
    network = network_of(([[0.0], [1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0]))
    y = np.maximum(LINE, 0.0) + np.where(np.arange(40) % 3 == 0, -0.1, 0.1)[:, None]
    assert one_of(held_at_kink(examined(network, LINE, y))).neurons[0] == 0
    assert not [*held_at_kink(examined(network, LINE, np.maximum(LINE, 0.0) + 0.1))]


@pytest.mark.parametrize(("factor", "found"), [(0.98, True), (1.02, False)])
def test_duplicates_are_parallel_to_an_angle_in_units_of_the_inputs(factor, found):
    X = NOISE[:, :2] * [1e4, 1e-3] + [1e6, 0.0]
    spread, mean = X.std(axis=0), X.mean(axis=0)
    angle = factor * np.arccos(1.0 - 1e-6)
    rows = np.array([[1.0, 0.0, 0.3], [0.0, 0.0, 0.0], [-1.0, 0.0, -0.3], [0.0, 1.0, 0.0]])
    # Turned towards x2, which is orthogonal to it, and five times as long.
    rows[1] = 5.0 * (np.cos(angle) * rows[0] + np.sin(angle) * np.linalg.norm(rows[0]) * rows[3])
    W = rows[:, :2] / spread
    network = network_of((W, rows[:, 2] - W @ mean), (np.ones((1, 4)), [0.0]))
    findings = [*duplicate_neurons(examined(network, X))]
    assert [(f.neurons, f.severity) for f in findings] == ([((0, 1), "warning")] if found else [])
    assert not found or "0 = 1" in findings[0].evidence


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_groups_of_duplicates_leave_out_the_dead_and_those_of_opposite_sign(block, monkeypatch):
    monkeypatch.setattr(neurons, "BLOCK_ROWS", block)
    W, b = np.array([[1.0], [2.0], [-1.0], [3.0], [1.0], [1.0]]), [0.2, 0.4, -0.2, 0.6, -2.0, -2.0]
    finding = one_of(duplicate_neurons(examined(network_of((W, b), (np.ones((1, 6)), [0.0])), LINE)))
    assert finding.neurons == (0, 1, 3)
    assert finding.evidence.startswith("2 of 6 neurons repeat others")


@pytest.mark.parametrize(("outgoing", "found"), [(0.99e-6, True), (1.01e-6, False), (0.0, True)])
def test_neurons_are_unread_below_a_millionth_of_the_largest_outgoing_weights(outgoing, found):
    network = biased(0.0, 0.1, 0.2, 0.3, 0.4, outgoing=[1.0, outgoing, 0.5, -1.0, 1.0])
    findings = [*unread_neurons(examined(network, LINE))]
    assert [(f.severity, f.layer, f.neurons) for f in findings] == ([("info", 1, (1,))] if found else [])


def test_a_layer_that_nobody_reads_is_an_error():
    assert one_of(unread_neurons(examined(biased(0.0, 0.1, outgoing=0.0), LINE))).severity == "error"


@pytest.mark.parametrize(("reach", "found"), [(0.99e-3, True), (1.01e-3, False)])
@pytest.mark.parametrize("by", ["weight", "spread"])
def test_inputs_are_unread_below_a_thousandth_of_a_typical_reach(reach, found, by):
    X = NOISE / NOISE.std(axis=0)
    W = np.eye(3)
    (W if by == "weight" else X)[:, 2] *= reach
    findings = [*unread_inputs(examined(network_of((W, np.zeros(3))), X, features=("a", "b", "c")))]
    assert [(f.severity, f.layer, f.operation, f.neurons) for f in findings] == (
        [("warning", 0, "input", (2,))] if found else []
    )
    assert not found or ": c moves" in findings[0].evidence


def test_an_input_is_constant_if_it_is_on_all_samples_of_both_parts():
    X = NOISE.copy()
    X[:, 1] = 0.1
    network, y = network_of((np.ones((1, 3)), [0.0])), np.zeros((400, 1))
    finding = one_of(constant_inputs(examined(network, X, other=(X, y))))
    assert (finding.severity, finding.neurons) == ("info", (1,))
    assert "x2" in finding.evidence
    assert not [*unread_inputs(examined(network, X))]
    assert not [*constant_inputs(examined(network, X, other=(NOISE, y)))]


def test_values_are_those_of_all_samples_of_both_parts():
    network, other = Network.he([3, 5, 4, 1], seed=2), 3.0 * NOISE[:50] + 7.0
    case = examined(network, NOISE, other=(other, np.zeros((50, 1))))
    X = np.concatenate([NOISE, other])
    stalks = [X]
    for z in network.pre_activations(X):
        stalks += [z, np.maximum(z, 0.0)]
    for values, stalk in zip([case.values[i] for i in sorted(case.values)], stalks[:-1], strict=True):
        np.testing.assert_array_equal([values.lowest, values.highest], [stalk.min(axis=0), stalk.max(axis=0)])
        np.testing.assert_allclose(
            [values.mean, values.spread], [stalk.mean(axis=0), stalk.std(axis=0)], rtol=1e-9
        )
    np.testing.assert_array_equal([case.inputs.lowest, case.inputs.highest], [X.min(axis=0), X.max(axis=0)])


def test_update_gains_of_a_linear_chain_are_its_closed_form():
    # All active: r_2 = -lambda, r_1 = -w lambda, a_1 = v x + b + 2 w lambda.
    v, b, w = 0.7, 3.0, 1.3
    y = np.linspace(0.0, 1.0, 40)[:, None]
    case = examined(network_of(([[v]], [b]), ([[w]], [0.0])), LINE, y)
    pull = (y - w * (v * LINE + b)) / (1.0 + 2.0 * w * w)
    first = np.mean(np.abs(w * pull * LINE)) / np.mean(np.abs(pull)) / v
    second = np.mean(np.abs(pull * (v * LINE + b + 2.0 * w * pull))) / np.mean(np.abs(pull)) / w
    assert case.update_gains == pytest.approx([first, second], rel=1e-9)
    fitted = examined(case.network, LINE, case.network.predict(LINE) + 1e-12)
    assert fitted.update_gains is None
    assert not [*vanishing_updates(fitted), *exploding_updates(fitted)]


@pytest.mark.parametrize(
    ("gains", "vanishing", "exploding"),
    [
        # The typical gain is the median of the gains and 1.
        ([0.99e-3, 1.0, 2.0, 0.5], [1], []),
        ([1.01e-3, 1.0, 2.0, 1.0], [], []),
        ([1.0, 1.01e3], [], [2]),
        ([1.0, 0.99e3], [], []),
        ([1e-4, 1e4], [1], [2]),
        ([0.0, 1e-4, 1.0, 1.0], [2], []),
        ([1e-9], [], []),
    ],
)
def test_updates_vanish_or_explode_beside_those_of_the_other_layers(gains, vanishing, exploding):
    case = examined(biased(0.0), LINE)
    vars(case)["update_gains"] = np.array(gains)
    assert [finding.layer for finding in vanishing_updates(case)] == vanishing
    assert [finding.layer for finding in exploding_updates(case)] == exploding


def chances(z, y, output="sigmoid"):
    """Examine a network without hidden layers whose logits are its inputs."""
    width = z.shape[1]
    return examined(network_of((np.eye(width), np.zeros(width)), output=output), z, y)


@pytest.mark.parametrize(("flat", "wrong", "found"), [(21, 3, True), (21, 2, False), (20, 20, False)])
def test_a_saturated_output_is_a_warning_if_many_of_its_certainties_are_wrong(flat, wrong, found):
    z, y = np.full((40, 1), 0.1), np.ones((40, 1))
    z[:flat], y[:wrong] = 8.0, 0.0
    findings = [*saturated_output(chances(z, y))]
    assert [(f.severity, f.layer) for f in findings] == ([("warning", 1)] if found else [])
    two = [*saturated_output(chances(np.hstack([-z / 2, z / 2]), np.hstack([1 - y, y]), "softmax"))]
    assert [f.severity for f in two] == [f.severity for f in findings]


@pytest.mark.parametrize(("logit", "severities"), [(35.0, []), (37.0, ["info"])])
def test_certainty_beyond_rounding_is_told_where_it_is_right(logit, severities):
    case = chances(np.full((40, 1), logit), np.ones((40, 1)))
    assert [finding.severity for finding in saturated_output(case)] == severities


@pytest.mark.parametrize(("ratio", "found"), [(0.99e-3, True), (1.01e-3, False)])
def test_an_output_is_constant_below_a_thousandth_of_its_targets_spread(ratio, found):
    y = NOISE[:, :2]
    case = examined(network_of((np.diag([1.0, ratio]), [0.0, 5.0])), y, y)
    findings = [*constant_output(case)]
    assert [(f.severity, f.neurons) for f in findings] == ([("warning", (1,))] if found else [])


@pytest.mark.parametrize(("members", "found"), [(9, False), (10, True)])
def test_a_constant_chance_needs_ten_samples_of_its_class(members, found):
    y = (np.arange(60) < members)[:, None].astype(float)
    assert [f.severity for f in constant_output(chances(np.zeros((60, 1)), y))] == ["error"] * found


@pytest.mark.parametrize(("shift", "found"), [(1.95, True), (1.45, False)])
def test_predictions_are_out_of_range_by_more_than_its_width(shift, found):
    # Targets and predictions are spread evenly; half of these lie beyond twice the range from a shift of 1.5.
    y = LINE / 2.0
    findings = [*out_of_range(examined(network_of(([[0.5]], [shift])), LINE, y))]
    assert [(f.severity, f.neurons) for f in findings] == ([("error", (0,))] if found else [])


def test_the_loss_is_relative_to_that_of_the_mean_of_the_targets():
    y = NOISE[:, :2]
    assert examined(network_of((np.zeros((2, 3)), y.mean(axis=0))), NOISE, y).relative_loss == pytest.approx(
        1
    )
    share = np.repeat([[1.0], [0.0]], [30, 10], axis=0)
    certain = chances(np.full((40, 1), np.log(3.0)), share)
    assert certain.relative_loss == pytest.approx(1.0)
    three = np.repeat(np.eye(3), [10, 20, 10], axis=0)
    even = chances(np.tile(np.log([0.25, 0.5, 0.25]), (40, 1)), three, "softmax")
    assert even.relative_loss == pytest.approx(1.0)


def with_errors(errors, other=None):
    """Examine a network without hidden layers, whose discord is the squared error, with the given errors."""
    X = NOISE[: len(errors), :1]
    parts = None if other is None else (X, X + other[:, None])
    return examined(network_of(([[1.0]], [0.0])), X, X + errors[:, None], other=parts)


SIGNS = np.where(np.arange(100) % 2 == 0, 1.0, -1.0)


def test_without_hidden_layers_the_discord_is_the_squared_error():
    case = with_errors(0.1 * SIGNS, 0.2 * SIGNS)
    assert case.discord == pytest.approx(0.01 * np.ones(100))
    assert case.other_discord == pytest.approx(0.04 * np.ones(100))


@pytest.mark.parametrize(
    ("count", "gap", "severity"),
    [(5, 10.1, "warning"), (5, 9.9, None), (6, 100.0, None), (3, 200.0, "warning"), (2, 200.0, "info")],
)
def test_samples_stand_out_by_a_gap_below_them(count, gap, severity):
    errors = 0.3 * SIGNS
    errors[10 : 10 + count] *= np.sqrt(gap)
    errors[50:] *= 0.1  # so that five with ten times the discord have more than half of it
    findings = [*sample_discord(with_errors(errors))]
    assert [finding.severity for finding in findings] == ([] if severity is None else [severity])
    for finding in findings:
        assert finding.evidence.endswith(f"samples {', '.join(map(str, range(10, 10 + count)))} of test.")


def test_samples_are_called_by_their_lines_where_those_are_known():
    errors = 0.1 * SIGNS
    errors[10:13] *= 200.0
    case = replace(with_errors(errors), places={"test": np.arange(100) * 3 + 2}, word="line")
    (finding,) = sample_discord(case)
    assert finding.evidence.endswith("lines 32, 35, 38 of the data.")
    assert case.named([4], "test", 5) == "line 14 of the data"
    assert case.named([4], "train", 5) == "sample 4 of train"


def test_outliers_that_do_not_carry_most_or_matter_at_all_are_left_alone():
    errors = 0.1 * SIGNS
    errors[:5] *= np.sqrt(15.0)  # 75 of 170
    assert not [*sample_discord(with_errors(errors))]
    errors[:5] *= 2.0
    assert [*sample_discord(with_errors(errors))]
    assert not [*sample_discord(with_errors(0.3 * errors))]


@pytest.mark.parametrize(
    ("own", "members", "found"), [(4.1, 40, True), (3.9, 40, False), (50.0, 10, True), (50.0, 9, False)]
)
def test_a_class_carries_most_of_the_discord_with_four_times_the_mean(own, members, found):
    codes = (np.arange(80) < members).astype(int)
    case = chances(np.where(codes, -1.0, -0.5)[:, None], codes[:, None].astype(float))
    discord = np.where(codes, own, 1.0) + 0.01 * SIGNS[:80]
    samples = case.diagnosis.samples.assign(discord=discord)
    shares = [discord[codes == code].sum() / discord.sum() for code in (0, 1)]
    diagnosis = replace(case.diagnosis, samples=samples, classes=case.diagnosis.classes.assign(share=shares))
    findings = [*class_discord(replace(case, diagnosis=diagnosis))]
    assert [(f.severity, f.neurons) for f in findings] == ([("warning", (0,))] if found else [])
    # As much in the mean, but from a few samples: no evidence against the class.
    uneven = np.where(codes, 0.0, 1.0)
    uneven[0] = discord[codes == 1].sum()
    diagnosis = replace(diagnosis, samples=samples.assign(discord=uneven))
    assert not [*class_discord(replace(case, diagnosis=diagnosis))]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("ratio", "scale", "severity"), [(2.1, 0.5, "warning"), (1.9, 0.5, None), (2.1, 0.1, "info")]
)
def test_parts_are_apart_at_four_times_the_discord(ratio, scale, severity, swapped):
    here, there = (ratio * scale, scale)[:: -1 if swapped else 1]
    findings = [*parts_apart(with_errors(here * SIGNS, there * SIGNS))]
    assert [finding.severity for finding in findings] == ([] if severity is None else [severity])
    assert not findings or f"of {'train' if swapped else 'test'} is 4.41 +- " in findings[0].evidence


def test_parts_are_not_apart_by_a_few_samples():
    errors = 0.01 * SIGNS
    errors[:3] = 3.0
    assert not [*parts_apart(with_errors(errors, 0.01 * SIGNS))]


def test_no_more_rows_are_taken_than_asked_for_and_evenly():
    assert spread_evenly(np.arange(10), 5).tolist() == [0, 2, 4, 6, 8]
    assert spread_evenly(np.arange(4), 5).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("square", "found"), [(199.6, True), (199.4, False)])
@pytest.mark.parametrize(
    ("training", "severity"), [(HeatSpec(), "warning"), (BackpropSpec(), "info"), (None, "info")]
)
def test_the_resistance_explodes_at_a_hundred_times_that_of_a_fresh_network(
    square, found, training, severity
):
    # One active neuron: S = 1 + 2 w^2, against 4.
    network = network_of(([[1.0]], [2.0]), ([[np.sqrt(square)]], [0.0]))
    findings = [*exploding_resistance(examined(network, LINE, training=training))]
    assert [(f.severity, f.layer) for f in findings] == ([(severity, 2)] if found else [])


def test_the_resistance_and_the_layer_that_raises_it():
    network = Network.he([3, 7, 6, 5, 2], seed=3)
    weights = list(network.weights)
    weights[2] = 100.0 * weights[2]
    network = Network(tuple(weights), network.biases, network.output)
    case = examined(network, NOISE[:40])
    R = [z >= 0.0 for z in network.pre_activations(NOISE[:40])[:-1]]
    S = effective_resistance(network, R, 40)
    assert case.resistance.typical == pytest.approx(np.median(np.trace(S, axis1=1, axis2=2)) / 2)
    assert one_of(exploding_resistance(case)).layer == 3
    assert not [*exploding_resistance(examined(Network.he([3, 50, 50, 2], seed=0), NOISE))]


def ends(network):
    """Return the smallest and the largest eigenvalue where all neurons are active."""
    pattern = [np.ones(n, dtype=bool) for n in network.widths[1:-1]]
    return np.linalg.eigvalsh(NeuralSheaf(network).laplacian(pattern).toarray())[[0, -1]]


CHAIN = network_of(([[1.0]], [2.0]), ([[3.0]], [2.0]), ([[0.5]], [0.0]))


@pytest.mark.parametrize(("factor", "found"), [(1.01, True), (0.99, False)])
def test_a_fixed_dt_is_too_large_from_two_over_the_largest_eigenvalue(factor, found):
    dt = factor * 2.0 / (ends(CHAIN)[1] * 0.5)
    findings = [*unstable_step(examined(CHAIN, LINE, training=HeatSpec(dt=dt, alpha=0.5)))]
    assert [(f.severity, f.layer) for f in findings] == ([("error", 2)] if found else [])
    assert not [*unstable_step(examined(CHAIN, LINE, training=HeatSpec(dt="auto", alpha=0.5)))]
    assert not [*unstable_step(examined(CHAIN, LINE, training=BackpropSpec()))]


@pytest.mark.parametrize(("factor", "found"), [(0.99, True), (1.01, False)])
def test_the_slowest_mode_needs_a_tenth_of_its_time_at_least(factor, found):
    gap, largest = ends(CHAIN)
    needed = factor * 0.1 / gap
    auto = CHEBYSHEV_PAIR.mean() / largest
    trainings = [
        (HeatSpec(time=needed), "warning"),
        (HeatSpec(time=2.0 * needed, alpha=0.5), "warning"),
        (HeatSpec(steps=1000, dt=needed / 1000), "warning"),
        (HeatSpec(time=100.0 * needed, reset_time=needed), "info"),
        (HeatSpec(steps=100_000, dt=needed / 1000, reset_every=1000), "info"),
    ]
    for training, severity in trainings:
        findings = slow_settling(examined(CHAIN, LINE, training=training))
        assert [finding.severity for finding in findings] == [severity] * found
    steps = int(0.1 / (gap * auto)) + (not found)
    findings = slow_settling(examined(CHAIN, LINE, training=HeatSpec(steps=steps)))
    assert [finding.severity for finding in findings] == ["warning"] * found
    assert not [*slow_settling(examined(CHAIN, LINE, training=BackpropSpec()))]


@pytest.mark.parametrize(
    ("losses", "status", "severity"),
    [
        ([1.0, 0.1, 0.01], "finished", None),
        ([1.0, 0.1], "diverged", "error"),
        ([1.0, np.nan], "finished", "error"),
        ([1.0, np.inf], "running", "error"),
        ([1.0, 0.5, 10.1], "finished", "error"),
        ([1.0, 0.05, 0.51], "finished", "warning"),
        ([1.0, 0.05, 0.49], "finished", None),
        ([1.0, 0.005, 0.099], "finished", None),
        ([], "finished", None),
        ([], "diverged", "error"),
        (None, None, None),
    ],
)
def test_a_run_diverges_by_its_status_or_its_losses(losses, status, severity):
    history = None if losses is None else pd.DataFrame({"train_loss": losses})
    findings = [*diverging_run(examined(biased(0.0), LINE, history=history, status=status))]
    assert [finding.severity for finding in findings] == ([] if severity is None else [severity])


def test_findings_are_sorted_causes_first_then_in_path_order():
    # A dead second layer, a duplicate in the first, a constant input and a run that diverged.
    X = np.hstack([LINE, np.ones_like(LINE)])
    W1 = np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.3], [0.5, 0.3], [1.0, -0.8]])
    network = network_of((W1, np.zeros(5)), (np.ones((2, 5)), [-9.0, -9.0]), ([[1.0, 1.0]], [0.0]))
    findings = examine(examined(network, X, LINE, status="diverged"))
    assert [(f.severity, f.rule, f.layer) for f in findings] == [
        ("error", "diverging-run", None),
        ("error", "dead-relu", 2),
        ("error", "no-better-than-constant", None),
        ("error", "constant-output", 3),
        ("info", "constant-inputs", 0),
        ("info", "duplicate-neurons", 1),
    ]
    table = findings_frame(findings)
    assert list(table.columns) == COLUMNS
    assert table["neurons"].tolist() == ["", "0 1", "", "0", "1", "0 1"]
    assert table["layer"].isna().tolist() == [True, False, True, False, False, False]


def test_no_findings_are_an_empty_table():
    table = findings_frame([])
    assert list(table.columns) == COLUMNS
    assert len(table) == 0


def test_names_and_sentences():
    rules = {rule.__name__.replace("_", "-") for rule in RULES}
    assert len(rules) == len(RULES)
    finding = one_of(dead_relu(examined(biased(-1.5, 0.0, 0.0), LINE)))
    assert isinstance(finding, Finding)
    assert finding.rule in rules
    assert finding.evidence == ("1 of 3 neurons is never active on 40 samples; it stays 0.5 below zero.")

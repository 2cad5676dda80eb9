"""Joint training of stalks and weights against the same flow written plainly."""

import itertools
import re

import numpy as np
import pytest
from oracles import Plain, assert_state, problem

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.core.training import heat
from sheafcli.core.training.heat import BLOW_UP, Heat
from sheafcli.core.training.protocol import Diverged

OUTPUTS = ("identity", "sigmoid", "softmax")
DEPTHS = ((), (4,), (4, 3), (3, 4, 2, 3))


def begin(method, network, X, y, seed=0):
    """Return a session and its state as plain lists."""
    session = method.start(network, X, y, seed)
    return session, Plain.of(session.network(), session.stalks())


def pattern(session):
    """Return which coordinates of the z_l are active."""
    stalks = session.stalks()
    return np.hstack([view >= 0 for name, view in stalks.items() if name.startswith("z")])


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_weights_move_against_their_own_edge(output, hidden):
    network, X, y = problem(output, hidden)
    beta, dt = 0.3, 1e-3
    session, start = begin(Heat(steps=1, dt=dt, beta=beta), network, X, y)
    r, _ = start.residuals(X)
    session.advance(1)
    moved = session.network()
    for layer, (r_l, a) in enumerate(zip(r, [X, *start.a], strict=True)):
        dW = -beta * sum(np.outer(r_l[sample], a[sample]) for sample in range(len(X)))
        found = (moved.weights[layer] - network.weights[layer]) / dt
        np.testing.assert_allclose(found, dW, rtol=0, atol=1e-11)
        found = (moved.biases[layer] - network.biases[layer]) / dt
        np.testing.assert_allclose(found, -beta * sum(r_l), rtol=0, atol=1e-11)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize(("samples", "features"), [(7, 3), (4, 9), (1, 1)])
def test_fifty_steps_are_those_of_a_plain_loop(output, hidden, samples, features):
    # With fewer samples than features the first layer moves through its Gram matrix.
    network, X, y = problem(output, hidden, samples=samples, features=features)
    session, plain = begin(Heat(steps=50, dt=0.01, alpha=1.3, beta=0.2), network, X, y)
    session.advance(20)
    assert_state(session, plain.after(X, y, 20, 0.01, 1.3, 0.2))
    session.advance(1000)
    end = plain.after(X, y, 50, 0.01, 1.3, 0.2)
    assert_state(session, end)
    assert (session.step, session.share_done, session.finished) == (50, 1.0, True)
    assert session.time == pytest.approx(0.5)


@pytest.mark.parametrize("features", [2, 9])
def test_zero_counts_as_active_while_it_trains(features):
    network, X, y = problem(features=features)
    start = dict(Cochain.random(network.widths, len(X), 0).stalks())
    start["z1"] = np.zeros_like(start["z1"])
    session, plain = begin(Heat(steps=1, dt=0.01, stalks=start), network, X, y)
    session.advance(1)
    assert_state(session, plain.after(X, y, 1, 0.01, beta=1 / len(X)), tolerance=1e-13)


@pytest.mark.parametrize("features", [3, 9])
@pytest.mark.parametrize("clock", [{"reset_every": 15}, {"reset_time": 0.15}])
@pytest.mark.parametrize("kind", ["forward", "zeros", "arrays"])
def test_stalks_restart(kind, clock, features):
    network, X, y = problem(features=features)
    stalks = dict(Cochain.random(network.widths, len(X), 3).stalks()) if kind == "arrays" else kind
    session, plain = begin(Heat(steps=40, dt=0.01, stalks=stalks, **clock), network, X, y)
    first = plain
    if kind == "forward":
        plain = plain.forward(X)
    session.advance(18)
    session.advance(22)
    for steps in (15, 15, 10):
        restarted = (
            plain.forward(X) if kind == "forward" else Plain(plain.phi, plain.W, plain.b, first.z, first.a)
        )
        plain = restarted.after(X, y, steps, 0.01, beta=1 / len(X))
    assert_state(session, plain)


def test_stalks_start_where_they_are_told():
    network, X, y = problem()
    given = Cochain.random(network.widths, len(X), 9)
    forward = Cochain.forward(network, X)
    for stalks, expected in (("forward", forward), (given.stalks(), given)):
        session = Heat(steps=1, dt=0.1, stalks=stalks).start(network, X, y)
        for name, stalk in expected.stalks().items():
            np.testing.assert_array_equal(session.stalks()[name], stalk)
    assert not any(v.any() for v in Heat(steps=1, stalks="zeros").start(network, X, y).stalks().values())


def test_random_stalks_are_drawn_anew_and_seeded():
    network, X, y = problem()
    method = Heat(steps=30, dt=1e-12, stalks="random", reset_every=10)

    def starts(seed):
        session = method.start(network, X, y, seed)
        found = [np.hstack(list(session.stalks().values()))]
        for _ in range(2):
            session.advance(11)
            found.append(np.hstack(list(session.stalks().values())))
        return found

    one, same, other = starts(1), starts(1), starts(2)
    for cochain, cochain_same, cochain_other in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(cochain, cochain_same)
        assert np.abs(cochain - cochain_other).max() > 0.1
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(one, 2)) > 0.1


@pytest.mark.parametrize("features", [2, 9])
@pytest.mark.parametrize("kind", ["random", "zeros", "forward", "arrays"])
@pytest.mark.parametrize("clock", [{}, {"reset_every": 70}, {"reset_time": 1.7}])
@pytest.mark.parametrize("dt", [0.01, "auto"])
@pytest.mark.parametrize("end", [{"steps": 430}, {"time": 4.217}])
def test_a_restored_session_goes_on_bit_for_bit(features, kind, clock, dt, end):
    network, X, y = problem(features=features)
    stalks = dict(Cochain.random(network.widths, len(X), 3).stalks()) if kind == "arrays" else kind
    method = Heat(dt=dt, stalks=stalks, **clock, **end)
    whole, restored = method.start(network, X, y, 5), method.start(network, X, y, 5)
    whole.advance(103)
    restored.restore(whole.state())
    assert_same(restored.state(), whole.state())
    for session in (whole, restored):
        session.advance(57)
        session.advance(10_000)
        assert session.finished
    assert_same(restored.state(), whole.state())
    assert (restored.step, restored.time) == (whole.step, whole.time)
    for W, W_restored in zip(whole.network().weights, restored.network().weights, strict=True):
        np.testing.assert_array_equal(W, W_restored)


@pytest.mark.parametrize("dt", [0.01, 0.013, "auto"])
@pytest.mark.parametrize("reset_time", [None, 0.5, 0.77])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_time_is_reached_exactly(dt, reset_time, chunk):
    network, X, y = problem()
    session = Heat(time=2.5, dt=dt, stalks="forward", reset_time=reset_time).start(network, X, y)
    while not session.finished:
        session.advance(chunk)
    assert session.time == pytest.approx(2.5, rel=1e-12)
    assert session.share_done == 1.0
    if dt != "auto" and reset_time is None:
        assert session.step == np.ceil(2.5 / dt - 1e-9)
    step = session.step
    session.advance(10)
    assert session.step == step


def test_the_last_step_of_a_time_is_a_part_of_dt():
    network, X, y = problem()
    session, plain = begin(Heat(time=0.105, dt=0.01), network, X, y)
    session.advance(100)
    beta = 1 / len(X)
    assert session.step == 11
    assert_state(session, plain.after(X, y, 10, 0.01, beta=beta).after(X, y, 1, 0.005, beta=beta))


@pytest.mark.parametrize("hidden", [(), (6,), (4, 3)])
@pytest.mark.parametrize("output", OUTPUTS)
def test_energy_never_rises_away_from_kinks(output, hidden):
    # On one pattern the flow is smooth, and each pair of automatic steps damps every mode. Large biases keep
    # the neurons from crossing zero, where steps of any size may jump over a kink and gain a little.
    drawn, X, y = problem(output, hidden, samples=12)
    biases = [*(np.full(n, 6.0) for n in hidden), drawn.biases[-1]]
    network = Network(tuple(0.25 * W for W in drawn.weights), tuple(biases), drawn.output)
    session = Heat(steps=2000, stalks="forward").start(network, X, y)
    start, begun = session.energy(), pattern(session)[:, : sum(hidden)]
    before = start
    while not session.finished:
        session.advance(2)
        energy = session.energy()
        assert energy <= before + 1e-13 * start
        np.testing.assert_array_equal(pattern(session)[:, : sum(hidden)], begun)
        before = energy
    assert before < 0.9 * start


@pytest.mark.parametrize("output", OUTPUTS)
def test_energy_stays_below_its_start_across_kinks(output):
    network, X, y = problem(output, (5, 4), samples=20)
    session = Heat(steps=2000, stalks="forward").start(network, X, y)
    start, begun = session.energy(), pattern(session)
    while not session.finished:
        session.advance(2)
        assert session.energy() <= start
    assert (pattern(session) != begun).any()
    assert session.energy() < 0.5 * start


@pytest.mark.parametrize("hidden", [(), (5, 4)])
def test_automatic_steps_follow_the_flow_of_small_ones(hidden):
    network, X, y = problem("sigmoid", hidden, samples=20)
    auto, small = (Heat(time=20.0, dt=dt, stalks="forward").start(network, X, y) for dt in ("auto", 0.002))
    for session in (auto, small):
        session.advance(100_000)
        assert session.time == pytest.approx(20.0)
    assert auto.step < small.step / 10
    losses = [s.network().output.loss(s.network().logits(X), y) for s in (auto, small)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_energy_and_discord_are_those_of_the_stalks():
    network, X, y = problem()
    session, _ = begin(Heat(steps=30, dt=0.01), network, X, y)
    session.advance(30)
    r, s = Plain.of(session.network(), session.stalks()).residuals(X)
    z = session.stalks()["z3"]
    stalks, output = sum(np.sum(v**2) for v in [*r, *s]) / len(X), np.sum((z - y) ** 2) / len(X)
    assert session.energy() == pytest.approx((stalks + output) / 2, rel=1e-12)
    found = {edge.name: value for edge, value in session.discord().items()}
    assert found["output"] == pytest.approx(output, rel=1e-12)
    assert found["activation_2"] == pytest.approx(np.sum(s[1] ** 2) / len(X), rel=1e-12)
    assert sum(found.values()) == pytest.approx(stalks + output, rel=1e-12)


def first_blow_up(plain, X, y, dt, beta):
    """Return the first step that sees terms above the limit, and the state after it, by a plain loop.

    A step sees the affine residuals (with the output's pull on the last) and the forces on the a_l.
    """

    def squares(arrays):
        return sum(np.sum(v**2) for v in arrays)

    r, s = plain.residuals(X)
    limit = BLOW_UP * (len(X) + squares(r) + squares(s))
    for step in range(1, 100_000):
        velocity = plain.velocity(X, y, beta=beta)
        seen = squares(plain.residuals(X)[0][:-1]) + squares([velocity.z[-1]]) + squares(velocity.a)
        plain = plain.moved(velocity, dt)
        if not seen <= limit:
            return step, plain
    raise AssertionError("the plain loop does not diverge")


@pytest.mark.parametrize(("hidden", "excess"), [((), 1.03), ((), 1.3), ((5,), 6.0), ((4, 3), 6.0)])
@pytest.mark.parametrize("features", [2, 9])
def test_divergence_names_the_first_step_and_the_worst_edge(hidden, excess, features):
    network, X, y = problem("identity", hidden, features=features)
    dt = excess * 2.0 / Heat(steps=1).start(network, X, y).largest_eigenvalue()
    beta = 1 / len(X)
    session, plain = begin(Heat(steps=100_000, dt=dt), network, X, y)
    session.advance(1)
    before = session.state()
    with pytest.raises(Diverged) as raised:
        session.advance(100_000)
    step, after = first_blow_up(plain, X, y, dt, beta)
    assert raised.value.step == step
    r, s = after.residuals(X)
    sizes = {f"affine_{i}": np.sum(v**2) for i, v in enumerate(r, start=1)}
    sizes |= {f"activation_{i}": np.sum(v**2) for i, v in enumerate(s, start=1)}
    assert raised.value.edge.name == max(sizes, key=sizes.get)
    assert f"step {step}" in str(raised.value)
    assert f"edge {raised.value.edge.name}" in str(raised.value)
    # The session stands where the call found it, and goes on by the advice.
    assert_same(session.state(), before)
    usable = float(re.search(r"try dt: (\S+), or dt: auto", raised.value.advice)[1])
    assert 0 < usable < dt
    again = Heat(steps=3000, dt=usable).start(session.network(), X, y)
    again.advance(3000)
    assert again.finished
    assert again.energy() < again.method.start(session.network(), X, y).energy()


@pytest.mark.parametrize("dt", [50.0, 1e200])
def test_divergence_beyond_all_numbers_is_still_named(dt):
    network, X, y = problem()
    session = Heat(steps=1000, dt=dt).start(network, X, y)
    before = session.state()
    with pytest.raises(Diverged) as raised:
        session.advance(1000)
    assert 1 <= raised.value.step <= 10
    assert_same(session.state(), before)


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr(heat, "TELL_SECONDS", np.inf)
    network, X, y = problem()
    told = []
    Heat(steps=250, dt=0.01, reset_every=60).start(network, X, y).advance(
        1000, lambda *news: told.append(news)
    )
    assert told[-1] == (250, 1.0)
    assert [step for step, _ in told] == sorted({step for step, _ in told})
    assert all(share == step / 250 for step, share in told)
    assert max(np.diff([step for step, _ in told])) <= 100


def test_a_slow_step_is_told_at_once_and_changes_nothing(monkeypatch):
    network, X, y = problem()
    method = Heat(steps=30, dt="auto", reset_every=12)
    silent = method.start(network, X, y)
    silent.advance(30)
    monkeypatch.setattr(heat, "TELL_SECONDS", -1.0)  # every step takes longer than that
    told = []
    watched = method.start(network, X, y)
    watched.advance(30, lambda step, share: told.append(step))
    assert sorted(set(told)) == list(range(1, 31))
    assert_same(watched.state(), silent.state())


def test_the_network_and_data_given_are_left_alone():
    network, X, y = problem()
    copies = [array.copy() for array in (X, y, *network.weights, *network.biases)]
    session = Heat(steps=20, dt=0.01).start(network, X, y)
    session.advance(20)
    for array, copy in zip((X, y, *network.weights, *network.biases), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    looked_at, stalks = session.network(), session.stalks()
    copy = looked_at.weights[0].copy()
    for stalk in stalks.values():
        stalk[:] = 7.0
    session.method.start(network, X, y).advance(5)
    np.testing.assert_array_equal(looked_at.weights[0], copy)
    assert not any((stalk == 7.0).any() for stalk in session.stalks().values())


@pytest.mark.parametrize("name", ["steps", "time", "dt", "alpha", "beta", "reset_every", "reset_time"])
@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_options_must_be_above_zero_and_finite(name, value):
    options = {name: value} if name in ("steps", "time") else {"steps": 10, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a .*number above 0"):
        Heat(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one"),
        ({"steps": 10, "time": 1.0}, "exactly one"),
        ({"steps": 10, "reset_every": 5, "reset_time": 1.0}, "at most one"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        Heat(**options)


def test_stalks_that_do_not_fit_are_refused():
    network, X, y = problem()
    few = dict(Cochain(network.widths, len(X) - 1).stalks())
    for stalks, message in (
        ("relaxed", "random, zeros, forward or arrays"),
        (few, "hold 6 samples, the data 7"),
    ):
        with pytest.raises(ValueError, match=message):
            Heat(steps=1, stalks=stalks).start(network, X, y)


@pytest.mark.parametrize(
    "options",
    [{"dt": "fast"}, {"steps": 2.5}, {"steps": True}, {"reset_every": 2.5}, {"alpha": "auto"}],
)
def test_options_of_the_wrong_kind_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        Heat(**({"steps": 10} | options))


def test_inputs_and_weights_beyond_floating_point_are_refused_at_the_start():
    network, X, y = problem()
    with pytest.raises(ValueError, match=r"X\[0, 0\] is .*e\+1.., beyond 1e\+70: .* another unit"):
        Heat(steps=10).start(network, X * 1e160, y)
    stiff = Network(tuple(W * 1e160 for W in network.weights), network.biases, network.output)
    with pytest.raises(ValueError, match="too stiff"):
        Heat(steps=10).start(stiff, X, y)


def test_an_automatic_step_that_fails_is_found_at_its_own_step(monkeypatch):
    """The pairs made 1.55 times too large: the step named is the first whose residuals are too large."""
    monkeypatch.setattr(heat, "CHEBYSHEV_PAIR", heat.CHEBYSHEV_PAIR * 1.55)
    network, X, y = problem("identity", (), samples=20, features=3)
    session = Heat(steps=100_000, dt="auto").start(network, X, y)
    with pytest.raises(Diverged) as raised:
        session.advance(100_000)
    again = Heat(steps=100_000, dt="auto").start(network, X, y)
    again.advance(raised.value.step // 100 * 100 - 100)
    assert np.isfinite(again.energy())
    assert again.step < raised.value.step <= again.step + 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :1], y), "X must be samples x 2"),
        (lambda X, y: (X[:, 0], y), "X must be samples x 2"),
        (lambda X, y: (X, y[:-1]), r"the target must have shape \(7, 2\)"),
        (lambda X, y: (X, y[:, 0]), r"the target must have shape \(7, 2\), got \(7, 1\)"),
        (lambda X, y: (X * np.nan, y), "finite"),
        (lambda X, y: (X, y + np.inf), "finite"),
        (lambda X, y: (X[:0], y[:0]), "at least one"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, message):
    network, X, y = problem()
    with pytest.raises(ValueError, match=message):
        Heat(steps=1).start(network, *change(X, y))


def test_one_output_takes_a_flat_target():
    network, X, y = problem("sigmoid")
    flat, column = (Heat(steps=10, dt=0.01).start(network, X, target) for target in (y[:, 0], y))
    for session in (flat, column):
        session.advance(10)
    assert_same(flat.state(), column.state())


def test_linear_model_is_gradient_descent_on_its_stalk():
    # Depth 0, one sample, one weight, by hand: z' = (w x - z) - (z - y), w' = -beta (w x - z) x.
    network = Network((np.array([[2.0]]),), (np.array([0.5]),), output_named("identity"))
    start = {"z1": np.array([[1.0]])}
    session = Heat(steps=1, dt=0.1, beta=0.5, stalks=start).start(network, [[3.0]], [[4.0]])
    session.advance(1)
    r = 2.0 * 3.0 + 0.5 - 1.0
    assert session.stalks()["z1"].item() == pytest.approx(1.0 + 0.1 * (r - (1.0 - 4.0)))
    assert session.network().weights[0].item() == pytest.approx(2.0 - 0.1 * 0.5 * r * 3.0)
    assert session.network().biases[0].item() == pytest.approx(0.5 - 0.1 * 0.5 * r)

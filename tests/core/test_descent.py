"""The session of a descent: its batches, schedules, ends and states, with rules whose gradient is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import problem
from strategies import seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.edge import edges
from sheafcli.core.training import descent
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.descent import Descent, DescentSession, StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.optimizers import SGD, Adam, Momentum
from sheafcli.core.training.protocol import Diverged

METHODS = [Backprop, Equilibrium]


class Constant:
    """A rule whose gradient is the same number everywhere; it keeps what it was shown."""

    sound = True

    def __init__(self, slope=0.0):
        self.slope, self.batches, self.targets, self.guesses = slope, [], [], []

    def evaluate(self, parameters, batch, guess):
        parameters.gradient[:] = self.slope
        self.batches.append(batch.a[0][:-1].T.copy())
        self.targets.append(batch.y.T.copy())
        self.guesses.append(guess)
        return np.array([float(len(self.guesses))])

    def loss(self):
        return 0.0

    def energy(self):
        return 0.0

    def discord(self):
        return dict.fromkeys(edges(0), 0.0)


def numbered(n, rule, seed=0, **options):
    """Return a session whose samples are 0, 1, ..., with targets ten times that."""
    network = Network.he([1, 1], "identity", 0)
    options = {"optimizer": SGD(0.1), "epochs": 3} | options
    samples = np.arange(n, dtype=float)[:, None]
    return DescentSession(Descent(**options), rule, network, samples, 10.0 * samples, seed)


def orders(n, size, seed, epochs=3):
    """Return the samples in the order of reading, one row an epoch, and the sizes of all batches."""
    rule = Constant()
    session = numbered(n, rule, seed, batch_size=size, epochs=epochs)
    session.advance(10_000)
    for X, y in zip(rule.batches, rule.targets, strict=True):
        np.testing.assert_array_equal(y, 10.0 * X)
    # The last evaluation is that of the step that would come next.
    read = rule.batches[:-1]
    assert len(read) == session.step == epochs * -(-n // size)
    return np.concatenate(read)[:, 0].reshape(epochs, n), [len(batch) for batch in read]


def weights(session):
    network = session.network()
    return np.concatenate([v.ravel() for v in (*network.weights, *network.biases)])


def assert_same_state(left, right):
    """Demand the same arrays bit for bit, of the same types, all but the seconds."""
    left, right = left.state(), right.state()
    assert left.keys() == right.keys()
    for name in left.keys() - {"seconds"}:
        assert left[name].dtype == right[name].dtype, name
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


# Batches.


@given(st.integers(1, 30), st.integers(1, 30), seeds)
@settings(max_examples=40)
def test_an_epoch_visits_every_sample_once(n, size, seed):
    size = min(size, n)
    read, sizes = orders(n, size, seed)
    np.testing.assert_array_equal(np.sort(read, axis=1), np.tile(np.arange(n), (3, 1)))
    whole, rest = divmod(n, size)
    assert sizes == 3 * ([size] * whole + [rest] * (rest > 0))


def test_the_order_is_drawn_anew_each_epoch_by_the_seed():
    read, _ = orders(20, 6, 7)
    assert len({tuple(order) for order in read}) == 3
    np.testing.assert_array_equal(orders(20, 6, 7)[0], read)
    assert not np.array_equal(orders(20, 6, 8)[0], read)
    # One epoch does not give away the next: seeds that follow each other share no order.
    others = {tuple(order) for seed in (8, 9, 10) for order in orders(20, 6, seed)[0]}
    assert not others & {tuple(order) for order in read}


def test_the_order_does_not_depend_on_the_size_of_chunks():
    read, _ = orders(10, 3, 5)
    rule = Constant()
    session = numbered(10, rule, 5, batch_size=3)
    while not session.finished:
        session.advance(1)
        session.energy()
        session.discord()
    # One evaluation a step, and that of the step to come: looking costs nothing.
    assert len(rule.batches) == 13
    np.testing.assert_array_equal(np.concatenate(rule.batches[:-1])[:, 0], read.ravel())


def test_all_orders_of_four_samples_come_up_alike():
    counts = np.zeros((4, 4))
    for order in orders(4, 2, 0, epochs=2000)[0].astype(int):
        counts[np.arange(4), order] += 1
    # 2000 draws put a sample at a place 500 times, give or take 5 standard deviations of 19.
    assert np.max(np.abs(counts - 500)) < 97


def test_a_guess_is_offered_for_the_same_batch_alone():
    rule = Constant()
    session = numbered(6, rule, epochs=4)
    session.advance(4)
    assert rule.guesses == [None, 1.0, 2.0, 3.0, 4.0]
    # The state holds what the coming evaluation started from, though that has been done already.
    assert session.state()["guess"] == 4.0
    rule = Constant()
    session = numbered(6, rule, epochs=2, batch_size=3)
    session.advance(4)
    assert rule.guesses == [None] * 5
    assert "guess" not in session.state()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_a_batch_of_all_samples_is_the_full_batch(method, output):
    network, X, y = problem(output, samples=9)
    options = {"optimizer": SGD(0.05), "epochs": 30}
    full = method(**options).start(network, X, y)
    batch = method(**options, batch_size=9).start(network, X, y)
    for session in (full, batch):
        session.advance(30)
    scale = np.max(np.abs(weights(full) - weights(method(**options).start(network, X, y))))
    # With several outputs lambda starts from a guess in one of the two: equal to the rule's tolerance.
    tolerance = 1e-12 if method is Backprop else 1e-4
    np.testing.assert_allclose(weights(full), weights(batch), rtol=0, atol=tolerance * scale)


def test_back_propagation_and_equilibrium_training_read_the_same_batches():
    """With gamma near 0 they take the same steps, if in the same order."""
    network, X, y = problem("identity", (5,), samples=17, outputs=1)
    options = {"optimizer": SGD(0.05), "epochs": 4, "batch_size": 5}
    ends = {}
    for name, method, seed in (
        ("backprop", Backprop(**options), 3),
        ("equilibrium", Equilibrium(gamma=1e-9, **options), 3),
        ("other", Backprop(**options), 4),
    ):
        session = method.start(network, X, y, seed)
        session.advance(1000)
        ends[name] = weights(session)
    assert np.max(np.abs(ends["equilibrium"] - ends["backprop"])) < 1e-6
    assert np.max(np.abs(ends["other"] - ends["backprop"])) > 1e-4


def test_a_batch_of_more_samples_than_there_are():
    with pytest.raises(ValueError, match="batch_size must be at most the 5 training samples, got 6"):
        numbered(5, Constant(), batch_size=6)


# How long.


@pytest.mark.parametrize(
    ("options", "steps", "time"),
    [
        ({"epochs": 4}, 4, 4.0),
        ({"epochs": 4, "batch_size": 3}, 16, 4.0),
        ({"epochs": None, "steps": 6, "batch_size": 3}, 6, 1.5),
        ({"epochs": None, "steps": 6}, 6, 6.0),
    ],
)
def test_epochs_and_steps(options, steps, time):
    session = numbered(10, Constant(), **options)
    assert (session.step, session.time, session.share_done, session.finished) == (0, 0.0, 0.0, False)
    session.advance(steps // 2)
    assert (session.step, session.finished) == (steps // 2, False)
    assert session.share_done == pytest.approx(0.5)
    session.advance(10_000)
    assert (session.step, session.time, session.share_done, session.finished) == (steps, time, 1.0, True)
    session.advance(10)
    assert session.step == steps


def test_ten_thousand_epochs_where_no_end_is_given():
    assert Descent().total_steps(10) == 10_000
    assert Descent(batch_size=4).total_steps(10) == 30_000


@pytest.mark.parametrize("method", METHODS)
def test_a_slow_step_is_told_at_once(monkeypatch, method):
    network, X, y = problem()
    monkeypatch.setattr(descent, "TELL_SECONDS", -1.0)  # every step takes longer than that
    told = []
    method(epochs=30).start(network, X, y).advance(30, lambda step, share: told.append(step))
    assert sorted(set(told)) == list(range(1, 31))


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr(descent, "TELL_SECONDS", np.inf)
    told = []
    session = numbered(5, Constant(), epochs=250)
    session.advance(120, lambda *news: told.append(news))
    session.advance(1000, lambda *news: told.append(news))
    assert told == [(100, 0.4), (120, 0.48), (200, 0.8), (250, 1.0)]


# The rate.


@pytest.mark.parametrize(
    ("schedule", "left"),
    [
        ("constant", np.ones_like),
        ("linear", lambda t: 1.0 - t),
        ("cosine", lambda t: np.cos(0.5 * np.pi * t) ** 2),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_constant_gradient_sums_the_rates(schedule, left, batch_size):
    session = numbered(10, Constant(3.0), schedule=schedule, steps=12, epochs=None, batch_size=batch_size)
    start, rates = weights(session), 0.1 * left(np.arange(12) / 12)
    for done in range(1, 13):
        session.advance(1)
        np.testing.assert_allclose(
            weights(session), start - 3.0 * np.sum(rates[:done]), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("optimizer", [SGD(0.1), Momentum(0.1), Adam(0.1)])
def test_decay_shrinks_the_weights_by_the_rate_and_leaves_biases_alone(schedule, optimizer):
    network, X, y = problem(hidden=(4, 3))
    method = Descent(optimizer=optimizer, epochs=20, schedule=schedule, weight_decay=0.5)
    session = DescentSession(method, Constant(), network, X, y, 0)
    session.advance(20)
    left = 1.0 - np.arange(20) / 20 if schedule == "linear" else np.ones(20)
    shrunk = np.prod(1.0 - 0.1 * left * 0.5)
    for W, b, W_start, b_start in zip(
        session.network().weights, session.network().biases, network.weights, network.biases, strict=True
    ):
        np.testing.assert_allclose(W, shrunk * W_start, rtol=1e-12)
        np.testing.assert_array_equal(b, b_start)


def test_decay_and_gradient_do_not_mix():
    """W <- (1 - rate decay) W - rate g: a geometric sequence, whose gradient is that of W before."""
    session = numbered(4, Constant(2.0), epochs=15, weight_decay=0.3)
    (W,), (b,) = session.network().weights, session.network().biases
    session.advance(15)
    kept, rest = 1.0 - 0.1 * 0.3, 2.0 / 0.3
    expected = (W + rest) * kept**15 - rest
    np.testing.assert_allclose(session.network().weights[0], expected, rtol=1e-12)
    np.testing.assert_allclose(session.network().biases[0], b - 15 * 0.1 * 2.0, rtol=1e-12)


# States.


def resumable():
    """Return (method, problem) whose states must hold all there is to them."""
    single = {"epochs": 12, "optimizer": Adam(0.02)}
    batches = {"epochs": 4, "batch_size": 4, "optimizer": Momentum(0.02), "schedule": "cosine"}
    return {
        "full sigmoid": (Equilibrium(gamma=1.0, **single), problem("sigmoid", samples=10)),
        "full softmax": (Equilibrium(gamma=0.1, **single), problem("softmax", samples=10)),
        "full identity": (Equilibrium(gamma=1.0, weight_decay=0.1, **single), problem(samples=10)),
        "batches": (Equilibrium(gamma=1.0, **batches), problem("softmax", samples=10)),
        "backprop": (Backprop(**single), problem("sigmoid", samples=10)),
        "backprop, batches": (Backprop(weight_decay=0.1, **batches), problem("sigmoid", samples=10)),
        "single": (Equilibrium(gamma=1.0, precision="single", **single), problem("softmax", samples=10)),
    }


@pytest.mark.parametrize("name", resumable())
def test_a_session_goes_on_bit_for_bit_from_any_step(name):
    method, (network, X, y) = resumable()[name]
    whole = method.start(network, X, y, 3)
    states = []
    while not whole.finished:
        states.append(whole.state())
        whole.advance(1)
    assert [int(state["clock"][0]) for state in states] == list(range(12))
    for step, state in enumerate(states):
        resumed = method.start(network, X, y, 3)
        # A session that has been elsewhere takes over all the same.
        resumed.advance(2)
        resumed.restore(state)
        assert (resumed.step, resumed.time) == (step, state["clock"][0] * whole.time / 12)
        # Who looks, and when, makes no difference.
        if step % 2 == 0:
            resumed.energy()
            resumed.discord()
        resumed.advance(5)
        resumed.energy()
        resumed.advance(1000)
        assert_same_state(whole, resumed)
        assert resumed.energy() == whole.energy()
        assert resumed.discord() == whole.discord()
        np.testing.assert_array_equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("name", resumable())
def test_looking_between_steps_changes_nothing(name):
    method, (network, X, y) = resumable()[name]
    watched, left_alone = method.start(network, X, y, 3), method.start(network, X, y, 3)
    while not watched.finished:
        watched.energy()
        watched.state()
        watched.discord()
        watched.network()
        watched.advance(1)
    left_alone.advance(1000)
    assert_same_state(watched, left_alone)


def test_a_state_is_a_copy():
    method, (network, X, y) = resumable()["full sigmoid"]
    session = method.start(network, X, y)
    session.advance(3)
    state = session.state()
    before = {name: array.copy() for name, array in state.items()}
    session.advance(3)
    other = method.start(network, X, y)
    other.restore(state)
    other.advance(3)
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


def test_the_network_keeps_its_output_and_is_a_copy():
    network, X, y = problem("sigmoid")
    session = Backprop(epochs=5, optimizer=SGD(0.1)).start(network, X, y)
    before = session.network()
    session.advance(5)
    assert before.output is session.network().output is network.output
    np.testing.assert_array_equal(before.weights[0], network.weights[0])


# Early ends.


@pytest.mark.parametrize("batch_size", [None, 4])
def test_it_stops_at_a_record_whose_loss_is_low_enough(batch_size):
    network, X, y = problem("softmax", samples=10)
    options = {"epochs": 200, "optimizer": SGD(0.05), "batch_size": batch_size}
    losses, free = [], Backprop(**options).start(network, X, y)
    while not free.finished:
        free.advance(7)
        losses.append(network.output.loss(free.network().logits(X), y))
    goal = losses[5]
    first = next(i for i, loss in enumerate(losses) if loss <= goal)
    session = Backprop(**options, stop_when=StopWhen(train_loss=goal)).start(network, X, y)
    chunks = 0
    while not session.finished:
        session.advance(7)
        chunks += 1
    assert chunks == first + 1
    assert session.step == 7 * chunks
    session.advance(7)
    assert session.step == 7 * chunks
    # A run that is over stays so when its state is read again.
    again = Backprop(**options, stop_when=StopWhen(train_loss=goal)).start(network, X, y)
    again.restore(session.state())
    assert again.finished


def test_a_loss_out_of_reach_does_not_stop_it():
    network, X, y = problem("softmax")
    session = Backprop(epochs=20, optimizer=SGD(0.05), stop_when=StopWhen(train_loss=1e-9)).start(
        network, X, y
    )
    session.advance(1000)
    assert session.step == 20


def test_it_stops_after_so_many_seconds_in_steps(monkeypatch):
    """A clock that goes on by one whenever it is read: a step lasts a second."""
    clock = SimpleNamespace(now=0.0)

    def perf_counter():
        clock.now += 1.0
        return clock.now

    monkeypatch.setattr(descent, "time", SimpleNamespace(perf_counter=perf_counter))
    session = numbered(5, Constant(), epochs=100, stop_when=StopWhen(seconds=10.0))
    session.advance(4)
    assert float(session.state()["seconds"]) == 4.0
    assert session.share_done == pytest.approx(0.4)
    # Records are not counted, nor is a night between a state and its restoration.
    clock.now += 1000.0
    resumed = numbered(5, Constant(), epochs=100, stop_when=StopWhen(seconds=10.0))
    resumed.restore(session.state())
    clock.now += 1000.0
    resumed.advance(4)
    assert (resumed.step, resumed.finished) == (8, False)
    resumed.advance(100)
    assert (resumed.step, resumed.finished, resumed.share_done) == (10, True, 1.0)


def test_a_state_of_other_data_or_another_network_is_refused():
    network, X, y = problem("sigmoid")
    method = Equilibrium(epochs=5)
    state = method.start(network, X, y).state()
    with pytest.raises(ValueError, match="samples"):
        method.start(network, X[:-1], y[:-1]).restore(state)
    wider = Network.he([X.shape[1], 7, 1], "sigmoid", 0)
    with pytest.raises(ValueError, match="weights"):
        method.start(wider, X, y).restore(state)


# Divergence.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "rate"), [({}, 1e200), ({"batch_size": 3}, 1e200), ({"precision": "single"}, 1e30)]
)
def test_divergence_is_raised_and_leaves_the_chunk_start(method, options, rate):
    network, X, y = problem()
    sane = method(epochs=50, optimizer=SGD(0.01), **options).start(network, X, y)
    sane.advance(3)
    session = method(epochs=50, optimizer=SGD(rate), **options).start(network, X, y)
    session.restore(sane.state())
    with pytest.raises(Diverged, match="smaller learning_rate") as raised:
        session.advance(1000)
    assert 3 < raised.value.step < 50
    assert raised.value.edge.name == "output"
    assert (session.step, session.finished) == (3, False)
    assert_same_state(sane, session)
    assert session.energy() == sane.energy()


@pytest.mark.parametrize(
    "method", [Backprop(epochs=5, optimizer=SGD(1e-3)), Equilibrium(epochs=5, gamma=1.0)]
)
def test_a_loss_out_of_range_is_a_divergence_though_weights_are_finite(method):
    """A loss of 1e120 is as good as none, though the gradient and all the weights are numbers."""
    network = Network((np.eye(1),), (np.zeros(1),), problem()[0].output)
    X, y = np.array([[1.0]]), np.array([[1e60]])
    session = method.start(network, X, y)
    before = session.state()
    with pytest.raises(Diverged):
        session.advance(1)
    assert session.step == 0
    np.testing.assert_array_equal(session.state()["parameters"], before["parameters"])
    assert np.isfinite(weights(session)).all()


# Precision.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize(("scale", "overflows"), [(1.0, False), (1e16, True), (1e45, True)])
def test_single_precision_says_what_it_cannot_hold(method, batch_size, scale, overflows):
    """Fourth powers of 1e16 are beyond 3.4e38; 1e45 itself is."""
    network, X, y = problem()
    single = method(epochs=3, batch_size=batch_size, precision="single").start(network, X * scale, y)
    assert single.overflows() == overflows
    assert not method(epochs=3, batch_size=batch_size).start(network, X * scale, y).overflows()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_single_precision_follows_double(method, output, batch_size):
    network, X, y = problem(output, (6, 5), samples=10)
    options = {"epochs": None, "steps": 8, "batch_size": batch_size, "optimizer": SGD(0.05)}
    ends = {}
    for precision in ("double", "single"):
        session = method(**options, precision=precision).start(network, X, y)
        session.advance(8)
        ends[precision] = weights(session)
        assert session.state()["parameters"].dtype == {"double": np.float64, "single": np.float32}[precision]
    scale = np.max(np.abs(ends["double"]))
    assert 0.0 < np.max(np.abs(ends["single"] - ends["double"])) < 1e-5 * scale


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", [SGD(0.05), Momentum(0.05), Adam(0.01)])
def test_single_precision_is_single_throughout(method, optimizer):
    network, X, y = problem("softmax", samples=10)
    options = {"schedule": "cosine", "weight_decay": 0.1, "precision": "single", "epochs": 5}
    session = method(optimizer=optimizer, **options).start(network, X, y)
    session.advance(3)
    held = {name: array.dtype for name, array in session.state().items() if name not in ("clock", "seconds")}
    assert set(held.values()) == {np.dtype(np.float32)}


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3, "steps": 3}, "at most one"),
        ({"epochs": 0}, "epochs must be a whole number above 0, got 0"),
        ({"steps": 2.5}, "steps must be a whole number above 0, got 2.5"),
        ({"batch_size": True}, "batch_size must be a whole number above 0, got True"),
        ({"schedule": "step"}, "schedule must be one of constant, linear, cosine, got 'step'"),
        ({"precision": "half"}, "precision must be one of auto, double, single, got 'half'"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, got -0.1"),
        ({"weight_decay": np.nan}, "weight_decay must be at least 0 and finite, got nan"),
    ],
)
def test_options_without_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Descent(**options)


@pytest.mark.parametrize("name", ["train_loss", "seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_conditions_without_sense(name, value):
    with pytest.raises(ValueError, match=rf"stop_when\.{name} must be above 0 and finite, got {value}"):
        StopWhen(**{name: value})

"""train() and records(): what the history holds, and where a linear model ends."""

import numpy as np
import pytest
from oracles import problem

from sheafcli.core.chain.network import Network
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.descent import StopWhen
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import Data, records, train
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("method", "unit"),
    [
        (Heat(steps=100, dt=0.01), 0.01),
        (Equilibrium(gamma=1.0, optimizer=SGD(0.01), steps=100), 1.0),
        (Equilibrium(gamma=0.1, optimizer=SGD(0.01), steps=100, batch_size=3), 1 / 3),
        (Backprop(optimizer=SGD(0.01), steps=100, batch_size=4), 1 / 2),
    ],
)
def test_history_is_what_can_be_recomputed(output, method, unit):
    network, X, y = problem(output, samples=12)
    X_test, y_test = X[8:], y[8:]
    X, y = X[:8], y[:8]
    fit = train(network, X, y, method, X_test=X_test, y_test=y_test, seed=3, log_every=30)
    assert [entry.step for entry in fit.history] == [0, 30, 60, 90, 100]
    session = method.start(network, X, y, 3)
    for entry in fit.history:
        session.advance(entry.step - session.step)
        trained = session.network()
        assert entry.time == pytest.approx(unit * entry.step)
        assert entry.energy == session.energy()
        for loss, accuracy, inputs, targets in (
            (entry.train_loss, entry.train_accuracy, X, y),
            (entry.test_loss, entry.test_accuracy, X_test, y_test),
        ):
            p = trained.predict(inputs)
            if output == "identity":
                assert loss == pytest.approx(np.mean((p - targets) ** 2), rel=1e-12)
                assert accuracy is None
            elif output == "sigmoid":
                likelihood = np.where(targets == 1, p, 1 - p)
                assert loss == pytest.approx(-np.mean(np.sum(np.log(likelihood), axis=1)), rel=1e-12)
                assert accuracy == np.mean((p >= 0.5) == targets)
            else:
                assert loss == pytest.approx(-np.mean(np.log(p[targets == 1])), rel=1e-12)
                assert accuracy == np.mean(np.argmax(p, axis=1) == np.argmax(targets, axis=1))
    for W, W_fit in zip(session.network().weights, fit.network.weights, strict=True):
        np.testing.assert_array_equal(W, W_fit)
    assert fit.discord == session.discord()


@pytest.mark.parametrize(
    ("log_every", "steps"),
    [(50, [0, 50, 100]), (100, [0, 100]), (1000, [0, 100]), (33, [0, 33, 66, 99, 100])],
)
def test_records_every_so_many_steps_and_at_the_end(log_every, steps):
    network, X, y = problem()
    assert [
        entry.step for entry in train(network, X, y, Heat(steps=100, dt=0.01), log_every=log_every).history
    ] == steps
    fit = train(network, X, y, Backprop(epochs=100, optimizer=SGD(0.01)), log_every=log_every)
    assert [(entry.step, entry.time) for entry in fit.history] == [(step, float(step)) for step in steps]


def test_a_resumed_session_keeps_the_rhythm():
    network, X, y = problem()
    session = Heat(steps=100, dt=0.01).start(network, X, y)
    session.advance(40)
    assert [entry.step for entry in records(session, Data(X, y), 30)] == [60, 90, 100]


def test_the_history_ends_with_the_first_record_that_is_good_enough():
    network, X, y = problem("softmax")
    options = {"optimizer": SGD(0.05), "epochs": 200}
    whole = [entry.train_loss for entry in train(network, X, y, Equilibrium(**options), log_every=10).history]
    goal = whole[7]
    fit = train(network, X, y, Equilibrium(**options, stop_when=StopWhen(train_loss=goal)), log_every=10)
    assert [entry.train_loss for entry in fit.history] == whole[
        : 1 + next(i for i, v in enumerate(whole) if v <= goal)
    ]


def test_without_test_data_there_is_no_test_loss():
    network, X, y = problem("softmax")
    method = Heat(steps=3, dt=0.01)
    for test in ({}, {"X_test": X}, {"y_test": y}):
        for entry in train(network, X, y, method, **test).history:
            assert entry.test_loss is None
            assert entry.test_accuracy is None
            assert entry.train_accuracy is not None


def test_bad_test_data_are_refused_before_training():
    network, X, y = problem()
    with pytest.raises(ValueError, match="the target must have shape"):
        train(network, X, y, Heat(steps=10), X_test=X, y_test=y[:, :1])


def test_logging_needs_a_step():
    network, X, y = problem()
    with pytest.raises(ValueError, match="log_every must be at least 1, got 0"):
        train(network, X, y, Heat(steps=10), log_every=0)


@pytest.mark.parametrize("stalks", ["random", "forward"])
@pytest.mark.parametrize("features", [3, 25])
def test_a_linear_model_ends_at_the_least_squares_solution(stalks, features):
    samples = 20
    network, X, y = problem("identity", (), samples=samples, features=features)
    fit = train(network, X, y, Heat(time=4000.0, stalks=stalks), log_every=10_000)
    design = np.hstack([X, np.ones((samples, 1))])
    start = np.hstack([network.weights[0], network.biases[0][:, None]]).T
    found = np.hstack([fit.network.weights[0], fit.network.biases[0][:, None]]).T
    residual = y - design @ np.linalg.lstsq(design, y)[0]
    np.testing.assert_allclose(y - design @ found, residual, rtol=0, atol=1e-7)
    if features < samples:
        np.testing.assert_allclose(found, np.linalg.lstsq(design, y)[0], rtol=0, atol=1e-7)
    else:
        # Weights only ever move within the span of the inputs.
        outside = (found - start) - np.linalg.pinv(design) @ (design @ (found - start))
        np.testing.assert_allclose(outside, 0.0, atol=1e-10)
    assert fit.history[-1].train_loss == pytest.approx(np.mean(residual**2), rel=1e-9, abs=1e-13)


def test_patience_keeps_the_network_of_the_least_validation_loss():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    held = {"X_validation": rng.normal(size=(30, 3)), "y_validation": rng.normal(size=(30, 1))}
    network = Network.he([3, 12, 1], seed=1)
    whole = train(network, X, y, Backprop(steps=200), log_every=5, **held)
    loss = [record.validation_loss for record in whole.history]
    best = int(np.argmin(loss))
    assert best < len(loss) - 4  # noise is learnt
    fit = train(network, X, y, Backprop(steps=200, stop_when=StopWhen(patience=3)), log_every=5, **held)
    assert [record.validation_loss for record in fit.history] == loss[: len(fit.history)]
    least = min(loss[: len(fit.history)])
    z = fit.network.logits(held["X_validation"])
    assert fit.network.output.loss(z, held["y_validation"]) == pytest.approx(least, rel=1e-12)
    assert all(value >= least for value in loss[len(fit.history) - 3 : len(fit.history)])
    with pytest.raises(ValueError, match="give X_validation"):
        train(network, X, y, Backprop(steps=5, stop_when=StopWhen(patience=3)))
    with pytest.raises(ValueError, match="patience must be at least 1"):
        StopWhen(patience=0)

"""Joint training against arrays of the reference implementation in float64."""

import numpy as np
import pytest
from oracles import assert_golden, assert_golden_discord, golden, golden_names, golden_network

from sheafcli.core.training.heat import Heat


def scale_of(arrays, prefix):
    """Return the natural size of weights and stalks in a file: the largest entry of any at `prefix`."""
    names = [name for name in arrays if name.startswith(prefix) and "discord" not in name]
    return max(np.max(np.abs(arrays[name])) for name in names)


@pytest.mark.parametrize("name", golden_names("train"))
def test_joint_euler_steps_match_the_reference(name):
    arrays = golden(name)
    network = golden_network(arrays, "start_")
    stalks = {
        key.removeprefix("start_"): arrays[key] for key in arrays if key.startswith(("start_z", "start_a"))
    }
    method = Heat(
        steps=int(arrays["steps"][-1]),
        dt=float(arrays["dt"]),
        alpha=float(arrays["alpha"]),
        beta=float(arrays["beta"]),
        stalks=stalks,
    )
    session = method.start(network, arrays["X"], arrays["Y"])
    compared = 0
    for step in arrays["steps"]:
        session.advance(int(step) - session.step)
        assert session.step == step
        trained = session.network()
        found = session.stalks()
        found |= {f"W{layer}": W for layer, W in enumerate(trained.weights, start=1)}
        found |= {f"b{layer}": b for layer, b in enumerate(trained.biases, start=1)}
        discords = {
            f"discord_{edge.name}".replace("affine", "weight"): v for edge, v in session.discord().items()
        }
        discords["discord_total"] = sum(discords.values())
        prefix = f"step{step}_"
        scale = scale_of(arrays, prefix)
        for key, value in {**found, **discords}.items():
            check = assert_golden_discord if key in discords else assert_golden
            check(value, arrays[prefix + key], scale, prefix + key)
            compared += 1
    assert compared == sum(key.startswith("step") and key != "steps" for key in arrays)
    assert session.finished


def test_beta_auto_is_one_over_the_samples():
    arrays = golden("train_identity_1h")
    assert float(arrays["beta"]) == 1 / len(arrays["X"])
    network = golden_network(arrays, "start_")
    stalks = {key: arrays[f"start_{key}"] for key in ("z1", "a1", "z2")}
    session = Heat(steps=100, dt=float(arrays["dt"]), stalks=stalks).start(network, arrays["X"], arrays["Y"])
    session.advance(100)
    assert_golden(session.network().weights[0], arrays["step100_W1"], 1.0, "W1")

"""Networks and stalks from files made elsewhere: what fits is exact, what does not is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of

from sheafcli.core.chain.network import Network
from sheafcli.core.magnitude import LARGEST
from sheafcli.errors import InputError
from sheafcli.interop.networks import network_arrays, read_network, read_stalks

GOOD = {"W1": np.ones((3, 2)), "b1": np.zeros(3), "W2": np.ones((1, 3)), "b2": np.zeros(1)}


def save(folder, **arrays):
    path = folder / "made.npz"
    np.savez(path, **arrays)
    return path


def refusal(read, path, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        read(path, *arguments)
    assert caught.value.path == path
    return caught.value.message


@st.composite
def networks(draw):
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    numbers = st.floats(-LARGEST, LARGEST)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = tuple(draw(arrays_of(np.float64, shape, elements=numbers)) for shape in shapes)
    biases = tuple(draw(arrays_of(np.float64, shape[0], elements=numbers)) for shape in shapes)
    output = draw(st.sampled_from(["identity", "sigmoid", "softmax"]))
    return Network(weights, biases, Network.he([1, 1], output).output)


@given(network=networks())
def test_a_network_reads_back_bit_for_bit(tmp_path_factory, network):
    found = read_network(save(tmp_path_factory.mktemp("networks"), **network_arrays(network)))
    assert found.output == network.output
    assert found.widths == network.widths
    for one, other in zip(network.weights + network.biases, found.weights + found.biases, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_arrays_of_a_network_are_its_parameters_by_name():
    network = Network.he([2, 3, 1], "sigmoid", seed=1)
    arrays = network_arrays(network)
    assert list(arrays) == ["W1", "b1", "W2", "b2", "output"]
    assert str(arrays["output"]) == "sigmoid"
    np.testing.assert_array_equal(arrays["W2"], network.weights[1])


def test_missing_biases_are_zero_and_a_missing_output_is_the_identity(tmp_path):
    network = read_network(save(tmp_path, W1=GOOD["W1"], W2=GOOD["W2"]))
    assert [b.tolist() for b in network.biases] == [[0.0, 0.0, 0.0], [0.0]]
    assert network.output.name == "identity"


def test_ten_layers_are_in_the_order_of_their_numbers(tmp_path):
    weights = {f"W{layer}": np.full((1, 1), float(layer)) for layer in range(12, 0, -1)}
    network = read_network(save(tmp_path, **weights))
    assert [float(W[0, 0]) for W in network.weights] == list(range(1, 13))


def test_the_output_that_is_asked_for_goes_before_that_of_the_file(tmp_path):
    path = save(tmp_path, **GOOD, output=np.array("softmax"))
    assert read_network(path).output.name == "softmax"
    assert read_network(path, "identity").output.name == "identity"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_other_kinds_of_numbers_become_float64(tmp_path, dtype):
    network = read_network(save(tmp_path, **{name: array.astype(dtype) for name, array in GOOD.items()}))
    assert {array.dtype for array in network.weights + network.biases} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(network.weights[0], GOOD["W1"])


@pytest.mark.parametrize("name", ["W1", "b2"])
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64, np.bool_])
def test_integers_are_no_weights(tmp_path, name, dtype):
    """They are those of a quantised network, whose scale the file does not hold."""
    path = save(tmp_path, **GOOD | {name: GOOD[name].astype(dtype)})
    with pytest.raises(
        InputError, match=f"{name} has numbers of type {np.dtype(dtype)}; save the model in a"
    ):
        read_network(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"W1": np.ones(3)}, "W1 must be a matrix"),
        ({"W1": np.float64(1.0)}, "W1 must be a matrix"),
        ({"W1": np.ones((3, 0))}, "W1 must be a matrix"),
        ({"W2": np.ones((1, 4))}, "W2 takes 4 inputs, layer 1 gives 3"),
        ({"b1": np.zeros((3, 1))}, "b1 must have shape (3,)"),
        ({"b2": np.float64(0.0)}, "b2 must have shape (1,)"),
        ({"W1": np.full((3, 2), np.nan)}, "must be finite"),
        ({"b2": np.array([np.inf])}, "must be finite"),
        ({"W1": np.full((3, 2), 1e160)}, "W1 holds 1.0e+160"),
        ({"W1": np.ones((3, 2)) * 1j}, "W1 must hold real numbers, not complex128"),
        ({"W2": np.full((1, 3), "1.5")}, "W2 must hold real numbers"),
        ({"b1": np.array(["0", "0", "0"])}, "b1 must hold real numbers"),
        ({"output": np.array("tanh")}, "unknown output 'tanh'; known: identity, sigmoid, softmax"),
        ({"output": np.zeros(2)}, "unknown output"),
        ({"W4": np.ones((1, 1))}, "without a gap"),
        ({"W1": np.array([{}, {}], dtype=object)}, "never unpickled"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, change, words):
    assert words in refusal(read_network, save(tmp_path, **(GOOD | change)))


@pytest.mark.parametrize(
    "arrays", [{}, {"W2": np.ones((1, 1))}, {"W0": np.ones((1, 1))}, {"w1": np.ones((1, 1))}]
)
def test_without_a_first_layer_the_names_that_are_there_are_shown(tmp_path, arrays):
    message = refusal(read_network, save(tmp_path, **arrays))
    assert "needs W1, W2" in message
    assert ", ".join(arrays) in message


def test_stalks_read_back_exactly(tmp_path):
    stalks = {"z1": np.array([[0.1, -2.0]]), "a1": np.array([[3, 4]]), "z2": np.array([[5.0]])}
    found = read_stalks(save(tmp_path, **stalks))
    assert set(found) == set(stalks)
    for name, stalk in stalks.items():
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], stalk)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.ones((1, 1))}, "unknown stalk 'y'"),
        ({"z0": np.ones((1, 1))}, "unknown stalk 'z0'"),
        ({"z1": np.array([[np.nan]])}, "finite"),
        ({"a1": np.array([[1j]])}, "finite"),
        ({"a1": np.array([["1"]])}, "finite"),
        ({"a1": np.array([[None]])}, "never unpickled"),
    ],
)
def test_what_is_no_stalk_is_refused(tmp_path, arrays, words):
    assert words in refusal(read_stalks, save(tmp_path, **arrays))


@pytest.mark.parametrize("name", ["bias1", "B1", "w2", "b2"])
def test_a_misspelt_array_does_not_pass_for_a_missing_bias(tmp_path, name):
    path = tmp_path / "network.npz"
    np.savez(path, **{"W1": np.ones((1, 2)), name: np.ones(1)})
    with pytest.raises(InputError, match=f"unknown array '{name}'"):
        read_network(path)

"""Networks for a notebook compute what PyTorch computes, and what the run they are of does."""

import numpy as np
import pytest
import torch
from torch import nn

import sheafcli as sc
from sheafcli.errors import InputError
from sheafcli.interop.networks import network_arrays
from sheafcli.runs.files import write_npz


class Block(nn.Module):
    """A residual block with batch normalisation and an activation that a state_dict does not tell."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        a = nn.functional.leaky_relu(self.norm(self.one(x)), 0.2)
        return self.head((a + self.two(a)).mean(dim=(2, 3)))


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = Block().double()
    block(torch.randn(20, 1, 6, 6, dtype=torch.float64))  # statistics that are not those of the start
    return block


def test_a_live_module_is_the_network_that_it_is_at_evaluation(block):
    network = sc.from_torch(block, torch.zeros(2, 1, 6, 6, dtype=torch.float64))
    assert block.training
    assert block.norm.training
    assert network.input_shape == (1, 6, 6)
    X = torch.randn(5, 1, 6, 6, dtype=torch.float64)
    wanted = block.eval()(X).detach().numpy()
    np.testing.assert_allclose(network.predict(X.numpy()), wanted, rtol=0, atol=1e-7)


def test_a_live_chain_is_a_network_of_dense_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    network = sc.from_torch(model, torch.zeros(1, 3))
    assert isinstance(network, sc.Network)
    np.testing.assert_array_equal(network.weights[0], model[0].weight.detach().numpy())


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        ("model", torch.zeros(1, 3), "takes a torch.nn.Module, got str"),
        (nn.Linear(3, 2), np.zeros((1, 3)), "an example of the one input"),
        (nn.Linear(3, 2), (torch.zeros(1, 3), torch.zeros(1, 3)), "an example of the one input"),
        (nn.Linear(3, 2), torch.zeros(3), "an example of the one input"),
        (nn.Linear(3, 2), torch.zeros(1, 4), "cannot export the module"),
    ],
)
def test_what_is_no_module_with_an_example_is_refused(model, example, words):
    with pytest.raises(InputError, match=words):
        sc.from_torch(model, example)


def test_a_file_of_a_network_is_loaded(tmp_path):
    network = sc.Network.he([2, 3, 1], "sigmoid", seed=1)
    write_npz(tmp_path / "made.npz", network_arrays(network))
    found = sc.load(str(tmp_path / "made.npz"))
    assert found.weights[0].tobytes() == network.weights[0].tobytes()


def test_a_run_is_loaded_and_a_folder_without_one_refused(tmp_path):
    with pytest.raises(InputError, match="no run is here"):
        sc.load(tmp_path)
    network = sc.Network.he([2, 3, 1], "sigmoid", seed=1)
    (tmp_path / "config.yaml").touch()
    (tmp_path / "manifest.json").write_text("{}")
    write_npz(tmp_path / "network.npz", network_arrays(network))
    assert sc.load(tmp_path).weights[0].tobytes() == network.weights[0].tobytes()

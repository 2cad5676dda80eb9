"""PyTorch's own modules are the oracle: the network that is read predicts what the module does."""

import contextlib
import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from model_files import (
    assert_damage_is_refused_or_harmless,
    assert_same,
    biased,
    refusal,
    samples,
    written,
)
from torch import nn

from sheafcli.errors import InputError
from sheafcli.interop.models import read_model


def trained(*modules, width=4):
    """A module whose BatchNorms have met data, in inference."""
    torch.manual_seed(0)
    module = nn.Sequential(*modules)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d) and child.affine:
            nn.init.normal_(child.weight)
            nn.init.normal_(child.bias)
    module.train()
    for seed in range(5):
        module(torch.from_numpy(3.0 * samples(width, seed=seed) + 1.0))
    return module.eval()


def saved(path, content):
    torch.save(content, path)
    return path


def predicted(module, X):
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def assert_agrees(model, module, width=4):
    X = samples(width)
    expected = predicted(module, X)
    np.testing.assert_allclose(
        model.network.predict(X), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )


MODULES = {
    "linear": lambda: [nn.Linear(4, 2)],
    "one hidden layer": lambda: [nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2)],
    "deep": lambda: [
        part for _ in range(6) for part in (nn.Linear(4, 4), nn.ReLU())
    ] + [nn.Linear(4, 1)],
    "no bias": lambda: [nn.Linear(4, 7, bias=False), nn.ReLU(), nn.Linear(7, 2, bias=False)],
    "dropout": lambda: [nn.Linear(4, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 2)],
    "flatten": lambda: [nn.Flatten(), nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2)],
    "norm before ReLU": lambda: [nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 2)],
    "norm after ReLU": lambda: [nn.Linear(4, 7), nn.ReLU(), nn.BatchNorm1d(7), nn.Linear(7, 2)],
    "norm first": lambda: [nn.BatchNorm1d(4), nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2)],
    "norm last": lambda: [nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2), nn.BatchNorm1d(2)],
    "norm without weights": lambda: [
        nn.Linear(4, 7), nn.BatchNorm1d(7, affine=False), nn.ReLU(), nn.Linear(7, 2)
    ],
    "norm, ReLU, dropout": lambda: [
        nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 2)
    ],
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
@pytest.mark.parametrize("name", MODULES)
def test_a_state_dict_predicts_what_its_module_does(tmp_path, name, suffix):
    module = trained(*MODULES[name]())
    model = read_model(saved(tmp_path / f"model{suffix}", module.state_dict()))
    assert_agrees(model, module)
    assert model.format == "pytorch"
    assert not model.says_output


@pytest.mark.parametrize("name", ["linear", "norm before ReLU", "norm after ReLU"])
def test_safetensors_of_a_module_predict_the_same(tmp_path, name):
    from safetensors.torch import save_file

    module = trained(*MODULES[name]())
    path = tmp_path / "model.safetensors"
    save_file(module.state_dict(), path)
    assert_agrees(read_model(path), module)


@pytest.mark.parametrize(("output", "ending"), [("sigmoid", nn.Sigmoid()), ("softmax", nn.Softmax(dim=1))])
def test_the_output_that_a_state_dict_does_not_hold_is_the_one_asked_for(tmp_path, output, ending):
    module = trained(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3), ending)
    model = read_model(saved(tmp_path / "model.pt", module.state_dict()), output)
    assert_agrees(model, module)
    assert not model.says_output


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_read_as_they_are(tmp_path, dtype):
    from safetensors.torch import save_file

    module = trained(*MODULES["one hidden layer"]()).to(dtype)
    state = module.state_dict()
    save_file(state, tmp_path / "model.safetensors")
    for path in (saved(tmp_path / "model.pt", state), tmp_path / "model.safetensors"):
        network = read_model(path).network
        np.testing.assert_array_equal(network.weights[0], state["0.weight"].double().numpy())
        np.testing.assert_array_equal(network.biases[1], state["2.bias"].double().numpy())


@pytest.mark.filterwarnings("ignore")  # the exporter that needs no further package says that it is old
def test_what_pytorch_exports_to_onnx_predicts_the_same(tmp_path):
    module = trained(
        nn.Flatten(),
        nn.Linear(4, 7),
        nn.ReLU(),
        nn.BatchNorm1d(7, eps=0.1),
        nn.Dropout(),
        nn.Linear(7, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 3),
        nn.Softmax(dim=1),
    )
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        module, (torch.zeros(1, 4),), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    model = read_model(path)
    assert_agrees(model, module)
    assert model.says_output


class Named(nn.Module):
    """Layers by name, in another order than the alphabet's, and ReLU where a state_dict does not show it."""

    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.head = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x):
        return self.head(torch.relu(self.middle(torch.relu(self.stem(x)))))


def test_between_named_layers_a_relu_is_assumed_and_said(tmp_path):
    module = Named()
    model = read_model(saved(tmp_path / "model.pt", module.state_dict()))
    assert_agrees(model, module)
    assert any("ReLU is assumed" in note for note in model.notes)


def test_notes_say_what_a_state_dict_does_not(tmp_path):
    module = trained(*MODULES["norm before ReLU"]())
    notes = read_model(saved(tmp_path / "model.pt", module.state_dict())).notes
    assert notes == (
        "assumed network: 4 -> Linear 0 -> BatchNorm 1 -> ReLU -> Linear 3 -> 2",
        "a state_dict does not say what stands between its layers: ReLU is assumed",
        "eps of BatchNorm 1 is not in the file: PyTorch's default 1e-05 is assumed",
        "BatchNorm 1 is folded into Linear 0, the layer before it",
    )


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_what_is_written_is_read_by_pytorch_and_by_us(tmp_path, output):
    network = biased([4, 7, 5, 3], output)
    path = written(tmp_path / "model.pt", network)
    module = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    module.load_state_dict(torch.load(path, weights_only=True))
    X = samples(4).astype(np.float64)
    np.testing.assert_allclose(predicted(module, X), network.logits(X), rtol=1e-13, atol=1e-14)
    model = read_model(path)
    assert_same(model.network, network)
    assert model.says_output


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ([nn.Conv2d(1, 2, 3), nn.Linear(4, 2)], "module '0' is Conv2d"),
        ([nn.Conv1d(1, 2, 3)], "module '0' is Conv1d"),
        ([nn.Linear(4, 3), nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 1)], "module '1' is LayerNorm"),
        ([nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)], "without running statistics"),
        ([nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 1)], "module '1' is PReLU"),
        ([nn.LSTM(4, 3), nn.Linear(3, 1)], "module '0' is a recurrent layer"),
        ([nn.MultiheadAttention(4, 2), nn.Linear(4, 1)], "attention layer"),
        ([nn.utils.parametrizations.weight_norm(nn.Linear(4, 1))], "remove_parametrizations"),
        ([nn.Bilinear(2, 3, 4)], "module '0' is"),
        (
            [nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 1)],
            "whether BatchNorm 2 stands before or behind a ReLU",
        ),
        (
            [nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)],
            "whether BatchNorm 0 stands before or behind a ReLU",
        ),
        ([nn.Linear(4, 3), nn.ReLU(), nn.Linear(4, 2)], "Linear 2 takes 4 inputs"),
        ([nn.ReLU()], "no state_dict in it"),
        ([nn.BatchNorm1d(4)], "no linear layer"),
    ],
)
def test_modules_that_a_sheaf_does_not_cover_are_named(tmp_path, modules, words):
    path = saved(tmp_path / "model.pt", nn.Sequential(*modules).state_dict())
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.weight": torch.full((3, 4), torch.nan)}, "Linear 0 holds NaN or infinite"),
        ({"0.weight": torch.zeros(1).expand(10**6, 10**6)}, "has 1,000,000,000,003 parameters"),
        ({"0.weight": torch.eye(3).to_sparse()}, "sparse"),
        ({"0.weight": torch.zeros(3, 4, device="meta")}, "without values"),
        ({"0.weight": torch.ones(3, 4, dtype=torch.complex64)}, "complex"),
        ({"0.gamma": torch.ones(3)}, "unknown parameter '0.gamma'"),
        ({"5.bias": torch.ones(3)}, "'5' has a bias and no weight"),
        ({"0.bias": torch.ones(2)}, "Linear 0 must have a matrix and one bias a row"),
        ({"9.running_mean": torch.ones(3)}, "BatchNorm 9 lacks one of its running statistics"),
        ({"0.weight": torch.zeros(1).expand(1000, 1000)}, "has 1000000 entries"),
        ({"0.weight": torch.ones(3, 4, dtype=torch.int8)}, "Linear 0 has weights of type int8; save the"),
        ({"0.bias": torch.ones(3, dtype=torch.int64)}, "Linear 0 has weights of type int64"),
        ({"0.weight": torch.ones(3, 4, dtype=torch.bool)}, "Linear 0 has weights of type bool"),
        ({"0.weight": torch.ones(3, 4, dtype=torch.float8_e4m3fn)}, "of type float8_e4m3fn"),
    ],
)
def test_tensors_that_are_no_layer_are_named(tmp_path, change, words):
    state = dict(nn.Linear(4, 3).state_dict())
    state = {f"0.{name}": tensor for name, tensor in state.items()}
    assert words in refusal(saved(tmp_path / "model.pt", state | change))


def test_a_batch_norm_between_named_layers_is_refused(tmp_path):
    state = OrderedDict()
    for name, module in (("fc1", nn.Linear(4, 3)), ("bn1", nn.BatchNorm1d(3)), ("fc2", nn.Linear(3, 1))):
        state |= {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}
    message = refusal(saved(tmp_path / "model.pt", state))
    assert "BatchNorm bn1 stands before or behind a ReLU" in message
    assert "torch.onnx.export" in message


@pytest.mark.parametrize(
    "content", [[torch.ones(2)], torch.ones(2), {}, {"state_dict": {}}, {1: torch.ones(2)}]
)
def test_what_holds_no_state_dict_is_refused(tmp_path, content):
    assert "no state_dict in it" in refusal(saved(tmp_path / "model.pt", content))


class Explosive:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_code_is_never_run(tmp_path):
    mark = tmp_path / "unpickled"
    path = saved(tmp_path / "model.pt", {"0.weight": torch.ones(1, 1), "bad": Explosive(mark)})
    assert "torch.save(model.state_dict()" in refusal(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the trap itself must work"


def test_a_whole_module_is_refused_with_the_line_that_helps(tmp_path):
    message = refusal(saved(tmp_path / "model.pt", nn.Sequential(nn.Linear(4, 1))))
    assert 'torch.save(model.state_dict(), "model.pt")' in message


def test_pickles_and_files_from_before_2020_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(4, 1).state_dict(), path, _use_new_zipfile_serialization=False)
    assert "before 1.6" in refusal(path)
    path.write_bytes(pickle.dumps({"0.weight": np.ones((1, 1))}))
    assert "torch.save(model.state_dict()" in refusal(path)


def test_a_numpy_archive_named_pt_is_told(tmp_path):
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        np.savez(file, W1=np.ones((1, 1)))
    assert "holds npz; rename it to end in .npz" in refusal(path)


@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_or_harmless(tmp_path):
    file = io.BytesIO()
    torch.save(trained(*MODULES["norm before ReLU"]()).state_dict(), file)
    assert_damage_is_refused_or_harmless(tmp_path / "model.pt", file.getvalue(), 400)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_table_of_tensors_is_refused_or_harmless(tmp_path):
    """The pickle of the archive is a small part of it; here all of the damage hits it."""
    file = io.BytesIO()
    torch.save(trained(*MODULES["one hidden layer"]()).state_dict(), file)
    path, rng = tmp_path / "model.pt", np.random.default_rng(0)
    with zipfile.ZipFile(file) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    [table] = [name for name in members if name.endswith("data.pkl")]
    for _ in range(300):
        content = bytearray(members[table])
        content[rng.integers(len(content))] = rng.integers(256)
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in (members | {table: bytes(content)}).items():
                archive.writestr(name, member)
        with contextlib.suppress(InputError):
            read_model(path)

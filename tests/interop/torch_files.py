"""What the tests of PyTorch's files share: modules, their files, and their own predictions."""

import numpy as np
import torch
from model_files import samples
from torch import nn

from sheafcli.interop.models import read_model


def linear(*widths):
    """Linear layers with parameters that are no zeros."""
    torch.manual_seed(len(widths))
    return [nn.Linear(n_in, n_out) for n_in, n_out in zip(widths, widths[1:], strict=False)]


def relu_chain(layers, X):
    """What linear layers give with ReLU between them."""
    for i, layer in enumerate(layers):
        X = layer(torch.relu(X) if i else X)
    return X


def state(**modules):
    """The state_dict of modules by name, in the order given; a name may lead into others: a__b."""
    return {
        f"{name.replace('__', '.')}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def saved(path, content):
    torch.save(content, path)
    return path


def assert_chain(path, layers, order=()):
    """The file is read as the layers with ReLU between them, to single precision; return how it was read."""
    model = read_model(path, order=order)
    X = samples(layers[0].in_features)
    with torch.no_grad():
        expected = relu_chain(layers, torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(
        model.network.predict(X), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    return model

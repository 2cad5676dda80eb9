"""Small networks of six known architectures in PyTorch, exported to ONNX for tests."""

import warnings

import torch
from torch import nn


def seeded(build):
    torch.manual_seed(0)
    model = build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0.0, 0.3)
    return model


def exported(path, model, example, opset=17, batch="dynamic", training=torch.onnx.TrainingMode.PRESERVE):
    """Write a model as an ONNX file by the older exporter, its batch normalisations as they are."""
    axes = {"x": {0: "samples"}} if batch == "dynamic" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            str(path),
            input_names=["x"],
            output_names=["y"],
            opset_version=opset,
            dynamic_axes=axes,
            training=training,
            dynamo=False,
        )
    return path


def normed(inputs, outputs, kernel, stride=1, groups=1):
    """A convolution without bias and its batch normalisation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """A block whose input is added to what it makes of it, by a 1 x 1 convolution where shapes differ."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.one, self.two = normed(inputs, outputs, 3, stride), normed(outputs, outputs, 3)
        self.short = normed(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.two(self.relu(self.one(x))) + self.short(x))


class Separable(nn.Module):
    """A depthwise convolution with ReLU6, weighed channel by channel by squeeze-and-excitation."""

    def __init__(self, channels):
        super().__init__()
        self.depthwise = normed(channels, channels, 3, groups=channels)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 2, 1),
            nn.SiLU(),
            nn.Conv2d(2, channels, 1),
            nn.Hardsigmoid(),
        )
        self.pointwise = normed(channels, channels, 1)

    def forward(self, x):
        h = nn.functional.relu6(self.depthwise(x))
        return nn.functional.hardswish(x + self.pointwise(h * self.squeeze(h)))


class Concatenating(nn.Module):
    """Layers that read all that was made before, side by side."""

    def __init__(self, channels, growth, layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels + i * growth),
                nn.ReLU(),
                nn.Conv2d(channels + i * growth, growth, 3, padding=1),
            )
            for i in range(layers)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Inception(nn.Module):
    """Branches of convolutions and pooling, side by side."""

    def __init__(self, channels):
        super().__init__()
        self.one = nn.Conv2d(channels, 2, 1)
        self.wide = nn.Sequential(
            nn.Conv2d(channels, 2, (1, 3), padding=(0, 1)), nn.Conv2d(2, 3, (3, 1), padding=(1, 0))
        )
        self.maximum = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, 2, 1))
        self.average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(self, x):
        return torch.relu(torch.cat([self.one(x), self.wide(x), self.maximum(x), self.average(x)], 1))


class Shuffle(nn.Module):
    """Half of the channels passes, half goes through a branch, then they are interleaved."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(normed(half, half, 1), nn.ReLU(), normed(half, half, 3, groups=half))

    def forward(self, x):
        passed, changed = x.chunk(2, dim=1)
        x = torch.cat([passed, self.branch(changed)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Block(nn.Module):
    """A block of a transformer: attention of several heads, then two dense layers, both added."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches of an image and a token for its class, through two blocks."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 5, 8))
        self.blocks = nn.Sequential(Block(8, 2), Block(8, 2))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(x.shape[0], -1, -1), t], 1) + self.place
        return self.head(self.norm(self.blocks(t))[:, 0])


def headed(*body, channels):
    """Blocks between a first convolution and a classifier of three classes."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        *body,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(channels, 3),
    )


NETWORKS = {
    "residual": lambda: headed(Residual(6, 6, 1), Residual(6, 8, 2), channels=8),
    "separable": lambda: headed(Separable(6), Separable(6), channels=6),
    "concatenating": lambda: headed(Concatenating(6, 2, 3), nn.AvgPool2d(2), channels=12),
    "inception": lambda: headed(Inception(6), nn.MaxPool2d(2, ceil_mode=True), channels=13),
    "shuffle": lambda: headed(Shuffle(6), Shuffle(6), channels=6),
    "transformer": Transformer,
}

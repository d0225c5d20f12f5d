"""The few of torch.nn's modules and functions that `published_nets.py` needs, in NumPy, in inference mode."""

import types

import numpy as np


def tensor(values):
    return np.asarray(values, np.float32).view(Tensor)


class Tensor(np.ndarray):
    def flatten(self, start):
        return self.reshape(*self.shape[:start], -1)


class Module:
    def __init__(self):
        self._buffers = {}

    def register_buffer(self, name, values):
        self._buffers[name] = values
        setattr(self, name, values)

    def __call__(self, x):
        return self.forward(x)

    def _own(self):
        """Names of parameters and buffers, as PyTorch orders them."""
        return tuple(self._buffers)

    def _children(self):
        return {name: each for name, each in vars(self).items() if isinstance(each, Module)}

    def _places(self, prefix=""):
        for name in self._own():
            yield prefix + name, self, name
        for name, child in self._children().items():
            yield from child._places(f"{prefix}{name}.")

    def state_dict(self):
        return {name: getattr(module, own) for name, module, own in self._places()}

    def load_state_dict(self, state):
        for name, module, own in self._places():
            setattr(module, own, state[name].view(Tensor))


class Identity(Module):
    def forward(self, x):
        return x


class Sequential(Module):
    def __init__(self, *modules):
        super().__init__()
        self.modules = modules

    def _children(self):
        return {str(i): each for i, each in enumerate(self.modules)}

    def forward(self, x):
        for module in self.modules:
            x = module(x)
        return x


class ReLU(Module):
    def forward(self, x):
        return F.relu(x)


class Flatten(Module):
    def forward(self, x):
        return x.flatten(1)


class Linear(Module):
    def __init__(self, size, units):
        super().__init__()
        self.weight, self.bias = tensor(np.zeros((units, size))), tensor(np.zeros(units))

    def _own(self):
        return "weight", "bias"

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Conv2d(Module):
    def __init__(self, before, channels, kernel_size, stride=1, padding=0, bias=True):
        super().__init__()
        self.weight = tensor(np.zeros((channels, before, kernel_size, kernel_size)))
        self.bias = tensor(np.zeros(channels)) if bias else None
        self.stride, self.padding = stride, padding

    def _own(self):
        return ("weight",) if self.bias is None else ("weight", "bias")

    def forward(self, x):
        places = _windows(F.pad(x, (self.padding,) * 4), self.weight.shape[-1], self.stride)
        out = np.einsum("bchwij,ocij->bohw", places, self.weight, optimize=True).view(Tensor)
        return out if self.bias is None else out + self.bias[:, None, None]


class BatchNorm2d(Module):
    def __init__(self, channels):
        super().__init__()
        for name in self._own():
            setattr(self, name, tensor(np.zeros(channels)))

    def _own(self):
        return "weight", "bias", "running_mean", "running_var"

    def forward(self, x):
        mean, var, weight, bias = (
            each[:, None, None] for each in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return (x - mean) / np.sqrt(var + np.float32(1e-5)) * weight + bias


def _windows(x, size, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]


def _pad(x, widths, value=0.0):
    """PyTorch's order: the last axis first, before and after."""
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2)
    pairs += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    return np.pad(x, pairs, constant_values=value).view(Tensor)


def _max_pool2d(x, kernel_size, stride, padding=0):
    return _windows(_pad(x, (padding,) * 4, -np.inf), kernel_size, stride).max((-2, -1)).view(Tensor)


def _avg_pool2d(x, size):
    return _windows(x, size, size).mean((-2, -1)).view(Tensor)


F = types.SimpleNamespace(
    relu=lambda x: np.maximum(x, 0),
    leaky_relu=lambda x, slope: np.where(x > 0, x, np.float32(slope) * x).view(Tensor),
    silu=lambda x: x / (1 + np.exp(-x)),
    pad=_pad,
    max_pool2d=_max_pool2d,
    avg_pool2d=_avg_pool2d,
)

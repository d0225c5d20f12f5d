"""PyTorch nets that the field publishes, small, in PyTorch's own words.

Each is written once and made of either torch.nn or its stand-in in NumPy (`numpy_nn.py`): both are called `nn` here and
`F`. Names, order and paddings are those of the authors' code, which each class names.
"""

from typing import NamedTuple

import numpy as np


class Published(NamedTuple):
    """A net, as `make(nn, F)` returns it, for images [C, H, W] from which mean and std are taken outside the net."""

    layout: str
    make: object
    shape: tuple
    mean: tuple = (0.0,)
    std: tuple = (1.0,)


def jem(nn, F, norm, groups=3, channels=4):
    """wgrathwohl/JEM: wideresnet.py, and F of train_wrn_ebm.py."""

    def get_norm(planes):
        return nn.BatchNorm2d(planes) if norm else nn.Identity()

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.bn1 = get_norm(in_planes)
            self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, padding=1, bias=True)
            self.bn2 = get_norm(planes)
            self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, bias=True)
            self.shortcut = nn.Sequential()
            if stride != 1 or in_planes != planes:
                self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=True))

        def forward(self, x):
            out = self.conv1(F.leaky_relu(self.bn1(x), 0.2))
            out = self.conv2(F.leaky_relu(self.bn2(out), 0.2))
            return out + self.shortcut(x)

    class WideResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 3, kernel_size=3, padding=1, bias=True)
            planes = [3] + [channels * 2**g for g in range(groups)]
            for g in range(groups):
                stride = 2 if g else 1
                blocks = [Block(planes[g], planes[g + 1], stride), Block(planes[g + 1], planes[g + 1], 1)]
                setattr(self, f"layer{g + 1}", nn.Sequential(*blocks))
            self.bn1 = get_norm(planes[-1])
            self.linear = nn.Linear(planes[-1], 10)  # never called

        def forward(self, x):
            out = self.conv1(x)
            for g in range(groups):
                out = getattr(self, f"layer{g + 1}")(out)
            out = F.leaky_relu(self.bn1(out), 0.2)
            return F.avg_pool2d(out, 8).flatten(1)

    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = WideResNet()
            last = channels * 2 ** (groups - 1)
            self.energy_output, self.class_output = nn.Linear(last, 1), nn.Linear(last, 10)

        def forward(self, x):
            return self.class_output(self.f(x))

    return Energy()


def trades_wide_resnet(nn, F, unused=True, buffers=False):
    """yaodongyu/TRADES: models/wideresnet.py; RobustBench: architectures/wide_resnet.py."""

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(in_planes)
            self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
            self.equal = in_planes == planes
            if not self.equal:
                self.convShortcut = nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False)

        def forward(self, x):
            active = F.relu(self.bn1(x))
            out = self.conv2(F.relu(self.bn2(self.conv1(active))))
            return (x if self.equal else self.convShortcut(active)) + out

    class Group(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.layer = nn.Sequential(Block(in_planes, planes, stride), Block(planes, planes, 1))

        def forward(self, x):
            return self.layer(x)

    class WideResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 3, kernel_size=3, padding=1, bias=False)
            self.block1, self.block2, self.block3 = Group(3, 4, 1), Group(4, 8, 2), Group(8, 16, 2)
            if unused:
                self.sub_block1 = Group(3, 4, 1)
            self.bn1 = nn.BatchNorm2d(16)
            self.fc = nn.Linear(16, 10)
            if buffers:  # as RobustBench's Rice2020OverfittingNet
                self.register_buffer("mu", nn.tensor([0.4914, 0.4822, 0.4465]).reshape(1, 3, 1, 1))
                self.register_buffer("sigma", nn.tensor([0.2471, 0.2435, 0.2616]).reshape(1, 3, 1, 1))

        def forward(self, x):
            if buffers:
                x = (x - self.mu) / self.sigma
            out = self.block3(self.block2(self.block1(self.conv1(x))))
            return self.fc(F.avg_pool2d(F.relu(self.bn1(out)), 8).flatten(1))

    return WideResNet()


def deepmind_wide_resnet(nn, F):
    """RobustBench: architectures/dm_wide_resnet.py, DMWideResNet."""

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.batchnorm_0 = nn.BatchNorm2d(in_planes)
            self.conv_0 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=0, bias=False)
            self.batchnorm_1 = nn.BatchNorm2d(planes)
            self.conv_1 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
            self.stride, self.equal = stride, in_planes == planes
            if not self.equal:
                self.shortcut = nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False)

        def forward(self, x):
            active = F.silu(self.batchnorm_0(x))
            out = self.conv_0(F.pad(active, (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1)))
            out = self.conv_1(F.silu(self.batchnorm_1(out)))
            return (x if self.equal else self.shortcut(active)) + out

    class Group(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.block = nn.Sequential(Block(in_planes, planes, stride), Block(planes, planes, 1))

        def forward(self, x):
            return self.block(x)

    class DMWideResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", nn.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1))
            self.register_buffer("std", nn.tensor([0.2471, 0.2435, 0.2616]).reshape(3, 1, 1))
            self.init_conv = nn.Conv2d(3, 3, kernel_size=3, padding=1, bias=False)
            self.layer = nn.Sequential(Group(3, 4, 1), Group(4, 8, 2), Group(8, 16, 2))
            self.batchnorm = nn.BatchNorm2d(16)
            self.logits = nn.Linear(16, 10)

        def forward(self, x):
            out = self.layer(self.init_conv((x - self.mean) / self.std))
            return self.logits(F.avg_pool2d(F.silu(self.batchnorm(out)), 8).flatten(1))

    return DMWideResNet()


def deepmind_pre_act_resnet(nn, F):
    """RobustBench: architectures/dm_wide_resnet.py, DMPreActResNet."""

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.batchnorm_0 = nn.BatchNorm2d(in_planes)
            self.conv_2d_1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=0, bias=False)
            self.batchnorm_1 = nn.BatchNorm2d(planes)
            self.conv_2d_2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
            self.padding, self.equal = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1), in_planes == planes
            if not self.equal:
                self.shortcut = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=0, bias=False)

        def forward(self, x):
            out = self.conv_2d_1(F.pad(F.silu(self.batchnorm_0(x)), self.padding))
            out = self.conv_2d_2(F.silu(self.batchnorm_1(out)))
            return out + (x if self.equal else self.shortcut(F.pad(x, self.padding)))

    class DMPreActResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", nn.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1))
            self.register_buffer("std", nn.tensor([0.2471, 0.2435, 0.2616]).reshape(3, 1, 1))
            self.conv_2d = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
            for g, (before, planes, stride) in enumerate([(4, 4, 1), (4, 8, 2), (8, 16, 2), (16, 32, 2)]):
                setattr(self, f"layer_{g}", nn.Sequential(Block(before, planes, stride), Block(planes, planes, 1)))
            self.batchnorm = nn.BatchNorm2d(32)
            self.logits = nn.Linear(32, 10)

        def forward(self, x):
            out = self.conv_2d((x - self.mean) / self.std)
            for g in range(4):
                out = getattr(self, f"layer_{g}")(out)
            return self.logits(F.avg_pool2d(F.silu(self.batchnorm(out)), 4).flatten(1))

    return DMPreActResNet()


def pre_act_resnet(nn, F, version, last_norm):
    """RobustBench: architectures/resnet.py, PreActResNet of PreActBlock (1) or PreActBlockV2 (2)."""

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(in_planes)
            self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
            if stride != 1 or in_planes != planes:
                conv = nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False)
                self.shortcut = nn.Sequential(conv)

        def forward(self, x):
            out = F.relu(self.bn1(x))
            shortcut = self.shortcut(x if version == 1 else out) if hasattr(self, "shortcut") else x
            return self.conv2(F.relu(self.bn2(self.conv1(out)))) + shortcut

    class PreActResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
            for g, (before, planes, stride) in enumerate([(4, 4, 1), (4, 8, 2), (8, 16, 2), (16, 32, 2)]):
                setattr(self, f"layer{g + 1}", nn.Sequential(Block(before, planes, stride), Block(planes, planes, 1)))
            if last_norm:
                self.bn = nn.BatchNorm2d(32)
            self.linear = nn.Linear(32, 10)

        def forward(self, x):
            out = self.conv1(x)
            for g in range(4):
                out = getattr(self, f"layer{g + 1}")(out)
            if last_norm:
                out = F.relu(self.bn(out))
            return self.linear(F.avg_pool2d(out, 4).flatten(1))

    return PreActResNet()


def resnet(nn, F, groups, option="B", bottleneck=False, torchvision=False, stem=3, pool=False):
    """akamaster (3 groups), kuangliu and RobustBench (4 groups), torchvision: BasicBlock and Bottleneck."""
    expansion = 4 if bottleneck else 1

    class OptionA(nn.Module):
        def __init__(self, planes):
            super().__init__()
            self.planes = planes

        def forward(self, x):
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))

    class Block(nn.Module):
        def __init__(self, in_planes, planes, stride):
            super().__init__()
            if bottleneck:
                self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=1, bias=False)
                self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
                self.conv3 = nn.Conv2d(planes, 4 * planes, kernel_size=1, bias=False)
                self.bn3 = nn.BatchNorm2d(4 * planes)
            else:
                self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
                self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
            shortcut = nn.Sequential()
            if stride != 1 or in_planes != expansion * planes:
                conv = nn.Conv2d(in_planes, expansion * planes, kernel_size=1, stride=stride, bias=False)
                norm = nn.BatchNorm2d(expansion * planes)
                shortcut = OptionA(planes) if option == "A" else nn.Sequential(conv, norm)
            setattr(self, "downsample" if torchvision else "shortcut", shortcut)

        def forward(self, x):
            out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if bottleneck:
                out = self.bn3(self.conv3(F.relu(out)))
            return F.relu(out + (self.downsample if torchvision else self.shortcut)(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            stride = 2 if stem == 7 else 1
            self.conv1 = nn.Conv2d(3, 4, kernel_size=stem, stride=stride, padding=stem // 2, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            before = 4
            for g in range(groups):
                planes = 4 * 2**g
                first = Block(before, planes, 2 if g else 1)
                before = expansion * planes
                setattr(self, f"layer{g + 1}", nn.Sequential(first, Block(before, planes, 1)))
            setattr(self, "fc" if torchvision else "linear", nn.Linear(before, 10))

        def forward(self, x):
            out = F.relu(self.bn1(self.conv1(x)))
            if pool:
                out = F.max_pool2d(out, kernel_size=3, stride=2, padding=1)
            for g in range(groups):
                out = getattr(self, f"layer{g + 1}")(out)
            return (self.fc if torchvision else self.linear)(F.avg_pool2d(out, out.shape[-1]).flatten(1))

    return ResNet()


def trades_small_cnn(nn, F):
    """yaodongyu/TRADES: models/small_cnn.py, with fewer channels."""

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 3, kernel_size=3), nn.Conv2d(3, 4, kernel_size=3)
            self.conv3, self.conv4 = nn.Conv2d(4, 5, kernel_size=3), nn.Conv2d(5, 6, kernel_size=3)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), kernel_size=2, stride=2)
            return F.max_pool2d(F.relu(self.conv4(F.relu(self.conv3(x)))), kernel_size=2, stride=2)

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(6 * 4 * 4, 20), nn.Linear(20, 20), nn.Linear(20, 10)

        def forward(self, x):
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    class SmallCNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.feature_extractor, self.classifier = Features(), Classifier()

        def forward(self, x):
            return self.classifier(self.feature_extractor(x).flatten(1))

    return SmallCNN()


def fast_mnist_cnn(nn, F):
    """locuslab/fast_adversarial: MNIST/mnist_net.py, with fewer channels."""
    return nn.Sequential(
        nn.Conv2d(1, 4, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 7 * 7, 20),
        nn.ReLU(),
        nn.Linear(20, 10),
    )


def _with(make, **settings):
    return lambda nn, F: make(nn, F, **settings)


_CIFAR = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NETS = {
    "jem": Published("jem_wide_resnet", _with(jem, norm=False), (3, 32, 32), (0.5,), (0.5,)),
    "jem++": Published("jem_wide_resnet", _with(jem, norm=True), (3, 32, 32), (0.5,), (0.5,)),
    "sada-jem 64": Published("jem_wide_resnet_64", _with(jem, norm=True, groups=4), (3, 64, 64), (0.5,), (0.5,)),
    "trades": Published("wide_resnet", trades_wide_resnet, (3, 32, 32)),
    "rice 34-20": Published("wide_resnet", _with(trades_wide_resnet, buffers=True, unused=False), (3, 32, 32)),
    "gowal": Published("deepmind_wide_resnet", deepmind_wide_resnet, (3, 32, 32)),
    "rebuffi r18": Published("deepmind_pre_act_resnet", deepmind_pre_act_resnet, (3, 32, 32)),
    "wong": Published("pre_act_resnet", _with(pre_act_resnet, version=1, last_norm=False), (3, 32, 32), *_CIFAR),
    "fast": Published("pre_act_resnet", _with(pre_act_resnet, version=1, last_norm=True), (3, 32, 32), *_CIFAR),
    "rice r18": Published("pre_act_resnet_v2", _with(pre_act_resnet, version=2, last_norm=True), (3, 32, 32), *_CIFAR),
    "kuangliu preact": Published(
        "pre_act_resnet_v2", _with(pre_act_resnet, version=2, last_norm=False), (3, 32, 32), *_CIFAR
    ),
    "akamaster": Published("resnet_option_a", _with(resnet, groups=3, option="A"), (3, 32, 32), *_IMAGENET),
    "akamaster b": Published("resnet_option_b", _with(resnet, groups=3), (3, 32, 32), *_IMAGENET),
    "kuangliu r18": Published("resnet", _with(resnet, groups=4), (3, 32, 32), *_CIFAR),
    "kuangliu r50": Published("resnet", _with(resnet, groups=4, bottleneck=True), (3, 32, 32), *_CIFAR),
    "torchvision": Published(
        "torchvision_resnet", _with(resnet, groups=4, torchvision=True, stem=7, pool=True), (3, 224, 224), *_IMAGENET
    ),
    "torchvision small": Published(
        "torchvision_resnet_cifar", _with(resnet, groups=4, torchvision=True), (3, 32, 32), *_CIFAR
    ),
    "huyvnphan": Published(
        "torchvision_resnet_cifar_pool", _with(resnet, groups=4, torchvision=True, pool=True), (3, 32, 32), *_CIFAR
    ),
    "trades mnist": Published("trades_small_cnn", trades_small_cnn, (1, 28, 28)),
    "fast mnist": Published("fast_mnist_cnn", fast_mnist_cnn, (1, 28, 28)),
}


def random_state(shapes, seed=0):
    """A state_dict of such shapes whose logits are about 1: weights by fan-in, statistics that are not trivial."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("running_var"):
            array = rng.uniform(0.5, 2, shape)
        elif len(shape) > 1:
            array = rng.normal(0, np.sqrt(1.5 / np.prod(shape[1:])), shape)
        else:
            array = rng.normal(1 if name.endswith("weight") else 0, 0.3, shape)
        state[name] = array.astype(np.float32)
    return state

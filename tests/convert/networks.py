"""Ordinary networks that the tests of conversion convert, as a user would write them."""

import torch
from torch import nn
from torch.nn import functional


class VGGLike(nn.Module):
    """Plain stages, a flatten that fixes the size, linear layers with dropout."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Linear(144, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, stride) if stride > 1 or before != after else nn.Identity()

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNetLike(nn.Module):
    """A stem of stride 4, three residual stages, the mean over space by ``x.mean([2, 3])``."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 24, 2))
        self.fc = nn.Linear(24, 5)

    def forward(self, x):
        return self.fc(self.stages(self.stem(x)).mean([2, 3]))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(0.5 * torch.ones(width, 1, 1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(functional.gelu(self.expand(y))).permute(0, 3, 1, 2)
        return x + self.scale * y


class ConvNeXtLike(nn.Module):
    """Patches, depthwise convolutions, channels-last norms and linear layers, a layer scale."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(ConvNeXtBlock(8), nn.Conv2d(8, 16, 2, 2), ConvNeXtBlock(16))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.norm(functional.adaptive_avg_pool2d(self.blocks(self.patches(x)), 1).flatten(1)))


class Inverted(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        wide = 3 * before
        self.conv = nn.Sequential(
            nn.Conv2d(before, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide), nn.BatchNorm2d(wide), nn.ReLU6(),
        )  # fmt: skip
        self.squeeze, self.excite = nn.Linear(wide, 4), nn.Linear(4, wide)
        self.project = nn.Conv2d(wide, after, 1)
        self.residual = stride == 1 and before == after

    def forward(self, x):
        y = self.conv(x)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(y.mean((2, 3))))))
        y = self.project(y * gate.view(y.size(0), y.size(1), 1, 1))
        return x + y if self.residual else y


class MobileNetLike(nn.Module):
    """Inverted residuals with depthwise strides and squeeze-and-excitation by linear layers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

    def forward(self, x):
        return self.head(self.body(x))


class UNetLike(nn.Module):
    """Skips by concatenation, upsampling to the size of the skip, an auxiliary output."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 12, 3, padding=1)
        self.bottom, self.up = nn.Conv2d(12, 12, 3, padding=1), nn.ConvTranspose2d(12, 6, 2, 2)
        self.merge, self.out = nn.Conv2d(18, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        self.auxiliary = nn.Conv2d(12, 2, 1)

    def forward(self, x):
        a = functional.relu(self.down1(x))
        b = functional.relu(self.down2(functional.max_pool2d(a, 2)))
        c = functional.relu(self.bottom(functional.max_pool2d(b, 2)))
        c = functional.interpolate(c, size=b.shape[2:], mode="bilinear")
        up = self.up(b + c)
        up = functional.pad(up, (0, a.shape[3] - up.shape[3], 0, a.shape[2] - up.shape[2]), mode="replicate")
        return self.out(functional.relu(self.merge(torch.cat([a, up, up], 1)))), self.auxiliary(c)


class ResNet3d(nn.Module):
    """A residual block with a learned stride and a projected shortcut, on volumes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU())
        self.conv1, self.norm1 = nn.Conv3d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm3d(16)
        self.conv2, self.norm2 = nn.Conv3d(16, 16, 3, padding=1, bias=False), nn.BatchNorm3d(16)
        self.shortcut, self.fc = nn.Conv3d(8, 16, 1, 2), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return self.fc(functional.relu(y + self.shortcut(x)).mean((2, 3, 4)))


class UNet3d(nn.Module):
    """One level down by a pool and up by a transposed convolution, a skip by concatenation, on volumes."""

    def __init__(self):
        super().__init__()
        self.down, self.bottom = nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 12, 3, padding=1)
        self.norm, self.up = nn.InstanceNorm3d(8), nn.ConvTranspose3d(12, 8, 2, 2)
        self.merge, self.out = nn.Conv3d(16, 8, 3, padding=1), nn.Conv3d(8, 2, 1)

    def forward(self, x):
        a = functional.leaky_relu(self.norm(self.down(x)))
        up = self.up(functional.relu(self.bottom(functional.max_pool3d(a, 2))))
        missing = [m for n, k in zip(a.shape[:1:-1], up.shape[:1:-1], strict=True) for m in (0, n - k)]
        return self.out(functional.relu(self.merge(torch.cat([a, functional.pad(up, missing)], 1))))


SPACE = {cls.__name__: cls for cls in (ResNet3d, UNet3d)}
OWN = {cls.__name__: cls for cls in (VGGLike, ResNetLike, ConvNeXtLike, MobileNetLike, UNetLike)}

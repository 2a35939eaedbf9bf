"""The peer of `beside_lightly.py`: PyTorch and Lightly, in an environment of their own. Never imported by tftransfer.

    python benchmarks/lightly_peer.py losses FILE       a loss curve, from the weights and views in FILE (.npz)
    python benchmarks/lightly_peer.py steps WORK COUNT  times COUNT training steps; answers each line on standard input

Needs torch and lightly; torchvision, which Lightly's package asks for on import, is not used.
"""

import copy
import json
import sys
import time
import types

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def lightly_losses():
    """Lightly's losses. What its packages import beside them (models, detection: torchvision) is left out."""
    import importlib
    import importlib.util
    from unittest.mock import MagicMock

    folder = importlib.util.find_spec("lightly").submodule_search_locations[0]
    for part in ("loss", "models", "models/modules"):
        name = "lightly." + part.replace("/", ".")
        sys.modules[name] = package = types.ModuleType(name)
        package.__path__ = [f"{folder}/{part}"]
    for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
        sys.modules.setdefault(name, MagicMock())

    def found(module, name):
        return getattr(importlib.import_module(f"lightly.loss.{module}"), name)

    return {
        "SimCLR": found("ntx_ent_loss", "NTXentLoss"),
        "BarlowTwins": found("barlow_twins_loss", "BarlowTwinsLoss"),
        "VICReg": found("vicreg_loss", "VICRegLoss"),
        "BYOL": found("negative_cosine_similarity", "NegativeCosineSimilarity"),
    }


class Same(nn.Conv2d):
    """A convolution that pads as TensorFlow does: the odd pixel goes right and below."""

    def __init__(self, incoming, outgoing, kernel, stride=1, exact=True):
        self.total = kernel - stride if exact else 0
        padding = kernel // 2 if not exact or stride == 1 else 0
        super().__init__(incoming, outgoing, kernel, stride, padding, bias=False)
        self.uneven = exact and stride > 1 and kernel > 1

    def forward(self, x):
        if self.uneven:
            before = self.total // 2
            after = self.total - before
            x = functional.pad(x, (before, after, before, after))
        return super().forward(x)


class Residual(nn.Module):
    """`tftransfer.backbones.residual`, basic blocks, 3×3 stem; layers have its names."""

    def __init__(self, channels, blocks, exact):
        super().__init__()
        self.layers, self.plan = nn.ModuleDict(), []
        self._conv_norm("stem_conv", "stem_norm", channels, 64, 3, 1, exact)
        incoming, number = 64, 0
        for stage, repeats in enumerate(blocks):
            for repeat in range(repeats):
                name, width = f"block_{number:02d}", 64 * 2**stage
                stride = 2 if stage and not repeat else 1
                shortcut = stride > 1 or incoming != width
                if shortcut:
                    self._conv_norm(
                        f"{name}_shortcut_conv", f"{name}_shortcut_norm", incoming, width, 1, stride, exact
                    )
                self._conv_norm(f"{name}_conv_1", f"{name}_norm_1", incoming, width, 3, stride, exact)
                self._conv_norm(f"{name}_conv_2", f"{name}_norm_2", width, width, 3, 1, exact)
                self.plan.append((name, shortcut))
                incoming, number = width, number + 1
        self.width = incoming

    def _conv_norm(self, conv, norm, incoming, outgoing, kernel, stride, exact):
        self.layers[conv] = Same(incoming, outgoing, kernel, stride, exact)
        self.layers[norm] = nn.BatchNorm2d(outgoing, eps=1e-5, momentum=0.1)

    def forward(self, x):
        of = self.layers
        x = functional.relu(of["stem_norm"](of["stem_conv"](x)))
        for name, shortcut in self.plan:
            y = functional.relu(of[f"{name}_norm_1"](of[f"{name}_conv_1"](x)))
            y = of[f"{name}_norm_2"](of[f"{name}_conv_2"](y))
            if shortcut:
                x = of[f"{name}_shortcut_norm"](of[f"{name}_shortcut_conv"](x))
            x = functional.relu(x + y)
        return x.mean(dim=(2, 3))


class Small(nn.Module):
    """`tftransfer.backbones.cnn`: convolution, pooling, normalisation, relu."""

    def __init__(self, channels, filters=(32, 64, 128)):
        super().__init__()
        self.blocks = nn.ModuleList()
        for count in filters:
            conv = nn.Conv2d(channels, count, 3, padding=1, bias=False)
            self.blocks.append(nn.Sequential(conv, nn.MaxPool2d(2), nn.BatchNorm2d(count), nn.ReLU()))
            channels = count
        self.width = channels

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3))


class Projector(nn.Module):
    """`tftransfer.layers.projector`."""

    def __init__(self, incoming, widths):
        super().__init__()
        self.layers, self.count = nn.ModuleDict(), len(widths)
        for i, width in enumerate(widths):
            last = i == len(widths) - 1
            self.layers[f"dense_{i}"] = nn.Linear(incoming, width, bias=last)
            if not last:
                self.layers[f"norm_{i}"] = nn.BatchNorm1d(width, eps=1e-5, momentum=0.1)
            incoming = width

    def forward(self, x):
        for i in range(self.count - 1):
            x = functional.relu(self.layers[f"norm_{i}"](self.layers[f"dense_{i}"](x)))
        return self.layers[f"dense_{self.count - 1}"](x)


def copied(module, weights, prefix):
    """Puts Keras's arrays, by the names of their layers, into a module."""
    state = module.state_dict()
    names = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    seen = set()
    for path in (p for p in weights if p.startswith(prefix + "|")):
        _, layer, kind = path.split("|")
        value = torch.from_numpy(weights[path])
        if kind == "kernel":
            value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T
        name = f"layers.{layer}.{names[kind]}"
        assert state[name].shape == value.shape, (name, state[name].shape, value.shape)
        state[name], _ = value.contiguous(), seen.add(name)
    left = [n for n in state if n not in seen and not n.endswith("num_batches_tracked")]
    assert not left, f"no value for {left}"
    module.load_state_dict(state)
    return module.train()


def loss_curve(path):
    """Losses of each step, printed as JSON."""
    file = np.load(path)
    settings, weights = json.loads(str(file["settings"])), {k: file[k] for k in file.files if "|" in k}
    name, losses = settings["objective"], lightly_losses()
    views = torch.from_numpy(file["views"]).permute(0, 1, 2, 5, 3, 4)  # (steps, 2, batch, channels, h, w)
    backbone = copied(Residual(views.shape[3], settings["blocks"], exact=True), weights, "backbone")
    project = copied(Projector(backbone.width, settings["projector"]), weights, "projector")
    parts = [backbone, project]
    if name == "BYOL":
        predict = copied(Projector(settings["projector"][-1], settings["predictor"]), weights, "predictor")
        teacher = copy.deepcopy(nn.Sequential(backbone, project))
        parts.append(predict)
    criterion = losses[name](**settings["loss"])
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=settings["rate"], momentum=settings["momentum"])
    curve = []
    for pair in views:
        if name == "BYOL":
            with torch.no_grad():
                for mine, original in zip(
                    teacher.parameters(), [*backbone.parameters(), *project.parameters()], strict=True
                ):
                    mine.lerp_(original, 1 - settings["teacher"])
            said = [predict(project(backbone(v))) for v in pair]
            with torch.no_grad():
                told = [teacher(v) for v in pair]
            loss = 4 + 2 * criterion(said[0], told[1]) + 2 * criterion(said[1], told[0])  # the paper's scale
        elif name == "SimCLR":  # both views are one batch, as in the paper
            loss = criterion(*project(backbone(torch.cat(tuple(pair)))).chunk(2))
        else:
            loss = criterion(*(project(backbone(v)) for v in pair))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    print(json.dumps(curve))


GREY = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)


def view(x):
    """A random crop, resized, mirrored and recoloured, of a whole batch at once: what `layers.RandomView` does."""
    n = len(x)
    draw = torch.rand(n, 11)
    area = 0.2 + draw[:, 0] * 0.8
    root = torch.exp(0.5 * (np.log(0.75) + draw[:, 1] * (np.log(4 / 3) - np.log(0.75))))
    wide, high = (area.sqrt() * root).clamp(max=1), (area.sqrt() / root).clamp(max=1)
    mirrored = torch.where(draw[:, 4] < 0.5, -1.0, 1.0)
    place = torch.zeros(n, 2, 3)
    place[:, 0, 0], place[:, 1, 1] = wide * mirrored, high
    place[:, 0, 2] = (2 * draw[:, 2] - 1) * (1 - wide)
    place[:, 1, 2] = (2 * draw[:, 3] - 1) * (1 - high)
    grid = functional.affine_grid(place, x.shape, align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    jittered = (draw[:, 5] < 0.8).float()
    bright, contrast, colour = (1 + jittered * 0.4 * (2 * draw[:, i] - 1) for i in (6, 7, 8))
    bright, contrast = bright.view(-1, 1, 1, 1), contrast.view(-1, 1, 1, 1)
    colour = torch.where(draw[:, 9] < 0.2, torch.zeros(()), colour).view(-1, 1, 1, 1)
    luma = (x * GREY).sum(1, keepdim=True)
    mean = luma.mean(dim=(1, 2, 3), keepdim=True)
    x = colour * x + (1 - colour) * luma
    return (bright * contrast * x + bright * (1 - contrast) * mean).clamp(0, 1)


class Block(nn.Module):
    """timm's: one product for queries, keys and values, and PyTorch's fused attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        b, n, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(0))
        x = x + self.out(mixed.transpose(1, 2).reshape(b, n, width))
        return x + self.mlp(self.norm_2(x))


class MaskedAutoencoder(nn.Module):
    """ViT of 6 blocks of 192 over patches of 4 pixels, 75% hidden; a decoder of 2 blocks of 96."""

    def __init__(self, patch=4, tokens=64, width=192, depth=6, heads=3, small=96):
        super().__init__()
        self.patch, self.visible = patch, tokens // 4
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.places = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.narrow, self.hidden = nn.Linear(width, small), nn.Parameter(torch.zeros(1, 1, small))
        self.decoder_places = nn.Parameter(torch.randn(1, tokens, small) * 0.02)
        self.decoder = nn.Sequential(*(Block(small, 3) for _ in range(2)), nn.LayerNorm(small))
        self.values = nn.Linear(small, 3 * patch * patch)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.places
        b, n, width = tokens.shape
        order = torch.rand(b, n).argsort(1)
        restore = order.argsort(1)
        visible = tokens.gather(1, order[:, : self.visible, None].expand(-1, -1, width))
        known = self.narrow(self.blocks(visible))
        rest = self.hidden.expand(b, n - self.visible, -1)
        places = restore[..., None].expand(-1, -1, known.shape[-1])
        said = self.values(self.decoder(torch.cat([known, rest], 1).gather(1, places) + self.decoder_places))
        p = self.patch
        target = functional.unfold(x, p, stride=p).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        mask = (restore >= self.visible).float()
        return (((said - target) ** 2).mean(-1) * mask).sum() / mask.sum()


def steps(work, count, batch, last):
    """Answers each line on standard input with the CPU and wall seconds of `count` steps."""
    torch.manual_seed(0)
    pictures = torch.rand(batch, 3, 32, 32)
    if last:
        pictures = pictures.contiguous(memory_format=torch.channels_last)
    if work == "mae":
        model = MaskedAutoencoder()
    else:
        backbone = Residual(3, (2, 2, 2, 2), exact=False) if work == "resnet18" else Small(3)
        model = nn.Sequential(backbone, Projector(backbone.width, (backbone.width, 128)))
    if last:
        model = model.to(memory_format=torch.channels_last)
    criterion = lightly_losses()["SimCLR"](temperature=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        if work == "mae":
            loss = model(pictures)
        else:
            loss = criterion(*model(torch.cat([view(pictures), view(pictures)])).chunk(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    begun = time.process_time()
    step()
    print(json.dumps({"first_step_cpu": time.process_time() - begun}), flush=True)
    step()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall": wall / count, "cpu": cpu / count}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(torch.get_num_threads())
    if sys.argv[1] == "losses":
        loss_curve(sys.argv[2])
    else:
        steps(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), last=sys.argv[5:] == ["channels_last"])

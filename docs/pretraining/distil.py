"""Train VGG16 with batch normalisation on small photos, with EfficientNet-Lite0 as teacher, within a time budget.

Needs PyTorch, NumPy and Pillow, and a GPU: README.md beside this file.

    python distil.py --data PART.npz [PART.npz ...] --teacher lite0.npz --seconds 540 --out FOLDER

Each part holds `data` (image files end to end), `offsets` (n + 1) and `labels`. Only decoding runs on the CPU.
The learning rate depends on the time, not on the step: it is 0 at the end, whatever the speed of the GPU.
"""

import argparse
import io
import json
import math
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

CHANNELS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
MEAN_RGB = (123.68, 116.779, 103.939)  # keras.applications.vgg16 subtracts these, and does not divide
STAGES = (  # EfficientNet-Lite0's: expansion, kernel, stride, filters, repeats
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
PART_BYTES = 15 * 2**20


class Vgg16(nn.Module):
    """VGG16's convolutions, each with batch normalisation and no bias.

    Input: RGB minus the mean, (n, 3, h, w). Output: (n, 512, h / 32, w / 32).
    """

    def __init__(self, width=1.0):
        super().__init__()
        layers, channels = [], 3
        for each in CHANNELS:
            if each == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            size = int(each * width)
            layers += [nn.Conv2d(channels, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
            channels = size
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class Student(nn.Module):
    """VGG16 and three linear maps of its output: the 200 labels, the teacher's 1000 answers, its 1280 features."""

    def __init__(self, width=1.0):
        super().__init__()
        self.backbone = Vgg16(width)
        n = int(512 * width)
        self.labels = nn.Linear(n, 200)
        self.answers = nn.Linear(n, 1000)
        self.features = nn.Conv2d(n, 1280, 1)

    def forward(self, x):
        maps = self.backbone(x)
        pooled = maps.mean((2, 3))
        return self.labels(pooled), self.answers(pooled), self.features(maps)


class Teacher:
    """EfficientNet-Lite0 with its batch normalisation folded. Input: RGB 0 to 255."""

    def __init__(self, arrays, device, dtype):
        self.w, self.dtype = {}, dtype

        def array(name):
            return torch.from_numpy(arrays[name].astype(np.float32))

        def add(name, conv, norm):
            weight = array(conv + ".weight")
            gamma, beta, mean, var = (array(f"{norm}.{k}") for k in ("weight", "bias", "running_mean", "running_var"))
            scale = gamma / torch.sqrt(var + 1e-3)
            kernel = (weight * scale[:, None, None, None]).to(device, dtype)
            if kernel.shape[1] > 1:
                kernel = kernel.contiguous(memory_format=torch.channels_last)
            self.w[name] = kernel, (beta - mean * scale).to(device, dtype)

        add("stem", "_conv_stem", "_bn0")
        self.blocks, index = [], 0
        for expand, kernel, stride, _, repeats in STAGES:
            for r in range(repeats):
                p = f"_blocks.{index}."
                if expand > 1:
                    add(p + "e", p + "_expand_conv", p + "_bn0")
                add(p + "d", p + "_depthwise_conv", p + "_bn1")
                add(p + "p", p + "_project_conv", p + "_bn2")
                self.blocks.append((p, expand > 1, kernel, stride if r == 0 else 1, r > 0))
                index += 1
        add("head", "_conv_head", "_bn1")
        self.fc = array("_fc.weight").to(device, dtype), array("_fc.bias").to(device, dtype)

    def _conv(self, name, x, kernel=1, stride=1, groups=1):
        weight, bias = self.w[name]
        pad = max(math.ceil(x.shape[2] / stride) * stride - stride + kernel - x.shape[2], 0)
        if pad % 2:
            x, pad = F.pad(x, (pad // 2, pad - pad // 2) * 2), 0
        return F.conv2d(x, weight, bias, stride, pad // 2, 1, groups)

    @torch.no_grad()
    def __call__(self, images):
        """Returns: answers (n, 1000), features (n, 1280, h/32, w/32)."""
        x = ((images - 127) / 128).to(self.dtype, memory_format=torch.channels_last)
        x = F.relu6(self._conv("stem", x, 3, 2), inplace=True)
        for p, has_expand, kernel, stride, skip in self.blocks:
            y = F.relu6(self._conv(p + "e", x), inplace=True) if has_expand else x
            y = F.relu6(self._conv(p + "d", y, kernel, stride, y.shape[1]), inplace=True)
            y = self._conv(p + "p", y)
            x = x + y if skip else y
        maps = F.relu6(self._conv("head", x), inplace=True)
        return F.linear(maps.mean((2, 3)), *self.fc).float(), maps


def decode(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def load(paths, limit=None):
    """Returns: uint8 (n, 3, 64, 64), labels (n,)."""
    images, labels = [], []
    with Pool() as pool:
        for path in paths:
            z = np.load(path)
            data, o, y = z["data"].tobytes(), z["offsets"], z["labels"]
            n = min(len(y), limit or len(y))
            images.append(np.stack(pool.map(decode, [data[o[i] : o[i + 1]] for i in range(n)], chunksize=512)))
            labels.append(y[:n].astype(np.int64))
    return torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(
        np.concatenate(labels)
    )


def crop_grid(n, low, high, device, turn=0.15):
    """Return random crops as affine matrices: share of the area, aspect ratio, position, mirroring, slight rotation."""
    area = torch.empty(n, device=device).uniform_(low, high)
    ratio = torch.exp(torch.empty(n, device=device).uniform_(-math.log(4 / 3), math.log(4 / 3)))
    w, h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = (torch.rand(n, device=device) * 2 - 1) * (1 - w), (torch.rand(n, device=device) * 2 - 1) * (1 - h)
    flip = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    a = torch.randn(n, device=device) * turn
    a = torch.where(torch.rand(n, device=device) < 0.5, a, torch.zeros_like(a))
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 0, 2] = w * flip * a.cos(), -w * a.sin(), x
    theta[:, 1, 0], theta[:, 1, 1], theta[:, 1, 2] = h * flip * a.sin(), h * a.cos(), y
    return theta


def render(source, theta, size):
    grid = F.affine_grid(theta, (len(theta), 3, size, size), align_corners=False)
    return F.grid_sample(source, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


class Colours:
    """Random sharpness, brightness, contrast, saturation, tint and noise; the same for every size of one batch."""

    def __init__(self, n, device):

        def u(low, high):
            return torch.empty(n, 1, 1, 1, device=device).uniform_(low, high)

        self.sharpen = u(-0.3, 2.0).clamp(min=0) * (u(0, 1) < 0.6)
        self.brightness, self.contrast, self.saturation = u(0.65, 1.4), u(0.65, 1.4), u(0.5, 1.5)
        self.saturation = torch.where(u(0, 1) < 0.04, torch.zeros_like(self.saturation), self.saturation)
        self.tint = torch.empty(n, 3, 1, 1, device=device).uniform_(0.9, 1.1)
        self.noise = u(-12, 12).clamp(min=0)
        self.grey = torch.tensor((0.299, 0.587, 0.114), device=device)[None, :, None, None]

    def __call__(self, x):
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = (x + self.sharpen * (x - blurred)) * self.brightness * self.tint
        grey = (x * self.grey).sum(1, keepdim=True)
        x = grey + (x - grey) * self.saturation
        mean = grey.mean((2, 3), keepdim=True)
        x = mean + (x - mean) * self.contrast
        return (x + torch.randn_like(x) * self.noise).clamp(0, 255)


@torch.no_grad()
def batch(images, labels, index, mosaic, size, teacher_size):
    """Return augmented single photos, then mosaics of four photos in full resolution, as sharp as real photos."""
    device = images.device
    n = len(index)
    tiles = int(n * mosaic)
    single = images[index[: n - tiles]].float()
    theta = crop_grid(len(single), 0.3, 1.0, device)
    four = images[torch.randint(len(images), (tiles, 4), device=device)].float()
    canvas = torch.cat([torch.cat([four[:, 0], four[:, 1]], 3), torch.cat([four[:, 2], four[:, 3]], 3)], 2)
    theta4 = crop_grid(tiles, 0.3, 0.9, device)
    colours = Colours(n, device)
    sizes = dict.fromkeys((size, teacher_size))
    views = [colours(torch.cat([render(single, theta, s), render(canvas, theta4, s)])) for s in sizes]
    return views[0], views[-1], labels[index[: n - tiles]]


def orthogonalise(g):
    """Newton-Schulz, five steps in bfloat16. Source: K. Jordan et al., Muon, 2024."""
    x = g.bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


class Muon:
    """Orthogonalised momentum for convolutions. It keeps their norm, which batch normalisation makes irrelevant."""

    def __init__(self, kernels, momentum=0.9):
        self.kernels, self.momentum = kernels, momentum
        self.buffers = [torch.zeros_like(k) for k in kernels]

    @torch.no_grad()
    def step(self, rate):
        for k, b in zip(self.kernels, self.buffers, strict=True):
            b.lerp_(k.grad, 1 - self.momentum)
            g = k.grad.lerp(b, self.momentum).reshape(len(k), -1)
            wide = g if g.shape[0] <= g.shape[1] else g.T
            update = orthogonalise(wide)
            update = update if g.shape[0] <= g.shape[1] else update.T
            k.mul_(len(k) ** 0.5 / k.norm())
            k.add_(update.reshape(k.shape).to(k.dtype) * (len(k) / min(g.shape)) ** 0.5, alpha=-rate)


def save(student, out, note):
    """Write the state in parts under 16 MiB: convolutions as fp16, everything else as fp32."""
    state = {
        k: (v.half() if v.ndim == 4 and "backbone" in k else v.float()).cpu() for k, v in student.state_dict().items()
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    raw = buffer.getvalue()
    for i in range(0, len(raw), PART_BYTES):
        (out / f"student.{i // PART_BYTES}").write_bytes(raw[i : i + PART_BYTES])
    (out / "progress.json").write_text(json.dumps({**note, "bytes": len(raw)}))


def restore(student, folder):
    raw = b"".join(p.read_bytes() for p in sorted(folder.glob("student.*")))
    state = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
    student.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return json.loads((folder / "progress.json").read_text())


@torch.no_grad()
def accuracy(student, images, labels, size, autocast):
    student.eval()
    hits = 0
    mean = torch.tensor(MEAN_RGB, device=images.device)[None, :, None, None]
    for i in range(0, len(images), 500):
        x = F.interpolate(images[i : i + 500].float(), size=(size, size), mode="bilinear", align_corners=False) - mean
        with autocast():
            hits += (student(x.to(memory_format=torch.channels_last))[0].argmax(1) == labels[i : i + 500]).sum().item()
    student.train()
    return hits / len(images)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", nargs="+")
    a.add_argument("--teacher")
    a.add_argument("--out", type=Path)
    a.add_argument("--seconds", type=float, default=540)
    a.add_argument("--batch", type=int, default=512)
    a.add_argument("--rate", type=float, default=0.04)
    a.add_argument("--adam-rate", type=float, default=2e-3)
    a.add_argument("--mosaic", type=float, default=0.33)
    a.add_argument("--sizes", type=int, nargs="+", default=[96, 128])
    a.add_argument("--switch", type=float, default=0.55, help="share of the time at the first size")
    a.add_argument("--teacher-size", type=int, default=160)
    a.add_argument("--width", type=float, default=1.0)
    a.add_argument("--limit", type=int)
    a.add_argument("--resume", type=Path)
    a.add_argument("--held-out", type=int, default=2000)
    args = a.parse_args()
    begin = time.monotonic()

    def say(*words):
        print(f"{time.monotonic() - begin:7.1f}", *words, flush=True)

    def autocast():
        return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    images, labels = load(args.data, args.limit)
    images, labels = images.to(device), labels.to(device)
    say("images", tuple(images.shape))
    val_images, val_labels = images[: args.held_out], labels[: args.held_out]
    images, labels = images[args.held_out :], labels[args.held_out :]
    teacher = Teacher(dict(np.load(args.teacher)), device, half)
    student = Student(args.width).to(device, memory_format=torch.channels_last)
    done = 0.0
    if args.resume:
        done = restore(student, args.resume)["share"]
        say("resumed at", done)
    kernels = [m.weight for m in student.backbone.modules() if isinstance(m, nn.Conv2d)]
    if not args.resume:
        with torch.no_grad():
            for k in kernels:
                k.mul_(len(k) ** 0.5 / k.norm())
    rest = [p for p in student.parameters() if all(p is not k for k in kernels)]
    adam = torch.optim.AdamW(rest, lr=args.adam_rate, weight_decay=1e-4, betas=(0.9, 0.99))
    muon = Muon(kernels)
    mean = torch.tensor(MEAN_RGB, device=device)[None, :, None, None]
    # The loss measures the teacher's features in units of their standard deviation.
    with torch.no_grad():
        index = torch.randint(len(images), (min(1024, len(images)),), device=device)
        _, y, _ = batch(images, labels, index, args.mosaic, args.sizes[0], args.teacher_size)
        maps = torch.cat([teacher(part)[1].float() for part in y.split(128)])
        centre = maps.mean((0, 2, 3))[None, :, None, None]
        map_spread = maps.std((0, 2, 3))[None, :, None, None] + 0.02
        pooled_spread = maps.mean((2, 3)).std(0)[None] + 0.01
    say("teacher ready")
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    last_save = last_say = start
    step, seen, order = 0, 0, torch.empty(0, dtype=torch.long, device=device)
    sums = torch.zeros(5, device=device)
    counted = 0
    singles = args.batch - int(args.batch * args.mosaic)
    while True:
        now = time.monotonic()
        share = done + (1 - done) * (now - start) / args.seconds
        if share >= 1:
            break
        size = args.sizes[0] if share < args.switch else args.sizes[-1]
        rate = min(share / 0.03, 1.0, (1 - share) / 0.97) if not args.resume else (1 - share)
        if len(order) < singles:
            order = torch.randperm(len(images), device=device)
        index, order = order[:singles], order[singles:]
        index = torch.cat([index, index[: args.batch - singles]])
        x, y, target = batch(images, labels, index, args.mosaic, size, args.teacher_size)
        answers, maps = teacher(y)
        maps = maps.float()
        with autocast():
            named, answered, features = student((x - mean).to(memory_format=torch.channels_last))
        features = features.float()
        pooled_loss = F.mse_loss(features.mean((2, 3)), (maps.mean((2, 3)) - centre[..., 0, 0]) / pooled_spread)
        # The same linear map predicts both, so rescale: pooled features have a smaller standard deviation.
        aligned = F.adaptive_avg_pool2d((maps - centre) / pooled_spread[..., None, None], features.shape[2:])
        scale = (map_spread / pooled_spread[..., None, None]).square()
        map_loss = ((features - aligned).square() / scale).mean()
        label_loss = F.cross_entropy(named[: len(target)].float(), target, label_smoothing=0.1)
        t = 2.0
        ours, theirs = F.log_softmax(answered.float() / t, 1), F.log_softmax(answers / t, 1)
        answer_loss = F.kl_div(ours, theirs, log_target=True, reduction="batchmean") * t
        loss = 0.5 * label_loss + answer_loss + 3 * pooled_loss + 3 * map_loss
        for p in student.parameters():
            p.grad = None
        loss.backward()
        muon.step(args.rate * rate)
        adam.param_groups[0]["lr"] = args.adam_rate * rate
        adam.step()
        with torch.no_grad():
            hit = (named[: len(target)].argmax(1) == target).float().mean()
            sums += torch.stack([label_loss, answer_loss, pooled_loss, map_loss, hit])
        counted += 1
        step += 1
        seen += args.batch
        if step % 10 == 0:
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.monotonic()
            if now - last_say > 15 or step in (10, 20, 50):
                label, answer, pooled, mapped, hit = (sums / counted).tolist()
                say(
                    f"step {step} share {share:.3f} size {size} img/s {seen / (now - start):.0f} label {label:.3f} "
                    f"answer {answer:.3f} pooled {pooled:.3f} map {mapped:.3f} hit {hit:.3f}"
                )
                sums.zero_()
                counted, last_say = 0, now
            if now - last_save > 110:
                note = {"share": share, "step": step, "seen": seen}
                note["accuracy"] = accuracy(student, val_images, val_labels, 128, autocast)
                save(student, args.out, note)
                last_save = time.monotonic()
                say("saved", (args.out / "progress.json").read_text())
    label, answer, pooled, mapped, hit = (sums / max(counted, 1)).tolist()
    note = {"share": min(share, 1.0), "step": step, "seen": seen, "seconds": time.monotonic() - start}
    note |= {f"accuracy_{s}": accuracy(student, val_images, val_labels, s, autocast) for s in (96, 128, 160)}
    note |= {"label": label, "answer": answer, "pooled": pooled, "map": mapped, "hit": hit}
    if device.type == "cuda":
        note |= {"device": torch.cuda.get_device_name(), "memory_gib": torch.cuda.max_memory_allocated() / 2**30}
    save(student, args.out, note)
    say("end", json.dumps(note))


if __name__ == "__main__":
    main()

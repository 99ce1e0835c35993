"""Fold the student's batch normalisation into its convolutions, check the result, and write Keras' weights file.

    python fold.py --student FOLDER --data PART.npz --out vgg16.weights.h5 --reference reference.npz

Needs PyTorch and h5py. `prove_in_keras.py` compares the reference with Keras' own VGG16.
"""

import argparse
import hashlib
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from distil import CHANNELS, MEAN_RGB, Student, load, restore
from torch import nn
from torch.nn import functional as F


def fold(backbone):
    """Fold the normalisation into kernels and biases that compute the same in inference.

    The result is exact up to rounding: convolutions pad with zeros before the normalisation, and the input is only
    subtracted from, as in Keras.

    Returns: 13 kernels (out, in, 3, 3) and biases (out,), float32.
    """
    kernels, biases = [], []
    layers = list(backbone.layers)
    for convolution, norm in pairwise(layers):
        if isinstance(convolution, nn.Conv2d):
            scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            kernels.append((convolution.weight.double() * scale[:, None, None, None]).float())
            biases.append((norm.bias.double() - norm.running_mean.double() * scale).float())
    return kernels, biases


def run(images, kernels, biases):
    """Compute the pooled features (n, 512) of RGB minus the mean, (n, 3, h, w)."""
    pairs = iter(zip(kernels, biases, strict=True))
    for size in CHANNELS:
        if size == "pool":
            images = F.max_pool2d(images, 2)
        else:
            kernel, bias = next(pairs)
            images = F.relu(F.conv2d(images, kernel, bias, padding=1))
    return images.mean((2, 3))


def largest_relative_error(expected, found):
    """Return the largest norm of the difference of two feature vectors, divided by the norm of the expected one."""
    return ((expected - found).norm(dim=1) / expected.norm(dim=1)).max().item()


def write(path, kernels, biases):
    """Write Keras 3's layout: kernels (3, 3, in, out) as fp16, the first one for BGR; biases as fp32."""
    with h5py.File(path, "w") as file:
        for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            array = kernel.permute(2, 3, 1, 0).numpy()
            array = array[:, :, ::-1] if i == 0 else array
            group = file.create_group(f"layers/conv2d{f'_{i}' if i else ''}/vars")
            group["0"], group["1"] = np.ascontiguousarray(array).astype(np.float16), bias.numpy()


@torch.no_grad()
def main():
    a = argparse.ArgumentParser()
    a.add_argument("--student", type=Path, required=True)
    a.add_argument("--data", required=True)
    a.add_argument("--out", type=Path, required=True)
    a.add_argument("--reference", type=Path, required=True)
    args = a.parse_args()
    student = Student()
    restore(student, args.student)
    student.eval()
    kernels, biases = fold(student.backbone)
    halves = [kernel.half().float() for kernel in kernels]
    images = load([args.data], 1000)[0]
    x = images.float() - torch.tensor(MEAN_RGB)[None, :, None, None]
    unfolded, folded, stored = (
        torch.cat([each(part) for part in x.split(100)])
        for each in (
            lambda part: student.backbone(part).mean((2, 3)),
            lambda part: run(part, kernels, biases),
            lambda part: run(part, halves, biases),
        )
    )
    print(f"folded against unfolded, {len(images)} images: {largest_relative_error(unfolded, folded):.1e}")
    print(f"kernels stored as fp16 against unfolded: {largest_relative_error(unfolded, stored):.1e}")
    write(args.out, kernels, biases)
    arrays = {f"kernel_{i}": kernel.permute(2, 3, 1, 0).numpy() for i, kernel in enumerate(kernels)}
    arrays |= {f"bias_{i}": bias.numpy() for i, bias in enumerate(biases)}
    np.savez(args.reference, images=images.permute(0, 2, 3, 1).numpy(), features=unfolded.numpy(), **arrays)
    print(args.out, args.out.stat().st_size, "bytes, SHA-256", hashlib.sha256(args.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()

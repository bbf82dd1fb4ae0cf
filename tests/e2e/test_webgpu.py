"""The page's networks on WebGPU say what they say in WebAssembly; by a software adapter, where Chromium brings one."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.e2e.conftest import ARGUMENTS, Visit
from tests.e2e.staged import SIZE, Stage, portrait
from tests.e2e.test_motion import built

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
__all__ = ["built"]  # a fixture: skips where `make web` has not run

TOLERANCES = {
    "detector": 1e-3,  # pixels of 128
    "landmarks": 1e-2,  # pixels of 192
    "motion": 5e-3,  # degrees and crop units
    "canonical": 1e-3,
    "features": 5e-3,  # up to ten
    "surface": 5e-3,  # crop units, and shares
}
"""A convolution that WebGPU computed wrongly was off by whole units."""


@pytest.fixture(scope="module")
def arguments() -> list[str]:
    """Chromium's, with WebGPU: SwiftShader answers where there is no GPU."""
    return [argument for argument in ARGUMENTS if argument != "--disable-gpu"] + ["--enable-unsafe-webgpu"]


COMPARE = """async ([pixels, side, names]) => {
  const from = (file) => import(new URL(`client/motion/${file}`, document.baseURI).href);
  const [{ loadNetworks }, { cut, planes }] = await Promise.all([from("model.js"), from("crop.js")]);
  const rgb = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
  const frame = { width: side, height: side, data: new Uint8ClampedArray(4 * side * side).fill(255) };
  for (let i = 0; i < side * side; i++) frame.data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  const picture = (size, x) => planes(cut({ x, y: side / 2, side: 0.9 * side }, frame, size));
  const [wasm, gpu] = [await loadNetworks("wasm", 1, names), await loadNetworks("webgpu", 1, names)];
  const { canonical, motion, features } = wasm.networks;
  const [source, driving] = [picture(256, side / 2), picture(256, 0.45 * side)];
  const [points, still] = [await canonical(source), await motion(source)];
  const found = await features(source, points, still);
  const counts = wasm.manifest.networks.surface.inputs.slice(3).map(({ shape }) => shape.reduce((a, b) => a * b));
  const given = {
    detector: [picture(128, side / 2)],
    landmarks: [picture(192, side / 2)],
    motion: [driving],
    canonical: [source],
    features: [source, points, still],
    surface: [points, still, await motion(driving), found.slice(0, counts[0]), found.slice(counts[0], -128 * 128)],
  };
  const compared = {};
  for (const name of names) {
    const [first, second] = [await wasm.networks[name](...given[name]), await gpu.networks[name](...given[name])];
    const apart = first.reduce((most, value, i) => Math.max(most, Math.abs(value - second[i])), 0); // NaN stays
    const largest = first.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    compared[name] = { same: first.length === second.length, apart, largest, milliseconds: gpu.milliseconds[name] };
  }
  return compared;
}"""


@pytest.mark.timeout(900)  # a software adapter takes seconds for a network, on a busy machine minutes for all
def test_networks_say_on_webgpu_what_they_say_in_webassembly(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url, devices=False)
    if not visitor.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
        pytest.skip("Chromium has no WebGPU adapter here, not even one of software")
    picture = np.ascontiguousarray(portrait(0.0, 0.0, 0.0)).tobytes()
    found = visitor.evaluate(COMPARE, [base64.b64encode(picture).decode(), SIZE, list(TOLERANCES)])
    print(found)
    for name, tolerance in TOLERANCES.items():
        assert found[name]["same"], name
        assert found[name]["largest"] > 0.1, name
        assert found[name]["apart"] <= tolerance, (name, found[name])

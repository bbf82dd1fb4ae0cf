"""`TalkingHead`: the assembled model behind one interface, whatever the profile.

enrol(source image) -> SourceState      once per source image, on the receiver
extract(frames) -> Motion               each frame, on the sender
render(states, motions, views) -> frames    each frame, on the receiver, batched over people and views
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from model.codec.statistics import MotionStatistics
from model.description import WEIGHTS, Profile, random_description, read_description
from model.errors import InputError, WeightsError
from model.eye_weights import load_eye_enhancer
from model.face.crop import whole
from model.face.region import face_region, in_crop_units
from model.graphs.engine import Engine, graph_networks
from model.landmarks.roi import Region
from model.landmarks.tracker import measure
from model.landmarks.weights import load_landmark_network
from model.motion import CanonicalKeypoints, Motion, View, apply_view, compose, turn_head
from model.networks.paper import PaperNetworks
from model.networks.paper_config import PAPER_PROFILES
from model.networks.rendered import Rendered
from model.networks.small import SmallNetworks
from model.networks.small.articulation import articulated
from model.networks.small.blocks import fold_batch_norm
from model.networks.small.eye_enhancer import Enhance, EyePatches, enhance_eyes
from model.networks.small.eye_windows import draw_eye_windows
from model.networks.small.eyes import SourceEyes, draw_eyes
from model.networks.small.guided import face_points, with_canonical, with_face
from model.networks.small.mouth import draw_mouths
from model.networks.small.sharp import SharpSource, moved_detail, reduced, with_detail
from model.networks.small_config import SMALL
from model.registration.keypoint_tracker import CALL, Aligner, Effort, SmallAligner
from model.registration.similarity import GreyPyramid
from model.source_state import SourceState, first_of, joined_eyes, joined_sharp, side_by_side
from model.temporal_filter import FrameTime
from model.uncertainty import turn, uncertainty
from model.weights.manifest import eye_enhancer_of
from model.window import Window


class Surface(Protocol):
    """M alone, where a profile can say what moves each driving pixel."""

    def __call__(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> tuple[Tensor, Tensor]:
        """Flow (B, 2, G, G), source coordinates of driving pixels, and masks (B, K + 1, G, G), background first."""


class Networks(Protocol):
    """What a profile brings: F, L, H + Delta, and M with G; and how they run."""

    @property
    def compiled(self) -> bool:
        """Whether compiled graphs run what runs for each frame."""

    @property
    def memory_format(self) -> torch.memory_format:
        """How pictures lie in memory, as its convolutions read them fastest."""

    @property
    def landmarks(self) -> Callable[[Tensor], Tensor] | None:
        """Picture (1, 3, 192, 192) in [0, 1] -> confidence and landmarks (1, 1435); None where a profile has none."""

    @property
    def enhance(self) -> Enhance | None:
        """Runs the enhancer of eyes; None where a profile has none."""

    @property
    def surface(self) -> Surface | None:
        """M alone, by which frames are aligned to a source image; None where a profile cannot."""

    def canonical(self, image: Tensor) -> CanonicalKeypoints: ...

    def motion(self, image: Tensor) -> Motion: ...

    def appearance(self, image: Tensor, canonical: CanonicalKeypoints, motion: Motion) -> dict[str, Tensor]: ...

    def synthesise(
        self, features: dict[str, Tensor], canonical: CanonicalKeypoints, source: Motion, driving: Motion
    ) -> Rendered: ...


@dataclass(frozen=True)
class Trained:
    """A profile's networks with their weights as the file has them, on the CPU."""

    profile: Profile
    networks: SmallNetworks | PaperNetworks
    statistics: MotionStatistics
    weights_hash: str


def load_trained(path: Path | None = None) -> Trained:
    """Read weights from a safetensors file; the embedded small ones by default.

    Eyes are corrected where an enhancer lies beside the file (`eye_enhancer_of`). Raises WeightsError.
    """
    description, data = read_description(path)
    profile = description.profile
    networks = _untrained(profile.name)
    tensors = {name: tensor for name, tensor in load_tensors(data).items() if not name.startswith("codec.")}
    try:
        networks.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        name = WEIGHTS if path is None else path
        raise WeightsError(f"{name} does not fit the profile {profile.name}: {str(error).splitlines()[0]}") from None
    if profile.layout.face_count:
        networks.landmarks = load_landmark_network()
        beside = eye_enhancer_of(WEIGHTS if path is None else path)
        if isinstance(networks, SmallNetworks) and (path is None or beside.exists()):
            networks.eye_enhancer = load_eye_enhancer(beside)
    return Trained(profile, networks, description.statistics, description.weights_hash)


class TalkingHead:
    """A profile's networks with their weights, in evaluation mode.

    Thread safety: calls may come from any thread, one at a time.
    """

    def __init__(
        self,
        profile: Profile,
        networks: SmallNetworks | PaperNetworks,
        statistics: MotionStatistics,
        weights_hash: str,
        device: torch.device | str = "cpu",
        engine: Engine = "torch",
        threads: int = 0,
        ahead: Sequence[str] = (),
    ) -> None:
        """Engine, threads and `ahead` as `load` takes them."""
        self.profile = profile
        self.statistics = statistics
        self.weights_hash = weights_hash
        self.device = torch.device(device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        networks = networks.eval().requires_grad_(False)
        fold_batch_norm(networks)
        networks = networks.to(self.device)
        nn.Module.to(networks, memory_format=networks.memory_format)  # type: ignore[call-overload]
        self.torch_networks: Networks = networks
        """The same networks in torch, whatever runs them: gradients go through these."""
        graphs = graph_networks(networks, profile.size, self.device, engine, threads, ahead)
        self._networks: Networks = graphs or networks

    @property
    def engine(self) -> str:
        """What runs the networks of each frame: `torch` or `graphs`."""
        return "graphs" if self._networks.compiled else "torch"

    @staticmethod
    def load(
        path: Path | None = None,
        device: torch.device | str = "cpu",
        engine: Engine = "torch",
        threads: int = 0,
        ahead: Sequence[str] = (),
    ) -> TalkingHead:
        """Read weights from a safetensors file; the embedded small ones by default.

        engine: `model.graphs.engine`; compiling takes a few seconds, in the first calls of `extract` and `render`.
        threads: of compiled graphs, 0 takes every core; torch's own are set with torch.
        ahead: graphs (model/graphs/networks.py) that are read at once where an earlier process compiled them.
        Raises WeightsError when the file is missing, damaged or of an unknown profile, InputError when graphs are
        asked for and cannot run here.
        """
        trained = load_trained(path)
        return TalkingHead(
            trained.profile, trained.networks, trained.statistics, trained.weights_hash, device, engine, threads, ahead
        )

    @staticmethod
    def random(
        name: str = "small",
        seed: int = 0,
        device: torch.device | str = "cpu",
        engine: Engine = "torch",
        threads: int = 0,
    ) -> TalkingHead:
        """An untrained model, for tests and timings. Raises InputError for an unknown profile, and as `load` does."""
        known = random_description(name, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = _untrained(name)
        return TalkingHead(known.profile, networks, known.statistics, known.weights_hash, device, engine, threads)

    @torch.inference_mode()
    def enrol(self, image: Tensor) -> SourceState:
        """Features, canonical keypoints and motion of a source image, uint8 (3, S, S) or (1, 3, S, S) RGB.

        S: one of the profile's sizes; the networks see the smaller one. Raises InputError for another.
        """
        image = image if image.ndim == 4 else image[None]
        sharp = None
        if image.shape[-1] == self.profile.sharp_size and image.dtype == torch.uint8:
            sharp = SharpSource.of(image.to(self.device).float() / 255)
        x = self._picture(image if sharp is None else reduced(image))
        with self._precision():
            # Sender and receiver each enrol a source: its motion is exact, on every processor.
            canonical, motion = self._networks.canonical(x), self.torch_networks.motion(x)
        eyes = None
        if self.has_landmarks:
            motion, eyes = self._with_face(image[0], canonical, motion)
        with self._precision():
            features = self._networks.appearance(x, canonical, motion)
        windows = None
        if self.has_landmarks and self._networks.enhance is not None:
            face = compose(canonical, motion)[0, self.profile.layout.face]
            windows = EyePatches.of(x.float(), face.float())
        return SourceState(canonical, motion, features, eyes, sharp, windows)

    def _with_face(self, image: Tensor, canonical: CanonicalKeypoints, motion: Motion) -> tuple[Motion, SourceEyes]:
        """Motion of a source image uint8 (3, S, S) with the face where landmarks have it, and its eyes.

        Where no face can be measured (a drawing, a mask) the motion stays, and the eyes are left to the generator.
        """
        picture, crop = image.permute(1, 2, 0).cpu().numpy(), whole(image.shape[-1])
        extracted = motion.to_numpy()[0]
        points = self.landmarks(picture, face_region(crop, extracted))
        if points is not None:  # once more, as exactly placed as in a frame that follows others
            points = self.landmarks(picture, Region.of_landmarks(points))
        if points is None:
            return motion, SourceEyes.none(self.device)
        landmarks = in_crop_units(points, crop)
        placed = with_face(extracted, first_of(canonical), face_points(landmarks))
        eyes = SourceEyes.of(torch.from_numpy(landmarks)[None].to(self.device))
        return Motion.stack([placed]).to_torch(self.device), eyes

    @torch.inference_mode()
    def with_windows(self, state: SourceState, windows: Sequence[Window]) -> SourceState:
        """A source image with windows of the same person beside it, in place of those that it had.

        A profile without landmarks has no use for them: its state stays as it is.
        """
        return state.beside(windows, self.profile.layout.face) if self.has_landmarks else state

    @property
    def has_landmarks(self) -> bool:
        """Whether the face's keypoints come from landmarks."""
        return self._networks.landmarks is not None

    @torch.inference_mode()
    def canonical(self, image: Tensor) -> CanonicalKeypoints:
        """Canonical keypoints (K, 3), NumPy, of the person in a picture uint8 (1, 3, S, S) RGB."""
        with self._precision():
            return first_of(self._networks.canonical(self._picture(image)))

    def relative_to(self, then: CanonicalKeypoints, motion: Motion, now: CanonicalKeypoints) -> Motion:
        """Motion (...) that is relative to canonical keypoints `now`, (K, 3), relative to `then`; NumPy arrays.

        A face that was measured stays where it is; a profile without landmarks measures none.
        """
        return with_canonical(motion, now, then, self.profile.layout.face_count) if self.has_landmarks else motion

    @torch.inference_mode()
    def landmarks(self, frame: NDArray[np.uint8], region: Region) -> NDArray[np.float32] | None:
        """Landmarks (478, 3), pixels, of the face in a region of a frame uint8 (H, W, 3) RGB; None where there is none.

        Raises InputError for a profile without landmarks.
        """
        network = self._networks.landmarks
        if network is None:
            raise InputError(f"the profile {self.profile.name} has no landmarks")
        found = measure(lambda picture: network(picture.to(self.device)).float().cpu(), frame, region)
        return None if found is None else found.points

    @torch.inference_mode()
    def extract(self, frames: Tensor) -> Motion:
        """Motion, batch shape (B,), of frames uint8 (B, 3, S, S) RGB."""
        with self._precision():
            motion = self._networks.motion(self._picture(frames))
        return motion.to_torch(self.device)

    def aligner(self, state: SourceState, source: GreyPyramid, effort: Effort = CALL) -> Aligner | None:
        """What aligns frames to a source image, to correct their motion: M is compiled now, where it is to be.

        source: the image as frames are registered. effort: what an alignment may take.
        None for a profile whose frames cannot be aligned.
        """
        surface = self._networks.surface
        if surface is None:
            return None

        def surface_motion(driving: Motion, _keypoints: object) -> tuple[Tensor, Tensor]:
            with self._precision():
                flow, masks = surface(state.features, state.canonical, state.motion, driving)
            return flow.float(), masks.float()

        motion = state.motion.to_torch(self.device)
        with torch.inference_mode():
            surface_motion(motion, None)
        person = state.features["person"]
        return SmallAligner(surface_motion, self.profile.layout, state.canonical, motion, source, person, effort)

    @property
    def aligns(self) -> bool:
        """Whether frames can be aligned to a source image."""
        return self._networks.surface is not None

    @torch.inference_mode()
    def render(
        self,
        states: Sequence[SourceState],
        motions: Motion,
        views: Sequence[View] | None = None,
        frame_times: Sequence[FrameTime] | None = None,
        size: int | None = None,
    ) -> Tensor:
        """Frames uint8 (B, 3, S, S) RGB on the model's device: source b in motion b, seen from view b.

        frame_times: when each frame is shown, and in which view; without them each stands for itself
        size: S, one of the profile's sizes; None: the networks' own. Source images of that size lend it their detail
        Raises InputError when these differ in length, the keypoints in number, or for a size that there is not.
        """
        if size is not None and size not in self.profile.sizes:
            raise InputError(f"pictures of {' or '.join(map(str, self.profile.sizes))} pixels can be rendered")
        lengths = {len(given) for given in (states, motions, views, frame_times) if given is not None}
        if len(lengths) > 1:
            raise InputError("one source state, one motion, one view and one frame time per frame are needed")
        if motions.keypoints != self.profile.keypoints:
            raise InputError(f"motion has {motions.keypoints} keypoints, the model {self.profile.keypoints}")
        driving = motions.to_torch(self.device)
        features, canonical, source = side_by_side(states)
        plain = driving
        if self.has_landmarks:
            driving = articulated(driving, source)
        if views is not None and not all(view.is_identity for view in views):
            plain, driving = self._seen(plain, views), self._seen(driving, views)
        with self._precision():
            rendered = self._networks.synthesise(features, canonical, source, driving)
        frame, image = rendered.frame.float(), features.get("image")
        layers = rendered.layers if size == self.profile.sharp_size else None
        if frame_times is not None and self.profile.layout.face_count:
            frame = self._filtered(frame, states, canonical, source, driving, frame_times, layers is not None)
        picture = (frame * 255 + 0.5).clamp(0, 255).to(torch.uint8)
        if layers is not None:
            sharp = joined_sharp(states)
            detail, image = moved_detail(rendered.frame.float(), layers, sharp), sharp.image
            if frame_times is not None:
                shown = zip(detail, states, frame_times, strict=True)
                detail = torch.stack(
                    [time.filter.follow_detail(one, state.features, time.at) for one, state, time in shown]
                )
            picture = with_detail(picture, detail)
        if (eyes := joined_eyes(states)) is not None:
            face = compose(canonical, driving)[:, self.profile.layout.face]
            assert image is not None, "who knows of eyes has the picture"
            picture = draw_eyes(picture, image.float(), eyes, face.float())
            # Windows are as wide and as open as they were: in motion that is not articulated.
            face = compose(canonical, plain)[:, self.profile.layout.face]
            if (enhance := self._networks.enhance) is not None:
                with self._precision():
                    picture = enhance_eyes(picture, [state.eye_patches for state in states], face.float(), enhance)
            eye_windows = [state.eye_windows for state in states]
            if any(eye_windows):
                picture = draw_eye_windows(picture, eye_windows, face.float())
            mouths = [state.mouths for state in states]
            if any(mouths):
                picture = draw_mouths(picture, mouths, face.float())
        return picture

    def _seen(self, motions: Motion, views: Sequence[View]) -> Motion:
        """Motion (B,), each seen from its view."""
        seen = []
        for index, view in enumerate(views):
            motion, further = motions[index : index + 1], view.turned_further(self.profile.view_gain)
            if self.profile.pivot is None:
                seen.append(apply_view(motion, further))
            else:
                seen.append(turn_head(motion, further, self.profile.pivot, self.profile.layout))
        return Motion.concatenate(seen)

    def _filtered(
        self,
        frames: Tensor,
        states: Sequence[SourceState],
        canonical: CanonicalKeypoints,
        source: Motion,
        driving: Motion,
        frame_times: Sequence[FrameTime],
        detailed: bool,
    ) -> Tensor:
        """Frames (B, 3, S, S), each steadied by those that its view has shown before; detailed: detail is added."""
        face = compose(canonical, driving)[:, self.profile.layout.face, :2]
        unsure = uncertainty(turn(source, driving), face, frames.shape[-1])
        return torch.stack(
            [
                time.filter.follow(frame, share, state.features, time.at, detailed)
                for frame, share, state, time in zip(frames, unsure, states, frame_times, strict=True)
            ]
        )

    def _picture(self, image: Tensor) -> Tensor:
        size = self.profile.size
        if image.dtype != torch.uint8 or image.shape[1:] != (3, size, size):
            raise InputError(f"pictures must be uint8 (3, {size}, {size}), not {image.dtype} {tuple(image.shape[1:])}")
        picture = image.to(self.device).float() / 255
        return picture.contiguous(memory_format=self._networks.memory_format)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.device.type == "cuda")


def _untrained(name: str) -> SmallNetworks | PaperNetworks:
    """Networks of a profile that there is, as they are before training."""
    return SmallNetworks(SMALL) if name == "small" else PaperNetworks(PAPER_PROFILES[name])

"""Analysis by synthesis: motion moved to where the picture that it makes is nearer to the frame.

Registration follows grey values with masks that stand still; what a receiver will show is the whole network's. A file
has the time to look at that: every fourth frame is drawn and compared with what was filmed, and the gradient of the
difference, through dense motion and generator, says where keypoints and residual flow have to go (Adam, Kingma and Ba
2015). Each begins with what the frame before it, on the way from the source image, has needed, or with nothing where
that is nearer; frames between two get what lies between.

Keypoints of eyes and mouth stay where landmarks have them: between two frames that are compared, a blink begins and
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats
from model.keypoint_layout import KeypointLayout
from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.articulation import articulated
from model.networks.small_config import EYES, MOUTH
from model.registration.keypoints import FURTHEST_RESIDUAL_FLOW, RESIDUAL_FLOW_SIGMA, keypoint_sigma
from model.source_state import SourceState
from model.talking_head import TalkingHead

REFINE_EVERY = 4
"""Frames for one that is drawn."""

_STEPS = 4  # of Adam, for each frame that is drawn
_KEYPOINT_STEP, _FLOW_STEP = 0.002, 0.004  # crop units that one step may take
_BETAS = 0.5, 0.9  # a few steps have to do
_OTHER = 0.12  # of [0, 1]: a pixel before the face that differs by more shows something else, such as a hand
_FACE = 0.35  # of the extent of the face's keypoints: how far the face reaches beyond them
_PRIOR = 3e-4  # of the mean square of what moves, in sigmas, against the mean difference of pictures of [0, 1]

OUTLINE, FURTHEST = 0.02, 0.04
"""Crop units that landmarks of the head's outline may move, and whatever else moves: a hand before a face, which has a
cheek's colours, would draw cheek and chin out."""


def refined(
    head: TalkingHead,
    pictures: NDArray[np.uint8],
    motions: Motion,
    source: int,
    state: SourceState,
    step: Callable[[], object] = lambda: None,
) -> Motion:
    """Motions (T,) of a clip, NumPy arrays, with keypoints and residual flow moved.

    pictures  (N, S, S, 3) of frames 0, `REFINE_EVERY`, ..., in the networks' size
    source    the frame that became the source image; it stays as it is
    state     that frame enrolled
    step      called `refinement_steps` times, for each picture
    A profile whose frames cannot be aligned keeps its motion.
    """
    if not head.aligns:
        return motions
    draw = _drawing(head, state)
    drawn = range(0, REFINE_EVERY * len(pictures), REFINE_EVERY)
    nothing = np.zeros((motions.keypoints + RESIDUAL_FLOW_PLACES, 2), np.float32)
    moved = {source: nothing}
    for way in ([i for i in drawn if i > source], [i for i in reversed(drawn) if i < source]):
        begin = nothing
        for index in way:
            picture = torch.from_numpy(np.array(pictures[index // REFINE_EVERY])).permute(2, 0, 1)[None]
            begin = moved[index] = _moved(draw, head, state.canonical, picture, motions[index : index + 1], begin)
            step()
    if source in drawn:
        step()
    return _applied(motions, moved)


def refinement_steps(head: TalkingHead, frames: int) -> int:
    """How many pictures `refined` has of a clip of that many frames."""
    return -(-frames // REFINE_EVERY) if head.aligns else 0


def _drawing(head: TalkingHead, state: SourceState) -> Callable[[Motion], Tensor]:
    """How networks draw a source image: motion (1,), tensors, -> frame (1, 3, S, S) in [0, 1].

    Gradients go back to the motion. Eyes, sharp detail and the filter over time are not in it.
    """
    with torch.inference_mode(False):  # what was made in that mode has no gradients
        features = {name: feature.float().clone() for name, feature in state.features.items()}
        canonical = CanonicalKeypoints(state.canonical.points.float().clone())
        source = state.motion.map(lambda values: values.float().clone())

    def draw(driving: Motion) -> Tensor:
        moved = articulated(driving, source) if head.has_landmarks else driving
        return head.torch_networks.synthesise(features, canonical, source, moved).frame

    return draw


def _moved(
    draw: Callable[[Motion], Tensor],
    head: TalkingHead,
    canonical: CanonicalKeypoints,
    picture: Tensor,
    motion: Motion,
    begin: Floats,
) -> Floats:
    """By how much keypoints, then residual flow, (K + 64, 2) have to move from a motion (1,); at first by `begin`."""
    count, layout = motion.keypoints, head.profile.layout
    with torch.inference_mode(False), torch.enable_grad():
        wanted, given = picture.to(head.device).float() / 255, motion.to_torch(head.device)
        face = compose(canonical, given)[0, layout.face, :2]
        bound = _bound(face, picture.shape[-1])
        sigma, furthest = (x.to(head.device)[:, None] for x in (keypoint_sigma(layout), _furthest(layout)))

        def bounded(keypoints: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
            return keypoints.clamp(-furthest, furthest), flow.clamp(-FURTHEST, FURTHEST)

        def difference(keypoints: Tensor, flow: Tensor) -> Tensor:
            moves, flow_moves = bounded(keypoints, flow)
            expression = torch.cat([given.expression[..., :2] + moves, given.expression[..., 2:]], -1)
            residual_flow = given.residual_flow + flow_moves
            residual_flow = residual_flow.clamp(-FURTHEST_RESIDUAL_FLOW, FURTHEST_RESIDUAL_FLOW)
            drawn = draw(replace(given, expression=expression, residual_flow=residual_flow))
            unlikely = (keypoints / sigma).square().mean() + (flow / RESIDUAL_FLOW_SIGMA).square().mean()
            return (drawn - wanted).abs().minimum(bound).mean() + _PRIOR * unlikely

        begins = [torch.from_numpy(way).to(head.device) for way in (begin, np.zeros_like(begin))]
        with torch.no_grad():  # what a frame needed that looked otherwise may be worse than nothing
            errors = [float(difference(way[:count], way[count:])) for way in begins]
        best, found = min(errors), begins[int(errors[1] < errors[0])]
        keypoints, flow = (part.clone().requires_grad_(True) for part in (found[:count], found[count:]))
        adam = torch.optim.Adam(
            [{"params": [keypoints], "lr": _KEYPOINT_STEP}, {"params": [flow], "lr": _FLOW_STEP}], betas=_BETAS
        )
        for last in (*[False] * _STEPS, True):
            error = difference(keypoints, flow)
            if float(error.detach()) < best:
                best, found = float(error.detach()), torch.cat([keypoints, flow]).detach()
            if not last:
                adam.zero_grad()
                error.backward()  # type: ignore[no-untyped-call]
                adam.step()
        moved: Floats = torch.cat(bounded(found[:count], found[count:])).cpu().numpy()
        return moved


def _bound(face: Tensor, size: int) -> Tensor:
    """(S, S) up to which the difference of a pixel counts: beyond it nothing is pulled where the face (J, 2) is."""
    least, most = face.amin(0), face.amax(0)
    reach = _FACE * (most - least)
    at = pixel_grid(size, size, face)  # (S, S, 2)
    inside = ((at > least - reach) & (at < most + reach)).all(-1)
    return torch.where(inside, _OTHER, 1.0)


def _furthest(layout: KeypointLayout) -> Tensor:
    """(K,) crop units that each keypoint may move; those of eyes and mouth stay."""
    furthest = torch.full((layout.count,), FURTHEST)
    furthest[layout.face] = OUTLINE
    furthest[list(EYES + MOUTH)] = 0.0
    return furthest


def _applied(motions: Motion, moved: dict[int, Floats]) -> Motion:
    """Motions (T,) moved by what was found for some of them, by index, and between those by what lies between."""
    known = sorted(moved)
    found = np.stack([moved[index].ravel() for index in known])  # (N, 2 (K + 64))
    every = np.stack([np.interp(np.arange(len(motions)), known, column) for column in found.T], 1)
    way = every.reshape(len(motions), -1, 2).astype(np.float32)
    expression = motions.expression.copy()
    expression[..., :2] += way[:, : motions.keypoints]
    flow = (motions.residual_flow + way[:, motions.keypoints :]).clip(-FURTHEST_RESIDUAL_FLOW, FURTHEST_RESIDUAL_FLOW)
    return replace(motions, expression=expression, residual_flow=flow)

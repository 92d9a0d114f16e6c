"""Maps of importance: what encoders say, how it follows the picture, and how agreement with masks is measured."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data
from tiny_siglip import write_tiny_siglip2

from scene.errors import UsageError
from scene.importance.agreement import map_agreement
from scene.importance.follow import ImportanceTracker
from scene.importance.maps import ImportanceMaps, open_importance
from scene.importance.priors import centre_map, moved_map, random_map, with_prior
from scene.model.semantics import SemanticEncoder, encoder_names, load_encoder
from scene.model.semantics.student import dense_size
from scene.picture import Picture, PictureFormat

Floats = npt.NDArray[np.float32]


@pytest.mark.parametrize("family", ["fixed", "naflex"])
def test_siglips_map_is_the_attention_of_its_pooling_head(family: Literal["fixed", "naflex"], tmp_path: Path) -> None:
    encoder = load_encoder(str(write_tiny_siglip2(tmp_path / "tiny", family)))
    pictures = torch.rand(2, 3, 90, 160)
    shares = encoder.shares(pictures)
    assert shares.shape == encoder(pictures, spatial=True).shape[:1] + encoder(pictures, spatial=True).shape[2:]
    # Attention is of one frame's patches: it adds up to all of it.
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(2))
    # By hand, from the head's own weights.
    tokens = encoder.tower(**encoder.prepare(pictures)).last_hidden_state  # type: ignore[operator]
    head = encoder.tower.head  # type: ignore[union-attr]
    width, heads = tokens.shape[-1], head.attention.num_heads  # type: ignore[union-attr]
    weight, bias = head.attention.in_proj_weight, head.attention.in_proj_bias  # type: ignore[union-attr]
    query = head.probe @ weight[:width].T + bias[:width]  # type: ignore[union-attr]
    key = tokens @ weight[width : 2 * width].T + bias[width : 2 * width]
    query = query.reshape(1, heads, -1).expand(2, -1, -1)
    key = key.reshape(2, -1, heads, width // heads)
    by_hand = (torch.einsum("bhd,bnhd->bhn", query, key) / (width // heads) ** 0.5).softmax(-1).mean(1)
    torch.testing.assert_close(shares.flatten(1), by_hand, atol=1e-5, rtol=1e-4)
    found = encoder.importance(pictures)
    assert found.amin() == 0 and found.amax() == 1


def test_the_students_map_is_dense_and_finds_what_stands_out() -> None:
    encoder = load_encoder(encoder_names()[0])
    grey = np.full((360, 640, 3), 128, np.uint8)
    cat = cv2.resize(data.chelsea(), (160, 120))
    grey[40:160, 440:600] = cat
    picture = torch.from_numpy(grey).permute(2, 0, 1)[None] / 255
    found = encoder.importance(picture)
    assert found.shape == (1, 14, 24)
    row, column = np.unravel_index(int(found[0].argmax()), (14, 24))
    assert 0 <= row < 8 and 14 <= column < 24
    # As many places for other shapes, in theirs.
    assert dense_size(640, 360) == (400, 224)
    assert dense_size(480, 480) == (304, 288)


def test_any_encoders_map_is_each_places_share_in_the_pooled_vector() -> None:
    encoder = load_encoder(encoder_names()[0])
    picture = torch.rand(1, 3, 96, 128)
    frame, regions = encoder.both(picture)
    shares = SemanticEncoder.shares(encoder, picture)
    torch.testing.assert_close(shares, (frame * regions).mean(1))


def texture(height: int, width: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return (128 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def spot(column: int) -> Floats:
    found = np.zeros((14, 24), np.float32)
    found[5:8, column : column + 3] = 1
    return found


def test_a_map_follows_the_motion_and_a_still_picture_keeps_it() -> None:
    wide = texture(192, 512)
    tracker = ImportanceTracker()
    first = tracker.next(wide[:, 128:448], lambda: spot(10))
    for _ in range(5):
        assert (tracker.next(wide[:, 128:448], lambda: spot(0)) == first).all()
    for number in range(1, 13):
        moved = tracker.next(wide[:, 128 - 4 * number : 448 - 4 * number], lambda: spot(0))
    columns = np.arange(moved.shape[1])
    centres = [float((plane.sum(0) * columns).sum() / plane.sum()) for plane in (first.astype(float), moved)]
    # 48 columns to the right.
    assert centres[1] - centres[0] == pytest.approx(48, abs=4)


def test_a_cut_begins_a_new_map() -> None:
    tracker = ImportanceTracker()
    one, other = texture(192, 320), 255 - texture(192, 320, 2)
    looks = []

    def look(column: int) -> Floats:
        looks.append(column)
        return spot(column)

    for _ in range(4):
        tracker.next(one, lambda: look(2))
    found = tracker.next(other, lambda: look(18))
    assert looks == [2, 18]
    assert found[:, : found.shape[1] // 2].max() == 0


def test_an_interval_renews_the_map_by_half() -> None:
    tracker = ImportanceTracker(interval=2)
    frames = [texture(192, 330)[:, n : n + 320] for n in range(3)]
    for frame in frames[:2]:
        tracker.next(frame, lambda: np.zeros((14, 24), np.float32))
    found = tracker.next(frames[2], lambda: np.ones((14, 24), np.float32))
    assert np.abs(found.astype(int) - 128).max() <= 1
    with pytest.raises(UsageError, match="interval of -1"):
        ImportanceTracker(-1)


def test_maps_of_pictures_of_any_format() -> None:
    encoder = load_encoder(encoder_names()[0])
    for depth, kind in ((8, np.uint8), (10, np.uint16)):
        fmt = PictureFormat(320, 192, depth)
        luma = (texture(192, 320).astype(np.uint16) << (depth - 8)).astype(kind)
        grey = np.full((96, 160), 1 << (depth - 1), kind)
        found = ImportanceMaps(encoder, torch.device("cpu")).next(Picture(fmt, (luma, grey, grey)))
        assert found.shape == (192, 320) and found.dtype == np.uint8
    assert open_importance().next(Picture(fmt, (luma, grey, grey))).shape == (192, 320)


def test_priors_are_what_they_say() -> None:
    middle = centre_map(65, 33)
    assert middle[16, 32] == 255 and middle[0, 0] < 10
    blobs = random_map(320, 180, 0.1, seed=3)
    assert (blobs == 255).mean() == pytest.approx(0.1, abs=0.01)
    assert (random_map(320, 180, 0.1, seed=3) == blobs).all()
    mask = np.zeros((10, 20), np.uint8)
    mask[2, 3] = 255
    assert moved_map(mask)[7, 13] == 255 and moved_map(mask).sum() == 255
    full = with_prior(np.full((33, 65), 255, np.uint8))
    assert full[16, 32] == 255 and 20 < full[0, 0] < 40


def test_agreement_is_that_of_the_definition() -> None:
    random = np.random.default_rng(5)
    found, mask = random.integers(0, 9, (12, 16)), random.random((12, 16)) < 0.3
    inside, outside = found[mask], found[~mask]
    wins = (inside[:, None] > outside[None]).mean() + 0.5 * (inside[:, None] == outside[None]).mean()
    assert map_agreement([(found, mask)]).auc == pytest.approx(float(wins))
    perfect = map_agreement([(mask * 200, mask), (found, np.zeros_like(mask))])
    assert (perfect.auc, perfect.iou) == (1.0, 1.0)
    with pytest.raises(ValueError, match="inside and an outside"):
        map_agreement([(found, np.ones_like(mask))])

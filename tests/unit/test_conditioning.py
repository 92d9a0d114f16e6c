"""What conditions the network in training: embeddings cut to crops, controls, and runs with real encoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tiny_siglip import write_tiny_siglip2
from tiny_training import TINY, assert_same, changed, read_log, write_photos, write_student
from torch import Tensor

from scene.errors import InputError, UsageError
from scene.model import Network, NetworkConfig, build_network, load_model
from scene.model.semantics import Conditioner, Control, control_embeddings, load_encoder
from scene.progress import Progress
from scene.training import TrainingConfig, train
from scene.training.conditioning import EmbeddingLookup, crop_grid, set_references
from scene.training.data.crops import Crops, Sample, collate
from scene.training.data.embedding_table import EmbeddingTable

CPU = torch.device("cpu")
CONTROLS = get_args(Control)


def coordinates(columns: int, rows: int) -> Tensor:
    """A grid whose two channels are its cells' centres, (1, 2, rows, columns)."""
    x = (torch.arange(columns) + 0.5) / columns
    y = (torch.arange(rows) + 0.5) / rows
    return torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)])[None]


@pytest.mark.parametrize("cells", [(8, 8), (27, 27), (16, 9)])
@pytest.mark.parametrize("grid", [2, 4, 7])
def test_a_grid_of_coordinates_comes_out_as_the_crops_coordinates(cells: tuple[int, int], grid: int) -> None:
    regions = torch.tensor(
        [
            [0.2, 0.1, 0.7, 0.4],
            [0.7, 0.1, 0.2, 0.4],
            [0.2, 0.4, 0.7, 0.1],
            [0.9, 0.9, 0.1, 0.1],
            [0.4, 0.6, 0.45, 0.62],
        ]
    )
    # What lies nearer to the edge than the outermost centres takes their values.
    inside = torch.tensor([0.5 / cells[0], 0.5 / cells[1]])[:, None, None]
    result = crop_grid(coordinates(*cells).expand(len(regions), -1, -1, -1), regions, grid)
    assert result.shape == (len(regions), 2, grid, grid)
    for (left, top, right, bottom), cut in zip(regions, result, strict=True):
        expected = coordinates(grid, grid)[0]
        expected = torch.stack([left + (right - left) * expected[0], top + (bottom - top) * expected[1]])
        torch.testing.assert_close(cut, expected.clamp(inside, 1 - inside), atol=1e-5, rtol=0)


def test_the_whole_frame_on_the_encoders_own_grid_is_the_embedding_itself() -> None:
    embedding = torch.randn(1, 3, 5, 5)
    whole = torch.tensor([[0.0, 0, 1, 1]])
    torch.testing.assert_close(crop_grid(embedding, whole, 5), embedding)
    mirrored = torch.tensor([[1.0, 0, 0, 1]])
    torch.testing.assert_close(crop_grid(embedding, mirrored, 5), embedding.flip(3))


class Ramps:
    """Frames of two sizes whose red is the column and whose green is the row, each over 250 pixels at most."""

    identity = "ramps"
    sizes = ((100, 200), (240, 80))

    def __len__(self) -> int:
        return 2

    def length(self, sequence: int) -> int:
        return 2

    def name(self, sequence: int, frame: int) -> str:
        return f"{sequence}.{frame}"

    def read(self, sequence: int, frame: int) -> np.ndarray:
        height, width = self.sizes[sequence]
        rows, columns = np.indices((height, width))
        return np.stack([columns, rows, np.full((height, width), sequence)], axis=2).astype(np.uint8)


def test_a_samples_region_is_where_its_pixels_were() -> None:
    crops = Crops(Ramps(), 64, 0, seed=1)
    seen = set()
    for number in range(24):
        sample = crops[number]
        height, width = Ramps.sizes[int(sample.sequence)]
        assert int(sample.frame[2, 0, 0]) == int(sample.sequence)
        left, top, right, bottom = (sample.region * torch.tensor([width, height, width, height])).tolist()
        # The outer edges of the first and last pixel, whose own numbers are of their left and upper edges.
        first, last = sample.frame[:2, 0, 0].tolist(), sample.frame[:2, -1, -1].tolist()
        for begin, end, one, other in ((left, right, first[0], last[0]), (top, bottom, first[1], last[1])):
            assert abs(end - begin) == pytest.approx(64, abs=1e-3)
            assert (min(begin, end), max(begin, end)) == pytest.approx((min(one, other), max(one, other) + 1), abs=1e-3)
            assert (begin < end) == (one < other)
        seen.add((left < right, top < bottom))
    assert len(seen) == 4, "every combination of flips"


# Controls


def network(grid: int = 1, width: int = 6) -> Network:
    config = NetworkConfig(planes="luma", channels=8, embedding_width=width, semantic_grid=grid, semantic_hidden=8)
    built = build_network(config, seed=0).eval()
    # An untrained tail hides everything before it.
    torch.nn.init.normal_(built.tail.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return built


def table(path: Path, cells: int, count: int = 20, unreadable: tuple[int, ...] = ()) -> EmbeddingTable:
    rows = np.random.default_rng(0).normal(0.5, 1.0, (count, 6, cells, cells)).astype(np.float16)
    rows[list(unreadable)] = 0
    np.save(path, rows)
    return EmbeddingTable(path)


def batch(*sequences: int) -> Sample:
    regions = torch.tensor([[0.1, 0.2, 0.6, 0.7], [0.9, 0.3, 0.4, 0.8], [0.0, 0.0, 1.0, 1.0]])[: len(sequences)]
    pictures = torch.zeros(len(sequences), 3, 8, 8, dtype=torch.uint8)
    return Sample(pictures, pictures, torch.tensor(sequences), regions)


@pytest.fixture(params=[1, 4], ids=["pooled", "spatial"])
def conditioned(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Network, EmbeddingTable]:
    grid = request.param
    rows = table(tmp_path / "table.npy", 1 if grid == 1 else 7)
    built = network(grid)
    set_references(built, rows)
    return built, rows


def look_up(conditioned: tuple[Network, EmbeddingTable], control: Control, *sequences: int, salt: int = 0) -> Tensor:
    built, rows = conditioned
    result = EmbeddingLookup(rows, built.references, Conditioner(None, control, ""), salt)(batch(*sequences), CPU)
    grid = built.config.semantic_grid
    assert result.shape == (len(sequences), 6, grid, grid)
    return result


def test_references_are_spread_over_the_readable_frames(tmp_path: Path) -> None:
    rows = table(tmp_path / "table.npy", 1, count=200, unreadable=(0, 7, 199))
    built = network()
    set_references(built, rows)
    assert built.references.shape == (64, 6, 1, 1)
    assert built.references.flatten(1).any(dim=1).all()
    known = {tuple(row.flatten().tolist()): index for index, row in enumerate(rows.lookup(range(200)))}
    taken = [known[tuple(row.flatten().tolist())] for row in built.references]
    assert taken == sorted(taken) and taken[0] < 5 and taken[-1] > 195 and len(set(taken)) == 64
    few = table(tmp_path / "few.npy", 1, count=3)
    set_references(built, few)
    assert len({tuple(row.flatten().tolist()) for row in built.references}) == 3
    with pytest.raises(InputError, match="no frame"):
        set_references(built, table(tmp_path / "none.npy", 1, count=2, unreadable=(0, 1)))


def test_embeddings_are_those_of_the_sequence_and_region(conditioned: tuple[Network, EmbeddingTable]) -> None:
    built, rows = conditioned
    result = look_up(conditioned, "embedding", 5, 0, 5)
    expected = rows.lookup([5, 0, 5])
    if built.config.semantic_grid == 1:
        assert torch.equal(result, expected)
    else:
        torch.testing.assert_close(result, crop_grid(expected, batch(5, 0, 5).region, 4))
        assert not torch.equal(result[0], result[2])


def test_none_is_the_centre_that_the_network_subtracts(conditioned: tuple[Network, EmbeddingTable]) -> None:
    built, _ = conditioned
    centred = built._centre(look_up(conditioned, "none", 5, 0, 3))
    torch.testing.assert_close(centred, torch.zeros_like(centred), atol=1e-6, rtol=0)


def test_constant_is_one_reference_for_all(conditioned: tuple[Network, EmbeddingTable]) -> None:
    built, _ = conditioned
    result = look_up(conditioned, "constant", 5, 0, 3)
    torch.testing.assert_close(result[2], built.references[0])
    if built.config.semantic_grid == 1:
        assert torch.equal(result[0], result[1])


@pytest.mark.parametrize("control", ["random", "shuffled"])
def test_a_sequence_keeps_its_control(conditioned: tuple[Network, EmbeddingTable], control: Control) -> None:
    whole = [look_up(conditioned, control, 9, 9, sequence)[2] for sequence in range(20)]
    again = [look_up(conditioned, control, 9, 9, sequence)[2] for sequence in range(20)]
    assert all(torch.equal(one, two) for one, two in zip(whole, again, strict=True))
    assert len({tuple(one.flatten().tolist()) for one in whole}) > 6
    salted = [look_up(conditioned, control, 9, 9, sequence, salt=1)[2] for sequence in range(20)]
    assert sum(torch.equal(one, two) for one, two in zip(whole, salted, strict=True)) < 10


def test_shuffled_is_one_of_the_references(conditioned: tuple[Network, EmbeddingTable]) -> None:
    built, _ = conditioned
    for sequence in range(8):
        picked = look_up(conditioned, "shuffled", 9, 9, sequence)[2]
        assert any(torch.allclose(picked, reference, atol=1e-6) for reference in built.references)


def test_random_has_the_references_mean_and_deviation() -> None:
    references = torch.randn(64, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 4.0, 0.1]
    ).reshape(3, 1, 1) + torch.tensor([5.0, 0.0, -2.0]).reshape(3, 1, 1)
    drawn = control_embeddings("random", references[:1].expand(4000, -1, -1, -1), references, range(4000))
    deviation = references.std(dim=0)
    assert ((drawn.mean(dim=0) - references.mean(dim=0)).abs() < 0.08 * deviation).all()
    assert ((drawn.std(dim=0) / deviation - 1).abs() < 0.06).all()


def test_an_embedding_changes_the_result_and_a_control_without_meaning_does_not(
    conditioned: tuple[Network, EmbeddingTable],
) -> None:
    built, _ = conditioned
    picture = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        one, two = (
            built(picture, look_up(conditioned, "embedding", *sequences)) for sequences in ((0, 1, 2), (3, 4, 5))
        )
        assert (one - two).abs().amax(dim=(1, 2, 3)).min() > 1e-5
        for control in ("none", "constant"):
            one, two = (
                built(picture, look_up(conditioned, control, *sequences)) for sequences in ((0, 1, 2), (3, 4, 5))
            )
            assert torch.equal(one, two)


# Whole runs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        "student": str(write_student(folder / "student.safetensors")),
        "siglip": str(write_tiny_siglip2(folder / "siglip", "fixed", width=16)),
    }


def semantic(encoder: str, control: Control, grid: int, **run: object) -> TrainingConfig:
    return changed(
        TINY,
        network={"guidance": "embedding", "semantic_grid": grid, "semantic_hidden": 8},
        semantics={"encoder": encoder, "control": control},
        run={"steps": 2, **run},
    )


@pytest.mark.parametrize("grid", [1, 4])
@pytest.mark.parametrize(
    ("encoder", "control"), [*(("student", control) for control in CONTROLS), ("siglip", "embedding")]
)
def test_a_run_learns_with_every_encoder_and_control(
    photos: Path, cache: Path, encoders: dict[str, str], tmp_path: Path, encoder: str, control: Control, grid: int
) -> None:
    config = semantic(encoders[encoder], control, grid)
    result = train(config, photos, tmp_path, validation=photos)
    trained = load_model(result.weights)
    assert trained.config.embedding_width == 16
    assert trained.references.shape == (64 if grid == 1 else 16, 16, grid, grid)
    assert trained.references.any()
    assert trained.semantics is not None
    identity = load_encoder(encoders[encoder]).identity
    assert (trained.semantics.encoder, trained.semantics.identity, trained.semantics.control) == (
        encoders[encoder],
        identity,
        control,
    )
    begun = build_network(trained.config, seed=TINY.run.seed)
    pairs = {n: (p, q) for (n, p), q in zip(trained.named_parameters(), begun.parameters(), strict=True)}
    assert all((p != q).any() for name, (p, q) in pairs.items() if name.endswith("expand.bias"))
    assert any(line["phase"] == "validation" for line in read_log(tmp_path))
    assert list((cache / "scene" / "embeddings").glob("*.npy"))


@pytest.mark.parametrize("control", ["embedding", "random"])
def test_a_stopped_run_goes_on_bit_for_bit(
    photos: Path, encoders: dict[str, str], tmp_path: Path, control: Control
) -> None:
    class StoppedError(Exception):
        pass

    def stop(reading: Progress) -> None:
        if reading.total == 4 and reading.done == 3:
            raise StoppedError

    config = semantic(encoders["student"], control, 4, steps=4)
    train(config, photos, tmp_path / "whole", validation=photos)
    with pytest.raises(StoppedError):
        train(config, photos, tmp_path / "parts", validation=photos, on_progress=stop)
    train(config, photos, tmp_path / "parts", validation=photos, resume=True)
    assert_same(tmp_path / "parts", tmp_path / "whole")


def test_bfloat16_and_loaders_processes_serve_embeddings_too(
    photos: Path, encoders: dict[str, str], tmp_path: Path
) -> None:
    config = changed(semantic(encoders["student"], "embedding", 4, precision="bfloat16"), data={"workers": 1})
    train(config, photos, tmp_path, validation=photos)
    single = semantic(encoders["student"], "embedding", 4)
    train(single, photos, tmp_path / "single", validation=photos)
    ours, theirs = ([line["loss"] for line in read_log(out)] for out in (tmp_path, tmp_path / "single"))
    assert ours == pytest.approx(theirs, rel=2e-2)


def test_a_run_with_embeddings_is_validated_by_real_x264(
    photos: Path, encoders: dict[str, str], tmp_path: Path
) -> None:
    config = changed(
        semantic(encoders["student"], "embedding", 4),
        validation={"encode_every": 2, "clips": 1, "frames": 2, "size": (216, 176)},
    )
    train(config, photos, tmp_path, validation=photos)
    assert [line["step"] for line in read_log(tmp_path) if line["phase"] == "x264"] == [2]


def test_an_encoder_that_is_not_there_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises((UsageError, InputError), match=r"missing\.safetensors"):
        train(semantic(str(tmp_path / "missing.safetensors"), "embedding", 1), photos, tmp_path, validation=photos)
    assert not list(tmp_path.iterdir())


def test_a_batch_takes_each_samples_own_embedding(photos: Path) -> None:
    """Sequences and regions travel with the pixels through the loader."""
    crops = Crops(Ramps(), 64, 0, seed=1)
    together = collate([crops[number] for number in range(5)])
    assert together.sequence.tolist() == [int(crops[number].sequence) for number in range(5)]
    assert torch.equal(together.region, torch.stack([crops[number].region for number in range(5)]))

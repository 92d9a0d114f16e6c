"""Semantic encoders: the student and its distillation, the stand-in teacher, names, and the shipped student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data as photographs
from torch import Tensor

from scene.cli import run
from scene.errors import CheckpointError, InputError, UsageError
from scene.model.semantics import SemanticEncoder, encoder_names, load_encoder, unit_mean_square
from scene.model.semantics.mobilenet import MobileNetEncoder
from scene.model.semantics.student import StudentConfig, StudentEncoder, read_student, save_student, squash
from scene.model.tensors import read_tensors
from scene.training.distill import DistillConfig, distill, measure_agreement

SMALL = StudentConfig(width=12, side=32, channels=(4, 4, 8, 8), blocks=(0, 1, 1), hidden=8)


def mobilenet_file(path: Path) -> Path:
    """Random weights in the layout of the stand-in teacher's file."""
    random = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def conv(name: str, outputs: int, inputs: int, kernel: int) -> None:
        tensors[f"{name}.weight"] = (
            torch.randn(outputs, inputs, kernel, kernel, generator=random) / inputs**0.5 / kernel
        )
        tensors[f"{name}.bias"] = torch.randn(outputs, generator=random) / 10

    conv("stem.c", 32, 3, 3)
    width, number = 32, 0
    stages = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    for expansion, outputs, repeats in stages:
        for _ in range(repeats):
            layers = [(width * expansion, width, 1)] * (expansion > 1)
            layers += [(width * expansion, 1, 3), (outputs, width * expansion, 1)]
            for index, (rows, columns, kernel) in enumerate(layers):
                conv(f"blocks.{number}.f.{index}.c", rows, columns, kernel)
            width, number = outputs, number + 1
    conv("last.c", 1280, 320, 1)
    conv("fc", 1001, 1280, 1)
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mobilenet_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "cat"):
        Image.fromarray(getattr(photographs, name)()[:200, :240]).save(folder / f"{name}.png")
    return folder


def test_the_students_shape_keeps_to_its_budget() -> None:
    for width in (1152, 1280):
        assert StudentEncoder(StudentConfig(width=width)).count_parameters() <= 2_000_000


@pytest.mark.parametrize("size", [(32, 32), (90, 160), (17, 33), (2, 2), (300, 500)])
def test_embeddings_are_of_unit_mean_square_for_frames_of_any_size(size: tuple[int, int]) -> None:
    student = StudentEncoder(SMALL).eval()
    pictures = torch.rand(2, 3, *size)
    frame, regions = student(pictures), student(pictures, spatial=True)
    assert frame.shape == (2, 12, 1, 1)
    assert regions.shape == (2, 12, SMALL.grid, SMALL.grid)
    for embedding in (frame, regions):
        torch.testing.assert_close(embedding.square().mean(dim=1), torch.ones_like(embedding[:, 0]))
        assert not embedding.requires_grad


def test_zero_vectors_stay_zero() -> None:
    assert torch.equal(unit_mean_square(torch.zeros(1, 4, 1, 1)), torch.zeros(1, 4, 1, 1))


def test_squashing_takes_the_whole_frame_and_no_aliases() -> None:
    flat = torch.full((1, 3, 270, 480), 0.3)
    torch.testing.assert_close(squash(flat, 32), torch.full((1, 3, 32, 32), 0.3))
    stripes = (torch.arange(512) % 2).float().expand(1, 3, 512, 512)
    assert (squash(stripes, 32) - 0.5).abs().max() < 0.02
    halves = torch.zeros(1, 3, 200, 300)
    halves[..., 150:] = 1
    squashed = squash(halves, 32)
    assert squashed[..., :15].max() < 0.01 and squashed[..., 17:].min() > 0.99


def test_a_student_survives_the_disk(tmp_path: Path) -> None:
    student = StudentEncoder(SMALL)
    student.teacher = "some-teacher@0123"
    student(torch.rand(4, 3, 40, 40))  # moves the running averages off their start
    student.eval()
    path = tmp_path / "mine.safetensors"
    save_student(student, path, {"note": "x"})
    loaded = read_student(path)
    x = torch.rand(1, 3, 50, 60)
    assert torch.equal(loaded(x), student(x))
    assert loaded.teacher == "some-teacher@0123"
    assert loaded.identity.startswith("mine@")
    assert not any(p.requires_grad for p in loaded.parameters())
    assert load_encoder(str(path)).identity == loaded.identity


def test_damaged_students_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    save_student(StudentEncoder(SMALL), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        read_student(path)
    tensors = {}
    path.write_bytes(whole)
    metadata = dict(read_tensors(path).metadata)
    tensors = load_file(path)
    for change, message in (
        ({"student": "{}"}, "missing or not part|has shape"),
        ({"student": '{"width": "wide"}'}, "cannot be built"),
        ({"student": '{"side": 0}'}, "cannot be built"),
        ({"student": "[]"}, "cannot be built"),
        ({"format_version": "9"}, "format version"),
        ({"format": "other"}, "not a student"),
    ):
        save_file(tensors, path, {**metadata, **change})
        with pytest.raises(CheckpointError, match=message):
            read_student(path)
    tensors["frame_head.bias"][0] = float("nan")
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match="not finite"):
        read_student(path)


def test_the_stand_in_teacher_is_mobilenet_v2(teacher_file: Path) -> None:
    """Against the same layers written out one by one from the file's names."""
    weights = {name: tensor.float() for name, tensor in load_file(teacher_file).items()}

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        if kernel.shape[-1] == 3:
            x = F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
        return F.conv2d(x, kernel, weights[f"{name}.bias"], stride, groups=groups)

    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    y = conv(x * 2 - 1, "stem.c", 2).clamp(0, 6)
    strides = {1: 2, 3: 2, 6: 2, 13: 2}
    for block in range(17):
        z, name = y, f"blocks.{block}.f"
        last = 2 if f"{name}.2.c.weight" in weights else 1
        if last == 2:
            z = conv(z, f"{name}.0.c").clamp(0, 6)
        z = conv(z, f"{name}.{last - 1}.c", strides.get(block, 1), z.shape[1]).clamp(0, 6)
        z = conv(z, f"{name}.{last}.c")
        y = y + z if z.shape == y.shape else z
    expected = conv(y, "last.c").clamp(0, 6)
    encoder = load_encoder(str(teacher_file))
    assert isinstance(encoder, MobileNetEncoder)
    assert encoder.width == 1280
    torch.testing.assert_close(encoder(x, spatial=True), unit_mean_square(expected))
    torch.testing.assert_close(encoder(x), unit_mean_square(expected.mean(dim=(2, 3), keepdim=True)))


def test_names_that_lead_nowhere_are_refused(tmp_path: Path, teacher_file: Path) -> None:
    with pytest.raises(UsageError, match="no semantic encoder is called 'clip'"):
        load_encoder("clip")
    with pytest.raises(InputError, match="does not exist"):
        load_encoder(str(tmp_path / "gone.safetensors"))
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no semantic encoder"):
        load_encoder(str(tmp_path / "other.safetensors"))
    tensors = load_file(teacher_file)
    del tensors["blocks.3.f.0.c.bias"]
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="missing"):
        load_encoder(str(tmp_path / "half.safetensors"))


class ColourTeacher(SemanticEncoder):
    """Knows the colours of regions, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 12
        self.identity = "teacher@1"
        self.mix = torch.randn(12, 3, 1, 1, generator=torch.Generator().manual_seed(5))

    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        grid = 4 if spatial else 1
        return unit_mean_square(F.conv2d(F.adaptive_avg_pool2d(pictures - 0.5, grid), self.mix))


def test_distillation_comes_nearer_to_the_teacher(tmp_path: Path, photos: Path) -> None:
    readings = []
    for steps in (1, 40):
        config = DistillConfig(steps=steps, batch=6)
        result = distill(ColourTeacher(), photos, tmp_path / f"s{steps}.safetensors", config, validation=photos)
        assert result.agreement.photographs == 3
        readings.append(result.agreement)
    assert readings[1].centred_cosine > readings[0].centred_cosine + 0.2
    student = read_student(tmp_path / "s40.safetensors")
    assert student.teacher == "teacher@1"
    assert student.width == 12


def test_distillation_repeats_itself(tmp_path: Path, photos: Path) -> None:
    teacher = StudentEncoder(SMALL).eval()
    teacher.identity = "teacher@1"
    for name in ("a", "b"):
        config = DistillConfig(steps=3, batch=2, seed=4)
        distill(teacher, photos, tmp_path / f"{name}.safetensors", config, validation=photos)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_agreement_is_perfect_with_oneself_and_chance_with_noise() -> None:
    images = [np.asarray(getattr(photographs, name)())[:150, :200, :3] for name in ("astronaut", "coffee", "cat")]
    encoder = StudentEncoder(SMALL).eval()
    same = measure_agreement(encoder, encoder, images)
    assert same.cosine == pytest.approx(1) and same.centred_cosine == pytest.approx(1) and same.retrieval == 1
    with pytest.raises(InputError, match="at least two"):
        measure_agreement(encoder, encoder, images[:1])


def test_the_command_distils_and_its_mistakes_are_one_sentence(
    tmp_path: Path, photos: Path, teacher_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student.safetensors"
    arguments = ["distill", "--teacher", str(teacher_file), "--data", str(photos), "--validation", str(photos)]
    assert run([*arguments, "--out", str(out), "--steps", "2", "--batch", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    assert "retrieval" in captured.err
    assert load_encoder(str(out)).width == 1280
    assert run([*arguments, "--out", str(tmp_path / "no" / "s.safetensors")]) == 2
    assert run([*arguments, "--out", str(out), "--steps", "0"]) == 2
    assert run(["distill", "--teacher", "nothing", "--data", str(photos)]) == 2


def test_the_shipped_student_says_whose_it_is() -> None:
    assert encoder_names() == ["student-mobilenetv2"]
    student = load_encoder("student-mobilenetv2")
    assert isinstance(student, StudentEncoder)
    assert student.teacher.startswith("mobilenetv2-imagenet@")
    assert student.width == 1280
    assert student.count_parameters() <= 2_000_000
    names = ("astronaut", "coffee", "cat", "rocket")
    images = [torch.from_numpy(getattr(photographs, n)()).permute(2, 0, 1)[None] / 255 for n in names]
    views = torch.cat([student(x) for x in images])[:, :, 0, 0]
    mirrored = torch.cat([student(x.flip(-1)) for x in images])[:, :, 0, 0]
    similarity = F.normalize(views - views.mean(0)) @ F.normalize(mirrored - views.mean(0)).T
    assert torch.equal(similarity.argmax(dim=1), torch.arange(len(names))), "a mirrored picture has the same content"

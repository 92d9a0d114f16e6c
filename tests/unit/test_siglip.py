"""SigLIP 2: the same numbers as transformers' own processor and model, and every checkpoint that must be refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_siglip import FLEXIBLE_PATCH, GRID, MAX_PATCHES, SIDE, Family, write_tiny_siglip2
from torch import Tensor
from transformers import Siglip2VisionModel, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import (
    Siglip2ImageProcessorPil,
    get_image_size_for_max_num_patches,
)

from scene.errors import CheckpointError, InputError, MissingError
from scene.model.semantics.siglip import SigLip2Encoder, _flexible_size, load_siglip2

FAMILIES: tuple[Family, ...] = ("fixed", "naflex")
HUB_ID = "nobody/siglip2-tiny"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    root = tmp_path_factory.mktemp("siglip")
    return {family: write_tiny_siglip2(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def encoders(folders: dict[Family, Path]) -> dict[Family, SigLip2Encoder]:
    return {family: load_siglip2(folder) for family, folder in folders.items()}


@pytest.fixture
def copy(folders: dict[Family, Path], tmp_path: Path) -> Path:
    """A fixed-resolution checkpoint to be damaged."""
    return Path(shutil.copytree(folders["fixed"], tmp_path / "copy"))


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    """Coarse colour noise, smoothed, with fine noise over it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height), 3)
    fine = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray((np.asarray(coarse, dtype=np.int64) + fine).clip(0, 255).astype(np.uint8))


def tensor(*images: Image.Image) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images])


def processed(folder: Path, family: Family, image: Image.Image) -> dict[str, Tensor]:
    processor = SiglipImageProcessorPil if family == "fixed" else Siglip2ImageProcessorPil
    return dict(processor.from_pretrained(folder)(image, return_tensors="pt"))


def reference(folder: Path, family: Family, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Pooled output and patch tokens of transformers' own model, as it loads the folder itself."""
    model = (SiglipVisionModel if family == "fixed" else Siglip2VisionModel).from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(**inputs)
    return output.pooler_output, output.last_hidden_state


def scaled(embedding: Tensor) -> Tensor:
    """To unit mean square along the last dimension."""
    return embedding / embedding.square().mean(-1, keepdim=True).sqrt()


def rewrite(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_embedding_is_that_of_transformers_on_the_same_pixels(
    folders: dict[Family, Path], encoders: dict[Family, SigLip2Encoder]
) -> None:
    # Of the very size that the checkpoint wants, so that no resampling comes between the two.
    sizes = {"fixed": (SIDE, SIDE), "naflex": (4 * FLEXIBLE_PATCH, 5 * FLEXIBLE_PATCH)}
    for family, size in sizes.items():
        image = photograph(*size)
        pooled, tokens = reference(folders[family], family, processed(folders[family], family, image))
        embedding = encoders[family](tensor(image))
        assert embedding.shape == (1, 32, 1, 1) and embedding.dtype == torch.float32
        assert torch.allclose(embedding[:, :, 0, 0], scaled(pooled), atol=1e-5)
        assert float(embedding.square().mean()) == pytest.approx(1.0, abs=1e-5)
        regions = encoders[family](tensor(image), spatial=True)
        grid = (GRID, GRID) if family == "fixed" else (4, 5)
        assert regions.shape == (1, 32, *grid)
        expected = scaled(tokens[0]).reshape(*grid, 32).permute(2, 0, 1)
        assert torch.allclose(regions[0], expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(48, 48), (90, 160), (160, 90), (33, 17), (270, 480), (21, 300)])
def test_pictures_are_prepared_as_by_transformers(
    folders: dict[Family, Path], encoders: dict[Family, SigLip2Encoder], family: Family, size: tuple[int, int]
) -> None:
    image = photograph(*size, seed=1)
    theirs = processed(folders[family], family, image)
    ours = encoders[family].prepare(tensor(image))
    pixels = theirs["pixel_values"]
    if family == "naflex":
        assert torch.equal(ours["spatial_shapes"], theirs["spatial_shapes"])
        patches = ours["pixel_values"].shape[1]
        assert patches == int(theirs["pixel_attention_mask"].sum()) <= MAX_PATCHES
        assert ours["pixel_attention_mask"].shape == (1, patches) and bool(ours["pixel_attention_mask"].all())
        assert not pixels[:, patches:].any()
        pixels = pixels[:, :patches]
    # Pillow rounds to 8 bits after the horizontal and again after the vertical filter, half a code each.
    code = 2 / 255
    difference = (ours["pixel_values"] - pixels).abs()
    assert float(difference.max()) <= 1.01 * code
    assert float(difference.mean()) <= 0.35 * code
    pooled, _ = reference(folders[family], family, theirs)
    embedding = encoders[family](tensor(image))[:, :, 0, 0]
    assert float(torch.cosine_similarity(embedding, pooled).min()) > 0.9999


def test_naflex_sizes_are_those_of_transformers() -> None:
    rng = np.random.default_rng(5)
    for height, width in [(1, 1), (1080, 1920), (2160, 3840), (720, 1280), (1, 4000), *rng.integers(1, 3000, (60, 2))]:
        for patch, most in ((16, 256), (8, 20), (14, 729)):
            expected = get_image_size_for_max_num_patches(int(height), int(width), patch, most)
            assert _flexible_size(int(height), int(width), patch, most) == expected


def test_bicubic_checkpoints_are_prepared_as_by_transformers(copy: Path) -> None:
    rewrite(copy / "preprocessor_config.json", lambda content: content.update(resample=3, image_std=[0.2, 0.3, 0.4]))
    encoder, image = load_siglip2(copy), photograph(90, 160)
    theirs = processed(copy, "fixed", image)["pixel_values"]
    difference = (encoder.prepare(tensor(image))["pixel_values"] - theirs).abs() * torch.tensor([0.2, 0.3, 0.4])[
        :, None, None
    ]
    # Negative lobes amplify the first rounding, and Pillow clips to 8 bits between its two filters.
    assert float(difference.max()) <= 2 / 255
    assert float(difference.mean()) <= 0.35 / 255


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_regions_lie_where_they_are_in_the_picture(
    encoders: dict[Family, SigLip2Encoder], family: Family, side: str
) -> None:
    dark = torch.full((1, 3, 80, 100), 0.2)
    bright = dark.clone()
    part = {"top": np.s_[..., :20, :], "bottom": np.s_[..., 60:, :], "left": np.s_[..., :25], "right": np.s_[..., 75:]}
    bright[part[side]] = 0.9
    change = (encoders[family](bright, spatial=True) - encoders[family](dark, spatial=True)).norm(dim=1)[0]
    rows, columns = change.mean(dim=1), change.mean(dim=0)
    along = rows if side in ("top", "bottom") else columns
    near, far = (along[0], along[-1]) if side in ("top", "left") else (along[-1], along[0])
    assert float(near) > 1.5 * float(far)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spatial", [False, True])
def test_a_batch_gives_what_its_pictures_give(
    encoders: dict[Family, SigLip2Encoder], family: Family, spatial: bool
) -> None:
    images = [photograph(45, 80, seed) for seed in range(3)]
    batch = encoders[family](tensor(*images), spatial=spatial)
    singles = torch.cat([encoders[family](tensor(image), spatial=spatial) for image in images])
    assert torch.allclose(batch, singles, atol=1e-5)
    assert not torch.allclose(batch[0], batch[1], atol=1e-2)


def test_it_is_frozen(encoders: dict[Family, SigLip2Encoder]) -> None:
    encoder = encoders["fixed"]
    holder = torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())
    pictures = torch.rand(1, 3, 40, 40, requires_grad=True)
    embedding = encoder(pictures)
    assert not embedding.requires_grad
    # Usable as a constant in a graph of somebody else's, which a tensor of inference mode is not.
    weight = torch.ones(32, requires_grad=True)
    (embedding[0, :, 0, 0] * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_identity_follows_the_weights_alone(
    folders: dict[Family, Path], encoders: dict[Family, SigLip2Encoder], tmp_path: Path, family: Family
) -> None:
    name, _, digest = encoders[family].identity.partition("@")
    assert name == {"fixed": "siglip2:32-patch14-60", "naflex": "siglip2:32-patch8-naflex20"}[family]
    assert len(digest) == 12
    assert encoders[family].width == 32
    alone = load_siglip2(write_tiny_siglip2(tmp_path / "vision tower alone", family, vision_only=True))
    assert alone.identity == encoders[family].identity
    picture = tensor(photograph(30, 50))
    assert torch.equal(alone(picture), encoders[family](picture))
    other = load_siglip2(write_tiny_siglip2(tmp_path / "other", family, seed=1))
    assert other.identity != encoders[family].identity
    settings = Path(shutil.copytree(folders[family], tmp_path / "settings")) / "preprocessor_config.json"
    rewrite(settings, lambda content: content.update(resample=3))
    assert load_siglip2(settings.parent).identity != encoders[family].identity


def test_weights_in_parts_are_read(copy: Path, encoders: dict[Family, SigLip2Encoder]) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for part, members in parts.items():
        save_file({name: tensors[name] for name in members}, copy / part)
    places = {name: part for part, members in parts.items() for name in members}
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert load_siglip2(copy).identity == encoders["fixed"].identity

    (copy / "model-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model-2\.safetensors"):
        load_siglip2(copy)
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(CheckpointError, match="its own folder"):
        load_siglip2(copy)


def test_loading_is_silent_and_leaves_the_random_numbers_alone(
    folders: dict[Family, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    state = torch.get_rng_state()
    for folder in folders.values():
        load_siglip2(folder)(torch.rand(1, 3, 20, 30, generator=torch.Generator()))
    assert capfd.readouterr() == ("", "")
    assert torch.equal(state, torch.get_rng_state())


def change_tensors(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


def change_config(**values: object) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "config.json", lambda content: content.update(values))


def change_vision(**values: object) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "config.json", lambda c: c["vision_config"].update(values))


def change_settings(**values: object) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "preprocessor_config.json", lambda content: content.update(values))


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{"), "not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "no JSON object"),
        (change_config(model_type="clip"), "model_type is 'clip'"),
        (change_config(vision_config=None), "vision_config is missing"),
        (change_config(model_type="siglip2"), "missing or unknown"),
        (change_vision(hidden_size="wide"), "cannot be built"),
        (change_vision(hidden_act="nothing"), "cannot be built"),
        (change_vision(num_attention_heads=5), "cannot be built"),
        (change_vision(hidden_size=64), "has shape"),
        (change_vision(num_hidden_layers=1), "is missing or not part"),
        (change_vision(num_hidden_layers=3), "is missing or not part"),
        (change_vision(vision_use_head=False), "pooling head"),
        (change_vision(num_channels=1), "RGB"),
        (change_settings(size={"height": 60, "width": 50}), "must agree"),
        (change_settings(size={"height": 384, "width": 384}), "must agree"),
        (change_settings(size={"shortest_edge": 60}), "missing or unknown"),
        (change_settings(size=60), "missing or unknown"),
        (change_settings(resample=0), "missing or unknown"),
        (change_settings(image_mean=None), "missing or unknown"),
        (change_settings(image_std=[0.5, 0.0, 0.5]), "image_std"),
        (change_settings(image_mean=[0.5]), "image_mean"),
        (change_settings(do_rescale=False), "other steps"),
        (change_settings(do_center_crop=True), "other steps"),
        (truncate, "damaged"),
        (pickle_only, "pickled"),
        (change_tensors(lambda t: t.pop("vision_model.head.probe")), "head.probe"),
        (change_tensors(lambda t: t["vision_model.post_layernorm.bias"].fill_(float("nan"))), "not finite"),
        (change_tensors(lambda t: t.update({"vision_model.odd": torch.ones(2)})), "odd"),
    ],
)
def test_damaged_and_foreign_folders_are_refused(copy: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copy)
    with pytest.raises(CheckpointError) as refusal:
        load_siglip2(copy)
    assert str(copy) in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_settings(patch_size=16), "must agree"),
        (change_settings(max_num_patches=0), "must agree"),
        (change_vision(num_patches=15), "no square number"),
    ],
)
def test_damaged_naflex_folders_are_refused(
    folders: dict[Family, Path], tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    copy = Path(shutil.copytree(folders["naflex"], tmp_path / "copy"))
    damage(copy)
    with pytest.raises(CheckpointError, match=message):
        load_siglip2(copy)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_siglip2(tmp_path / "nothing")
    with pytest.raises(InputError, match="does not exist"):
        load_siglip2("nothing")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="not a folder"):
        load_siglip2(file)


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, copy: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"pip install 'transformers>=5\.23"):
        load_siglip2(copy)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's files, and no way to the hub."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return folder


def test_a_hub_id_is_read_from_the_cache(
    cache: Path, folders: dict[Family, Path], encoders: dict[Family, SigLip2Encoder]
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    shutil.copytree(folders["naflex"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert load_siglip2(HUB_ID).identity == encoders["naflex"].identity

    # A file that is missing from the cache has to be fetched.
    (repository / "snapshots" / commit / "preprocessor_config.json").unlink()
    with pytest.raises(MissingError):
        load_siglip2(HUB_ID)


def refusal(cause: type[Exception], status: int) -> Exception:
    request = httpx2.Request("GET", "https://hub.invalid")
    return cause("refused", response=httpx2.Response(status, request=request))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (None, "cannot be reached"),
        (httpx2.ConnectTimeout("timed out"), "cannot be reached"),
        (refusal(RepositoryNotFoundError, 404), "no public checkpoint of that name"),
        (refusal(GatedRepoError, 403), "terms"),
    ],
)
def test_weights_that_cannot_be_fetched_are_missing(
    monkeypatch: pytest.MonkeyPatch, cause: Exception | None, message: str
) -> None:
    if cause is not None:

        def refuse(*_: object, **__: object) -> None:
            raise cause

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(MissingError) as error:
        load_siglip2(HUB_ID)
    text = str(error.value)
    assert message in text and f"hf download {HUB_ID}" in text and "student" in text and "\n" not in text

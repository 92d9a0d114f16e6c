"""SigLIP 2's image encoder (arXiv 2502.14786), from a local folder or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from scene.errors import CheckpointError, InputError, MissingError
from scene.model.semantics.encoder import SemanticEncoder, unit_mean_square
from scene.model.tensors import TensorFile

DEFAULT_CHECKPOINT = "google/siglip2-so400m-patch14-384"

_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_WANTED = [_CONFIG, _PREPROCESSOR, "model*.safetensors", _INDEX]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# The hub's client waits for ever by default.
_HUB_TIMEOUT_S = 5.0
# Those of Pillow's resampling codes that torch can carry out with antialiasing.
_RESAMPLING: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a checkpoint wants done to a picture.

    Attributes:
        patch: side of a patch in pixels.
        flexible: keep the aspect ratio (NaFlex) rather than squash to a square.
        limit: the square's side in pixels, or if flexible the most patches that a picture may have.
        resampling: both are antialiased.
        gain: factor on pictures in [0, 1], before the mean is taken off.
        mean, deviation: of each of R, G, B.
    """

    patch: int
    flexible: bool
    limit: int
    resampling: Literal["bilinear", "bicubic"]
    gain: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels to which a picture of this size is brought."""
        if self.flexible:
            return _flexible_size(height, width, self.patch, self.limit)
        return self.limit, self.limit


class SigLip2Encoder(SemanticEncoder):
    """SigLIP 2's vision tower, frozen: its pooled output, or its patch tokens as regions.

    Attributes:
        preprocessing: what is done to pictures first.
        identity: the tower's shape and a hash of its weights and of all that shapes its output, but no name and no
            place, so that one checkpoint is known wherever it lies and however it is packed.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, tower: nn.Module, preprocessing: Preprocessing, width: int, identity: str) -> None:
        super().__init__()
        self.tower = tower
        self.preprocessing = preprocessing
        self.width = width
        self.identity = identity
        for name, values in (("mean", preprocessing.mean), ("deviation", preprocessing.deviation)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> SigLip2Encoder:
        """Stays in eval mode, whatever the module that holds it does."""
        return super().train(False)

    @torch.no_grad()
    def prepare(self, pictures: Tensor) -> dict[str, Tensor]:
        """Resizes and normalises frames as the checkpoint's own image processor would, without rounding to 8 bits.

        Args:
            pictures: (B, 3, H, W) RGB in [0, 1].

        Returns:
            The tower's arguments by transformers' names. At a fixed resolution `pixel_values` (B, 3, side, side). For
            NaFlex `pixel_values` (B, N, patch * patch * 3), `pixel_attention_mask` (B, N) and `spatial_shapes` (B, 2)
            in rows and columns; frames of one call share a shape, so N is theirs and no patch is padding.
        """
        settings = self.preprocessing
        batch, _, height, width = pictures.shape
        size = settings.size(height, width)
        pixels = F.interpolate(
            pictures.float(), size, mode=settings.resampling, align_corners=False, antialias=True
        ).clamp(0.0, 1.0)  # Bicubic overshoots; 8-bit pixels would not.
        pixels = (pixels * settings.gain - self.mean) / self.deviation
        if not settings.flexible:
            return {"pixel_values": pixels}
        rows, columns = size[0] // settings.patch, size[1] // settings.patch
        tiles = pixels.reshape(batch, 3, rows, settings.patch, columns, settings.patch)
        return {
            "pixel_values": tiles.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1),
            "pixel_attention_mask": torch.ones(batch, rows * columns, dtype=torch.int32, device=pixels.device),
            # The tower reads these as numbers: on a GPU, each would have to be waited for.
            "spatial_shapes": torch.tensor([[rows, columns]] * batch),
        }

    @torch.no_grad()
    def forward(self, pictures: Tensor, *, spatial: bool = False) -> Tensor:
        output = self.tower(**self.prepare(pictures))
        if not spatial:
            pooled: Tensor = output.pooler_output
            return unit_mean_square(pooled[:, :, None, None])
        height, width = self.preprocessing.size(*pictures.shape[-2:])
        grid = height // self.preprocessing.patch, width // self.preprocessing.patch
        tokens: Tensor = output.last_hidden_state
        return unit_mean_square(tokens.transpose(1, 2).reshape(len(tokens), self.width, *grid))

    def shares(self, pictures: Tensor) -> Tensor:
        """As `SemanticEncoder` has it: the attention of the pooling head over the patches, the mean of its heads."""
        tokens: Tensor = self.tower(**self.prepare(pictures)).last_hidden_state
        head = cast(Any, self.tower.head)
        probe = head.probe.expand(len(tokens), -1, -1)
        _, attention = head.attention(probe, tokens, tokens, need_weights=True)
        height, width = self.preprocessing.size(*pictures.shape[-2:])
        patch = self.preprocessing.patch
        shares: Tensor = attention.reshape(len(tokens), height // patch, width // patch)
        return shares


def load_siglip2(name_or_folder: str | Path, device: torch.device | str = "cpu") -> SigLip2Encoder:
    """Loads the vision tower of a SigLIP 2 checkpoint, of a fixed resolution or NaFlex.

    Weights and computation are bfloat16 on a CUDA device, float32 elsewhere.

    Args:
        name_or_folder: a folder with config.json, preprocessor_config.json and safetensors weights, of both towers or
            of the vision tower alone; or a hub id such as `DEFAULT_CHECKPOINT`, which is taken from the local cache
            or else downloaded into it.
        device: a torch device.

    Raises:
        InputError: there is no such folder, or a file in it cannot be read.
        CheckpointError: the folder holds no SigLIP 2 checkpoint, or a damaged one.
        MissingError: transformers is not installed or too old, or a hub id's files cannot be reached.
    """
    try:
        from transformers import Siglip2VisionConfig, Siglip2VisionModel, SiglipVisionConfig, SiglipVisionModel
    except ImportError as error:
        raise MissingError("SigLIP 2 needs transformers 5.23 or later: pip install 'transformers>=5.23,<6'") from error
    folder = _locate(name_or_folder)
    flexible, description = _read_vision_config(folder)
    config_class, model_class = (
        (Siglip2VisionConfig, Siglip2VisionModel) if flexible else (SiglipVisionConfig, SiglipVisionModel)
    )
    with _quiet():
        try:
            config = config_class.from_dict(dict(description))
            with torch.device("meta"):
                expected = model_class(config).state_dict()
        # Whatever the values in a foreign file bring about in transformers' constructors, its own classes included.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{folder / _CONFIG} describes a tower that cannot be built ({reason})") from error
        preprocessing = _read_preprocessing(folder, config, flexible)
        tensors = TensorFile(folder, _read_vision_tensors(folder), {}, "").require(expected)
        dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
        # transformers would fill in missing tensors at random and only warn, hence the check above.
        tower = model_class.from_pretrained(None, config=config, state_dict=dict(tensors), dtype=dtype)
    settings = (config.num_attention_heads, config.hidden_act, config.layer_norm_eps, preprocessing)
    content = _content_hash(tensors, repr(settings))
    resolution = f"naflex{preprocessing.limit}" if flexible else str(preprocessing.limit)
    identity = f"siglip2:{config.hidden_size}-patch{preprocessing.patch}-{resolution}@{content[:12]}"
    return SigLip2Encoder(tower, preprocessing, config.hidden_size, identity).to(device)


def _locate(name_or_folder: str | Path) -> Path:
    """The local folder behind a folder's name or a hub id."""
    path = Path(name_or_folder)
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{path} is not a folder: give that of a SigLIP 2 checkpoint")
    if isinstance(name_or_folder, Path) or not _HUB_ID.fullmatch(name_or_folder):
        raise InputError(
            f"{path} does not exist: give a SigLIP 2 checkpoint's folder or hub id, such as {DEFAULT_CHECKPOINT}"
        )
    return _fetch(name_or_folder)


def _fetch(name: str) -> Path:
    """The files of a hub id in the local cache, downloaded where they are not there yet."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        cached = Path(snapshot_download(name, allow_patterns=_WANTED, local_files_only=True))
        if (cached / _CONFIG).exists() and (cached / _PREPROCESSOR).exists() and any(cached.glob("model*.safetensors")):
            return cached
    except LocalEntryNotFoundError:
        pass
    try:
        # A quick question first, since the download itself knows no timeout for it.
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except GatedRepoError as error:
        reason, cause = "it may only be downloaded after its terms are accepted (hf auth login)", error
    except RepositoryNotFoundError as error:
        reason, cause = "the hub has no public checkpoint of that name", error
    # Those of the HTTP library under the hub's client, of that client, of the system: none has a base in common.
    except Exception as error:
        reason, cause = f"the hub cannot be reached ({type(error).__name__})", error
    raise MissingError(
        f"{name} is neither a folder nor in the local cache, and {reason}: fetch it with `hf download {name}`,"
        " or use the student encoder that is shipped with scene-codec"
    ) from cause


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is no SigLIP 2 checkpoint: it holds no {path.name}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


def _read_vision_config(folder: Path) -> tuple[bool, Mapping[str, Any]]:
    """Whether a checkpoint is NaFlex, and its vision tower's description."""
    content = _read_json(folder / _CONFIG)
    kind = content.get("model_type")
    if kind in ("siglip_vision_model", "siglip2_vision_model"):
        return kind == "siglip2_vision_model", content
    if kind not in ("siglip", "siglip2"):
        raise CheckpointError(
            f"{folder} is no SigLIP 2 checkpoint: its model_type is {kind!r}, not 'siglip' or 'siglip2'"
        )
    vision = content.get("vision_config")
    if not isinstance(vision, dict):
        raise CheckpointError(f"{folder / _CONFIG} describes no vision tower: vision_config is missing")
    return kind == "siglip2", vision


def _read_preprocessing(folder: Path, config: Any, flexible: bool) -> Preprocessing:
    """Preprocessing as the checkpoint says, and a check that its vision tower can take it."""
    path = folder / _PREPROCESSOR
    content = _read_json(path)
    if config.num_channels != 3 or not config.vision_use_head:
        raise CheckpointError(f"{folder}: its tower must take RGB and have a pooling head")
    if flexible and math.isqrt(config.num_patches) ** 2 != config.num_patches:
        raise CheckpointError(f"{folder}: its positions are {config.num_patches}, no square number")
    steps = [content.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize")]
    if not all(steps) or content.get("do_center_crop") or content.get("do_pad"):
        raise CheckpointError(f"{path} asks for other steps than to resize, rescale and normalise")
    try:
        if flexible:
            fits = content["patch_size"] == config.patch_size
        else:
            fits = content["size"]["height"] == content["size"]["width"] == config.image_size >= config.patch_size
        preprocessing = Preprocessing(
            patch=int(config.patch_size),
            flexible=flexible,
            limit=int(content["max_num_patches"] if flexible else config.image_size),
            resampling=_RESAMPLING[content["resample"]],
            gain=255.0 * float(content.get("rescale_factor", 1 / 255)),
            mean=tuple(float(value) for value in content["image_mean"]),
            deviation=tuple(float(value) for value in content["image_std"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a setting is missing or unknown ({error!r})") from error
    if not fits or min(preprocessing.patch, preprocessing.limit) < 1:
        raise CheckpointError(f"{path} is for another tower than {_CONFIG}: size and patch_size must agree")
    numbers = (preprocessing.gain, *preprocessing.mean, *preprocessing.deviation)
    colours = len(preprocessing.mean) == len(preprocessing.deviation) == 3
    if not colours or not all(math.isfinite(n) for n in numbers) or min(preprocessing.deviation) <= 0:
        raise CheckpointError(f"{path}: image_mean and image_std must be three numbers each, the latter positive")
    return preprocessing


def _read_vision_tensors(folder: Path) -> dict[str, Tensor]:
    """The vision tower's tensors, by their names in a vision tower alone."""
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        if not path.is_file():
            raise CheckpointError(f"{folder} is incomplete: it holds no {path.name}")
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - no mapping
                    # Two-tower names begin with the tower's; position_ids count up and are not learnt.
                    other_tower = name.startswith(("text_model.", "logit_"))
                    if not other_tower and not name.endswith(".position_ids"):
                        tensors[name.removeprefix("vision_model.")] = file.get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is damaged or no safetensors file ({error})") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from error
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _WEIGHTS).exists():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).exists():
        raise CheckpointError(
            f"{folder} holds no {_WEIGHTS}: pickled weights (.bin) can run code when loaded and are not read"
        )
    places = _read_json(folder / _INDEX).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"{folder / _INDEX} names no files of its own folder")
    return [folder / name for name in sorted(names)]


def _content_hash(tensors: Mapping[str, Tensor], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flexible_size(height: int, width: int, patch: int, max_patches: int) -> tuple[int, int]:
    """NaFlex's size of a picture: the largest of whole patches that keeps its shape and the limit.

    Found by bisection to the interval and the tolerance that transformers' processor uses, or the two would differ
    where a scale lies on the edge between two sizes.
    """

    def sides(scale: float) -> tuple[int, int]:
        return (
            max(1, math.ceil(height * scale / patch)) * patch,
            max(1, math.ceil(width * scale / patch)) * patch,
        )

    tolerance = 1e-5
    low, high = tolerance / 10, 100.0
    while high - low >= tolerance:
        middle = (low + high) / 2
        rows, columns = (side // patch for side in sides(middle))
        if rows * columns <= max_patches:
            low = middle
        else:
            high = middle
    return sides(low)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers from writing notes and progress bars to stderr."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

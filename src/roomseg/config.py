"""The configuration: one section a stage, typed and closed. ``profiles.py`` has the values.

A field marked ``NOT_IN_FINGERPRINT`` says how to run, not what comes out: changing it does not make a stage run again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.config import JsonDict

from roomseg.errors import UsageError
from roomseg.labels import LABEL_SETS, VOID

NOT_IN_FINGERPRINT: JsonDict = {"fingerprint": False}

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Folder = Annotated[str | None, Field(json_schema_extra=NOT_IN_FINGERPRINT)]  # what is in it counts, not where it lies
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
RoomType = Literal["living_room", "bedroom", "office", "kitchen", "bathroom"]
SourceName = Literal["generated", "front3d", "scannet", "panorooms3d", "rgbd"]
Precision = Literal["fp32", "bf16"]
StudentVariant = Literal["T", "B", "M", "L"]
BaselineName = Literal["unet3d", "sparse_unet", "sparse_unet_large", "vtunet"]
NetworkName = StudentVariant | BaselineName
AblationName = Literal["no_skip", "ce_only"]
Augment = Literal["yaw", "flip", "colour"]
HitsWay = Literal["direct", "cube"]
VTUNET_BLOCK = 128

PICTURE_LABELS = ("panorooms3d", "scannet20", "nyu40")  # whose ids label pictures may have, besides a label file's
LABEL_FILE = ".toml"
STARTS = ("random", "imagenet21k", "hub")  # of the teacher, besides files
START_FILES = (".safetensors", ".npz", ".pth")
SEGMENTER_CHECKPOINT = "checkpoint.pth"  # as Segmenter names it, with variant.yml beside it


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def outside_files(self) -> dict[str, str]:
        """Files that the stage reads besides its inputs: paths or ``s3://`` URIs. Their content counts too."""
        return {}


def _name_or_file(value: str, names: tuple[str, ...], endings: tuple[str, ...]) -> str:
    if value in names or value.endswith(endings):
        return value
    raise ValueError(f"expected {', '.join(names)} or a file that ends with {', '.join(endings)}")


class RenderConfig(Section):
    source: SourceName = "generated"  # of the rooms; each of the others needs its folder
    seed: int = Field(0, ge=0)  # of all that is drawn: rooms, poses, splits
    train_rooms: Count  # so many of "generated"; at most so many of the others; 0: the split is left out
    val_rooms: Count  # likewise
    test_rooms: Count  # likewise
    rooms_per_house: Positive = 4  # generated
    room_types: tuple[RoomType, ...] = Field(min_length=1)  # generated, front3d
    room_size_m: tuple[float, float] = (3.0, 7.0)  # generated: shortest and longest side of a bounding rectangle
    front3d_root: Folder = None  # with 3D-FRONT, 3D-FUTURE-model and 3D-FRONT-texture
    front3d_lists: Folder = None  # with train.txt, val.txt and test.txt of room ids; null: split by house
    front3d_augment: bool = True  # other textures on floors and walls
    scannet_root: Folder = None  # with scene0000_00, ... or scans, and the benchmark's lists and table of labels
    scannet_split: Literal["official", "random", "house"] = "official"  # random: the paper's 1361 / 77 / 75
    panorooms3d_root: Folder = None  # with the published rooms, panoramas and lists
    panorooms3d_split: Literal["published", "house"] = "published"  # published: validation shares houses with training
    panorooms3d_parts: Literal["rooms", "blocks"] = "rooms"  # blocks: the published cuts, without panoramas
    rgbd_root: Folder = None  # a recording, or recordings, or houses of recordings, in one of the known layouts
    rgbd_labels: str = "panorooms3d"  # the ids of its label pictures: these, scannet20, nyu40, or one's own FILE.toml
    rgbd_up: Literal["auto", "+z", "+y", "-y"] = "auto"  # of the recordings' poses
    rgbd_depth_units_per_m: PositiveFloat | None = None  # null: the layout's
    frame_stride: Positive = 1  # scannet, rgbd: each n-th frame
    max_depth_m: PositiveFloat = 4.5  # scannet, rgbd: what is farther is the sensor's noise
    voxel_m: PositiveFloat  # side of a voxel
    truncation_voxels: Positive  # distances are kept so far from a surface, on either side
    margin_voxels: int = Field(5, ge=5)  # around what is fused, on every side
    frames_per_room: Positive  # that are drawn and fused: generated, front3d
    frame_width: Positive  # pixels
    frame_height: Positive  # pixels
    frame_fov_deg: float = Field(75.0, gt=10, lt=150)  # horizontal
    depth_noise: Literal["none", "kinect"] = "none"  # of the frames of generated and front3d: geometry/sensor.py
    camera_height_m: tuple[float, float]  # lowest and highest above the floor, of those frames
    panoramas_per_room: Positive = 1  # the first from the middle; the teacher learns from all, see distill.views
    panorama_height: int = Field(ge=32, multiple_of=32)  # the width is twice that
    rooms_per_shard: Positive = 8  # rooms of a file in the store
    furniture_dir: str = Field("auto", json_schema_extra=NOT_IN_FINGERPRINT)  # the libraries' content counts instead
    workers: int = Field(0, ge=0, json_schema_extra=NOT_IN_FINGERPRINT)  # 0: one a core
    max_quarantined_share: float = Field(0.5, ge=0, le=1, json_schema_extra=NOT_IN_FINGERPRINT)  # else the stage fails

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("room_size_m", "camera_height_m"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); expected 0 < low <= high")
        if not any(self.rooms.values()):
            raise ValueError("train_rooms, val_rooms and test_rooms are 0; expected one room at least")
        return self

    @field_validator("rgbd_labels")
    @classmethod
    def _known_labels(cls, labels: str) -> str:
        return _name_or_file(labels, PICTURE_LABELS, (LABEL_FILE,))

    def outside_files(self) -> dict[str, str]:
        own = self.source == "rgbd" and self.rgbd_labels.endswith(LABEL_FILE)
        return {"rgbd_labels": self.rgbd_labels} if own else {}

    @property
    def rooms(self) -> dict[str, int]:
        """How many of each split."""
        return {"train": self.train_rooms, "val": self.val_rooms, "test": self.test_rooms}


class TeacherConfig(Section):
    backbone: str = Field(pattern=r"^[a-z0-9_.]+$")  # micro (ours, for CPUs), tiny, small, base, large; or a timm ViT
    decoder: Literal["mask", "linear"] = "mask"  # Segmenter's mask transformer, or one linear layer
    patch: Literal[8, 16] | None = None  # pixels; null: 16, or what the timm ViT has
    start: str  # random; imagenet21k, or hub for a timm ViT: fetched when the stage runs; or a file, here or on s3://
    start_decoder: bool = True  # of a Segmenter checkpoint: its decoder too
    scale_range: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)  # of the panoramas that are trained on
    crop: tuple[Positive, Positive] | None = None  # rows and columns that are trained on; null: the panorama's size
    optimizer: Literal["sgd", "adamw"]  # sgd: momentum 0.9; adamw: gradients are clipped at a norm of 1
    epochs: Positive  # over the training panoramas
    batch: Positive  # panoramas
    accumulate: Positive = 1  # batches whose mean gradient makes a step; GPUs share them, so many at most
    max_bad_steps: Count = Field(10, json_schema_extra=NOT_IN_FINGERPRINT)  # left out for a loss that is not finite
    lr: PositiveFloat  # of the first step; it falls to 0 as (1 - step / steps)^0.9
    weight_decay: float = Field(0.0, ge=0)  # the optimizer's
    drop_path: Fraction = 0.1  # share of samples that skip the last block in training; less before it, 0 at the first
    precision: Precision = "fp32"  # of the forward pass; weights are fp32
    validate_every_epochs: Positive  # the best of these weights are kept
    seed: int = Field(0, ge=0)  # of initial weights, order and augmentation

    @field_validator("start")
    @classmethod
    def _known_start(cls, start: str) -> str:
        return _name_or_file(start, STARTS, START_FILES)

    @field_validator("scale_range")
    @classmethod
    def _ordered(cls, scale_range: tuple[float, float]) -> tuple[float, float]:
        low, high = scale_range
        if low > high:
            raise ValueError("expected low <= high")
        return scale_range

    def outside_files(self) -> dict[str, str]:
        if self.start in STARTS:
            return {}
        folder, slash, name = self.start.rpartition("/")
        beside = {"variant": f"{folder}{slash}variant.yml"} if name == SEGMENTER_CHECKPOINT else {}
        return {"start": self.start, **beside}


class PretrainConfig(Section):
    network: NetworkName  # a variant of the student, or a baseline of the paper's tables
    skip: bool = True  # of the student; False is the paper's ablation
    block_voxels: int = Field(ge=64, multiple_of=64)  # side of the blocks that are trained on
    cut: Literal["grid", "random"]  # grid: the padded room sliced into blocks; random: a random crop near surfaces
    epochs: Positive  # one epoch of "random" is as many crops as "grid" has blocks
    batch: Positive  # blocks
    accumulate: Positive = 1  # batches whose mean gradient makes a step; GPUs share them, so many at most
    max_bad_steps: Count = Field(10, json_schema_extra=NOT_IN_FINGERPRINT)  # left out for a loss that is not finite
    lr: PositiveFloat  # of the first epochs
    lr_halve_every_epochs: Positive  # after so many, and so many again, half the lr
    drop_path: Fraction = 0.2  # share of samples that skip the last block in training; less before it, 0 at the first
    void_weight: float = Field(1.0, gt=0, le=1)  # weight of void voxels in the cross entropy
    precision: Precision = "fp32"  # of the forward pass; weights are fp32
    compile: bool = False  # torch.compile, for each size of volume anew
    validate_every_epochs: Positive  # the best of these weights are kept
    seed: int = Field(0, ge=0)  # of initial weights, order and crops

    @model_validator(mode="after")
    def _block_fits(self) -> Self:
        if self.network == "vtunet" and self.block_voxels != VTUNET_BLOCK:
            raise ValueError(f"block_voxels is {self.block_voxels}; vtunet takes blocks of {VTUNET_BLOCK} only")
        if self.compile and self.network not in get_args(StudentVariant):
            raise ValueError(f"compile is for the student; {self.network} runs as it is")
        return self

    def for_baseline(self, name: BaselineName) -> PretrainConfig:
        """The same training for a baseline."""
        block = VTUNET_BLOCK if name == "vtunet" else self.block_voxels
        return self.model_copy(update={"network": name, "skip": True, "block_voxels": block, "compile": False})

    def without_skip(self) -> PretrainConfig:
        """The same training for the paper's ablation of the skip connection (its table 4)."""
        return self.model_copy(update={"skip": False})


class DistillConfig(Section):
    iterations: Positive  # steps
    accumulate: Positive = 1  # rooms whose mean gradient makes a step; GPUs share them, so many at most
    max_bad_steps: Count = Field(10, json_schema_extra=NOT_IN_FINGERPRINT)  # left out for a loss that is not finite
    validate_every: Positive  # steps; the best of these weights are kept
    lr: PositiveFloat  # constant
    tau: float = Field(ge=0.001, le=1000)  # temperature of both distributions; beyond, float32 cannot tell them apart
    weight: float = Field(1.0, ge=0)  # 0: the control arm, finetuning with cross entropy alone
    solid_angle: bool = False  # weight pixels by cos(phi)
    hits: HitsWay = "direct"  # what a pixel sees: by its own ray, or the paper's way, six faces of 90 degrees stitched
    views: Positive = 1  # the first so many panoramas of a room take part, or all that it has
    views_per_step: Positive = 1  # drawn from them for each iteration
    augment: tuple[Augment, ...] = ()  # of the room, its panoramas with it; yaw: by quarter turns
    band_weight: float = Field(0.0, ge=0)  # of a second cross entropy, over the voxels near a surface
    band_voxels: PositiveFloat = 1.5  # how near, on either side
    lovasz_weight: float = Field(0.0, ge=0)  # of the Lovasz softmax over the same voxels
    feature_weight: float = Field(0.0, ge=0)  # of 1 - cosine between the teacher's tokens and the student's features
    ema_decay: Fraction = 0.0  # of an average of the weights, which is then what is validated and kept; 0: none
    drop_path: Fraction = 0.2  # as in pretrain
    void_weight: float = Field(1.0, gt=0, le=1)  # weight of void voxels in the cross entropy
    precision: Precision = "fp32"  # of the forward pass; weights are fp32
    compile: bool = False  # torch.compile, for each size of volume anew: for rooms of few sizes
    max_voxels: Positive | None = None  # larger rooms are trained on in windows; null: as the machine's memory allows
    on_bad_view: Literal["skip", "stop"] = "skip"  # what to do with panoramas that cannot be learnt from
    min_hit_rate: float = Field(0.5, ge=0, le=1)  # of a panorama's rays
    min_label_agreement: float = Field(0.5, ge=0, le=1)  # of its labels with those of the voxels that they see
    seed: int = Field(0, ge=0)  # of order, views and augmentation

    @model_validator(mode="after")
    def _enough_views(self) -> Self:
        if self.views_per_step > self.views:
            raise ValueError(f"views_per_step is {self.views_per_step}; expected {self.views} (views) at most")
        return self

    def cross_entropy_alone(self) -> DistillConfig:
        """The same training without the teacher: the paper's ablation of distillation (its table 3)."""
        return self.model_copy(update={"weight": 0.0, "feature_weight": 0.0})


class EvaluateConfig(Section):
    average_symmetries: bool = False  # a line more: the student's mean over quarter turns and mirrors, 8x the cost
    baselines: tuple[BaselineName, ...] = ()  # each trained like the student, and compared in the same report
    ablations: tuple[AblationName, ...] = ()  # the same: pretrain without skip, distill with cross entropy alone
    bootstrap_samples: Positive = 1000  # of the test rooms, for the intervals of the scores
    pictured_rooms: Positive = 10  # of the best, and as many of the worst
    seed: int = Field(0, ge=0)  # of these samples, and of the untrained student


MODEL_NAME = r"^[A-Za-z0-9_.-]+$"  # of a registered model


class RegisterConfig(Section):
    model_name: str = Field("roomseg", pattern=MODEL_NAME)  # in MLflow's registry
    min_gain: PositiveFloat = 0.001  # of miou over the champion, on the same test rooms
    min_confidence: float = Field(0.95, ge=0.5, le=1)  # share of bootstrap samples of these rooms with that gain
    class_floors: dict[str, Fraction] = {}  # class -> least IoU on the test rooms
    bootstrap_samples: Positive = 1000  # of the test rooms, for min_confidence
    seed: int = Field(0, ge=0)  # of these samples
    licence: str = "not stated"  # of the weights, best by its SPDX id; for tags and model card


class PipelineConfig(Section):
    profile: str
    render: RenderConfig
    teacher: TeacherConfig
    pretrain: PretrainConfig
    distill: DistillConfig
    evaluate: EvaluateConfig
    register_: RegisterConfig = Field(alias="register")  # BaseModel has a method of that name

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _floors_are_of_known_classes(self) -> Self:
        """Names of a label file's classes are known where the file is read; the gate looks at them."""
        known = {name for labels in LABEL_SETS.values() for name in labels.names[VOID + 1 :]}
        unknown = sorted(set(self.register_.class_floors) - known)
        if unknown and "rgbd_labels" not in self.render.outside_files():
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f" of {', '.join(LABEL_SETS)}"
            raise ValueError(f"register.class_floors: expected names of classes, got {unknown[0]!r}{hint}")
        return self

    def section(self, stage: str) -> Section:
        return getattr(self, "register_" if stage == "register" else stage)

    @property
    def run_id(self) -> str:
        """Names a pipeline run of this configuration: profile and digest, such as ``demo-1f3a9c02``."""
        digest = hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()
        return f"{self.profile}-{digest[:8]}"


SECTIONS: dict[str, type[Section]] = {
    "render": RenderConfig,
    "teacher": TeacherConfig,
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "register": RegisterConfig,
}


def fingerprint_fields(section: Section) -> dict[str, Any]:
    """The values that decide what comes out, as JSON types."""
    fields = type(section).model_fields
    counted = {name for name, f in fields.items() if f.json_schema_extra != NOT_IN_FINGERPRINT}
    return section.model_dump(mode="json", include=counted)


def parse_section(stage: str, text: str) -> Section:
    """A stage's section from its JSON text; raises ``UsageError``."""
    try:
        return SECTIONS[stage].model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"configuration of {stage}: {error_line(error)}") from None


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of ``i/n``; raises ``UsageError``."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise UsageError(f"--shard {text}: expected I/N with 1 <= I <= N, such as 1/4")
    return int(i), int(n)


def override(config: PipelineConfig, settings: list[str]) -> PipelineConfig:
    """The configuration with ``teacher.epochs=3`` style settings; raises ``UsageError`` in one line."""
    values = config.model_dump(mode="json", by_alias=True)
    for setting in settings:
        path, equals, text = setting.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (equals and dot):
            raise UsageError(f"--set {setting!r}: expected SECTION.KEY=VALUE, such as teacher.epochs=3")
        _known(section, SECTIONS, f"--set {setting}: unknown section {section!r}")
        _known(key, SECTIONS[section].model_fields, f"--set {setting}: {section} has no {key!r}")
        values[section][key] = _value(text)
        try:
            SECTIONS[section].model_validate(values[section])
        except ValidationError as error:
            raise UsageError(f"--set {setting}: {error_line(error)}") from None
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(error_line(error)) from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _known(name: str, names: Any, message: str) -> None:
    if name in names:
        return
    near = difflib.get_close_matches(name, list(names), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(names)}"
    raise UsageError(f"{message}; {hint}")


def error_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    got = "" if first["type"] in ("missing", "value_error") else f" (got {first['input']!r})"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}{got}".removeprefix(": ")

"""The configuration: one section a stage, typed and closed. ``profiles.py`` has the values.

A field marked ``NOT_IN_FINGERPRINT`` says how to run, not what comes out: changing it does not make a stage run again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict

from roomseg.errors import UsageError

NOT_IN_FINGERPRINT: JsonDict = {"fingerprint": False}

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
RoomType = Literal["living_room", "bedroom", "office", "kitchen", "bathroom"]
Precision = Literal["fp32", "bf16"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RenderConfig(Section):
    source: Literal["generated"] = "generated"
    seed: int = Field(0, ge=0)
    train_rooms: Positive
    val_rooms: Positive
    test_rooms: Positive
    rooms_per_house: Positive = 4
    room_types: tuple[RoomType, ...] = Field(min_length=1)
    room_size_m: tuple[float, float] = (3.0, 7.0)  # shortest and longest side of a room's bounding rectangle
    voxel_m: PositiveFloat
    truncation_voxels: Positive
    margin_voxels: int = Field(5, ge=5)
    frames_per_room: Positive
    frame_width: Positive
    frame_height: Positive
    frame_fov_deg: float = Field(75.0, gt=10, lt=150)  # horizontal
    camera_height_m: tuple[float, float]
    panoramas_per_room: Positive = (
        1  # the first from the middle; the teacher learns from all, distillation from the first
    )
    panorama_height: int = Field(ge=32, multiple_of=32)  # the width is twice that
    rooms_per_shard: Positive = 8
    furniture_dir: str = Field("auto", json_schema_extra=NOT_IN_FINGERPRINT)  # the libraries' content counts instead
    workers: int = Field(0, ge=0, json_schema_extra=NOT_IN_FINGERPRINT)  # 0: one a core

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("room_size_m", "camera_height_m"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); expected 0 < low <= high")
        return self


class TeacherConfig(Section):
    backbone: Literal["micro", "tiny", "small", "base", "large"]  # Segmenter's ViT sizes; micro is ours, for CPUs
    patch: Literal[8, 16] = 16
    start: Literal["random", "imagenet21k"]  # imagenet21k: timm's hub, fetched when the stage runs
    optimizer: Literal["sgd", "adamw"]
    epochs: Positive
    batch: Positive
    lr: PositiveFloat
    weight_decay: float = Field(0.0, ge=0)
    drop_path: Fraction = 0.1
    precision: Precision = "fp32"
    validate_every_epochs: Positive
    seed: int = Field(0, ge=0)


class PretrainConfig(Section):
    variant: Literal["T", "B", "M", "L"]
    skip: bool = True
    block_voxels: int = Field(ge=64, multiple_of=64)
    cut: Literal["grid", "random"]  # grid: the padded room sliced into blocks; random: a random crop near surfaces
    epochs: Positive  # one epoch of "random" is as many crops as "grid" has blocks
    batch: Positive
    lr: PositiveFloat
    lr_halve_every_epochs: Positive
    drop_path: Fraction = 0.2
    void_weight: float = Field(1.0, gt=0, le=1)  # weight of void voxels in the cross entropy
    precision: Precision = "fp32"
    validate_every_epochs: Positive
    seed: int = Field(0, ge=0)


class DistillConfig(Section):
    iterations: Positive
    validate_every: Positive
    lr: PositiveFloat
    tau: PositiveFloat
    weight: float = Field(1.0, ge=0)  # 0: the control arm, finetuning with cross entropy alone
    solid_angle: bool = False  # weight pixels by cos(phi)
    drop_path: Fraction = 0.2
    void_weight: float = Field(1.0, gt=0, le=1)
    precision: Precision = "fp32"
    min_hit_rate: float = Field(0.5, ge=0, le=1)  # panoramas that see less of the room than this are left out
    seed: int = Field(0, ge=0)


class EvaluateConfig(Section):
    bootstrap_samples: Positive = 1000
    pictured_rooms: Positive = 4
    seed: int = Field(0, ge=0)


class RegisterConfig(Section):
    model_name: str = Field("roomseg", pattern=r"^[A-Za-z0-9_.-]+$")
    min_gain: float = 0.0  # of miou over the champion


class PipelineConfig(Section):
    profile: str
    render: RenderConfig
    teacher: TeacherConfig
    pretrain: PretrainConfig
    distill: DistillConfig
    evaluate: EvaluateConfig
    register_: RegisterConfig = Field(alias="register")  # BaseModel has a method of that name

    model_config = ConfigDict(populate_by_name=True)

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
        raise UsageError(f"configuration of {stage}: {_first_line(error)}") from None


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
            raise UsageError(f"--set {setting}: {_first_line(error)}") from None
    return PipelineConfig.model_validate(values)


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


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    got = "" if first["type"] in ("missing", "value_error") else f" (got {first['input']!r})"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}{got}".removeprefix(": ")

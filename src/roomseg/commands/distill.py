"""``roomseg distill preview``: what teacher and student make of a room's panorama."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roomseg.config import override
from roomseg.errors import UsageError
from roomseg.profiles import profile as profile_of

MAKERS = {"distilled": "distill", "pretrained": "pretrain"}  # the stages of the students


def preview(
    room_id: Annotated[str, typer.Argument(metavar="ROOM", help="Id of a room, such as g0h000012-1.")],
    profile: Annotated[str, typer.Option(help="Of the trainings to look at.")] = "demo",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="As they were trained with.")
    ] = None,
    store: Annotated[str, typer.Option(help="A folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    student: Annotated[str, typer.Option(help="distilled or pretrained.")] = "distilled",
    view: Annotated[int, typer.Option(min=0, help="Number of the panorama.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Default: ROOM-STUDENT.png here.")] = None,
) -> None:
    """Write a picture sheet: panorama, truth, teacher, student projected, who is right where they disagree, hits."""
    from roomseg.data.dataset import find_room
    from roomseg.geometry.projection import check_camera
    from roomseg.labels import label_set
    from roomseg.report.preview import write_preview
    from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
    from roomseg.runtime.finding import find_artifacts
    from roomseg.runtime.storage import local_errors, open_store
    from roomseg.stages.distillation.judging import camera_voxel
    from roomseg.stages.distillation.preview import panorama_picture
    from roomseg.stages.networks import load_student
    from roomseg.stages.teacher import load_teacher

    if student not in MAKERS:
        raise UsageError(f"--student {student}: expected {' or '.join(MAKERS)}")
    maker, opened = MAKERS[student], open_store(store)
    config = override(profile_of(profile), settings or [])
    manifests = find_artifacts(["render", "teacher", maker], config, store)
    artifacts = {name: StoreArtifactReader(opened, found, cache_dir(opened)) for name, found in manifests.items()}
    room = find_room(artifacts["render"], room_id).load()
    for panorama in room.panoramas[view : view + 1]:
        check_camera(room.tsdf, camera_voxel(room, panorama))
    networks = load_teacher(artifacts["teacher"]), load_student(artifacts[maker])
    picture = panorama_picture(*networks, room, view, config.distill.hits)
    facts = [
        room.meta.get("room_type", "room").replace("_", " "),
        f"{room.split} split",
        f"panorama {view} of {len(room.panoramas)}",
        f"{student} student {manifests[maker].fingerprint[:8]}",
        f"teacher {manifests['teacher'].fingerprint[:8]}",
    ]
    path = out or Path(f"{room_id}-{student}.png")
    with local_errors("write", path, "--out"):
        write_preview(picture, label_set(room.labels), facts, path)
    print(path)

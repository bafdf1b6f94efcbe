"""Which source of rooms a configuration means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from roomseg.config import RenderConfig, SourceName
from roomseg.errors import UsageError
from roomseg.ports import RoomSource


def open_source(config: RenderConfig) -> RoomSource:
    """The source that ``render.source`` names; raises ``UsageError`` where its folder is not given or not there."""
    return _OPENERS[config.source](config)


def _generated(config: RenderConfig) -> RoomSource:
    from roomseg.scenes.generated import GeneratedSource, furniture_dir

    return GeneratedSource(
        seed=config.seed,
        rooms=config.rooms,
        rooms_per_house=config.rooms_per_house,
        room_types=config.room_types,
        size_range_m=config.room_size_m,
        furniture=furniture_dir(config.furniture_dir),
    )


def _front3d(config: RenderConfig) -> RoomSource:
    from roomseg.scenes.front3d.source import Front3dSource
    from roomseg.scenes.generated import furniture_dir
    from roomseg.scenes.textures import floor_textures, wall_textures

    furniture = furniture_dir(config.furniture_dir)
    return Front3dSource(
        root=_folder(config, "front3d_root"),
        seed=config.seed,
        room_types=config.room_types,
        shares=_shares(config),
        limits=config.rooms,
        augment_textures=config.front3d_augment,
        textures=(floor_textures(furniture), wall_textures(furniture)),
        split="house" if config.front3d_lists is None else _folder(config, "front3d_lists"),
    )


def _scannet(config: RenderConfig) -> RoomSource:
    from roomseg.scenes.scans.scannet import ScannetSource

    return ScannetSource(
        _folder(config, "scannet_root"),
        split=config.scannet_split,
        seed=config.seed,
        frame_stride=config.frame_stride,
        limits=config.rooms,
        max_depth_m=config.max_depth_m,
    )


def _rgbd(config: RenderConfig) -> RoomSource:
    from roomseg.scenes.scans.rgbd import RgbdSource

    return RgbdSource(
        _folder(config, "rgbd_root"),
        shares=_shares(config),
        seed=config.seed,
        frame_stride=config.frame_stride,
        labels=config.rgbd_labels,
        up=config.rgbd_up,
        depth_units_per_m=config.rgbd_depth_units_per_m,
        max_depth_m=config.max_depth_m,
    )


def _panorooms3d(config: RenderConfig) -> RoomSource:
    from roomseg.data.panorooms3d import PanoRooms3dSource

    return PanoRooms3dSource(
        _folder(config, "panorooms3d_root"),
        split=config.panorooms3d_split,
        parts=config.panorooms3d_parts,
        shares=_shares(config),
        seed=config.seed,
    )


_OPENERS: dict[SourceName, Callable[[RenderConfig], RoomSource]] = {
    "generated": _generated,
    "front3d": _front3d,
    "scannet": _scannet,
    "panorooms3d": _panorooms3d,
    "rgbd": _rgbd,
}


def source_digests(config: RenderConfig) -> dict[str, str]:
    """What tells the content of the files that rooms are made from, from another."""
    digests = {"source": open_source(config).digest()}
    if config.source == "front3d" and config.front3d_augment:
        from roomseg.scenes.furniture import content_digest
        from roomseg.scenes.generated import furniture_dir

        digests["textures"] = content_digest(furniture_dir(config.furniture_dir))
    return digests


def _folder(config: RenderConfig, setting: str) -> Path:
    value = getattr(config, setting)
    if value is None:
        raise UsageError(f"render.source={config.source} needs its folder: --set render.{setting}=DIR")
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise UsageError(f"render.{setting}: {folder} is not a folder; expected that of the {config.source} data")
    return folder.absolute()


def _shares(config: RenderConfig) -> tuple[float, float, float]:
    """The splits' shares as the maxima are to one another."""
    total = sum(config.rooms.values())
    return config.train_rooms / total, config.val_rooms / total, config.test_rooms / total

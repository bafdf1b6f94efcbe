"""A registered model as MLflow serves it; ``registry.save_pyfunc`` names this module in the model's ``MLmodel``.

A request has a row for each room, by one of two columns:

    volume   an .npz with tsdf (X, Y, Z) int8 and rgb (X, Y, Z, 3) uint8 as ``data.rooms`` has them (base64 in JSON)
    room     s3://BUCKET/PREFIX#ROOM, a room of a store

The answer has one column, ``labels``: an .npz with label (X, Y, Z) uint8, a class for each voxel.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from roomseg.data.dataset import find_room
from roomseg.data.rooms import Room
from roomseg.errors import UserError
from roomseg.npz import read_arrays
from roomseg.runtime.artifacts import open_render
from roomseg.stages.networks import predict_room
from roomseg.stages.predicting.models import LoadedModel, load_model

MOST_VOXELS = 50_000_000  # of a room: 20 x 20 x 8 m at 4 cm
S3 = "s3://"


class ServedModel:
    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, model_input: Any) -> Any:  # pandas.DataFrame, both
        """A row of labels for each row; raises ``MlflowException``: status 400 for what is no room, 503 without S3."""
        import pandas as pd
        from mlflow.exceptions import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE, MlflowException

        try:
            answers = [self._answer(row) for row in model_input.to_dict("records")]
        except UserError as error:
            code = TEMPORARILY_UNAVAILABLE if _is_outage(error) else INVALID_PARAMETER_VALUE
            raise MlflowException(str(error), error_code=code) from None
        return pd.DataFrame({"labels": answers})

    def _answer(self, row: dict[str, Any]) -> bytes:
        volume, room_uri = row.get("volume"), row.get("room")
        if isinstance(volume, bytes) and not isinstance(room_uri, str):
            room = _room_of(volume, self._model.card.voxel_m)
        elif isinstance(room_uri, str) and not isinstance(volume, bytes):
            room = _stored_room(room_uri, self._model.card.voxel_m)
        else:  # a column that another row has is NaN or None in this one
            which = "both" if isinstance(volume, bytes) else "neither"
            raise UserError(f"got a row with {which}; expected volume or room")
        packed = io.BytesIO()
        np.savez_compressed(packed, label=predict_room(self._model.network, room).astype(np.uint8))
        return packed.getvalue()


def _room_of(content: bytes, voxel_m: float) -> Room:
    tsdf, rgb = read_arrays(content, ("tsdf", "rgb"), 3 * MOST_VOXELS)
    for name, array, dtype, shape in (("tsdf", tsdf, "int8", tsdf.shape[:3]), ("rgb", rgb, "uint8", (*tsdf.shape, 3))):
        if array.dtype != dtype or array.shape != shape or tsdf.ndim != 3:
            size = "(X, Y, Z)" if name == "tsdf" else "(X, Y, Z, 3) of the same X, Y, Z"
            raise UserError(f"got {name} of {array.dtype} with shape {array.shape}; expected {dtype} {size}")
    _check_size(tsdf.shape)
    return Room("request", "request", "test", np.zeros(3), voxel_m, tsdf, rgb, np.zeros(tsdf.shape, np.uint8))


def _stored_room(uri: str, voxel_m: float) -> Room:
    store, _, room_id = uri.rpartition("#")
    if not store.startswith(S3) or not room_id:
        raise UserError(f"got the room {uri!r}; expected s3://BUCKET/PREFIX#ROOM")
    room = find_room(open_render(store), room_id).load()
    if room.voxel_m != voxel_m:
        raise UserError(f"room {room_id} has voxels of {room.voxel_m:g} m, the model takes {voxel_m:g} m")
    _check_size(room.shape)
    return room


def _is_outage(error: UserError) -> bool:
    """The request may be right: its room cannot be fetched now, for S3 does not answer or this disk is full."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    cause = error.__cause__
    if isinstance(cause, ClientError):
        return cause.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500
    return isinstance(cause, BotoCoreError | Boto3Error | HTTPError | OSError)


def _check_size(shape: tuple[int, ...]) -> None:
    if not 0 < np.prod(shape) <= MOST_VOXELS:
        size = " x ".join(map(str, shape))
        raise UserError(f"got a room of {size} voxels; expected 1 to {MOST_VOXELS:,}: send it in parts")


def _load_pyfunc(path: str) -> ServedModel:
    """The name that MLflow looks for."""
    return ServedModel(load_model(Path(path)))

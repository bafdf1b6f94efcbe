"""The room as the two cameras of a scanner see it, and as one camera does."""

from __future__ import annotations

import pytest

from roomseg.scenes.scans.registration import Rig
from tests.scenes.scans.box_room import DEPTH_LENS, DEPTH_SIZE, Take, one_camera_rig, takes, two_camera_rig


@pytest.fixture(scope="session")
def rig() -> Rig:
    return two_camera_rig()


@pytest.fixture(scope="session")
def frames(rig: Rig) -> list[Take]:
    return takes(rig, 4)


@pytest.fixture(scope="session")
def single_rig() -> Rig:
    return one_camera_rig(DEPTH_LENS, DEPTH_SIZE)


@pytest.fixture(scope="session")
def single_frames(single_rig: Rig) -> list[Take]:
    return takes(single_rig, 4)

"""Names of the teacher's encoder, checked before anything is run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from roomseg.errors import UsageError
from roomseg.models.backbones import OWN_BACKBONES, check_backbone
from roomseg.models.vit import SEGMENTER_SIZES


def test_known_names_pass_and_others_are_told_with_near_ones() -> None:
    assert set(OWN_BACKBONES) == set(SEGMENTER_SIZES)
    for name in (*OWN_BACKBONES, "vit_small_patch14_dinov2"):
        check_backbone(name)
    with pytest.raises(
        UsageError, match=r"teacher.backbone is 'bass'; expected micro, tiny, small, base, large or the name"
    ):
        check_backbone("bass")


def test_own_names_need_no_torch_and_without_timm_others_wait() -> None:
    """As in the image of ``render``, where neither is."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None;"
        "from roomseg.models.backbones import check_backbone; check_backbone('base'); check_backbone('bass')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

"""The teacher's encoders by name, for those who have no torch."""

from __future__ import annotations

from roomseg.errors import UsageError, UserError

OWN_BACKBONES = ("micro", "tiny", "small", "base", "large")  # Segmenter's sizes, ``vit.SEGMENTER_SIZES``


def check_backbone(name: str) -> None:
    """Raises UsageError for an unknown name, long before the teacher is built; where timm is not there it is late."""
    if name in OWN_BACKBONES:
        return
    try:
        from roomseg.models.timm_vit import check_timm_name

        check_timm_name(name)
    except ImportError:
        return
    except UserError as error:
        raise UsageError(str(error)) from None

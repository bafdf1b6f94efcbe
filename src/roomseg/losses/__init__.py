"""Losses beside the network's own cross entropy: distillation, what its switches add, and differentiable projection."""

from roomseg.losses.distillation import (
    CollapsedTeacher,
    GatheredTeacher,
    collapse_teacher,
    collapsed_distillation,
    dense_distillation,
    gather_teacher,
    gathered_distillation,
    join_collapsed,
)
from roomseg.losses.features import cosine_feature_loss
from roomseg.losses.projected import PixelMap, nearest_map, project, project_volume, trilinear_map
from roomseg.losses.segmentation import lovasz_softmax, surface_band

__all__ = [
    "CollapsedTeacher",
    "GatheredTeacher",
    "PixelMap",
    "collapse_teacher",
    "collapsed_distillation",
    "cosine_feature_loss",
    "dense_distillation",
    "gather_teacher",
    "gathered_distillation",
    "join_collapsed",
    "lovasz_softmax",
    "nearest_map",
    "project",
    "project_volume",
    "surface_band",
    "trilinear_map",
]

"""Losses beside the network's own cross entropy: distillation, and what the ``best`` profile adds."""

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
from roomseg.losses.segmentation import lovasz_softmax, surface_band

__all__ = [
    "CollapsedTeacher",
    "GatheredTeacher",
    "collapse_teacher",
    "collapsed_distillation",
    "cosine_feature_loss",
    "dense_distillation",
    "gather_teacher",
    "gathered_distillation",
    "join_collapsed",
    "lovasz_softmax",
    "surface_band",
]

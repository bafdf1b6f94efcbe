"""One HTML file with a labelled 3D surface to turn, zoom and filter: it opens from disk, without a network."""

from roomseg.report.viewer.content import ViewedClass, ViewerContent, ViewerSurface
from roomseg.report.viewer.page import write_viewer

__all__ = ["ViewedClass", "ViewerContent", "ViewerSurface", "write_viewer"]

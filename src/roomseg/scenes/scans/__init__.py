"""Rooms as RGB-D recordings: ScanNet, and folders of frames with poses."""

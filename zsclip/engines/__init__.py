"""Engines: `uint8 (n, height, width, 3)` pixels or a list of texts in, `float32 (n, d)` unit vectors out.

The only room that imports torch, open_clip or OpenVINO, and only when something must be computed. `choice` says which
engine runs: `torch` is the reference and runs everywhere, `openvino` is the fast one on CPUs.
"""

"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

"""The fast engine on CPUs: OpenVINO, over models that are converted once. Only `export` imports torch."""

"""How fast zsclip is beside what people use today: `python -m benchmarks.speed`."""

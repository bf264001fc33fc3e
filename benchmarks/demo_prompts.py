"""Prompt sets judged on drawn scenes with the demo model, by the command line: the figures of RESULTS.md.

    python benchmarks/demo_prompts.py [--images 30] [--noise 0.4]

Prints what `zsclip evaluate` prints: the comparison; zpe and greedy selection against equal averaging, on the half of the
images that did not choose; and the calibration, on the half that it was not fitted on.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile

COMMANDS = (
    "zsclip evaluate scenes -p plain -p photo -p openai-simple -p openai-imagenet -p satellite "
    "--template 'a blue ring and a <label>.'",
    "zsclip evaluate scenes -p openai-imagenet --weight-templates zpe --select-templates",
    "zsclip evaluate scenes -p openai-simple --weight-templates zpe --select-templates",
    "zsclip evaluate scenes -p photo --calibrate calibration.yaml",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=30, help="per pair of colour and shape")
    parser.add_argument("--noise", type=float, default=0.4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ZSCLIP_MODEL": "demo", "ZSCLIP_CACHE_DIR": f"{folder}/cache", "COLUMNS": "88"}
        draw = f"zsclip demo demo --images {args.images} --noise {args.noise} --seed 90002"
        for shown in (draw, *COMMANDS):
            command = shown.replace("zsclip ", f"{sys.executable} -m zsclip ", 1).replace(
                " scenes", " demo/scenes -f table"
            )
            print(f"$ {shown}", flush=True)
            run = subprocess.run(shlex.split(command), cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
            if shown != draw:
                print(run.stdout.decode())


if __name__ == "__main__":
    main()

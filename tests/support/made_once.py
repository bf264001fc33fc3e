"""What is expensive to make, made once for a whole session, by one of its worker processes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from support import small_models


class MadeOnce:
    """Files and folders by name in one folder. Another process that asks for one waits until it is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """The file or folder NAME, which `make` makes at the path that it is given unless it was made before."""
        path, made = self._folder / name, self._folder / f"{name}.made"
        with FileLock(self._folder / f"{name}.lock"):
            if not made.exists():
                make(path)
                made.touch()
        return path


def save_random_checkpoint(architecture: str, path: Path) -> None:
    """Random weights with `logit_scale` ln 100, as real models have it: the usual 14 would hide errors."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(7)
    model = open_clip.create_model(architecture)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    small_models.count_statistics(model)
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)


def save_sharp_demo(folder: Path) -> None:
    """The demo model's folder with `logit_scale` ln 100."""
    import torch
    from safetensors.torch import load_file, save_file

    from zsclip.models import resolve

    shutil.copytree(Path(str(resolve("demo").checkpoint)).parent, folder)
    state = load_file(folder / "open_clip_model.safetensors")
    save_file({**state, "logit_scale": torch.tensor(math.log(100))}, folder / "open_clip_model.safetensors")


def save_rough_demo(folder: Path) -> None:
    """The demo model's folder with a little noise in its weights: a second model that knows the same things less well."""
    import torch
    from safetensors.torch import load_file, save_file

    from zsclip.models import resolve

    shutil.copytree(Path(str(resolve("demo").checkpoint)).parent, folder)
    state = load_file(folder / "open_clip_model.safetensors")
    torch.manual_seed(3)
    noisy = {
        name: one + 0.15 * one.std() * torch.randn_like(one) if name.startswith("visual.") and one.ndim == 4 else one
        for name, one in state.items()
    }
    save_file(noisy, folder / "open_clip_model.safetensors")


def save_traced_demo(folder: Path) -> None:
    """The demo model's folder with open_clip's other kind of block, which computes the same and is not built from its file."""
    from zsclip.models import resolve

    shutil.copytree(Path(str(resolve("demo").checkpoint)).parent, folder)
    path = folder / "open_clip_config.json"
    document = json.loads(path.read_text())
    for tower in ("vision_cfg", "text_cfg"):
        document["model_cfg"][tower]["block_type"] = "custom"
    path.write_text(json.dumps(document))

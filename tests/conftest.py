"""Fixtures. Everything runs offline, on the bundled demo model or on random weights; nothing is mocked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from support.cli import Cli
from support.devices import cuda_is_available
from support.made_once import MadeOnce, save_random_checkpoint, save_rough_demo, save_sharp_demo, save_traced_demo

if TYPE_CHECKING:
    from support.browser import Browser

SHARED = Path(__file__).parents[2] / "shared" / "data"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Threads of torch's that wait for work spin meanwhile, which takes the time of the other worker process.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Before NumPy is imported, here and in the processes that tests start: when a thread forks, OpenBLAS ends its own threads, and
# a product that they were computing for another thread waits forever. No product in these tests is large enough for several.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Hundreds of processes are started; each would compile all of zsclip anew, which takes a fifth of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# ZSCLIP_FUZZ_EXAMPLES is set by `make fuzz`.
_FUZZ = os.environ.get("ZSCLIP_FUZZ_EXAMPLES")
settings.register_profile("tests", max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("fuzz", settings.get_profile("tests"), max_examples=int(_FUZZ or 1))
settings.load_profile("fuzz" if _FUZZ else "tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("network") and not os.environ.get("ZSCLIP_TEST_NETWORK"):
            item.add_marker(pytest.mark.skip(reason="needs the network; set ZSCLIP_TEST_NETWORK=1 to run it"))
        if item.get_closest_marker("weights") and not os.environ.get("ZSCLIP_TEST_WEIGHTS"):
            item.add_marker(pytest.mark.skip(reason="needs published weights; set ZSCLIP_TEST_WEIGHTS=1 to run it"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not cuda_is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the project's shared data is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """What takes long to make is made by one of the worker processes of pytest-xdist, for all of them."""
    base = tmp_path_factory.getbasetemp()
    return MadeOnce((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made once")


@pytest.fixture(scope="session")
def exports(made_once: MadeOnce) -> Path:
    """Models converted for OpenVINO, which takes seconds each, are shared by the tests."""
    return made_once("exports", Path.mkdir)


@pytest.fixture(scope="session")
def traced_demo(made_once: MadeOnce) -> str:
    """The demo model as one that is not built from its file, but converted; give it as a model's name."""
    return f"local-dir:{made_once('traced demo', save_traced_demo)}"


@pytest.fixture(scope="session")
def traced_export(exports: Path, made_once: MadeOnce, traced_demo: str) -> Path:
    """That model, converted."""

    def convert(cache: Path) -> None:
        from zsclip import Classifier

        cache.mkdir()
        (cache / "exports").symlink_to(exports)
        with Classifier.load(traced_demo, cache_dir=cache) as classifier:
            assert classifier.model.load()

    made_once("cache", convert)
    (folder,) = (path for path in exports.glob("*traced-demo-*-v*[0-9]") if path.is_dir())
    return folder


@pytest.fixture
def own_exports(isolated: Path, traced_export: Path) -> Path:
    """A folder of exports of the test's own, with that of the traced model in it."""
    (isolated / "cache" / "exports").unlink()
    shutil.copytree(traced_export, isolated / "cache" / "exports" / traced_export.name, copy_function=os.link)
    return isolated / "cache" / "exports"


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests of one file share, so that their images are embedded once."""
    return tmp_path_factory.mktemp("store") / "cache"


@pytest.fixture(scope="session")
def default_engine() -> type[Any]:
    """The class of the engine that runs on a CPU unless another is asked for."""
    if find_spec("openvino") is None:
        from zsclip.engines.torch.engine import TorchEngine

        return TorchEngine
    from zsclip.engines.openvino.engine import OpenVinoEngine

    return OpenVinoEngine


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, exports: Path) -> Path:
    """A store and a configuration folder of the test's own, and no settings from outside."""
    home = tmp_path_factory.mktemp("home")
    (home / "cache").mkdir(mode=0o700)
    (home / "cache" / "exports").symlink_to(exports, target_is_directory=True)
    for name in ("ZSCLIP_MODEL", "ZSCLIP_PRETRAINED", "ZSCLIP_DEVICE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg-cache"))
    monkeypatch.setenv("COLUMNS", "80")
    return home


@pytest.fixture
def cli(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Cli:
    return Cli(capfdbinary, monkeypatch, tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="session")
def demo_folder(made_once: MadeOnce) -> Path:
    """`labels.txt` and `scenes/`, one picture for each of the 64 labels."""
    from zsclip.demo import draw_folder

    return made_once("demo", lambda folder: draw_folder(folder, images=1))


@pytest.fixture(scope="session")
def red_star(demo_folder: Path) -> Path:
    return demo_folder / "scenes" / "red star" / "001.png"


@pytest.fixture(scope="session")
def sharp_demo(made_once: MadeOnce) -> Path:
    """The demo model's folder with `logit_scale` ln 100."""
    return made_once("sharp demo", save_sharp_demo)


@pytest.fixture(scope="session")
def rough_demo(made_once: MadeOnce) -> str:
    """The demo model with noise in its weights; give it as a model's name."""
    return f"local-dir:{made_once('rough demo', save_rough_demo)}"


@pytest.fixture(scope="session")
def vit_b32(made_once: MadeOnce) -> Path:
    return made_once("vit-b-32.pt", partial(save_random_checkpoint, "ViT-B-32"))


@pytest.fixture(scope="session")
def rn50(made_once: MadeOnce) -> Path:
    return made_once("rn50.safetensors", partial(save_random_checkpoint, "RN50"))


@pytest.fixture(scope="session")
def noisy_folder(made_once: MadeOnce) -> Path:
    """Scenes for each of the 64 labels, three each, with so much noise that the demo model errs on some."""
    from zsclip.demo import draw_folder

    return made_once("noisy", lambda folder: draw_folder(folder, images=3, seed=5, noise=0.4)) / "scenes"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; Debian: apt-get install chromium chromium-driver."""
    from support import browser as real

    if not (real.CHROMIUM and real.DRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    pytest.importorskip("selenium")
    with real.chromium(tmp_path_factory.mktemp("downloads")) as found:
        yield found

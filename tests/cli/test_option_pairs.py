"""No option is silently without effect, whatever else is given: all pairs of options of all commands, taken from the program."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import typer
from support.cli import Cli
from support.videos import video

from zsclip.cli import app, groups
from zsclip.demo.scenes import add_noise, draw, random_scene

pytestmark = pytest.mark.slow

# What makes settings of the run; their effect is what reaches the library. All other options show in what comes out.
SETTINGS = {
    "model": ("-m", "local-dir:SHARP"), "offline": ("--offline",), "device": ("--device", "cpu"), "engine": ("--engine", "torch"),
    "precision": ("--precision", "fp32"), "exact": ("--exact",), "batch_size": ("--batch-size", "3"), "workers": ("--workers", "2"),
    "max_pixels": ("--max-pixels", "1000000"), "isolate": ("--isolate",), "decode_timeout": ("--isolate", "--decode-timeout", "5"),
    "cache_dir": ("--cache-dir", "OTHER"), "no_cache": ("--no-cache",), "rehash": ("--rehash",),
    "pretrained": ("--pretrained", "openai"), "readers": ("--readers", "3"),
}  # fmt: skip
MESSAGES = {"quiet": ("-q",), "verbose": ("-v",), "timings": ("--timings",)}
HIDDEN = {"hidden": ("--hidden",)}
# Refused where no address can be met; their effects are in test_addresses.py and test_web.py.
ADDRESSES = {
    "per_host": ("--per-host", "2"),
    "allow_private": ("--allow-private",),
    "no_sign_request": ("--no-sign-request",),
}
PATHS = {
    "no_recursive": ("--no-recursive",), "null": ("-0",), **HIDDEN, **ADDRESSES, "limit": ("--limit", "25"), "sample": ("--sample", "25"),
    "seed": ("--sample", "25", "--seed", "4"), "retry": ("--retry", "ROWS"),
}  # fmt: skip
TABLES = {"column": ("TABLE", "--column", "file"), "id_column": ("TABLE", "--id-column", "id")}
VIDEOS = {
    "every": ("--every", "0.4"),
    "exact_times": ("--every", "0.2", "--exact-times"),
    "pool": ("--every", "0.2", "--pool", "mean"),
}
DECISIONS = {
    "temperature": ("--temperature", "3"), "combine": ("--combine", "max"), "background": ("--background", "BACKGROUND"),
    "min_probability": ("--min-probability", "0.985"), "min_margin": ("--min-margin", "0.9895"),
    "min_similarity": ("--min-similarity", "0.272"), "unknown_label": ("--min-similarity", "0.272", "--unknown-label", "none"),
}  # fmt: skip
INTO = ("--into", "OUT/parts", "--engine", "torch")  # which is ready in less time
PARTS = {
    "parts_folder": INTO, "part_size": (*INTO, "--part-size", "7"), "restart": (*INTO, "--restart"),
    "retry_errors": (*INTO, "--retry-errors"), "max_errors": (*INTO, "--max-errors", "3"), "cluster": (*INTO, "--cluster", "local"),
    "actors": (*INTO, "--cluster", "local", "--actors", "2"), "cpus_per_actor": (*INTO, "--cluster", "local", "--cpus-per-actor", "1"),
    "gpus_per_actor": (*INTO, "--cluster", "local", "--gpus-per-actor", "0"),
    "part_timeout": (*INTO, "--cluster", "local", "--part-timeout", "9"),
}  # fmt: skip
# With these the effect of --into would hide theirs: see tests/cluster.
OF_PARTS = PARTS.keys() - {"parts_folder"}
MULTI_LABEL = {"multi_label": ("--multi-label", "--min-probability", "0.03")}
LABELS = {"labels": ("-l", "green cross")}
PROMPTS = {"prompts": ("-p", "openai-imagenet"), "template": ("--template", "it is <label>")}
TEACHING = {
    "examples": ("--examples", "MANIFEST"), "save_classifier": ("--examples", "MANIFEST", "--save-classifier", "OUT/taught.json"),
    "classifier_file": ("--classifier", "TAUGHT"),
}  # fmt: skip
REPORT = {
    "report": ("--report", "OUT/page.html"),
    "embed_thumbnails": ("--report", "OUT/page.html", "--embed-thumbnails"),
}


@dataclass(frozen=True)
class Case:
    """A command with what it cannot do without, and a value for each option that it has beside that."""

    base: tuple[str, ...]
    samples: dict[str, tuple[str, ...]]


CASES = {
    "classify": Case(
        ("SCENES", "SCENES/deep", "-L", "NAMES"),
        {**LABELS, **PROMPTS, **PATHS, **TABLES, **VIDEOS, **DECISIONS, **REPORT, **MESSAGES, **SETTINGS, **MULTI_LABEL, **PARTS,
         **TEACHING,
         "vectors": ("--vectors", "VECTORS"),
         "calibration": ("--calibration", "CALIBRATION"), "top_k": ("-k", "2"), "format": ("-f", "jsonl"),
         "output": ("-o", "OUT/rows.csv"), "only": ("--only", "red star")},
    ),
    "evaluate": Case(
        ("LABELLED", "-L", "NAMES", "-f", "json"),
        {**PROMPTS, **DECISIONS, **REPORT, **MESSAGES, **SETTINGS, **LABELS, **MULTI_LABEL,
         "manifest": ("--manifest", "MANIFEST"), "label_from": ("--label-from", "cls"), "class_names": ("--class-names", "CALLED"),
         "baseline": ("-p", "photo", "-p", "plain", "--baseline", "plain"),
         "per_class": ("--per-class",), "per_level": ("--per-level",), "per_template": ("--per-template",),
         "confusion": ("--confusion",), "errors": ("--errors", "2"),
         "allow_predictions": ("--manifest", "PREDICTED", "--allow-predictions"), **HIDDEN,
         "column": ("--column", "path"), "id_column": ("--id-column", "id"), "label_column": ("--label-column", "label"),
         "weight_templates": ("--weight-templates", "zpe"), "select_templates": ("--select-templates",),
         "vectors_of_images": ("--vectors", "VECTORS"),
         "save_prompts": ("--save-prompts", "OUT/set.yaml"), "calibrate": ("--calibrate", "OUT/calibration.yaml"),
         "examples": TEACHING["examples"], "shots": ("--shots", "1"), "seeds": ("--shots", "1", "--seeds", "2"),
         "seed": ("--calibrate", "OUT/calibration.yaml", "--seed", "2"), "output": ("-o", "OUT/rows.csv")},
    ),
    "search": Case(
        ("SCENES", "SCENES/deep", "--text", "red star"),
        {**PROMPTS, **PATHS, **TABLES, **VIDEOS, **MESSAGES, **SETTINGS, "vectors": ("--vectors", "VECTORS"),
         "image": ("--image", "0.05:PICTURE"), "minus": ("--minus", "blue ring"),
         "top_k": ("-k", "2"), "min_similarity": ("--min-similarity", "0.06"), "format": ("-f", "jsonl"), "output": ("-o", "OUT/rows.csv")},
    ),
    "sort": Case(
        ("SCENES", "SCENES/deep", "-L", "NAMES", "--into", "OUT/sorted"),
        {**LABELS, **PROMPTS, **PATHS, **DECISIONS, **MESSAGES, **SETTINGS, **MULTI_LABEL, **TEACHING, "link": ("--link",),
         "copy": ("--copy",), "move": ("--move",), "dry_run": ("--dry-run",),
         "calibration": ("--calibration", "CALIBRATION", "--min-probability", "0.985")},
    ),
    "embed": Case(("SCENES", "SCENES/deep", "-o", "OUT/vectors.jsonl"),
                  {**PATHS, **TABLES, **VIDEOS, **MESSAGES, **SETTINGS, **PARTS, "texts": ("--texts", "TEXTS")}),
}  # fmt: skip
# A pair in which the first changes nothing, for the reason given.
REFUSED = "refused"
REDUNDANT = {
    ("isolate", "decode_timeout"): "the sample has it already",
    ("min_probability", "min_margin"): "who leads by 0.9895 has a probability above 0.985",
    ("min_similarity", "top_k"): "both cut the same ranking; the shorter one is shown",
    **{(name, "no_recursive"): "fewer are left than it takes" for name in ("limit", "sample", "seed")},
    **{(name, "limit"): "the table comes after what the limit takes" for name in ("column", "id_column")},
    **{(name, "column"): "the table has no addresses" for name in ("allow_private", "no_sign_request", "per_host")},
    ("precision", "parts_folder"): "in parts auto is fp32",
    ("limit", "quiet"): "what it cuts off is not among the best, and quiet tells no counts",
}
Seen = tuple[int, str, str, dict[str, bytes]]


class Reached(BaseException):
    """The settings are known, its arguments; nothing more is to be done."""


class Runs:
    """Runs a command with some of its options on material of its own, and sees all that comes of it."""

    def __init__(self, cli: Cli, command: str, material: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        self._cli, self._command, self._material, self._monkeypatch = cli, command, material, monkeypatch
        self._known: dict[frozenset[str], Seen] = {}
        self._settings: dict[frozenset[str], object] = {}

    def arguments(self, names: frozenset[str]) -> list[str]:
        """What is typed for these options."""
        case = CASES[self._command]
        typed = [*case.base, *(part for name in sorted(names) for part in case.samples[name])]
        return [re.sub(r"[A-Z]{3,}", lambda found: str(self._material[found[0]]), one) for one in typed]

    def seen(self, *names: str) -> Seen:
        """Exit code, standard output, standard error without figures of time, and the files written."""
        key = frozenset(names)
        if key not in self._known:
            out = self._material["OUT"]
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            run = self._cli(self._command, *self.arguments(key))
            said = re.sub(r"\d+\.\d+( s|[^\n]*images/s)", "", run.err)
            files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
            self._known[key] = run.code, run.out, said, files
        return self._known[key]

    def settings(self, *names: str) -> object:
        """The settings that reach the library, or `REFUSED`."""
        key = frozenset(names)
        if key not in self._settings:
            with self._monkeypatch.context() as patch:
                patch.setattr(groups, "classifier_of", self._reach)
                try:
                    assert self._cli(self._command, *self.arguments(key)).code in (1, 2)
                    self._settings[key] = REFUSED
                except Reached as reached:
                    self._settings[key] = reached.args
        return self._settings[key]

    @staticmethod
    def _reach(model: groups.ModelGroup, reading: groups.ReadingGroup, store: groups.StoreGroup) -> Any:
        spec = model.resolve()
        raise Reached(spec, spec.offline, model.computing, reading.settings, store.settings)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, sharp_demo: Path, one_store: Path) -> dict[str, Path]:
    """What the samples name. Noisy scenes, so that thresholds, prompts and calibration make a difference."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = random.Random(3)
    labels = [("red", "star"), ("blue", "ring"), ("green", "heart")]
    for number in range(18):
        pair = labels[number % 3]
        picture = add_noise(draw(random_scene(rng, pair), rng), 0.5 + number / 60, rng)
        for place in (folder / "labelled" / " ".join(pair), folder / "scenes" / ("deep" if number > 8 else "")):
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{number:02}.png")
            if number == 3:
                picture.save(place / ".hidden.png")
    star = draw(random_scene(rng, labels[0]), rng)
    (folder / "scenes" / "clip.mp4").write_bytes(video(0.6, gop=2, picture=star))
    files = {
        "NAMES": "".join(f"{c} {s}: [{c} {s}, {s}]\n" for c, s in labels), "BACKGROUND": "star\n",
        "TEXTS": "red\nblue\n", "ROWS": "path,error\nscenes/00.png,no answer\n",
        "PREDICTED": "path,label,probability\nlabelled/red star/00.png,red star,0.9\nlabelled/blue ring/01.png,blue ring,0.8\n",
        "CALLED": "red star: [red star, red]\n",
        "TABLE": "path,file,id\nscenes/00.png,scenes/01.png,one\nscenes/02.png,scenes/03.png,two\n",
        "MANIFEST": "path,label\n" + "".join(f"labelled/{c} {s}/{n:02}.png,{c} {s}\n" for n, (c, s) in enumerate(labels * 4)),
    }  # fmt: skip
    made = {"SCENES": folder / "scenes", "LABELLED": folder / "labelled", "PICTURE": folder / "scenes" / "01.png",
            "OUT": folder / "out", "OTHER": folder / "other", "SHARP": sharp_demo, "CALIBRATION": folder / "calibration.yaml",
            "VECTORS": folder / "vectors", "TAUGHT": folder / "taught.json"}  # fmt: skip
    made["OUT"].mkdir()
    for name, text in files.items():
        made[name] = folder / f"{name.lower()}{'.csv' if '.png' in text else '.yaml' if ':' in text else '.txt'}"
        made[name].write_text(text)
    return made


@pytest.fixture
def runs(
    cli: Cli, material: dict[str, Path], one_store: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> Callable[[str], Runs]:
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    if not material["CALIBRATION"].exists():
        arguments = ("evaluate", material["LABELLED"], "-L", material["NAMES"], "--calibrate", material["CALIBRATION"])
        assert cli(*arguments).code == 0
    if not material["VECTORS"].exists():  # of some of the pictures
        assert cli("embed", material["LABELLED"] / "red star", "--into", material["VECTORS"]).code == 0
    built = typer.main.get_command(app)
    monkeypatch.setattr(typer.main, "get_command", lambda _: built)  # which takes as long as many of these commands
    return lambda command: Runs(cli, command, material, monkeypatch)


def commands() -> Iterator[tuple[str, set[str]]]:
    """The commands that work on pictures, and their options."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        options = {one.name for one in command.params if one.opts[0].startswith("-")}
        if "precision" in options:
            yield name, options


@pytest.mark.parametrize("command", sorted(CASES))
def test_every_option_has_an_effect_beside_every_other_or_is_refused(command: str, runs: Callable[[str], Runs]) -> None:
    run, options = runs(command), sorted(CASES[command].samples.keys() - OF_PARTS)
    silent = []
    for name, other in permutations(options, 2):
        if name in SETTINGS:
            if run.settings(name, other) == run.settings(other) != REFUSED:
                silent.append((name, other))
        elif other not in SETTINGS and run.seen(name, other) == run.seen(other) and run.seen(other)[0] in (0, 3):
            silent.append((name, other))
    silent = [f"{name} beside {other}" for name, other in silent if (name, other) not in REDUNDANT]
    assert not silent, "\n".join(silent)


def test_every_option_of_every_command_is_tried() -> None:
    def tried(case: Case) -> set[str]:
        given = {"-L": "labels_file", "--text": "text", "--into": "into", "-o": "output", "-f": "format"}
        return {*case.samples, *(given[part] for part in case.base if part in given)}

    assert dict(commands()) == {command: tried(case) for command, case in CASES.items()}


def test_a_word_for_unlabelled_images_of_an_evaluation_needs_no_threshold(
    runs: Callable[[str], Runs], material: dict[str, Path], cli: Cli
) -> None:
    runs("evaluate")
    arguments = ("evaluate", material["LABELLED"], "-L", material["NAMES"], "--unknown-label", "nothing")
    assert cli(*arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("classify", "x", "-l", "a,b", "-q", "-v"), "--quiet and --verbose: one asks for silence"),
        (("classify", "x", "-l", "a,b", "--rehash", "--no-cache"), "--no-cache and --rehash"),
        (("classify", "x", "-l", "a,b", "--multi-label", "--min-margin", "0"), "do not lead each other"),
        (("classify", "x", "-l", "a,b", "--calibration", "c.yaml", "--temperature", "1"), "brings its temperature"),
        (("classify", "x", "-l", "a,b", "-0"), "--null does nothing without a list of paths"),
        (("classify", "x", "-l", "a,b", "-f", "paths", "-k", "2"), "--top-k does nothing with --format paths"),
        (("classify", "x", "-l", "a,b", "--unknown-label", "none"), "--unknown-label does nothing without"),
        (("classify", "x", "-l", "a,b", "-k", "2", "--top-k", "3"), "--top-k was given 2 times"),
        (("evaluate", "x", "--seed", "0"), "--seed does nothing without --weight-templates or --select-templates"),
        (("search", "x", "--image", "y.png", "-p", "plain"), "--prompts does nothing without --text or --minus"),
        (("sort", "x", "-l", "a,b", "--into", "y", "--move", "--link"), "--link and --move"),
        (
            ("sort", "x", "-l", "a,b", "--into", "y", "--calibration", "c.yaml"),
            "--calibration does nothing without --min-prob",
        ),
        (("embed", "--texts", "x", "-o", "y.npz", "--workers", "2"), "with texts no pictures are read"),
        (("models", "show", "demo", "-m", "ViT-B-32"), "both name a model"),
    ],
)
def test_options_that_contradict_each_other_or_do_nothing_are_wrong_usage(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    run = cli(*arguments)
    assert run.code == 2
    assert message in " ".join(re.sub("[│╭╮╰╯─]", " ", run.err).split())

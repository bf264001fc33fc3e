"""What an export is: a model's two towers, converted for OpenVINO and kept in a folder.

    image.xml, image.bin    uint8 (n, height, width, 3) -> float32 (n, d)
    text.xml, text.bin      int32 (n, length) -> float32 (n, d), or trees of tokens (`prefixes.Forest`) -> float32 (n, d)
    tokenizer.json, tokenizer_settings.json
    export.json             scale, bias, sizes of the files; written last

It appears under its name whole or not at all. Weights are kept in float32: half precision is a choice made at run time.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from zsclip.models.spec import ModelFacts, ModelSpec, short_identity

EXPORT_VERSION = 4  # raise it when an export of the same weights would be another
EXPORT_FACTS = "export.json"
ALL, LARGEST = "all", "largest"  # where a text tower pools, if not at a token of a certain number


def export_folder(exports: Path, spec: ModelSpec, identity: str) -> Path:
    """The folder in `exports` of the export of the model of that identity."""
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in spec.title).strip("-")
    return exports / f"{readable[-60:]}-{short_identity(identity)}-v{EXPORT_VERSION}"


def is_of(folder: Path, identity: str) -> bool:
    """Whether it is an export, of any version, of the model of that identity."""
    return re.search(rf"-{short_identity(identity)}-v\d+$", folder.name) is not None


def is_outdated(folder: Path) -> bool:
    """Whether an export is of an earlier version, so that no run of this one takes it."""
    version = re.search(r"-v(\d+)$", folder.name)
    return version is not None and int(version[1]) < EXPORT_VERSION


def is_complete(folder: Path) -> bool:
    """Whether an export is there, of this version and with all of its files at their full size."""
    try:
        document = json.loads((folder / EXPORT_FACTS).read_text(encoding="utf-8"))
        sizes = document["sizes"]
        return document["version"] == EXPORT_VERSION and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@dataclass(frozen=True)
class ExportFacts:
    """What is to be known of an exported model beside its towers.

    `pooled_at` is up to where a text must be computed: `ALL` of it, or up to its `LARGEST` token, or to the one with that
    number. `vocabulary` is how many tokens the text tower knows (0: it did not say).
    """

    facts: ModelFacts
    parameters: int
    pooled_at: str | int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path) -> ExportFacts:
        """What `write` wrote into an export that is complete."""
        document = json.loads((folder / EXPORT_FACTS).read_text(encoding="utf-8"))
        facts = ModelFacts(**document["facts"])
        return cls(facts, document["parameters"], document["pooled_at"], document["vocabulary"])

    def write(self, folder: Path) -> None:
        """Write them beside the other files, which must be there already; raises `OSError`."""
        document = {
            "version": EXPORT_VERSION,
            **asdict(self),
            "openvino": version("openvino"),
            "sizes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        }
        (folder / EXPORT_FACTS).write_text(json.dumps(document, indent=1), encoding="utf-8")

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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.errors import ModelError
from zsclip.models.spec import ModelFacts, ModelSpec, short_identity
from zsclip.store.exports import Use

EXPORT_VERSION = 4  # raise it when an export of the same weights would be another
EXPORT_FACTS = "export.json"


def export_folder(exports: Path, spec: ModelSpec, identity: str) -> Path:
    """The folder in `exports` of the export of the model of that identity."""
    return exports / f"{_readable(spec)}-{short_identity(identity)}-v{EXPORT_VERSION}"


def weights_folder(exports: Path, spec: ModelSpec, identity: str) -> Path:
    """The folder in `exports` of the weights, as safetensors, of the model of that identity."""
    return exports / f"{_readable(spec)}-{short_identity(identity)}-weights"


def int8_folder(exports: Path, spec: ModelSpec, identity: str) -> Path:
    """The folder in `exports` of the image tower in int8 of the model of that identity."""
    return exports / f"{_readable(spec)}-{short_identity(identity)}-int8"


def is_of(folder: Path, identity: str) -> bool:
    """Whether it is an export, of any version, or anything else made of the model of that identity."""
    return re.search(rf"-{short_identity(identity)}-(v\d+|weights|int8)$", folder.name) is not None


def _readable(spec: ModelSpec) -> str:
    text = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in spec.title).strip("-")
    return text[-60:]


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
    """What is to be known of an exported model beside its towers; see `source.Source`."""

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
            "sizes": {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != EXPORT_FACTS},
        }
        (folder / EXPORT_FACTS).write_text(json.dumps(document, indent=1), encoding="utf-8")


class Export:
    """An export that is complete, as a `source.Source`. `use` keeps it from being removed."""

    def __init__(self, folder: Path, use: Use | None = None) -> None:
        self.use = use
        self.folder = folder
        self.image, self.text = folder / "image.xml", folder / "text.xml"
        self.remedy = f"Remove the folder {folder}; it is made again."
        known = ExportFacts.read(folder)
        self.facts, self.parameters = known.facts, known.parameters
        self.tower_parameters: Mapping[str, int] = {
            name: (folder / f"{name}.bin").stat().st_size // 4 for name in ("image", "text")
        }
        self.pooled_at, self.vocabulary = known.pooled_at, known.vocabulary

    def tokenizer(self) -> Tokenizer:
        """See `Source`."""
        try:
            return Tokenizer.load(self.folder)
        except Exception as error:  # the library raises nothing narrower
            remedy = "Remove it; it is made again."
            raise ModelError(f"{self.folder} cannot be read ({error}).", remedy=remedy) from None

    def require_numbers(self) -> None:
        """See `Source`: PyTorch looked when it was made."""

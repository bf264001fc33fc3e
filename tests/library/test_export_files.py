"""The folders of converted models: their names, and what is kept of a model beside its towers."""

from __future__ import annotations

from pathlib import Path

from zsclip.engines.openvino.export_files import EXPORT_FACTS, ExportFacts, export_folder, is_complete
from zsclip.models import resolve
from zsclip.models.spec import ModelFacts


def test_a_folders_name_is_readable_short_and_the_models_own(tmp_path: Path) -> None:
    spec = resolve("ViT-B-32", "openai")
    first, second = (export_folder(tmp_path, spec, identity) for identity in ("one", "another"))
    assert first.name.startswith("ViT-B-32--openai-")
    assert first != second
    weights = tmp_path / ("long name of weights " * 5 + "é:.pt")
    weights.touch()
    named = export_folder(tmp_path, resolve("RN50", str(weights)), "one")
    assert named.parent == tmp_path
    assert len(named.name) < 100
    assert set(":. /\\").isdisjoint(named.name)


def test_what_is_written_of_a_model_is_read_again(tmp_path: Path) -> None:
    assert not is_complete(tmp_path)
    (tmp_path / "image.bin").write_bytes(b"weights")
    facts = ExportFacts(ModelFacts(100.0, -12.5, 512, "demo"), 1234, 49407, 49408)
    facts.write(tmp_path)
    assert ExportFacts.read(tmp_path) == facts
    assert is_complete(tmp_path)
    (tmp_path / "image.bin").write_bytes(b"wei")
    assert not is_complete(tmp_path)
    assert (tmp_path / EXPORT_FACTS).is_file()

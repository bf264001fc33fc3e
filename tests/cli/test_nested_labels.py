"""Labels in levels on the command line: rows, parts, folders."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from support.cli import Cli, rows_of

NESTED = """
star: {red star: , blue star: , green star: }
ring:
  warm: {red ring: , yellow ring: }
  green ring:
red circle:
"""
FLAT = "red star,blue star,green star,red ring,yellow ring,green ring,red circle"
# The purple star is a star for sure, of a colour that there is not; what is no shape of these is nothing for sure.
EXPECTED = {
    "blue_star": "star/blue star",
    "purple_star": "star",
    "red_circle": "red circle",
    "yellow_ring": "ring/warm/yellow ring",
}


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def photos(tmp_path: Path, demo_folder: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in EXPECTED:
        shutil.copy(demo_folder / "scenes" / name.replace("_", " ") / "001.png", tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "z.png").write_bytes(b"")
    return tmp_path / "photos"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "levels.yaml").write_text(NESTED)
    return tmp_path / "levels.yaml"


def test_rows_have_paths_and_levels_in_every_format(cli: Cli, photos: Path, labels: Path, tmp_path: Path) -> None:
    asked = ("classify", photos, "-L", labels)
    without = rows_of(cli(*asked, "-k", "2").out)
    assert list(without[0]) == [
        *("path", "label", "level", "probability", "similarity", "label_2", "probability_2", "similarity_2", "error")
    ]
    flat = rows_of(cli("classify", photos, "-l", FLAT, "-k", "2").out)
    for nested, plain in zip(without, flat, strict=True):
        assert list(plain) == [name for name in nested if name != "level"]
        assert {**plain, "label": "", "label_2": ""} == {**{n: nested[n] for n in plain}, "label": "", "label_2": ""}
        assert plain["label"] == nested["label"].rpartition("/")[2]
        assert nested["level"] == (str(nested["label"].count("/") + 1) if nested["label"] else "")

    sure = (*asked, "--min-probability", "0.7", "-k", "all")
    rows = rows_of(cli(*sure).out)
    *read, broken = rows
    assert {Path(row["path"]).stem: row["label"] for row in read} == EXPECTED
    assert [(row["label"], row["level"], row["best_label"], row["level"]) for row in rows[1:2]] == [
        ("star", "1", "star/blue star", "1")
    ]
    assert float(read[1]["probability"]) < 0.7
    assert (broken["label"], broken["level"], broken["label_7"]) == ("", "", "")
    assert broken["error"]
    assert rows_of(cli(*sure, "-f", "tsv").out, "\t") == rows
    lines = [json.loads(line) for line in cli(*sure, "-f", "jsonl").out.splitlines()]
    assert [line["label"] for line in lines] == [*EXPECTED.values(), None]
    assert [line["level"] for line in lines] == [2, 1, 1, 3, None]
    assert lines[1]["level_probability"] > 0.99
    assert lines[4]["level_probability"] is None
    assert sum(one["probability"] for one in lines[1]["predictions"]) == pytest.approx(1, abs=1e-5)

    pq = pytest.importorskip("pyarrow.parquet")
    assert cli(*sure, "-o", tmp_path / "rows.parquet").code == 3
    typed = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [(row["label"], row["level"]) for row in typed] == [(line["label"], line["level"]) for line in lines]
    assert typed[1]["level_probability"] == pytest.approx(lines[1]["level_probability"], abs=1e-6)
    table = cli(*sure[:-2], "-f", "table").out
    assert re.search(r"purple_star.png  star +>99.9%   star/blue star \d", table)
    single = cli(*sure[:2][:1], photos / "purple_star.png", *sure[2:], "-f", "table").out
    assert "decided for star >99.9%" in single


@pytest.mark.slow
def test_parts_have_levels_too_and_are_not_gone_on_with_by_labels_that_stand_in_none(
    cli: Cli, photos: Path, labels: Path, tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    sure = ("classify", photos, "-L", labels, "--min-probability", "0.7", "-k", "all")
    lines = [json.loads(line) for line in cli(*sure, "-f", "jsonl").out.splitlines()]
    assert cli(*sure[:-2], "--into", tmp_path / "parts").code == 3
    part = pq.read_table(tmp_path / "parts" / "part-00000.parquet").to_pylist()
    assert [(row["label"], row["level"]) for row in part] == [(line["label"], line["level"]) for line in lines[:4]]
    same_names = {one["label"]: one["label"].split("/")[-1] for one in lines[0]["predictions"]}
    (tmp_path / "flat.json").write_text(json.dumps(same_names))
    other = cli(
        "classify", photos, "-L", tmp_path / "flat.json", "--min-probability", "0.7", "--into", tmp_path / "parts"
    )
    assert other.code == 1, "labels of the same names that stand in no levels make another run"


def test_only_takes_what_is_below(cli: Cli, photos: Path, labels: Path, tmp_path: Path) -> None:
    sure = ("classify", photos, "-L", labels, "--min-probability", "0.7", "-f", "paths", "--only")

    def found(only: str) -> list[str]:
        return [Path(line).stem for line in cli(*sure, only).out.splitlines()]

    assert found("star") == ["blue_star", "purple_star"]
    assert found("star/blue star") == ["blue_star"]
    assert found("ring") == found("ring/warm") == found("ring/warm/yellow ring") == ["yellow_ring"]
    assert found("ring/green ring") == found("unknown") == []
    assert cli(*sure, "blue star").code == cli(*sure, "warm").code == 2
    together = ("classify", photos, "-L", labels, "--multi-label", "-f", "paths", "--only", "star")
    assert "blue_star" in cli(*together).out
    assert "ring" not in cli(*together).out


def test_a_plain_label_with_a_slash_is_no_level_and_unknown_no_label(cli: Cli, photos: Path, labels: Path) -> None:
    plain = ("classify", photos, "-l", "star/blue star,star/red star,ring", "-f", "paths", "--only")
    assert cli(*plain, "star").code == 2
    clash = cli("classify", photos, "-L", labels, "-l", "a/b", "-f", "csv")
    assert clash.code == 1
    assert "where labels stand in levels, '/' separates these" in clash.err
    called = cli("classify", photos, "-L", labels, "--min-probability", "0.7", "--unknown-label", "ring/warm")
    assert called.code == 1
    assert "'ring/warm' is a label and also what images without a decision are called" in called.err


def test_sort_makes_folders_in_folders(cli: Cli, photos: Path, labels: Path, tmp_path: Path) -> None:
    labels.write_text(labels.read_text().replace("  warm:", "  ..:").replace("yellow ring: ", "con: [yellow ring]"))
    shutil.copy(photos / "purple_star.png", photos / "blue star")  # called like a folder below star/
    into = tmp_path / "sorted"
    asked = ("sort", photos, photos / "blue star", "-L", labels, "--into", into, "--min-probability", "0.7")
    assert cli(*asked).code == 3
    files = sorted(
        path.relative_to(into).as_posix() for path in into.rglob("*") if path.suffix != ".csv" and path.is_file()
    )
    assert files == [
        "red circle/red_circle.png",
        "ring/_/_con/yellow_ring.png",
        "star/blue star (2)",
        "star/blue star/blue_star.png",
        "star/purple_star.png",
    ]
    again = cli(*asked)
    assert "0 files linked" in again.err
    (plan,) = into.glob("plan-*.csv")
    assert {row["label"] for row in rows_of(plan.read_text())} == {
        "star", "star/blue star", "red circle", "ring/../con"}  # fmt: skip


def test_evaluate_takes_paths_own_names_and_folders_and_counts_each_level(
    cli: Cli, photos: Path, labels: Path, tmp_path: Path
) -> None:
    for place in ("star/blue_star", "ring/warm/yellow ring", "red circle", "star", "purple"):
        (tmp_path / "labelled" / place).mkdir(parents=True, exist_ok=True)
    for name, place in (("blue_star", "star/blue_star"), ("purple_star", "star/blue_star"), ("red_circle", "red circle"),
                        ("yellow_ring", "ring/warm/yellow ring"), ("red_circle", "star")):  # fmt: skip
        shutil.copy(photos / f"{name}.png", tmp_path / "labelled" / place)
    asked = ("-L", labels, "-p", "plain", "--min-probability", "0.7", "--per-level")
    run = cli("evaluate", tmp_path / "labelled", *asked, "-f", "json", "-v")
    assert run.code == 0
    assert f"1 image directly in {tmp_path / 'labelled' / 'star'}" in run.err
    document = json.loads(run.out)
    assert document["images"] == 4
    assert [row["level"] for row in document["per_level"]] == [1, 2, 3, "all"]
    assert [row["choices"] for row in document["per_level"]] == [3, 6, 7, None]
    assert [row["top1"] for row in document["per_level"]] == [1, 1, 1, None]
    assert [row["coverage"] for row in document["per_level"]] == [0.5, 0.25, 0.25, 1]
    assert document["per_level"][3]["mean_level"] == 1.75
    table = rows_of(cli("evaluate", tmp_path / "labelled", *asked, "-f", "csv").out)
    assert [row["level"] for row in table] == ["1", "2", "3", "all"]
    assert list(table[0]) == list(document["per_level"][0])
    printed = cli("evaluate", tmp_path / "labelled", *asked, "-f", "table").out
    assert "Decided on any level: 100.0" in printed

    # The same by a manifest, with paths and own names; what is above labels says nothing about these.
    manifest = tmp_path / "manifest.csv"
    rows = "blue_star,star/blue star\npurple_star,blue star\nred_circle,red circle\nyellow_ring,yellow ring\nz,star\n"
    manifest.write_text("path,label\n" + rows.replace(",", ".png,"))
    by_manifest = cli("evaluate", photos, "--manifest", manifest, *asked, "-f", "json", "-v")
    assert json.loads(by_manifest.out)["per_level"] == document["per_level"]
    assert "their labels are above others: images labelled star" in by_manifest.err
    assert by_manifest.code == 0, "what is left out is not read"

    alone = ("--multi-label", "-L", labels, "-f", "json")
    manifest.write_text("path,labels\nblue_star.png,blue star\nyellow_ring.png,ring/warm/yellow ring;red circle\n")
    assert json.loads(cli("evaluate", photos, "--manifest", manifest, *alone).out)["images"] == 2
    assert cli("evaluate", photos, "--manifest", manifest, *alone, "--per-level").code == 2
    manifest.write_text("path,labels\nblue_star.png,star\n")
    assert "not among the labels: 'star'" in cli("evaluate", photos, "--manifest", manifest, *alone).err
    manifest.write_text("path,label\n" + rows.replace(",", ".png,"))

    labels.write_text(labels.read_text() + "other: {blue star: azure star}\n")
    unclear = cli("evaluate", photos, "--manifest", manifest, *asked, "-f", "json")
    assert unclear.code == 1
    assert "'blue star', and that is the name of several labels: star/blue star, other/blue star" in unclear.err
    flat = cli("evaluate", photos, "--manifest", manifest, "-l", FLAT, "--per-level")
    assert flat.code in (1, 2)
    assert cli("evaluate", tmp_path / "labelled" / "star", "-l", "blue star,red star", "--per-level").code == 2


@pytest.mark.parametrize("by_folder", [True, False])
def test_examples_may_stand_in_levels_too(
    cli: Cli, photos: Path, labels: Path, tmp_path: Path, by_folder: bool
) -> None:
    examples = {"blue_star": "star/blue star", "yellow_ring": "ring/warm/yellow ring"}
    for name, label in examples.items():
        (tmp_path / "examples" / label).mkdir(parents=True)
        shutil.copy(photos / f"{name}.png", tmp_path / "examples" / label)
    rows = "".join(f"examples/{label}/{name}.png,{label},yes\n" for name, label in examples.items())
    (tmp_path / "labels.csv").write_text(f"path,label,checked\n{rows}")
    source = tmp_path / ("examples" if by_folder else "labels.csv")
    run = cli("classify", photos, "-L", labels, "--min-probability", "0.7", "--examples", source, "-f", "jsonl")
    assert "Taught by 2 examples" in run.err
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert {Path(line["path"]).stem: line["label"] for line in lines[:4]} == EXPECTED
    assert [line["level"] for line in lines] == [2, 1, 1, 3, None]


def test_archives_may_name_labels_by_their_own_names(cli: Cli, photos: Path, labels: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name, label in (
            ("blue_star", "blue star"),
            ("purple_star", "star"),
            ("yellow_ring", "ring/warm/yellow ring"),
        ):
            archive.add(photos / f"{name}.png", f"{name}.png")
            (tmp_path / "label.txt").write_text(label)
            archive.add(tmp_path / "label.txt", f"{name}.txt")
    run = cli(
        "evaluate", tmp_path / "shard.tar", "--label-from", "txt", "-L", labels, "-f", "json", "-v", "--errors", "9"
    )
    assert run.code == 0
    assert json.loads(run.out)["images"] == 2
    assert json.loads(run.out)["errors"] == []
    assert "1 image labelled 'star', which is no label" in run.err


def test_a_report_shows_levels_among_its_labels(cli: Cli, photos: Path, labels: Path, tmp_path: Path) -> None:
    run = cli(
        "classify", photos, "-L", labels, "--min-probability", "0.7", "--report", tmp_path / "r.html", "-f", "csv"
    )
    assert run.code == 3
    assert '"ring/warm/red ring"' in (page := (tmp_path / "r.html").read_text())
    assert '"ring/warm"' in page

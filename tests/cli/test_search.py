"""`zsclip search` and `zsclip embed`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.cli import Cli, rows_of

from zsclip import Classifier, InputError, scoring
from zsclip.classifier import Query


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


def labels_of(text: str) -> list[str]:
    return [Path(row["path"]).parent.name for row in rows_of(text)]


def test_images_are_ranked_by_similarity(cli: Cli, demo_folder: Path) -> None:
    run = cli("search", demo_folder / "scenes", "--text", "a red star")
    assert run.code == 0
    rows = rows_of(run.out)
    assert list(rows[0]) == ["path", "similarity", "error"]
    assert labels_of(run.out)[0] == "red star"
    values = [float(row["similarity"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert len(rows) == 10


@pytest.mark.slow
def test_a_search_equals_the_cosines_of_all(demo_folder: Path) -> None:
    paths = sorted((demo_folder / "scenes").rglob("*.png"))
    with Classifier.load("demo", use_cache=False) as classifier:
        vectors = np.concatenate([vectors for _, vectors, _ in classifier.embed(paths)])
        text = classifier.embed_texts(["a blue ring"])[0]
        found = classifier.search(paths, "a blue ring", top_k=None)
    order = np.argsort(-(vectors.astype(float) @ text.astype(float)), kind="stable")
    assert [match.path for match in found.matches] == [str(paths[n]) for n in order]


@pytest.mark.slow
def test_texts_pictures_and_what_to_keep_away_combine(cli: Cli, demo_folder: Path) -> None:
    scenes = demo_folder / "scenes"
    stars = labels_of(cli("search", scenes, "--text", "a star", "-k", "8").out)
    assert sum(label.endswith("star") for label in stars) >= 7
    without = labels_of(cli("search", scenes, "--text", "a star", "--minus", "red", "-k", "6").out)
    assert "red star" not in without
    both = labels_of(cli("search", scenes, "--text", "2:a heart", "--text", "something green", "-k", "1").out)
    assert both == ["green heart"]
    near = labels_of(
        cli("search", scenes, "--text", "a ring", "--image", scenes / "green heart" / "001.png", "-k", "2").out
    )
    assert set(near) == {"green heart", "green ring"}
    itself = cli("search", scenes, "--image", scenes / "pink arrow" / "001.png", "-k", "1").out
    assert labels_of(itself) == ["pink arrow"]
    assert float(rows_of(itself)[0]["similarity"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_formats_and_limits(cli: Cli, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    scenes = demo_folder / "scenes"
    query = ("search", scenes, "--text", "a red star", "-k", "3")
    paths = [row["path"] for row in rows_of(cli(*query).out)]
    assert cli(*query, "-f", "paths", "-0").out == "".join(f"{path}\0" for path in paths)
    documents = [json.loads(line) for line in cli(*query, "-f", "jsonl").out.splitlines()]
    assert [document["path"] for document in documents] == paths
    table = cli(*query, "-f", "table").out.splitlines()
    assert [line.split()[0] for line in table] == ["1", "2", "3"]
    assert max(map(len, table)) <= 60
    least = documents[1]["similarity"]
    assert len(rows_of(cli(*query, "--min-similarity", f"{least - 1e-4:.4f}").out)) == 2
    assert len(rows_of(cli("search", scenes, "--text", "x", "-k", "all").out)) == 64


@pytest.mark.slow
def test_templates_apply_on_request(cli: Cli, demo_folder: Path) -> None:
    scene = demo_folder / "scenes" / "red star" / "001.png"
    plain = cli("search", scene, "--text", "red star").out
    assert cli("search", scene, "--text", "red star", "-p", "photo").out != plain
    assert cli("search", scene, "--text", "red star", "--template", "<label>").out == plain


@pytest.mark.slow
def test_what_cannot_be_searched_says_so(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    scenes = demo_folder / "scenes"
    assert "Nothing to search for" in cli("search", scenes).err
    assert "--image" in cli("search", scenes, "--image", tmp_path / "none.png").err
    assert "cancel each other" in cli("search", scenes, "--text", "a", "--minus", "a").err
    broken = tmp_path / "broken.png"
    broken.touch()
    run = cli("search", broken, scenes / "red star", "--text", "star")
    assert run.code == 3
    assert rows_of(run.out)[-1] == {"path": str(broken), "similarity": "", "error": "the file is empty"}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("2:golden retriever", ("golden retriever", 2.0)), ("0.5:x", ("x", 0.5)), ("10:30 on a clock", ("30 on a clock", 10.0)),
     ("a: b", ("a: b", 1.0)), (".5:x", ("x", 0.5))],
)  # fmt: skip
def test_weights(text: str, parsed: tuple[str, float]) -> None:
    assert Query.parse([text]).texts == (parsed,)
    assert Query.parse([], [], [text]).texts == ((parsed[0], -parsed[1]),)
    with pytest.raises(InputError, match="no text or file"):
        Query.parse(["2: "])
    with pytest.raises(InputError, match="no text or file"):
        Query.parse(["9" * 400 + ":cat"])
    with pytest.raises(InputError, match="`minus`"):
        Query.parse(["-1:cat"])


def test_genuine_vectors_rank_the_cats_first(shared: Path) -> None:
    """OpenAI's image vectors of seven photos against Detic's vector of "a cat" (LVIS): the two kittens come first."""
    images = np.load(shared / "clip_vit_b32" / "images.npz")
    texts = np.load(shared / "clip_vit_b32" / "texts_lvis1203.npz")
    row = [str(label) for label in texts["labels"]].index("cat")
    text = scoring.normalise(texts["embeddings"][row : row + 1].astype(np.float32))
    vectors = scoring.normalise(images["embeddings"].astype(np.float32))
    order = np.argsort(-scoring.similarities(vectors, text)[:, 0])
    assert {str(images["names"][n]) for n in order[:2]} == {"123_456.jpg", "456_123.jpg"}


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["npz", "jsonl", "parquet"])
def test_embed_writes_what_was_computed(cli: Cli, demo_folder: Path, tmp_path: Path, extension: str) -> None:
    scenes, output = demo_folder / "scenes", tmp_path / f"vectors.{extension}"
    assert cli("embed", scenes, "-o", output).code == 0
    if extension == "npz":
        content = np.load(output)
        names, vectors = [str(name) for name in content["names"]], content["vectors"]
    elif extension == "jsonl":
        documents = [json.loads(line) for line in output.read_text().splitlines()]
        names = [document["name"] for document in documents]
        vectors = np.array([document["vector"] for document in documents], np.float32)
    else:
        table = pytest.importorskip("pyarrow.parquet").read_table(output)
        names, vectors = table["name"].to_pylist(), np.array(table["vector"].to_pylist(), np.float32)
    with Classifier.load("demo") as classifier:
        expected = [(paths, rows) for paths, rows, _ in classifier.embed(names)]
        assert classifier.counts.computed == 0
    assert len(names) == 64
    assert names == [path for paths, _ in expected for path in paths]
    computed, tolerance = np.concatenate([rows for _, rows in expected]), 1e-6
    if extension == "parquet":
        computed, tolerance = computed.astype(np.float16).astype(np.float32), 1e-3
    assert np.array_equal(vectors, computed)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=tolerance)


@pytest.mark.slow
def test_embed_texts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a red star\n\na blue ring\n")
    assert cli("embed", "--texts", tmp_path / "texts.txt", "-o", tmp_path / "t.npz").code == 0
    content = np.load(tmp_path / "t.npz")
    assert content["names"].tolist() == ["a red star", "a blue ring"]
    with Classifier.load("demo") as classifier:
        assert np.array_equal(content["vectors"], classifier.embed_texts(["a red star", "a blue ring"]))


def test_embed_leaves_out_what_cannot_be_read(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    run = cli("embed", tmp_path / "empty.png", red_star, "-o", tmp_path / "v.npz")
    assert run.code == 3
    assert "empty.png could not be read" in run.err
    assert np.load(tmp_path / "v.npz")["names"].tolist() == [str(red_star)]


def test_embed_refuses_what_it_cannot_do(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    assert "must end in one of .npz, .parquet, .jsonl" in cli("embed", red_star, "-o", tmp_path / "v.bin").err
    assert cli("embed", "-o", tmp_path / "v.npz").code == 2
    assert cli("embed", red_star, "--texts", red_star, "-o", tmp_path / "v.npz").code == 2
    assert "not UTF-8" in cli("embed", "--texts", red_star, "-o", tmp_path / "v.npz").err

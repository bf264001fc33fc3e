"""Labels in levels: how they are read, added up and decided on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsclip import LabelError, LabelSet
from zsclip.evaluation.levels import Share, level_figures, level_rows
from zsclip.evaluation.metrics import wilson
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.decisions import decide, withhold
from zsclip.scoring.levels import Levels, LevelScorer, in_levels
from zsclip.scoring.rules import Rules
from zsclip.text.labels import Label
from zsclip.unit_vectors import normalise

NESTED = """
animal:
  cat: [cat, kitten]
  bird:
    crane:
    owl: an owl
car:
machine: {crane: , TV set: [TV/monitor]}
"""
NAMES = ("animal/cat", "animal/bird/crane", "animal/bird/owl", "car", "machine/crane", "machine/TV set")

# Leaves as paths of one to four names, no leaf above another; in any order, so that what belongs together stands apart.
PATHS = (
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12, unique=True)
    .map(lambda paths: [one for one in paths if not any(one != other and one == other[: len(one)] for other in paths)])
    .filter(bool)
)
# Few values, so that equals are common.
CHANCES = st.sampled_from([0.0, 1e-9, 0.1, 0.25, 1 / 3, 0.7])


def labels_at(paths: list[tuple[str, ...]]) -> LabelSet:
    return LabelSet(tuple(Label.at(path, (path[-1],)) for path in paths))


@st.composite
def scored(draw: st.DrawFn) -> tuple[LabelSet, np.ndarray, np.ndarray]:
    labels = labels_at(draw(PATHS))
    shape = (draw(st.integers(1, 4)), len(labels))
    weights = draw(arrays(np.float64, shape, elements=CHANCES)) + 1e-12
    similarity = draw(arrays(np.float64, shape, elements=st.sampled_from([-0.5, 0.1, 0.2])))
    return labels, weights / weights.sum(axis=1, keepdims=True), similarity


def test_yaml_and_json_nest_and_only_leaves_are_prompted(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text(NESTED)
    labels = LabelSet.load(tmp_path / "l.yaml")
    assert labels.names == NAMES
    members = [("cat", "kitten"), ("crane",), ("an owl",), ("car",), ("crane",), ("TV/monitor",)]
    assert [label.members for label in labels.labels] == members
    assert labels.nests
    assert labels.above == ("animal", "animal/bird", "machine")
    assert labels.below("animal/bird") == {"animal/bird", "animal/bird/crane", "animal/bird/owl"}
    assert labels.called("owl") == ["animal/bird/owl"]
    assert labels.called("animal/cat") == ["animal/cat"]
    assert labels.called("crane") == ["animal/bird/crane", "machine/crane"]
    assert labels.called("animal") == []
    as_json = {
        "animal": {"cat": ["cat", "kitten"], "bird": {"crane": None, "owl": "an owl"}},
        "car": [], "machine": {"crane": "crane", "TV set": "TV/monitor"},
    }  # fmt: skip
    (tmp_path / "l.json").write_text(json.dumps(as_json))
    assert LabelSet.load(tmp_path / "l.json") == labels
    joined = LabelSet.of(["dog"]) + labels
    assert joined.nests
    assert joined.labels[0].path == ("dog",)


def test_a_plain_label_with_a_slash_stands_in_no_level(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text("AC/DC: [AC, DC]\nAC/AC:\n")
    for labels in (LabelSet.load(tmp_path / "l.yaml"), LabelSet.of(["AC/DC", "AC/AC"])):
        assert labels.names == ("AC/DC", "AC/AC")
        assert not labels.nests
        assert not labels.above
        assert labels.below("AC") == {"AC"}
    nested = LabelSet((Label.at(("a", "b"), ("b",)),))
    with pytest.raises(LabelError, match=r"'AC/DC': where labels stand in levels, '/' separates these"):
        nested + LabelSet.of(["AC/DC"])
    with pytest.raises(LabelError, match="'a' is a label and also a level above others"):
        nested + LabelSet.of(["a"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.yaml", "a:\n  b: x\n  c/d: y\n", r"l\.yaml:3: .*'c/d': where labels stand in levels"),
        ("l.yaml", "a:\n  b: x\nc: {}\n", r"l\.yaml:3: .*'c' has no labels below it"),
        ("l.yaml", "a:\n  b: x\n  b: y\n", r"l\.yaml:3: .*'b' stands here again; it was on line 2"),
        ("l.yaml", "a: {b: [x, x]}\n", r"l\.yaml:1: .*'x' stands here again"),
        ("l.yaml", "a: {'': x}\n", r"l\.yaml:1: .*empty"),
        ("l.json", '{"a": {"b": 1}}', r"l\.json: .*or with the labels below them"),
        ("l.json", '{"a": {}}', r"l\.json: .*'a' has no labels below it"),
        ("l.json", '{"a": {"b": "x"}, "a": {"c": "y"}}', r"l\.json: .*'a' stands there again"),
        ("l.json", '{"a": {"b": "x"}, "c/d": "y"}', r"l\.json: .*'c/d': where labels stand in levels"),
        ("l.json", '{"a":' * 12 + "1" + "}" * 12, r"l\.json: .*nested more than 10 deep"),
    ],
)
def test_bad_levels_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabelError, match=message):
        LabelSet.load(tmp_path / name)


@given(scored())
def test_a_parent_is_its_childrens_sum_and_never_less_than_any(
    drawn: tuple[LabelSet, np.ndarray, np.ndarray],
) -> None:
    labels, probability, similarity = drawn
    levels = Levels.of(labels)
    assert levels.names == (*labels.names, *labels.above)
    rolled = levels.roll_up(probability, similarity)
    assert len(rolled) == max(len(label.path) for label in labels.labels)
    for number, (level, (chances, cosines)) in enumerate(zip(levels.levels, rolled, strict=True), 1):
        assert np.allclose(chances.sum(axis=1), 1)
        assert (chances <= 1).all()
        for group, node in enumerate(level.nodes.tolist()):
            path = tuple(levels.names[node].split("/"))
            of = [n for n, label in enumerate(labels.labels) if label.path[: len(path)] == path]
            assert np.allclose(chances[:, group], probability[:, of].sum(axis=1))
            assert (cosines[:, group] == similarity[:, of].max(axis=1)).all()
            assert levels.depth[node] == min(len(path), number)
            assert level.is_leaf[group] == (node < len(labels))
            if number > 1:
                assert (rolled[number - 2][0][:, level.parents[group]] >= chances[:, group]).all()


@given(scored(), st.lists(st.floats(0, 1), min_size=2, max_size=5).map(sorted), st.sampled_from([None, 0.0, 0.2]))
def test_a_higher_threshold_never_leads_further_down(
    drawn: tuple[LabelSet, np.ndarray, np.ndarray], thresholds: list[float], margin: float | None
) -> None:
    labels, probability, similarity = drawn
    levels = Levels.of(labels)
    before = None
    for threshold in thresholds:
        found = levels.descend(probability, similarity, Rules(min_probability=threshold, min_margin=margin))
        for row in np.flatnonzero(found.level).tolist():
            name = levels.names[found.node[row]]
            of = [n for n, label in enumerate(labels.names) if label in labels.below(name)]
            assert found.level[row] == levels.depth[found.node[row]] == name.count("/") + 1
            assert np.isclose(found.probability[row], probability[row, of].sum())
            assert found.probability[row] >= threshold
            if before is not None:
                assert levels.names[before.node[row]] in labels.below(name)
        if before is not None:
            assert (found.level <= before.level).all()
        if threshold > 0.5 and margin is None:  # of two that are apart only one can be that probable
            sure = [
                {levels.names[n] for n, p in zip(level.nodes.tolist(), chances[row], strict=True) if p >= threshold}
                for row in range(len(probability))
                for level, (chances, _) in zip(levels.levels, levels.roll_up(probability, similarity), strict=True)
            ]
            deepest = np.array([max([0, *(name.count("/") + 1 for name in one)]) for one in sure])
            assert (deepest.reshape(len(probability), -1).max(axis=1) == found.level).all()
        before = found


@given(scored(), st.floats(0, 1), st.sampled_from([None, 0.1]), st.sampled_from([None, 0.15]))
def test_labels_on_one_level_are_decided_on_as_labels_without_levels(
    drawn: tuple[LabelSet, np.ndarray, np.ndarray], threshold: float, margin: float | None, least: float | None
) -> None:
    labels, probability, similarity = drawn
    flat = LabelSet.of([str(n) for n in range(len(labels))])
    rules = Rules(min_probability=threshold, min_margin=margin, min_similarity=least)
    found = Levels.of(flat).descend(probability, similarity, rules)
    withheld = withhold(probability, similarity, rules)
    assert ((found.level == 0) == withheld).all()
    best = np.lexsort((-similarity, -probability), axis=-1)[:, 0]
    assert (found.node[~withheld] == best[~withheld]).all()


def test_any_scorer_decides_in_levels_and_a_flat_one_is_left_as_it_is(rng: np.random.Generator) -> None:
    flat = LabelSet.of(list("abcdef"))
    vectors = normalise(rng.standard_normal((6, 16)).astype(np.float32))
    images = normalise((vectors[rng.integers(0, 6, 50)] + rng.standard_normal((50, 16)) * 0.4).astype(np.float32))
    classes = ClassVectors(flat.names, tuple(vectors[:, None]), 10.0)
    assert in_levels(classes, flat) is classes
    nested = labels_at([("x", "a"), ("x", "b"), ("y", "c"), ("y", "d"), ("y", "z", "e"), ("f",)])
    scorer = in_levels(ClassVectors(nested.names, classes.vectors, 10.0), nested)
    assert isinstance(scorer, LevelScorer)
    plain, levelled = classes.score(images, 3), scorer.score(images, 3)
    assert (plain.ranked == levelled.ranked).all()
    assert (plain.probability == levelled.probability).all()
    assert levelled.levels is not None
    assert not levelled.abstained.any()
    assert all(one.label == f"{nested.names[flat.names.index(two.label)]}" for one, two in zip(
        (d.predictions[0] for d in levelled), (d.predictions[0] for d in plain), strict=True))  # fmt: skip
    assert [d.level for d in levelled] == [(2, 2, 2, 2, 3, 1)[n] for n in levelled.ranked[:, 0]]

    rules = Rules(min_probability=0.6)
    sure, coarse = classes.score(images, 3, rules), scorer.score(images, 3, rules)
    assert coarse.levels is not None
    assert not (coarse.abstained & ~sure.abstained).any()
    is_leaf = coarse.levels.node < 6
    assert (coarse.levels.node[is_leaf & ~coarse.abstained] == sure.ranked[is_leaf & ~coarse.abstained, 0]).all()
    assert (sure.abstained & ~coarse.abstained).any(), "some are only sure of what is above"
    assert [one.labels for one in coarse.take([3, 4])] == [coarse[3].labels, coarse[4].labels]

    alone = Rules(multi_label=True)
    with_bias = ClassVectors(nested.names, classes.vectors, 10.0, -3.0)
    held = LevelScorer(with_bias, Levels.of(nested)).score(images, 3, alone)
    assert held.levels is not None
    assert [d.labels for d in held] == [d.labels for d in with_bias.score(images, 3, alone)]
    assert (held.levels.level == 0).tolist() == held.abstained.tolist()

    against = ClassVectors(nested.names, classes.vectors, 10.0, background=images[:1])
    lost = in_levels(against, nested).score(images[:1], 1, Rules(min_probability=0.0))
    assert lost.abstained.all()
    assert lost.levels is not None
    assert (lost.levels.level == 0).all()
    scores = against.arrays(images)
    assert decide(nested.names, scores, 2, Rules()).levels is None


def test_figures_per_level_are_those_counted_by_hand(rng: np.random.Generator) -> None:
    labels = labels_at([("x", "a"), ("x", "b"), ("y", "c"), ("y", "d"), ("y", "z", "e"), ("f",)])
    vectors = normalise(rng.standard_normal((6, 16)).astype(np.float32))
    truth = rng.integers(0, 6, 60)
    images = normalise((vectors[truth] + rng.standard_normal((60, 16)) * 0.4).astype(np.float32))
    for background, rules in (
        (None, Rules(min_probability=0.6)),
        (images[:2], Rules(min_probability=0.6)),
        (None, Rules()),
    ):
        scorer = LevelScorer(
            ClassVectors(labels.names, tuple(vectors[:, None]), 10.0, background=background), Levels.of(labels)
        )
        found = level_figures(scorer, images, truth, rules)
        scores = scorer.arrays(images)
        for level in (1, 2, 3):
            at_level = [label.path[:level] for label in labels.labels]
            right = 0
            for p, true in zip(scores.probability, truth, strict=True):
                sums = Counter[tuple[str, ...]]()
                for path, chance in zip(at_level, p, strict=True):
                    sums[path] += chance
                right += sums.most_common(1)[0][0] == at_level[true]
            one = found.levels[level - 1]
            assert (one.top1.count, one.top1.of, one.choices) == (right, 60, len(set(at_level)))
        decided, bits = [], 0.0
        for said, true in zip(scorer.score(images, 1, rules), truth, strict=True):
            if said.level is not None:
                name = said.decided or said.predictions[0].label
                is_right = labels.names[true] in labels.below(name)
                decided.append((said.level, is_right))
                bits += is_right * np.log2(6 / len(labels.below(name).intersection(labels.names)))
        assert [(one.decided.count, one.decided.of) for one in found.levels] == [
            (decided.count((level, True)), sum(at == level for at, _ in decided)) for level in (1, 2, 3)
        ]
        assert found.decided == Share(sum(right for _, right in decided), len(decided))
        assert found.information == pytest.approx(bits / 60)
        assert found.most_information == pytest.approx(np.log2(6))
        assert found.mean_level == pytest.approx(np.mean([level for level, _ in decided]))
        assert (background is None and not rules.abstains) == (found.decided.of == 60)
        *rows, every = level_rows(found)
        assert every["coverage"] == pytest.approx(sum(row["coverage"] for row in rows))
        assert (every["covered_low"], every["covered_high"]) == wilson(found.decided.count, found.decided.of)
    nothing = level_figures(scorer, images, truth, Rules(min_similarity=1.0))
    assert (nothing.decided.value, nothing.mean_level, nothing.information) == (None, None, 0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)

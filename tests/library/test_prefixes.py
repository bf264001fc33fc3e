"""Texts as trees of tokens: every text is there whole, and every beginning once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsclip.engines.openvino.prefixes import Forest, forests

TEXTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9).map(tuple), min_size=1, max_size=60)


def made(texts: list[tuple[int, ...]], most: int, streams: int) -> list[Forest]:
    tokens = np.full((len(texts), 12), 7, np.int32)  # 7 stands for padding
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    return list(forests(tokens, np.array([len(text) for text in texts]), most, streams))


@given(TEXTS, st.integers(9, 200), st.integers(1, 4))
def test_each_text_ends_somewhere_and_sees_itself_alone(texts: list[tuple[int, ...]], most: int, streams: int) -> None:
    found = {}
    for forest in made(texts, most, streams):
        for row, end in zip(forest.rows.tolist(), forest.ends, strict=False):
            seen = np.flatnonzero(forest.sees[end])
            in_order = seen[np.argsort(forest.depths[seen])]
            assert forest.depths[in_order].tolist() == list(range(len(texts[row])))
            found[row] = tuple(forest.tokens[in_order].tolist())
    assert found == dict(enumerate(texts))


@given(TEXTS, st.integers(9, 200), st.integers(1, 4))
def test_within_a_sequence_each_beginning_stands_once(texts: list[tuple[int, ...]], most: int, streams: int) -> None:
    for forest in made(texts, most, streams):
        beginnings = {texts[row][: stop + 1] for row in forest.rows for stop in range(len(texts[row]))}
        used = np.flatnonzero(forest.sees[forest.ends[: len(forest.rows)]].any(axis=0))
        assert len(used) == len(beginnings)
        assert used.tolist() == list(range(len(beginnings)))  # what is filled up stands behind, and only sees itself
        assert (forest.sees[len(used) :].sum(axis=1) == 1).all()
        assert len(forest.tokens) == -(-len(used) // 16) * 16


@given(TEXTS, st.integers(9, 200))
def test_a_sequence_has_about_as_many_tokens_as_it_may(texts: list[tuple[int, ...]], most: int) -> None:
    for forest in made(texts, most, 1):
        assert len(forest.tokens) <= most + 9 + 15


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "most"), [(10, 0.5), (100, 0.36)])
def test_of_real_prompts_most_is_in_common(labels: int, most: float) -> None:
    """open_clip's 80 templates, its tokenizer, and names of ImageNet."""
    import open_clip

    names = open_clip.IMAGENET_CLASSNAMES[:labels]
    texts = [template(name) for name in names for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    tokens = open_clip.get_tokenizer("ViT-B-32")(texts).numpy().astype(np.int32)
    lengths = tokens.argmax(axis=1) + 1
    run = sum(len(forest.tokens) for forest in forests(tokens, lengths, 256, 2))
    assert run / lengths.sum() < 0.5


def test_streams_get_as_many() -> None:
    texts = [(a, b, c) for a in range(8) for b in range(8) for c in range(8)]
    sizes = [len(forest.tokens) for forest in made(texts, 10_000, 4)]
    assert len(sizes) == 4
    assert max(sizes) <= 1.3 * sum(sizes) / 4

"""The verbs, as plain functions and generators over one loaded model."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from zsclip import models, scoring
from zsclip.embedding.embedder import Embedder
from zsclip.embedding.loading import ImageSource
from zsclip.engines import Computing
from zsclip.errors import InputError, LabelError
from zsclip.images.decoding import DEFAULT_MAX_PIXELS
from zsclip.images.worker_pool import DEFAULT_SECONDS
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.results import ImageResult, Match, SearchResult
from zsclip.scoring.rules import Rules
from zsclip.store.database import Store
from zsclip.store.keeping import Keeping
from zsclip.text import prompts as prompt_sets
from zsclip.text.labels import LabelSet, LabelsLike, as_label_set
from zsclip.text.prompts import PromptSet, PromptsLike, as_prompt_sets
from zsclip.unit_vectors import Floats


class Classifier:
    """A CLIP model that tells images apart by labels given as text.

    >>> from zsclip import Classifier
    >>> classifier = Classifier.load("demo")
    >>> for result in classifier.classify(["scene.png"], ["red circle", "blue star"]):
    ...     print(result.path, result.label, result.predictions[0].probability)
    """

    def __init__(self, embedder: Embedder, store: Store) -> None:
        self.embedder = embedder
        self._store = store

    @classmethod
    def load(
        cls,
        model: str | None = None,
        pretrained: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        engine: str = "auto",
        precision: str = "auto",
        exact: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        use_cache: bool = True,
        rehash: bool = False,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        isolate: bool = False,
        decode_timeout: float = DEFAULT_SECONDS,
    ) -> Classifier:
        """Resolve a model; its weights are loaded (and downloaded, if need be) when they are first needed.

        `model` and `pretrained` mean what they mean in open_clip: an architecture with a tag or a checkpoint file; or
        `model` alone is `demo`, `local-dir:PATH` or `hf-hub:ORG/REPO`. The default is ViT-B-32-256 with
        datacomp_s34b_b86k. `exact` gives the numbers open_clip gives: full decoding, fp32. `cache_dir` is the
        folder of the store (default: the user's cache folder); `use_cache=False` neither reads nor keeps vectors.
        Images of more than `max_pixels` are not decoded. `isolate` decodes in worker processes, so that a decoder that
        crashes, or takes more than `decode_timeout` seconds, is an error of its image alone. Raises `ModelError`.
        """
        spec = models.resolve(model, None if pretrained is None else os.fspath(pretrained))
        keeping = Keeping(None if cache_dir is None else Path(cache_dir), use_cache, rehash)
        store = keeping.open()
        compute = Computing(device, engine, precision, batch_size)
        embedder = Embedder(
            spec, store, compute, exact=exact, rehash=keeping.rehash, workers=workers, exports=keeping.exports,
            max_pixels=max_pixels, isolate=isolate, decode_timeout=decode_timeout,
        )  # fmt: skip
        return cls(embedder, store)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store and end worker processes. What was computed is kept."""
        self.embedder.close()
        self._store.close()

    def class_vectors(
        self,
        labels: LabelsLike,
        prompts: PromptsLike = prompt_sets.DEFAULT,
        *,
        combine: str = "mean",
        background: Sequence[str] | None = None,
    ) -> ClassVectors:
        """The labels' class vectors: the unit mean of the unit vectors of each label's prompts.

        Several prompt sets are merged: each expands each label, and repeated texts count once. `background` texts are
        taken as they are. Text vectors are kept in the store. Raises `LabelError`, `PromptSetError` or `ModelError`.
        """
        label_set, sets = as_label_set(labels), as_prompt_sets(prompts)
        return self.prompt_vectors(label_set, sets, background).class_vectors(label_set, sets, combine)

    def prompt_vectors(
        self, labels: LabelSet, sets: Sequence[PromptSet], background: Sequence[str] | None = None
    ) -> PromptVectors:
        """The vectors of all texts that the sets make of the labels, and of the background's."""
        members = [member for label in labels.labels for member in label.members]
        of_labels = dict.fromkeys(text for member in members for text in prompt_sets.expand(sets, member))
        texts = list(dict.fromkeys([*of_labels, *(background or ())]))
        vectors = self.embedder.texts(texts)
        rows = {text: row for row, text in enumerate(texts)}
        beside = [rows[text] for text in dict.fromkeys(background or ())]
        facts = self.embedder.facts
        return PromptVectors(rows, vectors, facts.logit_scale, facts.logit_bias, vectors[beside] if beside else None)

    def classify(
        self,
        images: ImageSource | Iterable[ImageSource | None],
        labels: LabelsLike,
        prompts: PromptsLike = prompt_sets.DEFAULT,
        *,
        top_k: int | None = 5,
        rules: Rules | None = None,
        background: Sequence[str] | None = None,
    ) -> Generator[ImageResult, None, None]:
        """Yield a result per image, in order, as they are computed.

        `images` are paths or Pillow images, or a single one; one that cannot be read gives a result with `error`. Folders
        are not searched: `zsclip.images.Walk` lists their images. `top_k=None` gives all labels. `rules` say how
        probabilities and decisions are made; `background` are texts for "something else" that compete with the labels.
        Raises `LabelError` for fewer than two labels (unless the rules make sense of one), `PromptSetError` and
        `ModelError`.
        """
        label_set, rules = as_label_set(labels), rules or Rules()
        if rules.multi_label and background is None:
            background = curated_background()
        require_choice(label_set, rules, background)
        classes = self.class_vectors(label_set, prompts, combine=rules.combine, background=background)
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1, or None for all labels, not {top_k}.")
        kept = len(label_set) if top_k is None else min(top_k, len(label_set))
        # A Pillow image is no iterable; a path is one, of its letters.
        many = images if isinstance(images, Iterable) and not isinstance(images, str) else [images]
        return self._results(many, classes, kept, rules)

    def embed(
        self, images: Iterable[ImageSource | None]
    ) -> Generator[tuple[list[str], Floats, list[tuple[str, str]]], None, None]:
        """Yield, some images at a time and in order: paths, unit vectors float32 (n, d), and (path, error) of those that
        could not be read.
        """
        for batch in self.embedder.images(images):
            read = [(image.path, image.embedding.vector) for image in batch if image.embedding]
            vectors = (
                np.stack([vector for _, vector in read])
                if read
                else np.empty((0, self.embedder.spec.embed_dim), np.float32)
            )
            errors = [(image.path, image.error) for image in batch if image.error is not None]
            yield [path for path, _ in read], vectors, errors

    def query_vector(self, query: Query, prompts: Sequence[PromptSet] = ()) -> Floats:
        """The unit vector of a query, float32 (d,): the weighted sum of its texts' and images' unit vectors.

        With `prompts`, a text's vector is that of a label: the unit mean over the prompts made of it. Raises
        `InputError` for an image that cannot be read, or if the sum is nothing.
        """
        total = np.zeros(self.embedder.spec.embed_dim)
        for text, weight in query.texts:
            expanded = prompt_sets.expand(prompts, text) if prompts else {text: 1.0}
            vectors = self.embedder.texts(list(expanded))
            total += weight * scoring.unit_mean(vectors, list(expanded.values()))
        sources = [source for source, _ in query.images]
        embedded = (one for batch in self.embedder.images(sources) for one in batch)
        for image, (_, weight) in zip(embedded, query.images, strict=True):
            if image.embedding is None:
                raise InputError(f"--image {image.path}: {image.error}.")
            total += weight * image.embedding.vector
        if np.linalg.norm(total) < 1e-6:
            raise InputError("The parts of the query cancel each other out. Give other weights.")
        return scoring.normalise(total.astype(np.float32))

    def search(
        self,
        images: Iterable[ImageSource | None],
        query: Query | str,
        prompts: PromptsLike = (),
        *,
        top_k: int | None = 10,
        min_similarity: float = -1.0,
    ) -> SearchResult:
        """Rank images by cosine similarity to a query, or to one text; equals in the order of the input.

        `top_k=None` gives all. Raises `InputError`, `PromptSetError` and `ModelError`.
        """
        query = Query(((query, 1.0),)) if isinstance(query, str) else query
        vector = self.query_vector(query, as_prompt_sets(prompts) if prompts else ())
        best: list[tuple[float, int, str]] = []  # a heap of (similarity, -number, path)
        unreadable: list[Match] = []
        number = 0
        for batch in self.embedder.images(images):
            unreadable += [Match(image.path, error=image.error) for image in batch if image.embedding is None]
            read = [(image.path, image.embedding.vector) for image in batch if image.embedding]
            if not read:
                continue
            similarity = scoring.similarities(np.stack([one for _, one in read]), vector[None])[:, 0]
            for (path, _), value in zip(read, similarity.tolist(), strict=True):
                number += 1
                if value < min_similarity:
                    continue
                if top_k is None or len(best) < top_k:
                    heapq.heappush(best, (value, -number, path))
                elif value > best[0][0]:
                    heapq.heapreplace(best, (value, -number, path))
        return SearchResult(
            tuple(Match(path, value) for value, _, path in sorted(best, reverse=True)), tuple(unreadable)
        )

    def _results(
        self, images: Iterable[ImageSource | None], classes: ClassVectors, top_k: int, rules: Rules
    ) -> Generator[ImageResult, None, None]:
        for batch in self.embedder.images(images):
            read = [image.embedding.vector for image in batch if image.embedding]
            scored = iter(classes.score(np.stack(read), top_k, rules) if read else ())
            for image in batch:
                if image.embedding is None:
                    yield ImageResult(image.path, error=image.error)
                else:
                    one = next(scored)
                    yield ImageResult(image.path, one.predictions, None, one.decision, one.accepted)


@dataclass(frozen=True)
class PromptVectors:
    """Unit vectors of prompts, float32 (texts, d), of which class vectors are made without asking the model again."""

    rows: Mapping[str, int]
    vectors: Floats
    logit_scale: float
    logit_bias: float
    background: Floats | None = None

    def class_vectors(self, labels: LabelSet, sets: Sequence[PromptSet], combine: str = "mean") -> ClassVectors:
        """The labels' class vectors by sets whose texts are all among the rows."""
        texts = [[prompt_sets.expand(sets, member) for member in label.members] for label in labels.labels]
        groups = [[[self.rows[text] for text in of_name] for of_name in of_label] for of_label in texts]
        weights = [[list(of_name.values()) for of_name in of_label] for of_label in texts]
        return ClassVectors(
            labels.names,
            tuple(scoring.class_vectors(self.vectors, groups, combine, weights)),
            self.logit_scale,
            self.logit_bias,
            self.background,
        )


@dataclass(frozen=True)
class Query:
    """What to search for: texts and images, each with a weight; a negative one keeps away."""

    texts: tuple[tuple[str, float], ...] = ()
    images: tuple[tuple[ImageSource, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.texts and not self.images:
            raise InputError("Nothing to search for. Give --text 'a sunset over mountains' or --image FILE.")

    @classmethod
    def parse(cls, texts: Iterable[str], images: Iterable[str] = (), minus: Iterable[str] = ()) -> Query:
        """From texts and paths as on the command line, where `2:` in front is a weight. Raises `InputError`."""
        away = [(text, -weight) for text, weight in map(_weighted, minus)]
        return cls((*map(_weighted, texts), *away), tuple(map(_weighted, images)))


def _weighted(text: str) -> tuple[str, float]:
    match = re.fullmatch(r"(-?(?:\d+(?:\.\d*)?|\.\d+)):(.+)", text, re.DOTALL)
    value, weight = (match[2].strip(), float(match[1])) if match else (text.strip(), 1.0)
    if weight < 0:
        raise InputError(f"{text!r}: a weight must be above 0. What to keep away from is given with --minus.")
    if not value or not 1e-6 < weight < 1e6:
        raise InputError(f"{text!r} is no text or file to search for, with a weight between 0.000001 and 1000000.")
    return value, weight


def curated_background() -> tuple[str, ...]:
    """The shipped texts for "something else"."""
    return LabelSet.load(prompt_sets.shipped_folder() / "background.yaml").names


def require_choice(
    labels: LabelSet, rules: Rules, background: Sequence[str] | None, remedy: str = "--multi-label or --background"
) -> None:
    """Raise `LabelError` for labels that the rules make no question of; `remedy` asks whether a single one is there.

    A single label has nothing to be told apart from, unless it stands on its own, against a background or a least
    similarity; and no label may be called what the absence of one is called.
    """
    if rules.unknown_label in labels.names and (rules.abstains or background):
        raise LabelError(
            f"{rules.unknown_label!r} is a label and also what images without a decision are called. "
            f"Call those something else: --unknown-label 'no decision'."
        )
    if len(labels) == 1 and not (rules.multi_label or background or rules.min_similarity is not None):
        name = labels.names[0]
        raise LabelError(
            f"Only one label is given ({name!r}), and the softmax over one label is always 1, whatever the picture shows. "
            f"Give what it is to be told apart from as well, such as --labels '{name},something else', or ask whether "
            f"it is there at all with {remedy}."
        )

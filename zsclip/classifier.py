"""The verbs, as plain functions and generators over one loaded model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from zsclip import scoring
from zsclip.closing import Closing
from zsclip.embedding.loading import Loader
from zsclip.embedding.model import Model
from zsclip.embedding.path import embed_images
from zsclip.embedding.pooling import pooled, stacked
from zsclip.embedding.records import Counts, Embedded, ImageEmbeddings
from zsclip.embedding.texts import embed_texts
from zsclip.engines.base import Computing
from zsclip.errors import CalibrationError, InputError
from zsclip.images.decoding import DEFAULT_MAX_PIXELS
from zsclip.images.files import ImageSource
from zsclip.images.listing import Listing
from zsclip.images.reading import Reading
from zsclip.images.sources import Finder, source_of
from zsclip.images.video_opening import Pool
from zsclip.images.worker_pool import DEFAULT_SECONDS
from zsclip.models import ModelSpec, resolve
from zsclip.scoring.batches import ImageResults
from zsclip.scoring.calibration import Binding, Calibration
from zsclip.scoring.classes import ClassVectors, alike_in_words
from zsclip.scoring.classifier_file import TaughtClassifier
from zsclip.scoring.decisions import Scorer
from zsclip.scoring.levels import in_levels
from zsclip.scoring.prompt_vectors import PromptVectors
from zsclip.scoring.ranking import Best
from zsclip.scoring.results import ImageResult, Match, SearchResult
from zsclip.scoring.rules import Rules, require_choice
from zsclip.scoring.taught import Taught
from zsclip.store.database import Store
from zsclip.store.keeping import Keeping
from zsclip.text import prompts as prompt_sets
from zsclip.text.background import curated_background
from zsclip.text.labels import LabelSet, LabelsLike, as_label_set
from zsclip.text.prompts import PromptSet, PromptsLike, as_prompt_sets
from zsclip.text.query import Query
from zsclip.unit_vectors import Floats

logger = logging.getLogger("zsclip")

Images: TypeAlias = "ImageSource | Iterable[ImageSource] | Listing | Embedded"


class Classifier(Closing):
    """A CLIP model that tells images apart by labels given as text.

    >>> from zsclip import Classifier
    >>> classifier = Classifier.load("demo")
    >>> for result in classifier.classify(["scene.png"], ["red circle", "blue star"]):
    ...     print(result.path, result.label, result.predictions[0].probability)
    """

    def __init__(self, model: Model, store: Store, reading: Reading | None = None, *, rehash: bool = False) -> None:
        self.model = model
        self.counts = Counts()
        self.timings = model.timings
        self._store = store
        self._reading = reading or Reading()
        self._loader = Loader(model, store, self._reading, model.timings, rehash=rehash)
        self._rehash = rehash

    @classmethod
    def load(
        cls,
        model: str | None = None,
        pretrained: str | os.PathLike[str] | None = None,
        *,
        offline: bool = False,
        device: str = "auto",
        engine: str = "auto",
        precision: str = "auto",
        exact: bool = False,
        batch_size: int | None = None,
        threads: int | None = None,
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
        `model` alone is `ARCHITECTURE:TAG`, `demo`, `local-dir:PATH`, `hf-hub:ORG/REPO` or `hf-hub:ORG/REPO@REVISION`. The
        default is ViT-B-32-256 with datacomp_s34b_b86k. The other settings are those of `Computing`, `Reading` and `Keeping`.
        Raises `ModelError` and `InputError`.
        """
        return cls.open(
            resolve(model, None if pretrained is None else os.fspath(pretrained), offline=offline),
            Computing(device, engine, precision, batch_size, exact, threads),
            Reading(max_pixels, isolate, decode_timeout, workers),
            Keeping(None if cache_dir is None else Path(cache_dir), use_cache, rehash),
        )

    @classmethod
    def open(cls, spec: ModelSpec, computing: Computing, reading: Reading, keeping: Keeping) -> Classifier:
        """A model that is resolved, with the settings of a run; the store is opened now."""
        store = keeping.open()
        model = Model(spec, store, computing, exports=keeping.exports, rehash=keeping.rehash)
        return cls(model, store, reading, rehash=keeping.rehash)

    def close(self) -> None:
        """Close the store and end worker processes. What was computed is kept."""
        self._loader.close()
        self._store.close()

    @property
    def keeps(self) -> bool:
        """Whether what is computed is kept."""
        return self._store.usable

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of texts as they are: float32 (n, d). Raises `ModelError`."""
        return embed_texts(texts, self.model, self._store, self.timings)

    def embed_images(self, images: Images, *, pool: Pool | None = None) -> Iterator[ImageEmbeddings]:
        """Embeddings of images, in order, some at a time; one that cannot be read has an error. Raises `ModelError`.

        With `pool`, a video is one row, whose vector is the unit mean of its frames', which are in `clips`.
        """
        if isinstance(images, Embedded):
            return images.batches()
        found = embed_images(
            Listing.of(images), self.model, self._store, self._loader, reading=self._reading,
            counts=self.counts, timings=self.timings, rehash=self._rehash,
        )  # fmt: skip
        return pooled(found) if pool else found

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
        made = self.prompt_vectors(label_set, sets, background).class_vectors(label_set, sets, combine)
        self.model.labels = np.concatenate([scoring.unit_mean(vectors)[None] for vectors in made.vectors])
        return made

    def classes(
        self, labels: LabelSet, sets: Sequence[PromptSet], rules: Rules, background: Sequence[str] | None = None
    ) -> ClassVectors:
        """The class vectors that images are scored against as the rules say. Warns of labels that cannot be told apart.

        Raises `LabelError`, `PromptSetError` and `ModelError`.
        """
        require_choice(labels.names, rules, background)
        background = self.effective_background(rules, background)
        classes = self.class_vectors(labels, sets, combine=rules.combine, background=background)
        if alike := classes.alike():
            logger.warning("%s", alike_in_words(alike))
        return classes

    def effective_background(self, rules: Rules, background: Sequence[str] | None) -> Sequence[str] | None:
        """The texts that labels are compared with: independent ones of a model without a bias need some."""
        if rules.multi_label and background is None and not self.model.facts.logit_bias:
            return curated_background()
        return background

    def prompt_vectors(
        self, labels: LabelSet, sets: Sequence[PromptSet], background: Sequence[str] | None = None
    ) -> PromptVectors:
        """The vectors of all texts that the sets make of the labels, and of the background's."""
        members = [member for label in labels.labels for member in label.members]
        of_labels = dict.fromkeys(text for member in members for text in prompt_sets.expand(sets, member))
        texts = list(dict.fromkeys([*of_labels, *(background or ())]))
        vectors = self.embed_texts(texts)
        rows = {text: row for row, text in enumerate(texts)}
        beside = [rows[text] for text in dict.fromkeys(background or ())]
        facts = self.model.facts
        return PromptVectors(rows, vectors, facts.logit_scale, facts.logit_bias, vectors[beside] if beside else None)

    def classify(
        self,
        images: Images,
        labels: LabelsLike,
        prompts: PromptsLike = prompt_sets.DEFAULT,
        *,
        top_k: int | None = 5,
        rules: Rules | None = None,
        background: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        taught: Taught | None = None,
        pool: Pool | None = None,
    ) -> Generator[ImageResult, None, None]:
        """Yield a result per image, in order, as they are computed.

        `images` are paths or Pillow images, or a single one; one that cannot be read gives a result with `error`. Folders
        are not searched: `zsclip.images.sources.Finder` finds their images. `top_k=None` gives all labels; independent labels that
        hold are told in any case. `rules` say how
        probabilities and decisions are made; `background` are texts for "something else" that compete with the labels
        (independent labels without any: the model's own bias, else the curated ones);
        a `calibration` brings its temperature, of independent labels thresholds too.
        With `pool` a video is one result: of the unit `mean` of its frames' vectors, or of the
        best frame for each label (`max`). Labels in levels are decided on as `zsclip.scoring.levels` says. Raises
        `LabelError` for fewer than two labels (unless the rules make sense of one), `CalibrationError` for a calibration
        made for something else, `PromptSetError` and `ModelError`.
        """
        batches = self.classify_batches(
            images, labels, prompts, top_k=top_k, rules=rules, background=background, calibration=calibration, taught=taught, pool=pool,
        )  # fmt: skip
        return _one_by_one(batches)

    def classify_batches(
        self,
        images: Images,
        labels: LabelsLike,
        prompts: PromptsLike = prompt_sets.DEFAULT,
        *,
        top_k: int | None = 5,
        rules: Rules | None = None,
        background: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        taught: Taught | None = None,
        pool: Pool | None = None,
    ) -> Generator[ImageResults, None, None]:
        """As `classify`, of some images at a time."""
        label_set, sets, rules = as_label_set(labels), as_prompt_sets(prompts), rules or Rules()
        if calibration is not None:
            rules = self.calibrated(rules, calibration, label_set, sets, background)
        if taught is not None and rules.multi_label:
            raise InputError(
                "Examples teach labels that compete, not labels on their own.", remedy="Leave out `multi_label`."
            )
        classes = replace(self.classes(label_set, sets, rules, background), taught=taught)
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1, or None for all labels, not {top_k}.")
        kept = len(label_set) if top_k is None else min(top_k, len(label_set))
        return self._results(images, in_levels(classes, label_set), kept, rules, pool)

    def calibrated(
        self,
        rules: Rules,
        calibration: Calibration,
        labels: LabelSet,
        sets: Sequence[PromptSet],
        background: Sequence[str] | None = None,
        source: str | Path = "",
    ) -> Rules:
        """The rules with the temperature, and the thresholds if it has any, of a calibration that was read from `source`.

        Raises `CalibrationError` if it was made for something else.
        """
        if rules.temperature != 1:
            raise CalibrationError("A calibration brings its temperature. Leave out one of the two.")
        calibration.require_kind(multi_label=rules.multi_label, source=source)
        background = self.effective_background(rules, background)
        found = Binding.of(self.model.identity, labels, sets, rules.combine, background)
        if found.model != calibration.binding.model:
            for former in self.model.former_identities:
                made = Binding.of(former, labels, sets, rules.combine, background)
                found = made if made.model == calibration.binding.model else found
        calibration.require(found, source)
        thresholds = calibration.logit_thresholds(labels.names)
        return replace(rules, temperature=calibration.temperature, logit_thresholds=thresholds)

    def require_taught(self, saved: TaughtClassifier, source: str | Path = "") -> None:
        """Raise `InputError` if a classifier that was read from `source` was taught with another model."""
        identities = (self.model.identity, *self.model.former_identities)
        saved.require([Binding.of_model(identity) for identity in identities], self.model.spec.embed_dim, source)

    def embed(
        self, images: Images, *, pool: Literal["mean"] | None = None
    ) -> Generator[tuple[list[str], Floats, list[tuple[str, str]]], None, None]:
        """Yield, some images at a time and in order: paths, unit vectors float32 (n, d), and (path, error) of those that
        could not be read. With `pool`, the vector of a video is the unit mean of its frames'.
        """
        for batch in self.embed_images(images, pool=pool):
            yield batch.read, batch.vectors, batch.unread

    def query_vector(self, query: Query, prompts: Sequence[PromptSet] = ()) -> Floats:
        """The unit vector of a query, float32 (d,): the weighted sum of its texts' and images' unit vectors.

        With `prompts`, a text's vector is that of a label: the unit mean over the prompts made of it. Raises
        `InputError` for an image that cannot be read, or if the sum is nothing.
        """
        total = np.zeros(self.model.spec.embed_dim)
        for text, weight in query.texts:
            expanded = prompt_sets.expand(prompts, text) if prompts else {text: 1.0}
            vectors = self.embed_texts(list(expanded))
            total += weight * scoring.unit_mean(vectors, list(expanded.values()))
        sources = [_one_picture(source) for source, _ in query.images]
        embedded = (one for batch in self.embed_images(sources) for one in batch)
        for image, (_, weight) in zip(embedded, query.images, strict=True):
            if image.embedding is None:
                raise InputError(f"{image.error}.", where=f"`image={image.path}`")
            total += weight * image.embedding.vector
        if np.linalg.norm(total) < 1e-6:
            raise InputError("The parts of the query cancel each other out. Give other weights.")
        return scoring.normalise(total.astype(np.float32))

    def search(
        self,
        images: Images,
        query: Query | str,
        prompts: PromptsLike = (),
        *,
        top_k: int | None = 10,
        min_similarity: float = -1.0,
        advance: Callable[[int], None] = lambda images: None,
        pool: Pool | None = None,
    ) -> SearchResult:
        """Rank images by cosine similarity to a query, or to one text; equals in the order of the input.

        `top_k=None` gives all. `advance` is told of images as they are done. With `pool` a video is one match, by the unit `mean`
        of its frames' vectors or by its most similar frame (`max`). Raises `InputError`, `PromptSetError` and `ModelError`.
        """
        query = Query(((query, 1.0),)) if isinstance(query, str) else query
        vector = self.query_vector(query, as_prompt_sets(prompts) if prompts else ())
        best = Best(top_k, min_similarity)
        unread: list[Match] = []
        times: dict[str, float] = {}
        for batch in self.embed_images(images, pool=pool):
            unread += [Match(batch.paths[place], None, *error) for place, error in batch.errors.items()]
            similarity = scoring.similarities(batch.vectors, vector[None])[:, 0]
            for row, clip in batch.clips.items():
                of_frames = scoring.similarities(clip.vectors, vector[None])[:, 0]
                times[batch.read[row]] = clip.times[int(of_frames.argmax())]
                similarity[row] = of_frames.max() if pool == "max" else similarity[row]
            best.add(batch.read, similarity)
            advance(len(batch))
        matches = (Match(path, value, time=times.get(path)) for path, value in best.ranked())
        return SearchResult(tuple(matches), tuple(unread))

    def _results(
        self, images: Images, scorer: Scorer, top_k: int, rules: Rules, pool: Pool | None
    ) -> Generator[ImageResults, None, None]:
        for batch in self.embed_images(images, pool=pool):
            vectors, starts = stacked(batch) if pool == "max" and batch.clips else (batch.vectors, None)
            decisions = scorer.score(vectors, top_k, rules, starts)
            read = [place for place in range(len(batch)) if place not in batch.errors] if batch.clips else []
            times = {
                read[row]: clip.times[scorer.best_frame(clip.vectors, int(decisions.ranked[row, 0]))]
                for row, clip in batch.clips.items()
            }
            yield ImageResults(batch.paths, decisions, batch.errors, times)


def _one_picture(source: ImageSource) -> ImageSource:
    """What a path stands for, where that is one picture in something: a member of an archive, a row, a frame."""
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    return source if path is None or not source_of(path).is_one else next(iter(Finder([path])))


def _one_by_one(batches: Generator[ImageResults, None, None]) -> Generator[ImageResult, None, None]:
    with closing(batches):
        for batch in batches:
            yield from batch

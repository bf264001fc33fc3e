"""The report of `classify`: a gallery to look through, to filter and to correct."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from zsclip.report import render
from zsclip.report.pictures import Pictures
from zsclip.scoring.results import ImageResult


class Gallery:
    """Takes results as they come, and is a page in the end."""

    def __init__(self, labels: Sequence[str], unknown: str | None, model: str) -> None:
        """`unknown` is what images without a label are called, if there may be any."""
        self._labels = [*labels, *([unknown] if unknown is not None else [])]
        self._numbers = {name: number for number, name in enumerate(self._labels)}
        self._unknown, self._model = unknown, model
        self._paths: list[str] = []
        self._images: list[list[Any]] = []
        self._errors: list[tuple[str, str]] = []

    def add(self, results: Iterable[ImageResult]) -> None:
        """Take some results."""
        for result in results:
            self._add(result)

    def _add(self, result: ImageResult) -> None:
        if result.error is not None:
            self._errors.append((result.path, result.error))
            return
        self._paths.append(result.path)
        said = [
            [self._numbers[one.label], round(one.probability, 6), round(one.similarity, 6)]
            for one in result.predictions
        ]
        label = self._unknown if result.abstained else result.label
        self._images.append([self._numbers[label or result.predictions[0].label], said])

    def html(self, title: str, pictures: Pictures) -> str:
        """The page."""
        sources = pictures.sources(self._paths)
        data = {
            "title": title,
            "model": self._model,
            "labels": self._labels,
            "unknown": self._unknown,
            "images": [
                [path, source, *rest] for path, source, rest in zip(self._paths, sources, self._images, strict=True)
            ],
            "errors": self._errors,
        }
        return render("gallery", title, data)

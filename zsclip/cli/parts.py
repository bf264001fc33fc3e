"""`--into` of `classify` and `embed`: a run in parts, which the same command goes on with."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from zsclip.cli import groups
from zsclip.cli.parts_group import PartsGroup
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import PathList
    from zsclip.cluster.account import Whole
    from zsclip.cluster.job import Job
    from zsclip.cluster.parts import PartJob
    from zsclip.cluster.plan import Part
    from zsclip.cluster.results import ResultFolder
    from zsclip.cluster.rows import Labelling
    from zsclip.cluster.tasks import PartTasks
    from zsclip.images.folders import Search
    from zsclip.images.sources import Finder
    from zsclip.output.provenance import Provenance

    Told = tuple[Labelling | None, Provenance]

logger = logging.getLogger("zsclip")

_LIST = "_zsclip/plan/list"  # a digest of the paths on standard input


def run_in_parts(
    asked: PartsGroup,
    where: groups.PathGroup,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
    told: Callable[[Classifier], Told],
    decides: Mapping[str, Any],
    vectors: str | None = None,
) -> None:
    """Do a run in parts; with `vectors`, with those of the run in that folder.

    `told` is what is told of each picture beside its vector, and of the run; `decides` what this depends on.

    Raises `typer.Exit` where pictures could not be read, and `ZsclipError`.
    """
    from zsclip.cli.inputs import find, report_found
    from zsclip.cluster.plan import Plan, cut
    from zsclip.cluster.results import result_folder
    from zsclip.cluster.tasks import PlannedTasks
    from zsclip.output.parquet import require_pyarrow

    require_pyarrow()
    results = asked.results(offline=model.offline)
    if vectors is not None:
        folder = result_folder(vectors, offline=model.offline)
        _relabel(asked, results, folder, groups.classifier_of(model, reading, store), messages, told, decides)
        return
    settings = asked.settings
    _pin_precision(model)
    paths, finder = find(where, search=_search(results, where), offline=model.offline)
    if paths.from_stdin and not settings.restart:
        _require_same_list(results, paths)
    with groups.classifier_of(model, reading, store) as classifier:
        all_decides = {
            **_of_pictures(where, reading, finder), **_of_model(classifier), **decides, "part_size": settings.part_size
        }  # fmt: skip

        def job() -> PartJob:
            with classifier:  # whose model must not lie beside the worker's
                return _job(results, classifier, finder, reading, told(classifier), _typed_in(where.paths))

        is_listed = False

        def tasks(check: Callable[[], None]) -> PlannedTasks:
            nonlocal is_listed
            is_listed = Plan(results).extent() is None
            parts = _some(cut(finder, settings.part_size), finder, results, paths)
            return PlannedTasks(results, parts, settings.part_size, failed=settings.retry_errors, check=check)

        whole, pace = _run(results, all_decides, classifier, tasks, job, asked, messages)
    if is_listed:
        report_found(finder, where.columns)
    _end(results, whole, pace)


def _relabel(
    asked: PartsGroup,
    results: ResultFolder,
    folder: ResultFolder,
    classifier: Classifier,
    messages: groups.MessageGroup,
    told: Callable[[Classifier], Told],
    decides: Mapping[str, Any],
) -> None:
    """Give the parts of a run that is whole other labels."""
    from zsclip.cluster.plan import Extent
    from zsclip.cluster.relabel import RelabelJob
    from zsclip.cluster.tasks import PartTasks
    from zsclip.cluster.vectors import RunVectors

    vectors = RunVectors(folder)
    if os.path.realpath(results.name) == os.path.realpath(vectors.results.name):
        raise typer.BadParameter("that is where the vectors are. Name another folder.", param_hint="--into")
    extent = Extent(vectors.require_whole().parts, 0, 0)
    with classifier:
        vectors.require_made_with(classifier.model)

        def job() -> RelabelJob:
            labelling, provenance = told(classifier)
            assert labelling is not None
            said = {**provenance(), "precision": vectors.decides["precision"]}
            return RelabelJob(_anywhere(vectors.results.name), _anywhere(results.name), labelling, said)

        all_decides = {"vectors": vectors.results.name, "digest of the vectors": vectors.digest, **decides}
        whole, pace = _run(
            results,
            all_decides,
            classifier,
            lambda check: PartTasks(results, extent, check=check),
            job,
            asked,
            messages,
        )
    _end(results, whole, pace)


def _anywhere(folder: str) -> str:
    """The same from whatever folder it is seen."""
    from zsclip.images.remote.addresses import is_address

    return folder if is_address(folder) else os.path.abspath(folder)


def _run(
    results: ResultFolder,
    decides: Mapping[str, Any],
    classifier: Classifier,
    tasks: Callable[[Callable[[], None]], PartTasks],
    job: Callable[[], Job],
    asked: PartsGroup,
    messages: groups.MessageGroup,
) -> tuple[Whole, str]:
    """Do it, showing how it goes; what is there at the end, and how fast it went."""
    from zsclip.cli.parts_progress import PartsProgress
    from zsclip.cluster.run import run

    work = asked.work()
    with PartsProgress(hidden=messages.quiet) as watch:
        whole = run(results, decides, {"model": classifier.model.spec.title}, tasks, job, asked.settings, watch, work)
    for line in watch.by_node:
        logger.info("%s.", line)
    return whole, watch.pace


def _pin_precision(model: groups.ModelGroup) -> None:
    """Let it mean the same on every machine."""
    if model.precision == "int8":
        raise typer.BadParameter(
            "int8 is calibrated on the first pictures of a process, and parts would not agree. Choose another.",
            param_hint="--precision",
        )
    if model.precision == "auto" and not model.exact:
        model.precision = "fp32"


def _search(results: ResultFolder, where: groups.PathGroup) -> Search:
    """How folders are searched: never among the results."""
    from zsclip.cluster.results import LocalFolder

    if not isinstance(results, LocalFolder):
        return where.search
    into = os.path.realpath(results.name)
    if same := [path for path in where.paths if path != "-" and os.path.realpath(path) == into]:
        raise typer.BadParameter(
            "that is what is searched for pictures. Name a folder of its own.", param_hint=f"--into {same[0]}"
        )
    return replace(where.search, exclude=(results.name,))


def _some(parts: Iterator[Part], finder: Finder, results: ResultFolder, paths: PathList) -> Iterator[Part]:
    """The same; raises `InputError` where there is none. At the end, what was on standard input is noted beside the plan."""
    from zsclip.cli.inputs import no_images

    first = next(parts, None)
    if first is None:
        raise no_images(finder)
    yield first
    yield from parts
    if paths.from_stdin:
        results.put(_LIST, paths.digest.encode())


def _require_same_list(results: ResultFolder, paths: PathList) -> None:
    """Raise `InputError` for another list on standard input than that of a complete plan, which is not made again."""
    from zsclip.cluster.plan import Plan
    from zsclip.errors import InputError

    known = results.read(_LIST) if Plan(results).extent() else None
    if known is None:
        return
    for _ in paths:
        pass
    if paths.digest != known.decode():
        raise InputError(
            "the run in it was planned with another list on standard input.",
            where=results.setting,
            remedy="Name another folder, or begin anew with `restart`, which removes that run.",
        )


def _of_pictures(where: groups.PathGroup, reading: groups.ReadingGroup, finder: Finder) -> dict[str, Any]:
    """What decides which pictures there are, and whether they can be read."""
    from zsclip.images.remote.addresses import shown

    opening = finder.opening
    return {
        "paths": [shown(path) for path in where.paths],
        "folder": _typed_in(where.paths),
        "recursive": finder.search.recursive, "hidden": finder.search.hidden,
        "tables": asdict(opening.tables), "videos": asdict(opening.video),
        "allow_private": opening.network.allow_private, "max_pixels": reading.max_pixels,
    }  # fmt: skip


def _typed_in(paths: Iterable[str]) -> str | None:
    """The current folder, if any of the paths means another file in another folder. Those that stand in tables never do."""
    from zsclip.images.remote.addresses import is_address

    return None if all(is_address(path) or os.path.isabs(path) for path in paths) else os.getcwd()


def _of_model(classifier: Classifier) -> dict[str, Any]:
    """What decides the vectors."""
    model = classifier.model
    return {
        "model": json.loads(model.identity), "precision": model.computing.effective_precision, "exact": model.exact
    }  # fmt: skip


def _job(
    results: ResultFolder,
    classifier: Classifier,
    finder: Finder,
    reading: groups.ReadingGroup,
    told: Told,
    folder: str | None,
) -> PartJob:
    from zsclip.cluster.parts import PartJob
    from zsclip.cluster.slices import Finding

    labelling, provenance = told
    model = classifier.model
    said = {**provenance(), "precision": model.computing.effective_precision}
    return PartJob(
        _anywhere(results.name), model.spec, model.identity, model.weights, model.computing, reading.settings,
        Finding(finder.search, finder.opening), labelling, said, folder,
    )  # fmt: skip


def _end(results: ResultFolder, whole: Whole, pace: str) -> None:
    """Say what is there, and what could not be read; raises `typer.Exit` for that."""
    from zsclip.images.remote.addresses import shown

    said = f"{counted(whole.pictures, 'picture')} in {counted(whole.parts, 'part')} in {shown(results.name)}"
    if whole.done:
        before = whole.parts - whole.done
        logger.info("%s%s; %s.", said, f", of which {before:,} were there" if before > 0 else "", pace)
    else:
        logger.info("%s: all were there.", said)
    if unread := sum(whole.errors.values()):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in whole.errors.items())
        logger.warning(
            "%s of %s could not be read (%s). %s", f"{unread:,}", f"{whole.pictures:,}", kinds, _remedy(results, whole)
        )
        raise typer.Exit(3)


def _remedy(results: ResultFolder, whole: Whole) -> str:
    from zsclip.images.remote.addresses import shown
    from zsclip.output.failed import PASSING

    why = f"Why is in {shown(results.path('errors-*.parquet'))}."
    return f"{why} --retry-errors tries again what may have passed." if PASSING & whole.errors.keys() else why

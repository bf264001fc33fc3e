"""Where the labelled images of `zsclip evaluate` are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from zsclip.cli import groups, options

if TYPE_CHECKING:
    from zsclip.evaluation.dataset import ClassNames, LabelledImages
    from zsclip.evaluation.multi_label.data import MultiLabelledImages
    from zsclip.images.container import Container
    from zsclip.images.opening import Opening
    from zsclip.images.remote.settings import Network

logger = logging.getLogger("zsclip")

_INPUT = "Images and labels"

Folder = Annotated[
    Optional[str],
    typer.Argument(
        metavar="[DIR]",
        help="A folder with a folder of images for each label; archives, with --label-from; tables, with --label-column; "
        "with --manifest, where its relative paths start.",
        show_default=False,
    ),
]
Manifest = Annotated[
    Optional[Path],
    typer.Option("--manifest", metavar="FILE", rich_help_panel=_INPUT,
                 help="Images and labels from CSV, TSV or JSON Lines with path and label, such as a gallery's labels.csv; with "
                      "--multi-label, labels joined by ';'."),
]  # fmt: skip
AllowPredictions = Annotated[
    bool,
    typer.Option("--allow-predictions", rich_help_panel=_INPUT,
                 help="Take a manifest's labels that are predictions nobody checked, too: it measures agreement with them."),
]  # fmt: skip
LabelFrom = Annotated[
    Optional[str],
    typer.Option("--label-from", metavar="cls|txt|json:KEY", rich_help_panel=_INPUT,
                 help="In archives: the file beside a picture, of the same name up to the first dot, that holds its label."),
]  # fmt: skip
ClassNamesFile = Annotated[
    Optional[Path],
    typer.Option("--class-names", metavar="FILE", rich_help_panel=_INPUT,
                 help="What folders (or a manifest's labels) are called: YAML 'folder: label' or CSV 'folder,label'; "
                      "more names are synonyms."),
]  # fmt: skip


@dataclass(repr=False, eq=False)
class LabelledGroup:
    """Images whose label is known."""

    folder: Folder = None
    manifest: Manifest = None
    label_from: LabelFrom = None
    class_names: ClassNamesFile = None
    allow_predictions: AllowPredictions = False
    hidden: options.Hidden = False
    column: options.Column = None
    id_column: options.IdColumn = None
    label_column: options.LabelColumn = None

    def read(self, labels: groups.LabelGroup, unknown: str, *, offline: bool) -> LabelledImages:
        """The images, without asking addresses if `offline`; raises `InputError` and `LabelError`."""
        from zsclip.evaluation import dataset
        from zsclip.images.remote.settings import Network

        self._require_source()
        containers = self._containers(Network(offline=offline))
        names, label_set = self._names(), labels.read() if labels.given else None
        if self.manifest is not None:
            data = dataset.from_manifest(
                self.manifest, self._root, label_set, names, unknown, allow_predictions=self.allow_predictions
            )
        elif containers:
            data = dataset.from_containers(containers, label_set, names, unknown)
        else:
            assert self.folder is not None
            data = dataset.from_folder(Path(self.folder), label_set, names, unknown, hidden=self.hidden)
        for note in data.notes:
            logger.info("%s", note)
        return data

    def read_several(self, labels: groups.LabelGroup, unknown: str, *, offline: bool) -> MultiLabelledImages:
        """The same where an image may have several labels, or none."""
        from zsclip.evaluation.multi_label.data import MultiLabelledImages, from_manifest

        self._require_source()
        if self.manifest is None:
            single = self.read(labels, unknown, offline=offline)
            if single.containers:
                raise typer.BadParameter(
                    "pictures in archives and tables have one label each. Give several with --manifest FILE, or leave out "
                    "--multi-label.",
                    param_hint="DIR",
                )
            return MultiLabelledImages.of(single)
        label_set = labels.read() if labels.given else None
        data = from_manifest(
            self.manifest, self._root, label_set, self._names(), unknown, allow_predictions=self.allow_predictions
        )
        for note in data.notes:
            logger.info("%s", note)
        return data

    def _require_source(self) -> None:
        if self.folder is None and self.manifest is None:
            raise typer.BadParameter(
                "give a folder with a folder of images for each label, or --manifest FILE.", param_hint="DIR"
            )
        if self.hidden and self.manifest is not None:
            raise typer.BadParameter("a manifest names its images; this is for folders.", param_hint="--hidden")

    @property
    def _root(self) -> Path | None:
        return None if self.folder is None else Path(self.folder)

    def _names(self) -> ClassNames | None:
        from zsclip.evaluation.dataset import ClassNames

        return None if self.class_names is None else ClassNames.load(self.class_names)

    def opening(self, network: Network) -> Opening:
        """How what holds pictures is opened."""
        from zsclip.images.archives.sidecar import Sidecar
        from zsclip.images.opening import Opening
        from zsclip.images.tables.columns import TableColumns

        extension, _, key = (self.label_from or "").partition(":")
        if self.label_from is not None and (
            extension not in ("cls", "txt", "json") or (extension == "json") != bool(key)
        ):
            raise typer.BadParameter(
                f"{self.label_from!r} is none of cls, txt and json:KEY.", param_hint="--label-from"
            )
        return Opening(
            sidecar=None if self.label_from is None else Sidecar(extension, key),
            tables=TableColumns(self.column, self.id_column, self.label_column),
            network=network,
        )

    def _containers(self, network: Network) -> list[Container]:
        """The archives or tables that the argument names; raises where they have no labels, or labels are asked of something else."""
        from zsclip.cli.braces import expand
        from zsclip.images.container import Container
        from zsclip.images.folders import Search
        from zsclip.images.sources import Finder, require_paths, source_of
        from zsclip.images.tables.table import Table
        from zsclip.images.videos import Video

        opening = self.opening(network)
        paths = [] if self.folder is None or self.manifest is not None else expand(self.folder)
        of_files = not paths or source_of(paths[0]).of_files
        found: list[Container] = []
        if not of_files or (paths and self.label_column is not None):  # a folder of the parts of a table
            require_paths(paths, network)
            for piece in Finder(paths, Search(hidden=self.hidden), opening).pieces():
                if not isinstance(piece, Container):
                    break
                found.append(piece)
            if any(isinstance(one, Video) for one in found):
                raise typer.BadParameter("videos are not evaluated.", param_hint="DIR")
            if not of_files and len(found) < len(paths):
                raise typer.BadParameter(
                    "name archives or tables alone, here or at addresses, or one folder of this machine.",
                    param_hint="DIR",
                )
        tables = [one for one in found if isinstance(one, Table)]
        if len(tables) == len(found) and self.label_from is not None:
            raise typer.BadParameter("this is for archives, and none is named.", param_hint="--label-from")
        for option in ("label_column", "id_column", "column"):
            if not tables and getattr(self, option) is not None:
                hint = f"--{option.replace('_', '-')}"
                raise typer.BadParameter("this is for tables, and none is named.", param_hint=hint)
        if tables and self.label_column is None:
            raise typer.BadParameter(
                f"{tables[0].name}: say which column has the labels of its pictures: --label-column NAME.",
                param_hint="DIR",
            )
        if len(found) > len(tables) and self.label_from is None:
            raise typer.BadParameter(
                f"{paths[0]}: say where the labels of its pictures stand: --label-from cls, txt or json:KEY.",
                param_hint="DIR",
            )
        return found

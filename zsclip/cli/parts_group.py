"""The options of a run in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from zsclip.cli import options

if TYPE_CHECKING:
    from zsclip.cluster.results import ResultFolder
    from zsclip.cluster.run import Settings, Work


@dataclass(repr=False, eq=False)
class PartsGroup:
    """A run in parts."""

    parts_folder: options.IntoParts = None
    part_size: options.PartSize = 4096
    restart: options.Restart = False
    retry_errors: options.RetryErrors = False
    max_errors: options.MaxErrors = None
    cluster: options.Cluster = None
    actors: options.Actors = None
    cpus_per_actor: options.CpusPerActor = None
    gpus_per_actor: options.GpusPerActor = None
    part_timeout: options.PartTimeout = None

    def work(self) -> Work | None:
        """What does the parts; None: this process. Joins the cluster; raises `InputError`."""
        if self.cluster is None:
            return None
        from zsclip.cluster.pool import PoolSettings
        from zsclip.cluster.ray import on_cluster
        from zsclip.cluster.ray_places import Wish

        wish = Wish(self.actors, self.cpus_per_actor, self.gpus_per_actor)
        return on_cluster(self.cluster, wish, PoolSettings(self.part_timeout))

    def results(self, *, offline: bool) -> ResultFolder:
        """The folder of results; raises `InputError`, with `offline` for a bucket too."""
        from zsclip.cluster.results import result_folder

        assert self.parts_folder is not None
        return result_folder(self.parts_folder, offline=offline)

    @property
    def settings(self) -> Settings:
        """The same as the library has it."""
        from zsclip.cluster.account import MostErrors
        from zsclip.cluster.run import Settings
        from zsclip.errors import InputError

        try:
            most = None if self.max_errors is None else MostErrors.parse(self.max_errors)
        except InputError as error:
            raise typer.BadParameter(error.what, param_hint="--max-errors") from None
        return Settings(self.part_size, self.restart, self.retry_errors, most)

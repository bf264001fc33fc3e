"""What `zsclip evaluate` compares: models, prompt sets and templates; the tables beside, and better prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import options
from zsclip.cli.grouping import Typed
from zsclip.cli.groups import ModelGroup

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.evaluation.dataset import LabelledImages
    from zsclip.evaluation.embedded import EmbeddedImages
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.rules import Rules
    from zsclip.text.prompts import PromptSet

_COMPARE, _BETTER, _MODEL = "Comparison", "Better prompts, calibration", "Model"

EachModel = Annotated[
    Optional[list[str]],
    typer.Option("-m", "--model", metavar="NAME", envvar="ZSCLIP_MODEL", rich_help_panel=_MODEL,
                 help="As in classify; repeat to compare several, each with its weights (ViT-B-32:openai)."),
]  # fmt: skip
EachPrompts = Annotated[
    Optional[list[str]],
    typer.Option("-p", "--prompts", metavar="NAME|FILE", rich_help_panel=_COMPARE,
                 help="Prompt set; repeat to compare several. Default: openai-simple."),
]  # fmt: skip
EachTemplate = Annotated[
    Optional[list[str]],
    typer.Option("--template", metavar="TEXT", rich_help_panel=_COMPARE,
                 help="A template to be compared by itself; repeatable."),
]  # fmt: skip
Baseline = Annotated[
    Optional[str],
    typer.Option("--baseline", metavar="NAME", rich_help_panel=_COMPARE,
                 help="What others are compared with: a set, of several models MODEL/SET. Default: the first."),
]  # fmt: skip
PerClass = Annotated[
    bool, typer.Option("--per-class", help="Each label: precision, recall, F1.", rich_help_panel=_COMPARE)
]
PerLevel = Annotated[
    bool,
    typer.Option("--per-level", rich_help_panel=_COMPARE,
                 help="Labels in levels: each level, and where decisions stop at the level that is sure."),
]  # fmt: skip
PerTemplate = Annotated[
    bool, typer.Option("--per-template", help="Each template by itself, ranked.", rich_help_panel=_COMPARE)
]
Confusion = Annotated[bool, typer.Option("--confusion", help="What is taken for what.", rich_help_panel=_COMPARE)]
Errors = Annotated[
    int, typer.Option("--errors", min=0, metavar="N", help="The N most confident mistakes.", rich_help_panel=_COMPARE)
]
WeightTemplates = Annotated[
    Optional[Literal["zpe"]],
    typer.Option("--weight-templates", rich_help_panel=_BETTER,
                 help="Also weigh each set's templates, by zero-shot prompt ensembling: one half of the images, without "
                      "their labels, gives the weights; figures are of the other half."),
]  # fmt: skip
SelectTemplates = Annotated[
    bool,
    typer.Option("--select-templates", rich_help_panel=_BETTER,
                 help="Also select templates greedily on one half of the images; figures are of the other half."),
]  # fmt: skip
SavePrompts = Annotated[
    Optional[Path],
    typer.Option("--save-prompts", metavar="FILE", rich_help_panel=_BETTER,
                 help="Write the weighed or selected set as a prompt set (.yaml)."),
]  # fmt: skip
Calibrate = Annotated[
    Optional[Path],
    typer.Option("--calibrate", metavar="FILE", rich_help_panel=_BETTER,
                 help="Fit a temperature, with --multi-label also a threshold for each label, on one half of the images, measure it on "
                      "the other, and write it (.yaml) for classify and sort --calibration."),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed draws other halves.", rich_help_panel=_BETTER)]


@dataclass(repr=False, eq=False)
class ModelsGroup(Typed):
    """Which models are compared, and how each computes."""

    model: EachModel = None
    pretrained: options.Pretrained = None
    offline: options.Offline = False
    device: options.Device = "auto"
    engine: options.Engine = "auto"
    precision: options.Precision = "auto"
    exact: options.Exact = False
    batch_size: options.BatchSize = None

    @property
    def names(self) -> list[str]:
        """The models that are typed, else the environment's, if it names one. Its name may have spaces, at which click splits it."""
        if "model" in self.typed:
            return list(self.model or ())
        return list(filter(None, [os.environ.get("ZSCLIP_MODEL")]))

    @property
    def are_several(self) -> bool:
        """Whether there is something to compare."""
        return len(self.names) > 1

    def require_one(self, better: BetterGroup, **options: object) -> None:
        """Raise for what is of one model, by the names of options, where there are several."""
        asked = {"save_prompts": better.save_prompts, "calibrate": better.calibrate, **options}
        for name in (name for name, value in asked.items() if value is not None and self.are_several):
            hint = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("this is of one model, and several are given.", param_hint=hint)

    @cached_property
    def each(self) -> list[ModelGroup]:
        """The settings of each model, the default one if none is named. Raises `typer.BadParameter`."""
        settings = {field.name: getattr(self, field.name) for field in fields(ModelGroup)}
        if self.are_several:
            if "pretrained" in self.typed:
                raise typer.BadParameter(
                    "these would be the weights of each of several models. Write them after a colon: -m ViT-B-32:openai.",
                    param_hint="--pretrained",
                )
            del settings["pretrained"]  # the environment's is for one
        named: list[str | None] = [*self.names] or [None]
        groups = [ModelGroup(**{**settings, "model": name}) for name in named]
        for group in groups:
            group.typed = self.typed
        return groups


@dataclass(repr=False, eq=False)
class ComparedGroup:
    """Prompt sets and templates, each by itself."""

    prompts: EachPrompts = None
    template: EachTemplate = None
    baseline: Baseline = None

    def baseline_pair(
        self, sets: Sequence[PromptSet], better: BetterGroup, models: Sequence[str], *, taught: bool = False
    ) -> tuple[str, str]:
        """The baseline's model (empty if there are not several) and set; raises `PromptSetError`."""
        from zsclip.evaluation.evaluate import require_baseline, variant_names
        from zsclip.evaluation.grid import baseline_pair

        names = variant_names(sets, weigh=better.weigh, select=better.select_templates, taught=taught)
        if len(models) > 1:
            return baseline_pair(models, names, self.baseline)
        require_baseline(names, self.baseline)
        return "", self.baseline or names[0]

    def read(self, typed: Sequence[str]) -> list[PromptSet]:
        """The sets in the order of the options as `typed`, the default one if there are none; raises `PromptSetError`."""
        from zsclip.text.prompts import DEFAULT, PromptSet

        sets = {
            "prompts": (PromptSet.load(name) for name in self.prompts or ()),
            "template": (PromptSet.of([template], name=template.strip()) for template in self.template or ()),
        }
        return [next(sets[option]) for option in typed if option in sets] or [PromptSet.load(DEFAULT)]


@dataclass(repr=False, eq=False)
class TablesGroup:
    """Tables beside the comparison; one of `learning` curves is there where `--shots` asks for them."""

    learning = False

    per_class: PerClass = False
    per_level: PerLevel = False
    per_template: PerTemplate = False
    confusion: Confusion = False
    errors: Errors = 0

    @property
    def names(self) -> list[str]:
        """Those asked for."""
        names = ("per_class", "per_level", "per_template", "confusion", "errors", "learning")
        return [name for name in names if getattr(self, name)]

    def suited(self, data: LabelledImages) -> LabelledImages:
        """The images, if all these can be made of them; raises where levels are asked for and the labels do not nest."""
        if self.per_level and not data.labels.nests:
            raise typer.BadParameter(
                "the labels stand in no levels. Give a label file that nests: -L FILE.", param_hint="--per-level"
            )
        return data


@dataclass(repr=False, eq=False)
class BetterGroup:
    """Templates weighed or selected, and a temperature fitted, on one half of the images."""

    weight_templates: WeightTemplates = None
    select_templates: SelectTemplates = False
    save_prompts: SavePrompts = None
    calibrate: Calibrate = None
    seed: Seed = 0

    @property
    def weigh(self) -> bool:
        """Whether templates are weighed."""
        return self.weight_templates is not None

    def calibrated(
        self,
        classifier: Classifier,
        images: EmbeddedImages,
        one: PromptSet,
        rules: Rules,
        background: Sequence[str] | None,
    ) -> Calibration | None:
        """A temperature for the set, if one is asked for."""
        from zsclip.evaluation.calibration import calibrate

        if self.calibrate is None:
            return None
        return calibrate(classifier, images, one, rules=rules, background=background, seed=self.seed)

    def require_one_set(self, sets: Sequence[PromptSet]) -> None:
        """Raise where what is to be written could be of several sets."""
        if self.save_prompts is not None and (self.weigh + self.select_templates != 1 or len(sets) != 1):
            raise typer.BadParameter(
                "give one prompt set, and either --weight-templates zpe or --select-templates: one set can be saved.",
                param_hint="--save-prompts",
            )
        if self.calibrate is not None and (self.weigh or self.select_templates or len(sets) != 1):
            raise typer.BadParameter(
                "give one prompt set, as it is to be used. One that is chosen here is saved first (--save-prompts), and "
                "calibrated then.",
                param_hint="--calibrate",
            )

"""What `models list`, `models show` and `models recommend` tell of what a model costs and is worth."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from importlib.metadata import metadata
from pathlib import Path

import pytest
from support.cli import Cli, rows_of
from support.processes import run_python

from zsclip import models
from zsclip.models import open_clip_data, published, resolve
from zsclip.models.recommendation import BOUNDS

# open_clip's docs/openclip_results.csv, as others copied it out of there.
REFERENCE = {
    ("RN50", "openai"): 59.82,
    ("ViT-B-32", "openai"): 63.32,
    ("ViT-B-16", "openai"): 68.34,
    ("ViT-L-14", "openai"): 75.54,
    ("ViT-B-32", "laion2b_s34b_b79k"): 66.56,
    ("ViT-B-32-256", "datacomp_s34b_b86k"): 72.81,
}
# Rows of the table in open_clip's README: the model as it is called there, the data, and which tag that is.
README = {
    ("ConvNext-Base", "LAION-2B"): ("convnext_base_w", "laion2b_s13b_b82k_augreg"),
    ("ConvNext-Large", "LAION-2B"): ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"),
    ("ConvNext-XXLarge", "LAION-2B"): ("convnext_xxlarge", "laion2b_s34b_b82k_augreg_soup"),
    ("ViT-B-32-256", "DataComp-1B"): ("ViT-B-32-256", "datacomp_s34b_b86k"),
    ("ViT-B-16", "DataComp-1B"): ("ViT-B-16", "datacomp_xl_s13b_b90k"),
    ("ViT-L-14", "LAION-2B"): ("ViT-L-14", "laion2b_s32b_b82k"),
    ("ViT-H-14", "LAION-2B"): ("ViT-H-14", "laion2b_s32b_b79k"),
    ("ViT-L-14", "DataComp-1B"): ("ViT-L-14", "datacomp_xl_s13b_b90k"),
    ("ViT-bigG-14", "LAION-2B"): ("ViT-bigG-14", "laion2b_s39b_b160k"),
    ("ViT-L-14-quickgelu", "WIT"): ("ViT-L-14-quickgelu", "openai"),
    ("ViT-SO400M-14-SigLIP", "WebLI"): ("ViT-SO400M-14-SigLIP", "webli"),
    ("ViT-L-14", "DFN-2B"): ("ViT-L-14", "dfn2b_s39b"),
    ("ViT-L-16-256", "WebLI (multi-lang)"): ("ViT-L-16-SigLIP2-256", "webli"),
    ("ViT-SO400M-14-SigLIP-384", "WebLI"): ("ViT-SO400M-14-SigLIP-384", "webli"),
    ("ViT-H-14-quickgelu", "DFN-5B"): ("ViT-H-14-quickgelu", "dfn5b"),
    ("PE-Core-L-14-336", "MetaCLIP-5.4B"): ("PE-Core-L-14-336", "meta"),
    ("ViT-SO400M-16-SigLIP2-384", "WebLI (multi-lang)"): ("ViT-SO400M-16-SigLIP2-384", "webli"),
    ("ViT-H-14-378-quickgelu", "DFN-5B"): ("ViT-H-14-378-quickgelu", "dfn5b"),
    ("ViT-gopt-16-SigLIP2-384", "WebLI (multi-lang)"): ("ViT-gopt-16-SigLIP2-384", "webli"),
    ("PE-Core-bigG-14-448", "MetaCLIP-5.4B"): ("PE-Core-bigG-14-448", "meta"),
}


def figure(architecture: str, tag: str) -> float:
    found = published.accuracy(resolve(architecture, tag))
    assert found
    return found.percent


def test_the_figures_are_those_of_open_clips_table() -> None:
    assert {pair: figure(*pair) for pair in REFERENCE} == REFERENCE


def test_the_figures_agree_with_the_table_in_open_clips_readme() -> None:
    compared = set()
    for line in str(metadata("open_clip_torch")).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and (pair := README.get((cells[0].split(" [")[0], cells[1]))):
            assert figure(*pair) == pytest.approx(float(cells[4].removesuffix("%")), abs=0.1), pair
            compared.add(pair)
    assert compared == set(README.values())


def test_every_figure_is_of_a_tag_and_says_where_it_is_from() -> None:
    sources = published._document()["accuracy"]["sources"]
    assert [sum(map(len, source["figures"].values())) for source in sources] == [121, 6]
    for source in sources:
        assert source["name"] in source["from"]
        assert source["read"]
        for architecture, figures in source["figures"].items():
            assert set(figures) <= set(open_clip_data.pretrained_tags(architecture)), architecture
            assert all(0 < percent < 100 for percent in figures.values())


def test_weights_that_are_listed_twice_have_the_figure_of_the_activation_they_run_with() -> None:
    assert (
        figure("ViT-B-32", "laion400m_e32") == figure("ViT-B-32-quickgelu", "laion400m_e32") == 62.93
    )  # 60.24 with GELU
    assert figure("RN50", "yfcc15m") == 32.75  # 32.38 with GELU
    assert figure("ViT-H-14", "dfn5b") == 83.44  # listed with QuickGELU only
    assert figure("ViT-B-16-quickgelu", "openai") == 68.34  # listed under the plain name only
    assert (
        published.accuracy(resolve("ViT-SO400M-14-SigLIP-378", "webli")) is None
    )  # of the same weights at another size


@pytest.mark.parametrize(
    ("architecture", "tag", "licence"),
    [
        ("RN50", "openai", "MIT"),
        ("ViT-B-32-256", "datacomp_s34b_b86k", "MIT"),
        ("ViT-B-16", "laion400m_e31", "MIT"),
        ("ViT-L-14", "metaclip_400m", "CC-BY-NC-4.0"),
        ("ViT-H-14-378", "dfn5b", "Apple ASCL"),
        ("MobileCLIP-S2", "datacompdr", "Apple AMLR"),
        ("ViT-L-14-CLIPA", "datacomp1b", "Apache-2.0"),
        ("demo", None, "MIT"),
        ("ViT-e-14", None, None),
    ],
)
def test_licences_are_those_of_the_repository_on_the_hub(
    architecture: str, tag: str | None, licence: str | None
) -> None:
    spec = (
        models.without_weights(architecture) if tag is None and architecture != "demo" else resolve(architecture, tag)
    )
    assert spec
    assert published.licence(spec) == licence


def test_every_repository_of_open_clips_tags_is_in_one_family_with_a_source() -> None:
    repositories = {
        "/".join(details["hf_hub"].split("/")[:2])
        for architecture in open_clip_data.architectures()
        for details in open_clip_data.pretrained_tags(architecture).values()
    }
    families = published._document()["licences"]
    for repository in repositories:
        found = [one for one in families if any(fnmatchcase(repository, pattern) for pattern in one["repositories"])]
        assert len(found) == 1, repository
    for pattern in (pattern for one in families for pattern in one["repositories"]):
        assert any(fnmatchcase(repository, pattern) for repository in repositories), pattern
    assert all(one["source"] for one in families)
    assert published._document()["licences read"]


# docs/model_profile.csv of open_clip, GFLOPs of the image tower.
PROFILE = {
    "ViT-B-32": 8.82,
    "RN50": 12.22,
    "ViT-B-16-SigLIP": 35.42,
    "convnext_base_w": 40.11,
    "EVA02-L-14-336": 381.86,
    "coca_ViT-L-14": 163.64,
    "ViT-bigG-14-CLIPA-336": 2231.15,
}


def test_the_work_for_a_picture_is_what_open_clips_profile_says() -> None:
    assert set(models.operation_counts()) == set(models.parameter_counts())
    counted = {name: models.operation_counts()[name] / 1e9 for name in PROFILE}
    assert counted == pytest.approx(PROFILE, rel=1e-3)


def test_the_recommended_models_are_the_most_accurate_within_their_bounds() -> None:
    choices = models.recommend()
    assert list(choices) == list(BOUNDS) == ["quick", "balanced", "best"]
    default = resolve()
    assert (choices["quick"].architecture, choices["quick"].tag) == (default.name, default.pretrained)
    unit = models.operation_counts()[default.name]
    known = [
        (one.accuracy.percent, one.image_flops, one)
        for one in models.catalogue()
        if one.accuracy and one.image_flops and one.licence in ("MIT", "Apache-2.0")
    ]
    for name, chosen in choices.items():
        assert chosen.accuracy
        assert chosen.image_flops
        assert chosen.licence in ("MIT", "Apache-2.0")
        assert chosen.image_flops <= BOUNDS[name] * unit
        for percent, flops, other in known:
            assert percent <= chosen.accuracy.percent or flops > BOUNDS[name] * unit, other
            dominates = percent >= chosen.accuracy.percent and flops < chosen.image_flops
            assert not dominates, other  # the choice is on the Pareto front
    assert sorted(one.accuracy.percent for one in choices.values() if one.accuracy) == [
        one.accuracy.percent for one in choices.values() if one.accuracy
    ]


def test_models_list_tells_what_a_model_costs_and_is_worth(cli: Cli) -> None:
    text = cli("models", "list").out
    assert text.startswith(
        "model,pretrained,default,on_disk,width,height,parameters,"
    )  # as before, the new ones behind
    rows = rows_of(text)
    (row,) = (row for row in rows if row["model"] == "ViT-B-16-SigLIP-384")
    assert row == {
        "model": "ViT-B-16-SigLIP-384",
        "pretrained": "webli",
        "default": "yes",
        "on_disk": "",
        "width": "384",
        "height": "384",
        "parameters": "203447810",
        "imagenet_top1": "78.49",
        "imagenet_source": "openclip_results.csv",
        "image_gflop": "112.127",
        "licence": "Apache-2.0",
        "note": "",
    }
    (demo,) = (row for row in rows if row["model"] == "demo")
    assert (demo["pretrained"], demo["on_disk"], demo["width"], demo["imagenet_top1"]) == ("", "yes", "64", "")
    assert demo["note"] == "knows only coloured shapes"
    document = json.loads(cli("models", "list", "-f", "json").out)
    assert [list(one) for one in document] == [list(rows[0])] * len(rows)
    assert [one["imagenet_top1"] for one in document] == [float(row["imagenet_top1"] or 0) or None for row in rows]
    assert {one["on_disk"] for one in document} <= {True, False}


def test_models_list_sorts_and_fits_a_terminal(cli: Cli) -> None:
    rows = rows_of(cli("models", "list", "--sort", "accuracy").out)
    figures = [float(row["imagenet_top1"] or 0) for row in rows]
    assert figures == sorted(figures, reverse=True)
    assert rows[0]["model"] == "PE-Core-bigG-14-448"
    rows = rows_of(cli("models", "list", "--sort", "parameters").out)
    counts = [int(row["parameters"]) for row in rows]
    assert counts == sorted(counts)
    assert rows[0]["model"] == "demo"
    named = cli("models", "list", "--sort", "name").out
    assert [row["model"] for row in rows_of(named)] == sorted(row["model"] for row in rows)
    assert cli("models", "list", "--sort", "price").code == 2
    table = cli("models", "list", "-f", "table").out
    assert max(map(len, table.splitlines())) <= 80
    assert "  72.8 %  datacomp_s34b_b86k (default)  MIT\n" in table
    assert "demo  64 x 64 pixels, 6 M parameters" in table


def test_models_recommend_names_three_with_what_to_type(cli: Cli) -> None:
    table = cli("models", "recommend", "-f", "table").out
    assert max(map(len, table.splitlines())) <= 80
    rows = rows_of(cli("models", "recommend").out)
    assert [row["choice"] for row in rows] == ["quick", "balanced", "best"]
    assert json.loads(cli("models", "recommend", "-f", "json").out)[0]["imagenet_top1"] == float(
        rows[0]["imagenet_top1"]
    )
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for row in rows:
        worth = f"({row['pretrained']})\n{'':10}{float(row['imagenet_top1']):.1f} % on ImageNet, {row['width']} x {row['height']} pixels, "
        assert f"{row['choice']:10}{row['model']} {worth}" in table
        assert f"{row['choice']:10}{row['model']} {worth}" in readme
        assert f"zsclip classify photos/ -l cat,dog {row['options']}\n" in table
        _, architecture, *rest = row["options"].split()
        spec = resolve(architecture, rest[1] if rest else None)
        assert (spec.name, spec.pretrained) == (row["model"], row["pretrained"])
        shown = cli("models", "show", architecture, *rest[1:]).out
        assert f"{float(row['imagenet_top1']):g} % on ImageNet" in shown
        assert f"licence        {row['licence']}\n" in shown


def test_the_catalogue_and_the_recommendation_import_no_torch() -> None:
    code = "import sys; from zsclip import models; list(models.catalogue()); models.recommend(); print(*sys.modules)"
    imported = set(run_python(code).stdout.split())
    assert not imported & {"torch", "open_clip", "timm", "transformers"}

"""The page on clusters, the manifest for KubeRay and its image: what they say is what Kubernetes, Ray and zsclip take."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.cli import Cli

ROOT = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text(encoding="utf-8"))
CLUSTER = MANIFEST["spec"]["rayClusterSpec"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
ARGUMENTS = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))


def an_object(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with some fields and no other, as Kubernetes takes it with strict validation."""
    return {
        "type": "object", "properties": properties, "required": required.split(), "additionalProperties": False
    }  # fmt: skip


def a_list(of: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


STRING, BOOLEAN, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": STRING}
QUANTITIES = {
    "type": "object", "additionalProperties": {"type": ["integer", "string"], "pattern": r"^\d+(\.\d+)?(m|[KMGTPE]i?)?$"}
}  # fmt: skip
# The fields that the manifest uses, as `kind: RayJob` of ray.io/v1 and the PodTemplateSpec of Kubernetes have them.
CONTAINER = an_object(
    "name", name=STRING, image=STRING, env=a_list(an_object("name", name=STRING, value=STRING)),
    envFrom=a_list(an_object(secretRef=an_object("name", name=STRING))),
    securityContext=an_object(
        allowPrivilegeEscalation=BOOLEAN, capabilities=an_object(drop=a_list(STRING))
    ),
    resources=an_object(requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=a_list(an_object("name mountPath", name=STRING, mountPath=STRING, readOnly=BOOLEAN)),
)  # fmt: skip
POD = an_object(
    "spec",
    spec=an_object(
        "containers", containers=a_list(CONTAINER), automountServiceAccountToken=BOOLEAN,
        securityContext=an_object(
            runAsNonRoot=BOOLEAN, runAsUser=COUNT, fsGroup=COUNT, seccompProfile=an_object("type", type=STRING)
        ),
        volumes=a_list(an_object("name", name=STRING, configMap=an_object("name", name=STRING))),
    ),
)  # fmt: skip
WORKERS = an_object(
    "groupName minReplicas maxReplicas rayStartParams template",
    groupName=STRING, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT, rayStartParams=STRINGS, template=POD,
)  # fmt: skip
RAY_JOB = an_object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"}, kind={"const": "RayJob"}, metadata=an_object("name", name=STRING),
    spec=an_object(
        "entrypoint rayClusterSpec",
        entrypoint=STRING, shutdownAfterJobFinishes=BOOLEAN, ttlSecondsAfterFinished=COUNT, backoffLimit=COUNT,
        rayClusterSpec=an_object(
            "headGroupSpec",
            rayVersion=STRING, authOptions=an_object(mode={"enum": ["disabled", "token"]}),
            headGroupSpec=an_object("rayStartParams template", rayStartParams=STRINGS, template=POD),
            workerGroupSpecs=a_list(WORKERS),
        ),
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "127.0.0.1:9"
    for name, value in {"AWS_ENDPOINT_URL": f"http://{nobody}", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
                        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "RAY_ADDRESS": nobody}.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def containers() -> list[dict[str, Any]]:
    groups = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_the_manifest_has_the_fields_and_types_of_a_rayjob() -> None:
    jsonschema.validate(MANIFEST, RAY_JOB)
    mistaken = copy.deepcopy(MANIFEST)
    mistaken["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    with pytest.raises(jsonschema.ValidationError, match="0 is not of type 'string'"):
        jsonschema.validate(mistaken, RAY_JOB)


def test_its_command_is_one_that_zsclip_takes(cli: Cli, tmp_path: Path) -> None:
    """As far as a machine without a network comes with it: all options are taken, and buckets are refused."""
    program, *arguments = shlex.split(MANIFEST["spec"]["entrypoint"])
    (mount,) = containers()[0]["volumeMounts"]
    place = arguments.index(f"{mount['mountPath']}/labels.txt")
    assert arguments[place - 1] == "--labels-file"
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    arguments[place] = str(labels)
    refused = cli(*arguments, "--offline")
    assert (program, refused.code) == ("zsclip", 1)
    assert "s3://my-bucket/labels: an address, which --offline forbids to ask." in " ".join(refused.err.split())
    for mistaken in (arguments[:-1], [*arguments, "--actor", "2"], [*arguments, "--limit", "5"]):
        assert cli(*mistaken, "--offline").code == 2


def test_its_cluster_ends_with_the_job_wants_tokens_and_tells_nobody() -> None:
    assert MANIFEST["spec"]["shutdownAfterJobFinishes"] is True
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert [*map(int, CLUSTER["rayVersion"].split("."))] >= [2, 52]  # the first that has tokens
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for container in containers():
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "zsclip-bucket"}}]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert not any("KEY" in one["name"] or "TOKEN" in one["name"] for one in container["env"])


def test_the_image_has_what_the_manifest_wants() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    _, _, extras = project.partition("[project.optional-dependencies]\n")
    there = set(re.findall(r"^(\w+) = \[", extras.partition("\n[")[0], re.MULTILINE))
    assert {"cluster", "remote"} <= set(ARGUMENTS["EXTRAS"].split(",")) <= there
    assert ARGUMENTS["RAY"] == CLUSTER["rayVersion"]
    assert len({container["image"] for container in containers()}) == 1
    user = CLUSTER["headGroupSpec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert f"\nUSER {user}\n" in DOCKERFILE


@pytest.mark.slow
def test_what_the_image_copies_is_enough_to_build_zsclip(tmp_path: Path) -> None:
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        folder = tmp_path / target.lstrip("/")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, folder)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"]
    subprocess.run(command, cwd=tmp_path / "src", check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"zsclip/cli/classify.py", "zsclip/prompts/photo.yaml"} <= set(names)


def test_prices_follow_from_the_figures_that_they_name() -> None:
    measured = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([\d.]+) \| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for rate, *hours in rows:
        assert re.search(rf"^\| zsclip[^|]* \| {re.escape(rate)} \|", measured, re.MULTILINE)
        for pictures, told in zip((1e6, 1e8, 1e9), hours, strict=True):
            assert float(told.replace(",", "")) == pytest.approx(pictures / float(rate) * 2 / 3600, rel=0.005)
    for kind, size in (("fp32", 4), ("bf16, fp16", 2)):
        (told,) = re.findall(rf"^\| {kind} \| (.+) \|$", PAGE, re.MULTILINE)
        for pictures, bytes_ in zip((1e6, 1e8, 1e9), told.split(" | "), strict=True):
            gigabytes = float(bytes_.removesuffix(" GB").replace(",", ""))
            assert gigabytes == pytest.approx(pictures * (size * 512 + 60) / 1e9, rel=0.02)


def test_the_page_s_links_lead_somewhere_and_its_commands_are_taken(cli: Cli, tmp_path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    commands = re.findall(r"^(?:ray job submit .* -- )?zsclip (\w.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        arguments = [re.sub("^(s3://bucket|~|(?=\\w+[.]txt))", f"{tmp_path}/", one) for one in shlex.split(command)]
        ended = cli(*arguments)  # there are no pictures, and no run
        assert ended.code == 1, ended.err
        assert str(tmp_path) in "".join(ended.err.split())

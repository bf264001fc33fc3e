"""The packages that zsclip brings with it, with their licences, as the table in docs/dependencies.md.

    python scripts/licences.py

Asks the environment it runs in: what is listed is what is installed here. Packages needed for development only are left out.
"""

from __future__ import annotations

import importlib.metadata
import re

from packaging.requirements import Requirement

EXTRAS = ("heic", "jxl", "raw", "video", "parquet", "remote", "int8", "cluster")


def licence(package: importlib.metadata.Distribution) -> str:
    said = package.metadata["License-Expression"] or (package.metadata["License"] or "").split("\n")[0]
    if said and len(said) < 160 and not said.startswith("Copyright"):  # the text itself, in some
        return str(said)
    classifiers = package.metadata.get_all("Classifier", [])
    return (
        "; ".join(one.split("::")[-1].strip() for one in classifiers if one.startswith("License")) or "see the package"
    )


def collect(
    name: str, wanted_by: str, found: dict[str, tuple[str, str, str, set[str]]], extras: tuple[str, ...] = ()
) -> None:
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        found[key][3].add(wanted_by)
        return
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # for another platform
    if name != "zsclip":
        found[key] = (package.metadata["Name"], package.version, licence(package), {wanted_by})
    for line in package.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            collect(requirement.name, name, found)


def main() -> None:
    found: dict[str, tuple[str, str, str, set[str]]] = {}
    collect("zsclip", "", found, EXTRAS)
    print("| package | version here | licence | needed by |\n|---|---|---|---|")
    for name, version, terms, by in sorted(found.values(), key=lambda one: ("zsclip" not in one[3], one[0].lower())):
        print(f"| {name} | {version} | {terms} | {', '.join(sorted(by))} |")


if __name__ == "__main__":
    main()

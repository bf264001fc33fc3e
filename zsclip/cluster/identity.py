"""What decides a run's results, kept beside them: another run in the same folder must be the same run, which goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from zsclip.cluster.plan import COMPLETE, PLAN
from zsclip.cluster.results import ResultFolder
from zsclip.errors import InputError
from zsclip.text.wording import listed

RUN = "_zsclip/run.json"
SUCCESS = "_SUCCESS"
MANIFEST = "_zsclip/manifest.parquet"
FORMAT = 1
_OURS = re.compile(r"(part|errors)-\d{5,}\.parquet")


def settle(
    results: ResultFolder, decides: Mapping[str, Any], said: Mapping[str, Any], *, restart: bool = False
) -> bool:
    """Begin a run in a folder, or go on with the one that is there; whether it was there.

    `decides` is what results depend on, by a name for messages, as JSON has it; `said` what else is to be told of the run. Raises
    `InputError` where another run is in the folder, and for files that look like ours of a run that nobody knows. With `restart` what is
    there of a run is removed.
    """
    known = results.read(RUN)
    if known is None and any(map(_OURS.fullmatch, results.names())):
        raise InputError(
            "there are parts, and nothing that says of which run.",
            where=results.setting,
            remedy="Name another folder, or remove them.",
        )
    if known is not None and not restart:
        _require_same(results, _read(results, known), decides)
        return True
    remove(results)  # without a run too: its plan, for one, would be taken for ours
    document = {"format": FORMAT, "decides": decides, "said": said}
    results.put(RUN, json.dumps(document, indent=1, ensure_ascii=True).encode())
    return False


def remove(results: ResultFolder) -> None:
    """Remove a run, so that it can be gone on with after an interruption: first what says that it is whole, then the parts (rows before
    errors, for a part that has its rows is done), then the plan that they are parts of, and last what says which run it is.
    """
    for name in (SUCCESS, MANIFEST):
        results.remove(name)
    for name in sorted(filter(_OURS.fullmatch, results.names()), reverse=True):
        results.remove(name)
    results.remove(COMPLETE)
    for name in list(results.names(PLAN)):
        results.remove(f"{PLAN}/{name}")
    results.remove(RUN)


def read_run(results: ResultFolder) -> dict[str, Any] | None:
    """What is kept of the run in a folder; None if there is none. Raises `InputError`."""
    data = results.read(RUN)
    return None if data is None else _read(results, data)


def _read(results: ResultFolder, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
        number = document["format"]
    except (ValueError, KeyError, TypeError):
        raise InputError("damaged: it does not say of which run the results are.", where=results.path(RUN)) from None
    if number != FORMAT:
        raise InputError(
            f"results in format {number}; this version of zsclip knows {FORMAT}.",
            where=results.name,
            remedy="Update zsclip.",
        )
    return dict(document)


def _require_same(results: ResultFolder, known: Mapping[str, Any], decides: Mapping[str, Any]) -> None:
    former, now = known["decides"], json.loads(json.dumps(decides))
    others = [name for name in sorted({*former, *now}) if former.get(name) != now.get(name)]
    if not others:
        return
    changes = [_change(name, former.get(name), now.get(name)) for name in others]
    raise InputError(
        f"another run is in it, which differs in {listed(changes)}.",
        where=results.setting,
        remedy="Name another folder, or begin anew with `restart`, which removes that run.",
    )


def _change(name: str, former: Any, now: Any) -> str:
    shown = [json.dumps(value, ensure_ascii=False) for value in (former, now)]
    return f"{name} ({shown[0]}, not {shown[1]})" if max(map(len, shown)) <= 60 else name

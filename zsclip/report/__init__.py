"""Reports: one HTML file each, that asks for nothing but the pictures it shows.

`page.html` is the frame; style, script and data are put into it. The pages' JavaScript is in `page.js` (shared),
`gallery.js` and `evaluation.js`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from zsclip import __version__

# Only what is in the file itself runs; pictures come from files beside it or from the file. Nothing goes anywhere.
_POLICY = (
    "default-src 'none'; img-src 'self' file: data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
    "base-uri 'none'; form-action 'none'"
)


def render(name: str, title: str, data: Mapping[str, Any]) -> str:
    """The page `name` (`gallery` or `evaluation`) as one HTML text, with `data` as JSON in it.

    Nothing in `data` can become markup or script: it is JSON with `<`, `>`, `&` and all that is not ASCII escaped.
    """
    style = _asset("page.css") + _asset(f"{name}.css")
    script = f'"use strict";\n{_asset("page.js")}{_asset(f"{name}.js")}'
    parts = {
        "policy": _POLICY.format(style=_digest(style), script=_digest(script)),
        "title": html.escape(title),
        "version": __version__,
        "style": style,
        "data": json_in_html(data),
        "script": script,
    }
    # In one go, so that what is put in is never looked through for places again.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("page.html"))


def json_in_html(data: object) -> str:
    """JSON for a script element: no `</script>` can end it, no U+2028 break it; lone surrogates stay what they are."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return (files("zsclip.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

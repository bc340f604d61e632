"""From what a page shows to its one file: the template, with style, script and data inside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.progress import one_line

TEMPLATES = resources.files("bench.report.page") / "templates"


def render(content: Mapping[str, Any], data: object) -> bytes:
    """The page. `content` is what the template names; `data`, of JSON's kinds, is what the script reads."""
    style, script = (TEMPLATES.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=PackageLoader("bench.report.page"), autoescape=True, undefined=StrictUndefined, finalize=_printable
    )
    text = environment.get_template("page.html").render(
        content,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(as_script_data(data)),
    )
    return text.encode()


def policy(style: str, script: str) -> str:
    """A content security policy under which only this style and this script work, and nothing is fetched."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def as_script_data(data: object) -> str:
    """JSON in which nothing ends or opens an element, whatever its texts hold."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _printable(value: object) -> object:
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

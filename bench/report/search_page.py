"""A search as one self-contained page: the query, and what was found with its scores."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from bench.data.pictures import read_picture

THUMBNAIL = (160, 240)
"""Pixels that a picture has at most on the page, wide x high."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 1.5rem; color: #222; background: #fff; }
ol { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0; }
figure { margin: 0; width: 160px; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; }
</style>
</head>
<body>
<h1>Search</h1>
<p>{{ title }}. Higher scores are more alike.</p>
<h2>Query</h2>
<figure><img src="{{ query.source }}" alt="the query {{ query.name }}">
<figcaption>{{ query.name }}</figcaption></figure>
<h2>Found</h2>
<ol>
{%- for picture in found %}
<li><figure><img src="{{ picture.source }}" alt="{{ picture.name }}">
<figcaption>{{ loop.index }}. score {{ picture.score }}<br>{{ picture.name }}</figcaption></figure></li>
{%- endfor %}
</ol>
</body>
</html>
"""


def search_page(title: str, query: Path, best: Sequence[Path], scores: Sequence[float], folder: Path) -> str:
    """The page as HTML, its pictures inside it; names are those below `folder`.

    Raises UserError for a picture that can no longer be read.
    """
    found = [
        {"source": _thumbnail(path), "name": str(path.relative_to(folder)), "score": f"{score:.4f}"}
        for path, score in zip(best, scores, strict=True)
    ]
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(title=title, query={"source": _thumbnail(query), "name": query.name}, found=found)


def _thumbnail(path: Path) -> str:
    """A picture as a data URL, made smaller where it is large."""
    picture = read_picture(path)
    picture.thumbnail(THUMBNAIL, Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"

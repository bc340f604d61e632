"""Values as people write them in files and after `--set`: YAML, with one way of reading numbers."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from bench.errors import UserError

_WHOLE = re.compile(r"[-+]?([0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$")
_REAL = re.compile(
    r"([-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
_NOT_READ = ("int", "float", "timestamp", "value")


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are those of Python and of YAML 1.2.

    YAML 1.1 takes 1e-1 for text, 010 for eight and 1:30 for ninety; dates become text, since no setting is one.
    """


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    based = text.lstrip("+-")[:2].lower()
    return int(text, {"0o": 8, "0x": 16}.get(based, 10))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in _NOT_READ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _REAL, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def read_yaml(text: str, source: str) -> Any:
    """The plain value that a text stands for.

    Raises UserError, which begins with `source`, for what is no YAML, holds itself, or is of a kind that JSON lacks.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
        json.dumps(value)
        return value
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as fault:
        problem = (getattr(fault, "problem", None) or str(fault)).splitlines()[0]
        raise UserError(f"{source}: cannot read {_shortened(text)} ({problem})") from fault


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")

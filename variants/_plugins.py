"""Heads that installed packages offer, under the entry point group `pairbench.variants`. Nothing is imported."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from variants._catalogue import HeadInfo, read_module
from variants._errors import HeadError

GROUP = "pairbench.variants"


@dataclass(frozen=True)
class Plugin:
    """A name that installed packages offer, and for each of them the module that holds the head."""

    name: str
    offers: tuple[tuple[str, str], ...]
    """(package, module)."""

    def read(self) -> HeadInfo:
        """The head's entry. Raises HeadError, one sentence, for whatever is wrong with it."""
        offered_by = " and ".join(package for package, _ in self.offers)
        try:
            modules = {module for _, module in self.offers}
            if len(modules) > 1:
                raise HeadError("several packages offer one of that name; uninstall all but one")
            path, package = _find(modules.pop())
            return read_module(self.name, self.offers[0][1], path, package)
        except HeadError as fault:
            raise HeadError(f"head {self.name!r}, offered by {offered_by}: {fault}") from fault


def plugins() -> list[Plugin]:
    """All that is offered, by name. What has the name of a built-in head is there too, and is refused when read."""
    offers: dict[str, set[tuple[str, str]]] = {}
    for point in metadata.entry_points(group=GROUP):
        package = point.dist.name if point.dist is not None else "an unknown package"
        offers.setdefault(point.name, set()).add((package, point.value.split("[")[0].partition(":")[0].strip()))
    return [Plugin(name, tuple(sorted(found))) for name, found in sorted(offers.items())]


def usable() -> list[HeadInfo]:
    """The entries of all heads that are offered and can be used."""
    return [found for found in _read_all().values() if isinstance(found, HeadInfo)]


def unusable() -> dict[str, str]:
    """Names under which packages offer a head that cannot be used, each with the reason."""
    return {name: found for name, found in _read_all().items() if isinstance(found, str)}


def _read_all() -> dict[str, HeadInfo | str]:
    found: dict[str, HeadInfo | str] = {}
    for plugin in plugins():
        try:
            found[plugin.name] = plugin.read()
        except HeadError as fault:
            found[plugin.name] = str(fault)
    return found


def _find(module: str) -> tuple[Path, Path | None]:
    """The file of a module, and the folder of the outermost package that holds it, if it is in one."""
    parts = module.split(".")
    package = None
    try:
        spec = importlib.util.find_spec(parts[0]) if all(part.isidentifier() for part in parts) else None
        for depth in range(2, len(parts) + 1):
            package = package or _folder_of_package(spec)
            places = spec.submodule_search_locations if spec is not None else None
            spec = PathFinder.find_spec(".".join(parts[:depth]), places) if places is not None else None
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or not spec.has_location or spec.origin is None:
        raise HeadError(f"its module {module!r} is not there; install the package again, or uninstall it")
    return Path(spec.origin), package or _folder_of_package(spec)


def _folder_of_package(spec: object) -> Path | None:
    origin = getattr(spec, "origin", None)
    return Path(origin).parent if origin and Path(origin).name == "__init__.py" else None

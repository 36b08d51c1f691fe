"""Scenarios as data: an id, variants in brackets, and the registry of all of them."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from harness.errors import SettingsError
from harness.settings import PROJECT_ROOT

SCENARIOS_DIR = PROJECT_ROOT / "scenarios"
STORY_WITHIN_S = 240.0
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class ScenarioInfo:
    """What is known of a scenario without running it."""

    name: str
    """Its id, kebab-case."""
    function: Callable[..., Any]
    parameter: str = ""
    """The name of the story's parameter that the variants fill; empty without variants."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Variant name -> the value the story gets; in the order written."""
    baseline: bool = False
    checklist: bool = False
    """True for the incident's own stories, which print its verification checklist."""
    limit_s: float = STORY_WITHIN_S
    """The whole story's time; expiry means a bug in the harness or in the story."""
    rare: tuple[str, ...] = ()
    """Variants that take minutes: played when asked for by name, and not with all the others."""

    @property
    def doc(self) -> str:
        """The guarantee, as the story's docstring says it."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    @property
    def path(self) -> str:
        """The file the story stands in."""
        return self.function.__code__.co_filename

    def ids(self) -> tuple[str, ...]:
        """Return the full ids, ``name[variant]``; the bare name when there are no variants."""
        return tuple(self.full_id(variant) for variant in self.variants) or (self.name,)

    def usual_ids(self) -> tuple[str, ...]:
        """Return the full ids without the rare ones."""
        return tuple(one for one in self.ids() if one not in {self.full_id(variant) for variant in self.rare})

    def full_id(self, variant: str | None) -> str:
        """Return ``name[variant]``, or the bare name."""
        return f"{self.name}[{variant}]" if variant else self.name


def scenario(
    name: str,
    *,
    baseline: bool = False,
    checklist: bool = False,
    limit_s: float = STORY_WITHIN_S,
    rare: tuple[str, ...] = (),
    **variants: Mapping[str, Any],
) -> Callable[[F], F]:
    """Mark a test function as the scenario ``name``; a keyword, e.g. ``way={"kill": Kill("x")}``, gives variants."""
    if len(variants) > 1:
        raise TypeError(f"scenario {name!r} may have one variant parameter; got {sorted(variants)}")
    parameter, values = next(iter(variants.items()), ("", {}))

    def mark(function: F) -> F:
        info = ScenarioInfo(name, function, parameter, values, baseline, checklist, limit_s, rare)
        function.__scenario__ = info  # type: ignore[attr-defined]
        return function

    return mark


def info_of(function: Callable[..., Any]) -> ScenarioInfo | None:
    """Return what ``scenario`` noted on a function, or None."""
    found = getattr(function, "__scenario__", None)
    return found if isinstance(found, ScenarioInfo) else None


def registry() -> dict[str, ScenarioInfo]:
    """Import every file of ``scenarios/`` and return its scenarios by name.

    Raises:
        ValueError: two scenarios share a name.
        SettingsError: a scenario file asks while it is imported.
    """
    _refuse_while_importing()
    found: dict[str, ScenarioInfo] = {}
    for path in sorted(SCENARIOS_DIR.glob("test_*.py")):
        module_name = f"scenarios.{path.stem}"
        module = sys.modules.get(module_name)
        if module is None:
            module = _imported(module_name, path)
        for value in vars(module).values():
            info = info_of(value) if callable(value) else None
            if info is None or info.function.__module__ != module_name:
                continue
            if info.name in found:
                raise ValueError(f"two scenarios are called {info.name!r}")
            found[info.name] = info
    return found


def _imported(name: str, path: Path) -> ModuleType:
    """Import a file as an import statement would: through the finders, so that pytest's asserts tell what they saw."""
    specs = (finder.find_spec(name, [str(path.parent)]) for finder in sys.meta_path)
    spec = next((one for one in specs if one is not None), None)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _refuse_while_importing() -> None:
    frame = inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if frame.f_code.co_name == "<module>" and path.parent == SCENARIOS_DIR:
            raise SettingsError(
                "scenario files that can be imported",
                f"{path.name} asks for the registry in line {frame.f_lineno}, while it is imported",
                "ask inside a test or in pytest_generate_tests",
            )
        frame = frame.f_back

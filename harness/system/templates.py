"""Templates in a component's environment and commands: ``{self.grpc}``, ``{livekit.signal}``, ``{timers.json}``, ...

A part is only ever told the front of the link it dials, never where another part really is. Braces that are meant
are doubled. Every name is checked when the file is read; values come with the run.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.system.mistakes import Keys, Problem, suggestion
from harness.system.values import Component, Places, Resolved, System

RIG_VALUES: Mapping[str, str] = {
    "python": "the Python that runs the harness",
    "run.id": "the run's id",
    "run.dir": "the run's directory (kept: nothing secret in there)",
    "scratch.dir": "a private directory of the run, removed after it; inside a container: /tmp",
    "livekit.server": "path of the LiveKit server binary",
    "livekit.config": "path of its configuration (holds the secret)",
}
"""Names whose value the rig gives in ``Places.values``, and what they are."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SCRATCH_INSIDE = "/tmp"  # noqa: S108  in a container, with which it goes
Fill = Callable[[Places], str]


def made_secrets(system: System) -> dict[str, str]:
    """Return the system's secrets for one run: those left empty in the file are made anew (40 characters)."""
    return {name: value or secrets.token_hex(20) for name, value in system.secrets.items()}


def uses(component: Component, name: str) -> bool:
    """Tell whether the component's process, commands or environment mention the template ``name``."""
    return any("{" + name + "}" in text for _, text in _texts(component))


def check_templates(system: System) -> None:
    """Refuse names that nothing can fill.

    Raises:
        Problem: with the key that holds the template.
    """
    for component in system.components.values():
        for keys, text in _texts(component):
            try:
                _parse(system, component, text)
            except _BadTemplateError as bad:
                raise Problem(
                    ("components", component.name, *keys), f"{bad.expected} in {text!r}", bad.seen, bad.mend
                ) from None


def resolve(system: System, component: Component, places: Places) -> Resolved:
    """Fill every template of ``component``. The result holds secrets.

    Raises:
        KeyError: ``places`` lacks a front, a port or a value that is named.
    """
    inside = replace(places, values={**places.values, "scratch.dir": _SCRATCH_INSIDE})

    def fill(text: str, of: Places = inside if component.runtime == "container" else places) -> str:
        return "".join(piece(of) for piece in _parse(system, component, text))

    words = component.args if component.runtime == "container" else component.process or ()
    return Resolved(
        argv=tuple(fill(word) for word in words),
        env={name: fill(text) for name, text in component.env.items()},
        commands={verb: tuple(fill(word) for word in words) for verb, words in (component.commands or {}).items()},
        mounts={at: fill(path, places) for at, path in component.mounts.items()} if component.image else {},
    )


class _BadTemplateError(Exception):
    def __init__(self, expected: str, seen: str, mend: str) -> None:
        super().__init__(expected, seen, mend)
        self.expected, self.seen, self.mend = expected, seen, mend


def _texts(component: Component) -> list[tuple[Keys, str]]:
    found: list[tuple[Keys, str]] = [(("process",), word) for word in component.process or ()]
    found += [(("args",), word) for word in component.args]
    found += [(("mounts", inside), path) for inside, path in component.mounts.items()]
    found += [(("env", name), text) for name, text in component.env.items()]
    for verb, words in (component.commands or {}).items():
        found += [(("commands", verb), word) for word in words]
    return found


def _parse(system: System, component: Component, text: str) -> list[Fill]:
    pieces: list[Fill] = []
    position = 0
    for match in _TOKEN.finditer(text):
        pieces.append(_literal(text[position : match.start()]))
        position = match.end()
        if match.group() in {"{{", "}}"}:
            pieces.append(_literal(match.group()[0]))
        elif match.group(1) is None:
            raise _BadTemplateError(
                "a template like {self.grpc}", f"a lone {match.group()!r}", "double a brace that is meant"
            )
        else:
            pieces.append(_named(system, component, match.group(1)))
    pieces.append(_literal(text[position:]))
    return pieces


def _literal(text: str) -> Fill:
    return lambda _: text


def _named(system: System, component: Component, name: str) -> Fill:
    known = _constants(system, component)
    if name in known:
        return _literal(known[name])
    if name in RIG_VALUES or name in system.secrets:
        return lambda places: places.values[name]
    if name == "self.host":
        return lambda places: places.hosts[component.name]
    if name in system.links:
        link = system.links[name]
        return lambda places: link.url(places.fronts[link.name])
    owner, _, port = name.partition(".")
    if owner == "self" and port in component.ports:
        return lambda places: _own_port(places, component, port)
    link_name = f"{component.name}->{owner}"
    if link_name in system.links and system.links[link_name].port == port:
        return _named(system, component, link_name)
    raise _unknown(system, component, name, [*known, "self.host"])


def _own_port(places: Places, component: Component, port: str) -> str:
    if port in component.sockets:
        return places.sockets[component.name][port]
    return str(places.ports[component.name][port])


def _unknown(system: System, component: Component, name: str, known: list[str]) -> _BadTemplateError:
    owner, _, port = name.partition(".")
    place = system.components[owner].ports if owner in system.components else system.ears.get(owner, {})
    if port in place:
        return _BadTemplateError(
            "a template that can be filled",
            f'{{{name}}}, though there is no link "{component.name}->{owner}" to port {port}',
            "add it to [links]: parts dial links only",
        )
    known += [*RIG_VALUES, *system.secrets, *system.links, *(f"self.{own}" for own in component.ports)]
    known += [f"{link.target}.{link.port}" for link in system.links.values() if link.dialer == component.name]
    return _BadTemplateError("a known template", f"{{{name}}}", suggestion(name, known))


def _constants(system: System, component: Component) -> dict[str, str]:
    """Return what does not depend on the run."""
    profile, defects = system.profile, system.defects_of(component.name)
    return {
        **system.values,
        "self.name": component.name,
        "room.template": system.room_template,
        "timers.json": json.dumps(profile.timers_of.get(component.name, {})),
        **{f"timers.{name}": f"{seconds:g}" for name, seconds in profile.timers.items()},
        "defects": ",".join(defects),
        "defects.json": json.dumps(defects),
    }

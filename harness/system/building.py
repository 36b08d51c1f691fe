"""Makes a :class:`System` of a document that follows the schema; checks what no schema can say: names that must exist.

Every value's type is sure here (``schema.check`` came first).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.reference.defects import DEFECTS
from harness.settings import environment_secret
from harness.system.layers import READY_KINDS
from harness.system.mistakes import Keys, Problem, suggestion, title
from harness.system.templates import check_templates
from harness.system.values import SCHEMES, Component, Limits, Link, Profile, Ready, ReadyKind, System

PHONE = "phone"
Raw = Mapping[str, Any]
_KINDS: dict[str, ReadyKind] = {"http": "http", "tcp": "tcp", "grpc_health": "grpc_health", "log": "log"}
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def build(path: Path, raw: Raw, profile: str, sets: tuple[str, ...] = (), defects: tuple[str, ...] = ()) -> System:
    """Make the system of ``raw``.

    Raises:
        Problem: a name that does not exist, needs in a circle, a regex or template that is none.
        UsageError: an unknown profile or defect.
    """
    components = {name: _component(name, table) for name, table in raw["components"].items()}
    _check_needs(components)
    ears: dict[str, dict[str, int]] = {name: ear["ports"] for name, ear in raw.get("ears", {}).items()}
    judging = {key: _regexes(("judging", key), words) for key, words in raw.get("judging", {}).items()}
    system = System(
        name=path.stem, path=path, components=components, ears=ears, links=_links(raw["links"], components, ears),
        profile=_profile(raw["profiles"], profile, components), told=judging.get("told", ()),
        alarm=judging.get("alarm", ()), expected=judging.get("expected", ()),
        defects=_defects(defects, components, ears), sets=sets, room_template=raw.get("room_template", "{user}"),
        values=leaves(raw["values"]), secrets=_secrets(raw["secrets"]),
    )  # fmt: skip
    check_templates(system)
    return system


def _component(name: str, table: Raw) -> Component:
    keys = ("components", name)
    ports = {port: int(number) for port, number in table.get("ports", {}).items()}
    for port in table.get("udp", ()):
        if port not in ports:
            raise Problem((*keys, "udp"), f"udp of {name} to name its ports", repr(port), suggestion(port, ports))
    sockets = tuple(table.get("sockets", ()))
    for port in sockets:
        if port not in ports:
            seen, mend = repr(port), suggestion(port, ports)
            raise Problem((*keys, "sockets"), f"sockets of {name} to name its ports", seen, mend)
        if "image" in table or "external" in table:
            mend = "remove them: only a process or commands of this machine can be reached so"
            raise Problem((*keys, "sockets"), f"no unix sockets of {name}", "another runtime", mend)
    limits = table.get("limits", {})
    if limits and "image" not in table:
        mend = "remove them, or give it as an image"
        raise Problem((*keys, "limits"), f"limits of an image only, in {title(keys)}", "another runtime", mend)
    commands = {verb: _command(words) for verb, words in table.get("commands", {}).items()}
    return Component(
        name=name, needs=tuple(table.get("needs", ())), ports=ports, udp=tuple(table.get("udp", ())), sockets=sockets,
        env={key: str(value) for key, value in table.get("env", {}).items()},
        ready=_ready((*keys, "ready"), table["ready"], ports) if "ready" in table else None,
        process=_command(table["process"]) if "process" in table else None, image=table.get("image"),
        args=tuple(table.get("args", ())), mounts=dict(table.get("mounts", {})),
        limits=Limits(float(limits.get("memory_mb", 0)), float(limits.get("cpus", 0))),
        commands=commands if "commands" in table else None, supervised=table.get("supervised", False),
        external=table.get("external"), ours=table.get("ours", False), events=table.get("events", True),
    )  # fmt: skip


def _command(words: Sequence[str]) -> tuple[str, ...]:
    program = words[0]
    # A relative path means the directory the user stands in, whatever directory the program is started in.
    if "/" in program and not program.startswith(("/", "{")):
        program = str(Path.cwd() / program)
    return (program, *words[1:])


def _regexes(keys: Keys, patterns: Sequence[str]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as wrong:
            raise Problem(keys, f"a regex in {title(keys)}", f"{pattern!r} ({wrong})", "mend the value") from None
    return tuple(patterns)


def _ready(keys: Keys, table: Raw, ports: Mapping[str, int]) -> Ready:
    kind = next(_KINDS[kind] for kind in READY_KINDS if kind in table)
    target, within_s = table[kind], float(table.get("within_s", 20))
    if kind == "log":
        return Ready("log", pattern=_regexes((*keys, "log"), [target])[0], within_s=within_s)
    if target not in ports:
        raise Problem((*keys, kind), f"{title(keys)} to name a port", repr(target), suggestion(target, ports))
    path = table.get("service", "") if kind == "grpc_health" else table.get("path", "/")
    return Ready(kind, port=target, path=path, within_s=within_s)


def _check_needs(components: Mapping[str, Component]) -> None:
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            parts = chain[chain.index(name) :]
            last, *others = [("components", part, "needs") for part in reversed(parts)]
            circle = " -> ".join((*parts, name))
            raise Problem(last, "needs without a circle", circle, "remove one of them", also=tuple(others))
        if name in done:
            return
        for need in components[name].needs:
            if need not in components:
                keys = ("components", name, "needs")
                raise Problem(keys, f"{name} to need a component", repr(need), suggestion(need, components))
            visit(need, (*chain, name))
        done.add(name)

    for name in components:
        visit(name, ())


def _links(table: Raw, components: Mapping[str, Component], ears: Mapping[str, Mapping[str, int]]) -> dict[str, Link]:
    places = {name: component.ports for name, component in components.items()} | dict(ears)
    links: dict[str, Link] = {}
    for name, value in table.items():
        keys = ("links", name)
        entry = {"port": value} if isinstance(value, str) else value
        dialer, _, target = name.partition("->")
        for part, known in ((dialer, [PHONE, *places]), (target, [*places])):
            if part not in known:
                raise Problem(keys, f"link {name} to name parts of the system", repr(part), suggestion(part, known))
        port = entry["port"]
        if port not in places[target]:
            raise Problem(keys, f"link {name} to name a port of {target}", repr(port), suggestion(port, places[target]))
        links[name] = Link(name, dialer, target, port, entry.get("scheme", SCHEMES.get(port, "")))
    return links


def _profile(table: Raw, name: str, components: Mapping[str, Component]) -> Profile:
    profiles = {key: _one_profile(key, below, components) for key, below in table.items()}
    if name not in profiles:
        raise UsageError("the name of a profile", repr(name), suggestion(name, profiles))
    return profiles[name]


def _one_profile(name: str, table: Raw, components: Mapping[str, Component]) -> Profile:
    keys = ("profiles", name, "timers")
    merged: dict[str, float] = {}
    timers_of: dict[str, dict[str, float]] = {}
    for component, timers in table["timers"].items():
        if component not in components:
            raise Problem(
                (*keys, component), "timers of a component", repr(component), suggestion(component, components)
            )
        timers_of[component] = _seconds(timers)
        for timer in merged.keys() & timers_of[component].keys():
            wrong = (*keys, component, timer)
            raise Problem(wrong, "timers of different names", f"{timer!r} twice", "rename one of them")
        merged |= timers_of[component]
    return Profile(name, merged, _seconds(table[PHONE]), _seconds(table["budgets"]), timers_of)


def _seconds(table: Raw) -> dict[str, float]:
    return {name: float(value) for name, value in table.items()}


def leaves(table: Raw) -> dict[str, str]:
    """Return the texts of the table and of those below it, by dotted name."""
    found: dict[str, str] = {}
    for key, value in table.items():
        below = {f"{key}.{name}": text for name, text in leaves(value).items()} if isinstance(value, dict) else None
        found |= below if below is not None else {key: value}
    return found


def _secrets(table: Raw) -> dict[str, str]:
    return {name: _secret(name, text) for name, text in leaves(table).items()}


def _secret(name: str, text: str) -> str:
    """Return the secret that ``text`` says: itself, or what the environment has."""
    if not text.startswith("$"):
        return text
    if text.startswith("$$"):
        return text[1:]
    keys = ("secrets", *name.split("."))
    variable = _VARIABLE.fullmatch(text)
    if variable is None:
        mend = 'write "$$" for a dollar sign that is meant'
        raise Problem(keys, f'{name} in [secrets] to be "", a text, or "$NAME"', "another text with $ before it", mend)
    value = environment_secret(variable.group(1))
    if not value:
        mend = f"export {variable.group(1)}=..."
        raise Problem(keys, f"the environment variable {variable.group(1)} for {name}", "nothing", mend)
    return value


def _defects(
    words: Sequence[str], components: Mapping[str, Component], ears: Mapping[str, Mapping[str, int]]
) -> tuple[str, ...]:
    always_ours = {PHONE, *ears}
    found: list[str] = []
    for word in (piece.strip() for item in words for piece in item.split(",") if piece.strip()):
        full = word
        if ":" not in word:
            matches = [key for key, defect in DEFECTS.items() if defect.name == word]
            if len(matches) > 1:
                raise UsageError("one defect", f"--defect {word}", f"write one of {', '.join(matches)}")
            full = matches[0] if matches else word
        if full not in DEFECTS:
            raise UsageError("the name of a defect", f"--defect {word}", suggestion(full, DEFECTS))
        part = DEFECTS[full].part
        if part not in always_ours and not components[part].ours:
            raise UsageError(
                "--defect for a part of the reference system",
                f"--defect {word}, but {part} is not ours here",
                f"leave out what replaces {part}, or the defect",
            )
        if full not in found:
            found.append(full)
    return tuple(found)

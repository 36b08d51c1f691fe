"""Reads a system's TOML file, with the command line's words over it; every mistake is a sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import SystemFileError, UsageError
from harness.reference.defects import DEFECTS
from harness.settings import PROJECT_ROOT
from harness.system.overrides import READY_KINDS, apply_sets
from harness.system.tables import Problem, Table, compiles, line_of, suggestion
from harness.system.templates import check_templates
from harness.system.values import SCHEMES, Component, Limits, Link, Profile, Ready, ReadyKind, System

SYSTEMS_DIR = PROJECT_ROOT / "fixtures" / "systems"
COMMANDS = ("start", "stop", "kill", "restart", "pause", "resume", "logs", "pid")
_TOP = ("components", "ears", "links", "profiles", "judging", "room_template", "values", "secrets")
_COMPONENT = (
    "needs", "ports", "udp", "env", "ready", "process", "image", "args", "mounts", "limits", "commands", "supervised",
    "external", "ours", "events",
)  # fmt: skip
_KINDS: dict[str, ReadyKind] = {"http": "http", "tcp": "tcp", "grpc_health": "grpc_health", "log": "log"}
PHONE = "phone"


def known_systems() -> list[str]:
    """Return the names that ``load_system`` knows without a path."""
    return sorted(path.stem for path in SYSTEMS_DIR.glob("*.toml"))


def load_system(
    name_or_file: str, *, profile: str = "short", sets: Sequence[str] = (), defects: Sequence[str] = ()
) -> System:
    """Read a system by its name or its file's path.

    Raises:
        SystemFileError: the file cannot be used; names the line.
        UsageError: an unknown system, profile or defect, or a ``--set`` that cannot be used.
    """
    path = _find(name_or_file)
    source = _text_of(path)
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as wrong:
        raise SystemFileError("a TOML file", f"{path}: {wrong}", "mend that line") from None
    try:
        plain = _system(path, source, raw, profile)
    except Problem as wrong:
        where = f"{wrong.seen} ({path}, line {line_of(source, wrong.keys)})"
        raise SystemFileError(wrong.expected, where, wrong.mend) from None
    if not sets and not defects:
        return plain
    try:
        return _system(path, source, apply_sets(raw, sets), profile, tuple(sets), tuple(defects))
    except Problem as wrong:
        raise UsageError(wrong.expected, f"{wrong.seen} (by --set)", wrong.mend) from None


def _find(name_or_file: str) -> Path:
    if name_or_file in known_systems():
        return SYSTEMS_DIR / f"{name_or_file}.toml"
    path = Path(name_or_file)
    if path.is_file():
        return path.resolve()
    if path.suffix == ".toml" or "/" in name_or_file:
        seen = f"a directory at {name_or_file}" if path.is_dir() else f"no file {name_or_file}"
        raise UsageError("a system's TOML file", seen, "check the path")
    raise UsageError(
        "the name of a system or a TOML file", repr(name_or_file), suggestion(name_or_file, known_systems())
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise SystemFileError("a TOML file in UTF-8", f"{path}: {wrong}", "check the file") from None


def _system(
    path: Path,
    source: str,
    raw: dict[str, Any],
    profile: str,
    sets: tuple[str, ...] = (),
    defects: tuple[str, ...] = (),
) -> System:
    top = Table(raw)
    top.only(_TOP)
    components = {name: _component(name, table) for name, table in top.table("components").tables().items()}
    if not components:
        raise Problem(("components",), "at least one [components.NAME]", "none", "describe the parts of the system")
    _check_needs(components)
    ears = {name: _ear(table) for name, table in top.table("ears").tables().items()}
    judging = top.table("judging")
    judging.only(("told", "alarm", "expected"))
    room_template = top.text("room_template", "{user}")
    if "{user}" not in room_template:
        raise top.wrong("room_template", "a text with {user} in it")
    system = System(
        name=path.stem, path=path, components=components, ears=ears, links=_links(top.table("links"), components, ears),
        profile=_profile(top.table("profiles"), profile, components), told=judging.regexes("told"),
        alarm=judging.regexes("alarm"), expected=judging.regexes("expected"),
        defects=_defects(defects, components, ears), sets=sets, room_template=room_template,
        values=top.table("values").leaves(), secrets=top.table("secrets").leaves(), source=source,
    )  # fmt: skip
    check_templates(system)
    return system


def _component(name: str, table: Table) -> Component:
    table.only(_COMPONENT)
    ports = table.table("ports").ports()
    for port in table.texts("udp"):
        if port not in ports:
            raise Problem((*table.keys, "udp"), f"udp of {name} to name its ports", repr(port), suggestion(port, ports))
    process = _command(table, "process") if "process" in table else None
    image = table.text("image") if "image" in table else None
    needs_start = "external" not in table
    commands = _commands(table.table("commands"), needs_start=needs_start) if "commands" in table else None
    external = table.text("external") if "external" in table else None
    ways = sum(way is not None for way in (process, image, commands if external is None else external))
    if ways != 1:
        seen = "none of them" if ways == 0 else "more than one"
        expected = f"one of process, image, commands and external in {table.title}"
        raise Problem(table.keys, expected, seen, "keep exactly one (external may have commands beside it)")
    return Component(
        name=name, needs=table.texts("needs"), ports=ports, udp=table.texts("udp"), env=_env(table.table("env")),
        ready=_ready(table.table("ready"), ports) if "ready" in table else None, process=process, image=image,
        args=table.texts("args"), mounts=_env(table.table("mounts")), limits=_limits(table.table("limits")),
        commands=commands, supervised=table.flag("supervised", default=False), external=external,
        ours=table.flag("ours", default=False), events=table.flag("events", default=True),
    )  # fmt: skip


def _command(table: Table, key: str) -> tuple[str, ...]:
    words = table.texts(key)
    if not words:
        raise table.wrong(key, 'a program and its arguments, like ["./bridge", "--port", "{self.grpc}"]')
    program = words[0]
    # A relative path means the directory the user stands in, whatever directory the program is started in.
    if "/" in program and not program.startswith(("/", "{")):
        program = str(Path.cwd() / program)
    return (program, *words[1:])


def _limits(table: Table) -> Limits:
    table.only(("memory_mb", "cpus"))
    return Limits(table.number("memory_mb"), table.number("cpus"))


def _commands(table: Table, *, needs_start: bool) -> dict[str, tuple[str, ...]]:
    table.only(COMMANDS)
    if needs_start and "start" not in table:
        raise Problem(table.keys, f"start in {table.title}", f"{sorted(table.raw)}", "say how it is started")
    return {verb: _command(table, verb) for verb in table.raw}


def _env(table: Table) -> dict[str, str]:
    for key, value in table.raw.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise table.wrong(key, "a text or a number")
    return {key: str(value) for key, value in table.raw.items()}


def _ready(table: Table, ports: dict[str, int]) -> Ready:
    table.only((*READY_KINDS, "path", "service", "within_s"))
    kinds = [kind for kind in READY_KINDS if kind in table]
    if len(kinds) != 1:
        raise Problem(
            table.keys, f"one of {', '.join(READY_KINDS)} in {table.title}", f"{sorted(table.raw)}", "keep exactly one"
        )
    kind, target, within_s = _KINDS[kinds[0]], table.text(kinds[0]), table.number("within_s", 20.0)
    if kind == "log":
        if not compiles(target):
            raise table.wrong("log", "a regex")
        return Ready("log", pattern=target, within_s=within_s)
    if target not in ports:
        raise Problem((*table.keys, kind), f"{table.title} to name a port", repr(target), suggestion(target, ports))
    path = table.text("service") if kind == "grpc_health" else table.text("path", "/")
    return Ready(kind, port=target, path=path, within_s=within_s)


def _ear(table: Table) -> dict[str, int]:
    table.only(("ports",))
    return table.table("ports").ports()


def _check_needs(components: dict[str, Component]) -> None:
    done: set[str] = set()

    def visit(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            circle = " -> ".join((*chain[chain.index(name) :], name))
            raise Problem(("components", chain[-1], "needs"), "needs without a circle", circle, "remove one of them")
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


def _links(table: Table, components: dict[str, Component], ears: dict[str, dict[str, int]]) -> dict[str, Link]:
    places = {name: component.ports for name, component in components.items()} | ears
    links: dict[str, Link] = {}
    for name, value in table.raw.items():
        keys = (*table.keys, name)
        entry = Table({"port": value} if isinstance(value, str) else table.table(name).raw, keys)
        entry.only(("port", "scheme"))
        dialer, arrow, target = name.partition("->")
        if not arrow:
            raise Problem(keys, 'a link to be called "dialer->target"', repr(name), 'write for example "cloud->bridge"')
        for part, known in ((dialer, [PHONE, *places]), (target, [*places])):
            if part not in known:
                raise Problem(keys, f"link {name} to name parts of the system", repr(part), suggestion(part, known))
        port = entry.text("port")
        if port not in places[target]:
            raise Problem(keys, f"link {name} to name a port of {target}", repr(port), suggestion(port, places[target]))
        links[name] = Link(name, dialer, target, port, entry.text("scheme", SCHEMES.get(port, "")))
    return links


def _profile(table: Table, name: str, components: dict[str, Component]) -> Profile:
    profiles = {key: _one_profile(key, below, components) for key, below in table.tables().items()}
    if name not in profiles:
        raise UsageError("the name of a profile", repr(name), suggestion(name, profiles))
    return profiles[name]


def _one_profile(name: str, table: Table, components: dict[str, Component]) -> Profile:
    table.only(("timers", PHONE, "budgets"))
    merged: dict[str, float] = {}
    timers_of: dict[str, dict[str, float]] = {}
    for component, timers in table.table("timers").tables().items():
        if component not in components:
            raise Problem(timers.keys, "timers of a component", repr(component), suggestion(component, components))
        timers_of[component] = timers.numbers()
        for timer in merged.keys() & timers_of[component].keys():
            raise Problem((*timers.keys, timer), "timers of different names", f"{timer!r} twice", "rename one of them")
        merged |= timers_of[component]
    return Profile(name, merged, table.table(PHONE).numbers(), table.table("budgets").numbers(), timers_of)


def _defects(
    words: Sequence[str], components: dict[str, Component], ears: dict[str, dict[str, int]]
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
        if part not in always_ours and not (part in components and components[part].ours):
            raise UsageError(
                "--defect for a part of the reference system",
                f"--defect {word}, but {part} is not ours here" if part in components else f"no {part} in this system",
                f"leave out what replaces {part}, or the defect",
            )
        if full not in found:
            found.append(full)
    return tuple(found)

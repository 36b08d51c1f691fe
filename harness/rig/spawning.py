"""Starts one component of a stack, (again) and by whatever runtime it has, and waits until it is ready."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from harness import events as ev
from harness import livekit_server
from harness.addresses import probe_port
from harness.clock import now_ns, seconds_between
from harness.rig.tested import facts_of
from harness.rooms import check_keys
from harness.runtimes import Running, process
from harness.runtimes.commands import Commands, Surroundings
from harness.runtimes.readiness import ready
from harness.system import Component, Places, Resolved, resolve, uses

if TYPE_CHECKING:
    from harness.rig.stack import Stack

ANY_ADDRESS = "0.0.0.0"
"""Where parts listen inside their containers."""


async def start_component(stack: Stack, name: str) -> str:
    """Start one component (again) and wait until it is ready; return its proof.

    Raises:
        MachineError: a binary or port is missing, or a LiveKit that runs already takes not our key and secret.
        StartFailed: it did not get ready.
    """
    component = stack.system.components[name]
    began = now_ns()
    resolved, facts = await _resolved(stack, component)
    again = name in stack.live
    running = await _spawn(stack, component, resolved)
    stack.live[name] = running
    stack.recorder.emit(ev.ComponentStarted(component=name, identity=running.identity))
    if not again:
        facts |= await asyncio.to_thread(facts_of, component, resolved, stack.system)
        facts |= running.facts if component.runtime in {"container", "commands", "external"} else {}
        stack.recorder.emit(ev.Tested(component=name, runtime=component.runtime, facts=facts))
    await ready(component, stack.addresses(name), running)
    if name == "livekit" and component.runtime == "external" and not again:
        host, port = stack.address(name, "signal")
        await check_keys(f"{host}:{port}", stack.keys)
    took_s = round(seconds_between(began, now_ns()), 3)
    stack.recorder.emit(ev.ComponentReady(component=name, took_s=took_s))
    return f"{name} runs as {running.identity}, ready after {took_s:.2f} s"


async def _resolved(stack: Stack, component: Component) -> tuple[Resolved, dict[str, str]]:
    """Fill the component's templates; also return what is known of a LiveKit server found for it."""
    values = {**stack.secrets, "python": sys.executable, "run.id": stack.run, "run.dir": str(stack.run_dir)}
    values["scratch.dir"] = str(stack.scratch)
    facts: dict[str, str] = {}
    if component.runtime != "external" and uses(component, "livekit.config"):
        values["livekit.config"] = str(stack.livekit_config())
    if component.runtime in {"process", "commands"} and uses(component, "livekit.server"):
        server = await livekit_server.find_or_build(stack.livekit_path, stack.say)
        values["livekit.server"] = str(server.path)
        facts = {"version": server.version, "sha256": server.sha256}
    parts = stack.system.components
    hosts = dict.fromkeys(stack.system.components, stack.host) | dict.fromkeys(stack.in_containers, ANY_ADDRESS)
    hosts |= {name: part.external for name, part in parts.items() if part.external is not None}
    sockets = {name: {port: stack.address(name, port)[0] for port in part.sockets} for name, part in parts.items()}
    return resolve(stack.system, component, Places(stack.fronts, hosts, stack.ports, values, sockets)), facts


async def _spawn(stack: Stack, component: Component, resolved: Resolved) -> Running:
    if component.runtime == "container":
        assert stack.containers is not None, "not started"
        return await stack.containers.start(component, resolved, alarm=_alarm(stack, component), on_exit=stack.exited)
    if component.runtime in {"commands", "external"}:
        return await _command(stack, component, resolved)
    _probe_ports(stack, component)
    return await process.start(
        component, resolved, run=stack.run, run_dir=stack.run_dir, recorder=stack.recorder,
        alarm=_alarm(stack, component), on_exit=stack.exited,
    )  # fmt: skip


async def _command(stack: Stack, component: Component, resolved: Resolved) -> Running:
    commands = stack.commands.get(component.name)
    if commands is None:
        around = Surroundings(
            stack.run, stack.run_dir, stack.recorder, alarm=_alarm(stack, component), janitor=stack.janitor,
            on_exit=stack.exited,
        )  # fmt: skip
        commands = stack.commands[component.name] = Commands(component, around)
        if component.runtime == "commands":
            _probe_ports(stack, component)
    return await commands.start(resolved, stack.addresses(component.name))


def _alarm(stack: Stack, component: Component) -> tuple[str, ...]:
    return () if component.hidden_log else tuple(stack.system.alarm)


def _probe_ports(stack: Stack, component: Component) -> None:
    # Only our own parts are sure to listen at the run's address; others may bind every address, or another one.
    host = stack.host if component.ours else "0.0.0.0"
    for port in component.ports:
        if port not in component.sockets:
            probe_port(host, stack.ports[component.name][port], "udp" if port in component.udp else "tcp")

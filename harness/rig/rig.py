"""One scenario's rig: an async context manager that starts everything, tells the story's verbs, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from harness import events as ev
from harness import report
from harness.checkers import Judgement
from harness.clock import now_ns, seconds_between
from harness.control import Puppet
from harness.errors import (
    DiedUnexpectedly,
    FaultError,
    GuaranteeBroken,
    HarnessError,
    Inconclusive,
    MachineError,
    NotReached,
)
from harness.events import CheckSpec
from harness.faults import Fault
from harness.history import Recorder
from harness.janitor import Janitor
from harness.rig import arriving, reads
from harness.rig.anchors import anchored
from harness.rig.budgets import Budgets
from harness.rig.hygiene import Baseline
from harness.rig.injector import Injector
from harness.rig.live import Flow, Live
from harness.rig.options import RigOptions
from harness.rig.pacing import steady_since
from harness.rig.people import Person
from harness.rig.phones import PhoneBooth
from harness.rig.reach import Reach
from harness.rig.run_dir import RunDir, prune
from harness.rig.sampling import END, STEADY, take_samples
from harness.rig.scene import RigScene
from harness.rig.settings_file import run_started, without_logs, write_settings
from harness.rig.stack import Stack
from harness.rig.standing import Hold, Standing
from harness.rig.triggering import held
from harness.rig.watching import watch_our_own, watching, why_it_ended
from harness.run_lease import RunLease
from harness.settings import settings
from harness.story import ScenarioInfo
from harness.system import System, load_system
from harness.waiting import pause, until

T = TypeVar("T")
UNTOLD_S = 2.5
"""Speech begins up to an utterance (1.4 s) after the anchor, and Honest allows the Resumes budget of it untold: after a
missed recovery the people talk on for this long, so that a stretch longer than the budget can be seen."""


class Rig:
    """Everything started for one scenario."""

    def __init__(self, options: RigOptions, info: ScenarioInfo, variant: str | None = None) -> None:
        """Describe the rig; entering it starts everything.

        Raises:
            SettingsError: the system, a ``--set`` or a defect is wrong.
        """
        self.options, self.info = options, info
        self.scenario = info.full_id(variant)
        self.system: System = load_system(
            options.system, profile=options.profile, sets=options.sets, defects=options.defects
        )
        cloud = self.system.components.get("cloud")
        if options.profile == "short" and cloud is not None and not cloud.ours:
            # Somebody else's cloud has the contract's timers, which cannot be shortened: the stories wait accordingly.
            self.system = load_system(options.system, profile="real-timers", sets=options.sets, defects=options.defects)
        if options.no_logs:
            self.system = without_logs(self.system)
        self.budget = Budgets.of(self.system.profile)
        self.people: dict[str, Person] = {}
        self.checked = False
        self.closed = False
        self.kept = False
        """Whether the stack stays up after the story, until :meth:`release`."""
        self.left: list[str] = []  # or went wrong at teardown; in words
        self._steady_declared = False
        self._limit: asyncio.Timeout | None = None

    # -- lifetime ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._open()
        try:
            await self._start()
        except BaseException as error:
            await self._close(error)
            raise
        return self

    def _open(self) -> None:
        self._dir = RunDir.create(self.options.runs, self.scenario)
        self.run_dir, self.run = self._dir.path, self._dir.run
        self.options.tell("start", self.run_dir)
        self.recorder = Recorder(self.run_dir, self.run, "rig")
        self.epoch_ns = now_ns()
        self.recorder.emit(run_started(self.options, self.info, self.scenario, self.system, self.epoch_ns))
        write_settings(self.run_dir, self.options, self.system)
        self._began_ns = now_ns()
        self.live = Live(self.run_dir, self.epoch_ns)
        self.stack = Stack(
            self.system, self.run, self.run_dir, self.recorder, self.options.livekit_server, self._say,
            recorder_epoch_ns=self.epoch_ns,
        )  # fmt: skip
        self._injector = Injector(self.recorder)
        self.stack.links.seed = self.options.seed
        self._exit, self._story, self._baseline = AsyncExitStack(), AsyncExitStack(), Baseline.take(self.stack)

    async def stand(self) -> Standing:
        """Start everything but phones and keep it up without a story, until :meth:`release`; nothing is judged.

        Raises:
            HarnessError: it cannot start; nothing is left then.
        """
        self._open()
        try:
            await self._start_stack()
            self._keep()
        except BaseException as error:
            await self._close(error)
            raise
        return self.standing

    async def _start(self) -> None:
        await self._start_stack(phones_follow=True)
        along = self.live.follow(), watch_our_own(self.recorder, self._puppets)
        watched = watching(self.recorder, self.stack, *along, limit_s=self.info.limit_s)
        self._limit = await self._story.enter_async_context(watched)
        self._story.push_async_callback(self._read_the_end)

    async def _start_stack(self, *, phones_follow: bool = False) -> None:
        self._catch_sigterm()
        told = Reach.of
        self.booth = PhoneBooth(
            self.run, self.run_dir, lambda p: told(self.stack).configuration(p), self.options.engine
        )
        self.stack.janitor = self._janitor = Janitor(self.run, self.run_dir)
        await self._janitor.start()
        self._exit.push_async_callback(self._janitor.stop)  # for want of a lease; else done by then
        self._lease = RunLease.take(self.run, self.run_dir)  # the janitor drops it, should we be killed
        self._exit.callback(self._lease.give_back)
        self._exit.push_async_callback(self._stop_janitor)
        if self.stack.in_containers:
            self._janitor.register_containers(self.stack.in_containers)
        self._exit.push_async_callback(self.stack.stop)
        self._exit.push_async_callback(self.booth.close)
        if phones_follow:
            self.booth.warm_up()
        await self.stack.start()

    async def _stop_janitor(self) -> None:
        """Say bye to the janitor, or, when the teardown left something or nobody knows, leave that to it."""
        left: list[str] | None = None
        try:
            self.left += (left := await asyncio.to_thread(self._baseline.left, self.stack, self._parts()))
            for what in left:
                self.recorder.emit(ev.Leftover(what=what))
        finally:
            if left != []:
                self._lease.leave()  # before the sweep: should we be ended meanwhile, it still is the janitor's to drop
            await self._janitor.stop(sweep=left != [])

    def _parts(self) -> tuple[str, ...]:
        return (*self.system.components, *(puppet.proc for puppet in self._puppets()))

    def _puppets(self) -> tuple[Puppet, ...]:
        return (self.stack.ears, self.stack.links.puppet, *self.booth.all)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        """Tear everything down, check hygiene, record how it ended; write the report when the story raised."""
        if error is not None and not isinstance(error, Inconclusive):
            system_died = FaultError | NotReached | DiedUnexpectedly
            machine = isinstance(error, HarnessError) and not isinstance(error, system_died)
            said = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            if self._limit is not None and self._limit.expired():
                said, machine = why_it_ended(self.run_dir, self.info.limit_s)
            self.recorder.emit(ev.StoryRaised(error=said, machine=machine))
        problem = await self._taken_down(self._story)
        if self.options.keep and problem is None and (error is None or isinstance(error, Inconclusive)):
            try:
                self._keep()
            except MachineError as refused:
                self._say(f"the stack is not kept: {refused}")
        if not self.kept:
            problem = await self._taken_down(self._exit) or problem
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        self.recorder.emit(ev.RunEnded(took_s=round(seconds_between(self._began_ns, now_ns()), 3)))
        self.closed = True
        if error is not None or problem is not None:
            self.checked = True
            await asyncio.to_thread(self._judge)
            self._finish()
        if problem is not None and error is None:
            raise problem

    async def _taken_down(self, steps: AsyncExitStack) -> BaseException | None:
        try:
            await steps.aclose()
        except BaseException as raised:  # noqa: BLE001  recorded first; whoever asked raises it again
            said = str(raised) if isinstance(raised, HarnessError) else f"{type(raised).__name__}: {raised}"
            machine = isinstance(raised, MachineError)
            if self._limit is not None and self._limit.expired():
                said, machine = why_it_ended(self.run_dir, self.info.limit_s)
            self.recorder.emit(ev.StoryRaised(error=f"teardown: {said}", machine=machine))
            self.left.append(f"the teardown raised {type(raised).__name__}: {raised}")
            return raised
        return None

    def _judge(self) -> Judgement:
        if self.kept:
            self.recorder.emit(ev.Kept())
        return report.write(self.run_dir)

    def _finish(self) -> None:
        if not self.kept:
            self.recorder.close()
            self._dir.close()
        self.options.tell("end", self.run_dir)
        prune(self.options.runs, settings().keep_runs)

    # -- after the story, or without one -----------------------------------------------------------------------------

    def _keep(self) -> None:
        """Leave the stack up from now on; only a signal's end (:meth:`hold`) or the harness's own ends it."""
        self._hold = Hold.of(self.stack, self._lease, self.recorder, self._puppets)
        self.kept = True

    @property
    def standing(self) -> Standing:
        """All addresses of what is up, and a command for a phone."""
        return Standing.of(self.stack, self.people)

    async def hold(self, tell: Callable[[str], None]) -> None:
        """Wait until SIGINT or SIGTERM; ``tell`` gets a line for each part that ends by itself meanwhile."""
        self.options.tell("standing", json.dumps(self.standing.facts()))
        await self._hold.wait(tell)

    async def release(self) -> None:
        """End what was kept; what then is left or went wrong is in ``left``."""
        assert self.kept, "nothing was kept"
        await self._taken_down(self._exit)
        self._hold.close()
        if not self.closed:
            self.recorder.emit(ev.RunEnded(took_s=round(seconds_between(self._began_ns, now_ns()), 3)))
            self.closed = True
        self.recorder.close()
        self._dir.close()
        self.kept = False

    def _catch_sigterm(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def _say(self, text: str) -> None:
        self.recorder.emit(ev.Note(text=text))
        print(text, file=sys.stderr, flush=True)

    # -- people ------------------------------------------------------------------------------------------------------

    async def phone(self, name: str, *, user: str | None = None, **behaviour: Any) -> Person:
        """Give a person glasses and a phone, and open the app; ``behaviour`` are :class:`PhoneSettings` fields.

        ``user``: whose account it is, when this is another phone of somebody who has one.
        """
        behaves = arriving.settings_of(self, behaviour)
        person = Person(name, f"{user or name}@example.com", self.booth, self.live, behaves)
        await arriving.arrive(self, person)
        return person

    async def phones(self, number: int, **behaviour: Any) -> arriving.Crowd:
        """Give so many people phones that share one process, and open the apps; for load, not for force quits."""
        return await arriving.gather(self, number, behaviour)

    # -- the story's verbs -------------------------------------------------------------------------------------------

    def step(self, text: str) -> None:
        """Note a step of the story."""
        self.recorder.emit(ev.Step(text=text))

    async def steady(self, *flows: Flow, for_s: float | None = None) -> None:
        """Wait until these captions have flowed for ``for_s`` (default: the profile's steady window).

        Raises:
            Inconclusive: they never did (in a baseline the story goes on, and the checkers say BROKEN).
        """
        window_s = self.budget.steady_s if for_s is None else for_s
        self._steady_declared = True
        try:
            since_ns = await steady_since(self.live, flows, window_s)
        except NotReached as error:
            flowed = any(self.live.finals(flow.speaker) for flow in flows)
            self.recorder.emit(ev.SteadyFailed(reason=str(error), flowed=flowed))
            if not self.info.baseline:
                raise Inconclusive(f"not steady before the fault: {error}") from error
        else:
            self.recorder.emit(ev.SteadyReached(for_s=window_s, since_ns=since_ns))
            await take_samples(self.stack, self.people.values(), STEADY)

    async def strike(self, fault: Fault) -> None:
        """Inject a fault; when it has a heal, heal it at once.

        Raises:
            FaultNotSupported: it cannot be used here (a skip).
            Inconclusive: it did not land, or was not healed.
        """
        number = await self._injector.inject(fault, self.scene)
        if fault.heals:
            await self._injector.heal(number, fault, self.scene)

    def fault(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """Hold a fault for the length of the block; it is healed even when the block fails.

        A trigger (:class:`When`) is armed for the block, and its fault is struck when the moment comes.
        """
        return held(fault, self._injector, self.scene)

    async def wait(self, seconds: float, why: str) -> None:
        """Let time pass because the story says so."""
        self.recorder.emit(ev.DeclaredWait(seconds=seconds, why=why))
        await pause(seconds, why=why)

    def scaled(self, seconds: float) -> float:
        """Turn a time told in production seconds (of the 60 s grace) into this profile's."""
        return seconds * self.system.profile.timers["grace_s"] / 60.0

    async def recovered(
        self, flow: Flow, *, within_s: float, anchor: str = "socket open", watch_on: bool = True
    ) -> bool:
        """Wait for captions of words spoken after the anchor, or for the limit; judge nothing; tell whether they came.

        Once they flow, watch on for a steady window: what comes back must not die again.

        ``anchor`` is one of :func:`harness.rig.anchors.anchored`.
        """
        person = self.people[flow.person]
        patience_s = within_s + 2 * self.budget.retry_s
        try:
            anchor, moment_ns = await anchored(anchor, person, self._injector, patience_s)
            self.recorder.emit(ev.Anchor(person=flow.person, name=anchor, moment_ns=moment_ns))
            left_s = within_s - seconds_between(moment_ns, now_ns())
            await until(lambda: flow.heard_after(self.live, moment_ns), what="a caption", within_s=max(0.1, left_s))
            again = await until(lambda: flow.flows_after(self.live, moment_ns), what="an utterance's end", within_s=5)
        except NotReached as error:
            self.recorder.emit(ev.RecoveryMissed(reason=str(error)))
            await self.wait(UNTOLD_S, "talking on, so that it can be told whether anybody was told")
            return False
        steady_ns = self.live.gapless_from(flow.speaker, again)
        self.recorder.emit(ev.SteadyAgain(person=flow.person, moment_ns=steady_ns))
        if watch_on:
            await self.wait(self.budget.steady_s, "watching on: what came back must not die again")
        return True

    @property
    def scene(self) -> RigScene:
        """What faults may touch."""
        return RigScene(self.stack, self.people, self.recorder, self.wait)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _read_the_end(self) -> None:
        await reads.the_end(self.stack, self.live, self.people.values(), self.budget.drain_s)
        await take_samples(self.stack, self.people.values(), END)

    def check(self, *checks: CheckSpec) -> None:
        """Judge the complete history by these guarantees, after the rig is closed.

        Raises:
            GuaranteeBroken: one does not hold.
            Inconclusive: we cannot tell.
        """
        assert self.closed, "check after the `async with` block: only a complete history is judged"
        self.checked = True
        self.recorder.emit(ev.Declared(checks=checks, steady=self._steady_declared, checklist=self.info.checklist))
        judgement = self._judge()
        self._finish()
        if judgement.outcome == "BROKEN":
            raise GuaranteeBroken(report.text(judgement), str(report.known_breakage(judgement) or ""))
        if judgement.outcome != "HOLDS":
            raise Inconclusive(report.text(judgement))
        print(report.text(judgement))

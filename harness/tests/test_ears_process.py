"""The ears process answers its verbs, and its mistakes are sentences."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.control import ControlError, Puppet
from harness.ears.__main__ import Ears
from harness.ears.stt import IDLE_S
from harness.history import Recorder


@pytest.mark.parametrize(("given", "idle_s"), [({}, IDLE_S), ({"idle_s": 3}, 3.0)])
async def test_how_long_the_stt_waits_can_be_told(given, idle_s, tmp_path):
    child: Any = SimpleNamespace(recorder=Recorder(tmp_path, "r1", "ears"))
    ears = Ears(child)
    await ears.verb_stt({"host": "127.0.0.1", "port": 0} | given)
    assert ears.stt is not None
    assert ears.stt.idle_s == idle_s
    await ears.close()
    child.recorder.close()


async def test_the_verbs_over_the_control_channel(tmp_path):
    ears = Puppet("harness.ears", run="r1", run_dir=tmp_path, proc="ears")
    await ears.start()
    try:
        assert (await ears.ask("stt", host="127.0.0.1", port=0, interim=True))["port"] > 0
        app = {"package": "p", "api_key": "long-api-key", "cloud_ws_url": "ws://127.0.0.1:9/app-ws"}
        assert (await ears.ask("app", host="127.0.0.1", port=0, **app))["port"] > 0  # type: ignore[arg-type]
        assert await ears.ask("stt_count") == {"open": 0, "total": 0, "refusing": False}
        assert await ears.ask("stt_drop", abort=True) == 0
        assert await ears.ask("app_drop", abort=True) == 0
        await ears.ask("unlisten", room="nobody")
        with pytest.raises(ControlError, match="one of app, app_crash, app_drop"):
            await ears.ask("sing")
        with pytest.raises(ControlError, match="open already"):
            await ears.ask("stt", host="127.0.0.1", port=0)
        with pytest.raises(ControlError, match=r"hidden listener in room 'r'.*last seen: .*refused"):
            await ears.ask("listen", room="r", url="ws://127.0.0.1:9", token="not-a-token", join_within_s=0.7)
        state = await ears.ask("state")
        assert state["rooms"] == {}
        assert state["app"] == {"acknowledged": [], "known": []}
    finally:
        await ears.stop()
    assert ears.process is not None
    assert ears.process.returncode == 0
    assert not [line for line in (tmp_path / "logs" / "ears.log").read_text().splitlines() if "Traceback" in line]

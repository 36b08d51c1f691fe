"""A process of ours answers over its pipe, says what went wrong, and ends when the parent is gone."""

import pytest

from harness.control import ControlError, Puppet
from harness.errors import StartFailed


@pytest.fixture
async def ears(tmp_path):
    puppet = Puppet("harness.ears", run="r", run_dir=tmp_path, proc="ears")
    await puppet.start()
    yield puppet
    await puppet.stop()


async def test_requests_are_answered_and_errors_come_back(ears):
    await ears.ask("configure", epoch_ns=1)
    with pytest.raises(ControlError, match="ears"):
        await ears.ask("no-such-verb")


async def test_a_child_that_is_gone_is_said_so(ears):
    assert ears.process is not None
    ears.process.kill()
    await ears.process.wait()
    with pytest.raises((ControlError, ConnectionError)):
        await ears.ask("configure", epoch_ns=1)


async def test_end_of_file_ends_the_child(ears):
    await ears.stop()
    assert ears.process.returncode == 0


async def test_silence_is_a_sentence(ears):
    with pytest.raises(StartFailed, match="no answer to 'configure' within 0 s"):
        await ears.ask("configure", within_s=0.0001, epoch_ns=1)

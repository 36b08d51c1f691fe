"""From when captions are owed: the moments that stories name, and the one that depends on what the cloud did."""

from typing import Any

import pytest

from harness import events as ev
from harness.clock import now_ns
from harness.errors import NotReached
from harness.rig.anchors import anchored


class MadeUpPerson:
    """Answers with the moment of each kind of event that its phone saw after a time, or says that none came."""

    def __init__(self, **seen):
        self.seen, self.asked = seen, []

    async def moment(self, kind, after_ns, *, within_s, type_=""):
        name = type_ or kind.__name__
        self.asked.append((name, after_ns, within_s))
        if name not in self.seen:
            raise NotReached(name, within_s, "it did not come")
        return self.seen[name]


class MadeUpFaults:
    landed_ns = 5

    def __init__(self):
        self.healed_ns = now_ns()


@pytest.mark.parametrize(
    ("anchor", "seen", "name", "moment"),
    [
        ("socket open", {"PhoneSocketOpen": 7}, "socket open", 7),
        ("ack", {"connection_ack": 8}, "ack", 8),
        ("heal", {}, "heal", None),
        ("back", {"PhoneSocketClosed": 6, "PhoneSocketOpen": 9}, "socket open", 9),
        ("back", {"PhoneSocketOpen": 9}, "heal", None),
    ],
)
async def test_the_moment_of_each_anchor(anchor, seen, name, moment):
    person: Any = MadeUpPerson(**seen)
    faults: Any = MadeUpFaults()
    expected = faults.healed_ns if moment is None else moment
    assert await anchored(anchor, person, faults, 3) == (name, expected)
    assert all(after_ns == 5 for _, after_ns, _ in person.asked)


async def test_a_socket_that_stays_closed_is_no_anchor():
    person: Any = MadeUpPerson(**{ev.PhoneSocketClosed.__name__: 6})
    faults: Any = MadeUpFaults()
    with pytest.raises(NotReached):
        await anchored("back", person, faults, 3)

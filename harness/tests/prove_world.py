"""Cases that the tests of proving share: the sound system, and one with a defect."""

from harness.prove.plan import Case

FIXED = Case("kill-cloud[vanish]", "HOLDS", 3)
DEFECT = Case(
    "kill-cloud[vanish]", "BROKEN", 2, ("bridge:refuse-existing-session",), ("Honest", "Resumes"),
    "zombie-first-connect",
)  # fmt: skip

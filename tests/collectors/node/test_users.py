"""Names of users on a node whose directory may be away."""

import os
import pwd
import threading
import time

from collectors.node._users import Users


def test_a_name_is_asked_for_once_and_a_stranger_is_a_number() -> None:
    asked: list[int] = []

    def ask(uid: int) -> str:
        asked.append(uid)
        return f"user{uid}"

    users = Users(ask)
    assert [users.name(7), users.name(7), users.name(8)] == ["user7", "user7", "user8"]
    assert asked == [7, 8]
    assert Users().name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert Users().name(2**31 - 5) == str(2**31 - 5)


def test_a_directory_that_hangs_costs_a_moment_and_no_round() -> None:
    """A node asks for the owner of each process on a device: its samples must not wait for LDAP."""
    release, asked = threading.Event(), []

    def hangs(uid: int) -> str:
        asked.append(uid)
        release.wait(600)
        return f"user{uid}"

    users, before = Users(hangs), threading.active_count()
    started = time.monotonic()
    try:
        for _ in range(50):
            assert [users.name(uid) for uid in range(20)] == [str(uid) for uid in range(20)]
        assert time.monotonic() - started < 60
        assert threading.active_count() <= before + 4
        assert len(asked) == 4
    finally:
        release.set()
    until = time.monotonic() + 60
    while users.name(0) != "user0":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert users.name(19) == "user19", "who was not asked for is asked for now"

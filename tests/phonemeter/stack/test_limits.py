"""Limits of the machine that are too small for the stack: raised where that is allowed, else one sentence."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from phonemeter.errors import UserError
from phonemeter.settings import Settings
from phonemeter.stack.limits import check_limits


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("ulimit -n 64", r"limit of open files is 64 and .* need 1,024: raise it with `ulimit -n 1024`"),
        ("ulimit -v 2000000", r"address space \(KiB\) is 2,000,000 and .* need 8,388,608: "),
        ("ulimit -f 1000", r"size of a file \(KiB\) is 1,000 and .* need 1,048,576: "),
    ],
)
def test_up_refuses_in_one_line_before_anything_starts(
    stack_settings: Settings, limit: str, told: str
) -> None:
    ran = subprocess.run(
        ["bash", "-c", f'{limit} && exec "{sys.executable}" -m phonemeter up'],
        env={**os.environ, **stack_settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert re.search(told, line)
    assert not (stack_settings.data_dir / "logs").exists()


def test_a_limit_that_may_be_raised_is_raised(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        check_limits(tmp_path)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_full_disk_is_refused_with_the_setting_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 << 20))
    with pytest.raises(UserError, match=r"has 3 MiB left and the stack needs 64 .* set PHONEMETER_DATA_DIR"):
        check_limits(tmp_path)

"""The page of examples/mini-program, run by Node with a pretended `wx`."""

import json
import subprocess
from typing import Any

import pytest

from tools.client.tree import ROOT
from tools.node_packages import NODE

PAGE = ROOT / "examples" / "mini-program" / "phone-button.js"
PRETENDED = """
const asked = []
const script = JSON.parse(process.argv[2])
globalThis.wx = {
  showToast() {},
  request({ url, method, data, success, fail }) {
    const path = url.replace(/^https:..example.com/, '').replace(/[?].*/, '')
    asked.push([method || 'GET', path, data || null])
    const status = (script.statuses[path] || [200]).shift() || 200
    const answer = { statusCode: status, data: { route: script.route } }
    setTimeout(() => status === 'lost' ? fail(new Error('lost')) : success(answer))
  }
}
globalThis.Page = (page) => {
  page.setData = (data) => Object.assign(page.data, data)
  page.onLoad({ store: 'store-03' })
  setTimeout(async () => {
    const shown = page.data.route
    const taps = script.taps.map((detail) => page.onPhoneNumber({ detail }))
    const busy = page.data.busy
    await Promise.all(taps)
    console.log(JSON.stringify({ asked, shown, busy, data: page.data }))
  }, 20)
}
require(process.argv[1])
"""

pytestmark = pytest.mark.stack


def run(
    *taps: dict[str, Any],
    route: str = "wechat",
    routes: tuple[int | str, ...] = (),
    exchanges: tuple[int | str, ...] = (),
) -> dict[str, Any]:
    """The requests of the page and what it showed; `routes` and `exchanges` are the statuses."""
    statuses = {"/phone-number": exchanges, "/phone-number/route": routes}
    given = json.dumps({"taps": taps, "route": route, "statuses": statuses})
    ran = subprocess.run(
        [str(NODE), "-e", PRETENDED, str(PAGE), given], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_double_tap_is_sent_once_and_the_button_is_disabled_meanwhile() -> None:
    found = run({"code": "code-1"}, {"code": "code-2"})
    assert found["busy"] is True
    assert found["data"]["busy"] is False
    assert [(path, data and data["code"]) for _, path, data in found["asked"]] == [
        ("/phone-number/route", None),
        ("/phone-number", "code-1"),
    ]


def test_a_lost_answer_is_asked_for_again_with_the_same_code_and_time() -> None:
    asked = run({"code": "code-1"}, exchanges=("lost", 503, 200))["asked"][1:]
    assert len(asked) == 3
    assert [data for _, _, data in asked] == [asked[0][2]] * 3


@pytest.mark.parametrize(("errno", "route"), [(103, "wechat"), (1_400_001, "sms")])
def test_a_tap_without_a_code_is_told_to_the_back_end(errno: int, route: str) -> None:
    found = run({"errno": errno})
    _, path, data = found["asked"][-1]
    assert (path, data["errno"], bool(data["tap"])) == ("/phone-number/outcome", errno, True)
    assert found["data"]["route"] == route


@pytest.mark.parametrize(("status", "shown"), [(200, "sms"), (503, "wechat"), ("lost", "wechat")])
def test_the_button_is_shown_as_the_route_says_and_where_it_is_not_known(
    status: int | str, shown: str
) -> None:
    assert run(route="sms", routes=(status,))["shown"] == shown

"""Entries of members about recipients of alerts: read strictly, and never an address of their own choice."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.console.languages import WORDINGS
from dashboards.console.recipients import (
    ROBOTS,
    RecipientKind,
    RecipientTarget,
    read_quiet_times,
    read_target,
    read_text,
)
from dashboards.console.setting_fields import FieldMistakeError

WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
DINGTALK = "https://oapi.dingtalk.com/robot/send?access_token=566cc69da782ec7bd5e1"
FEISHU = "https://open.feishu.cn/open-apis/bot/v2/hook/5a2c0b1e-1a2b-4c3d-9e8f-0a1b2c3d4e5f"
LARK = "https://open.larksuite.com/open-apis/bot/v2/hook/5a2c0b1e-1a2b-4c3d-9e8f-0a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("kind", "address", "secret", "target"),
    [
        ("email", " Li@Coffee.Example ", "", "li@coffee.example"),
        ("wecom", WECOM, "", "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"),
        ("dingtalk", DINGTALK, "SECabc123", "566cc69da782ec7bd5e1"),
        ("feishu", FEISHU, "", "5a2c0b1e-1a2b-4c3d-9e8f-0a1b2c3d4e5f"),
        ("lark", LARK, "abc", "5a2c0b1e-1a2b-4c3d-9e8f-0a1b2c3d4e5f"),
    ],
)
def test_the_address_that_a_robot_shows_is_kept_as_its_key(
    kind: RecipientKind, address: str, secret: str, target: str
) -> None:
    found = read_target(kind, address, secret)
    assert found == RecipientTarget(kind, target, secret)
    assert target not in repr(found)
    assert kind == "email" or found.shown == f"…{target[-4:]}"


@pytest.mark.parametrize(
    ("kind", "address", "secret"),
    [
        ("email", "li", ""),
        ("email", "13800138000@coffee.example", ""),
        ("email", "a@b.example,c@d.example", ""),
        ("email", "a@b.example?smtp=10.0.0.1", ""),
        ("wecom", "http://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx", ""),
        ("wecom", WECOM.replace("qyapi.weixin.qq.com", "10.0.0.1"), ""),
        ("wecom", WECOM.replace("https://", "https://qyapi.weixin.qq.com@10.0.0.1/"), ""),
        ("wecom", f"{WECOM}&x=1", ""),
        ("wecom", f"{WECOM}\n", ""),
        ("wecom", DINGTALK, ""),
        ("wecom", WECOM, "SECabc"),
        ("dingtalk", DINGTALK, "SEC@10.0.0.1/"),
        ("dingtalk", f"{DINGTALK}/13800138000", ""),
        ("feishu", LARK, ""),
        ("feishu", "https://example.com/hook", ""),
    ],
)
def test_nothing_else_is_a_target(kind: RecipientKind, address: str, secret: str) -> None:
    with pytest.raises(FieldMistakeError) as mistake:
        read_target(kind, address, secret)
    for wording in WORDINGS.values():
        assert address not in mistake.value.told(wording)


@given(st.sampled_from(sorted(ROBOTS)), st.data())
def test_an_address_that_passes_is_at_the_host_of_its_robot(kind: RecipientKind, data: st.DataObject) -> None:
    address = data.draw(st.from_regex(f".*{ROBOTS[kind].key}.*") | st.from_regex(ROBOTS[kind].pattern))
    try:
        found = read_target(kind, address, "")
    except FieldMistakeError:
        return
    assert f"{ROBOTS[kind].beginning}{found.target}" == address
    assert urlsplit(address).hostname == urlsplit(ROBOTS[kind].beginning).hostname
    assert re.fullmatch("[A-Za-z0-9-]+", found.target)


def test_a_text_has_a_name_and_one_kind_of_alert_at_least() -> None:
    told = read_text("老板", "zh", ["info", "urgent", "x"])
    assert (told.name, told.language, told.severities) == ("老板", "zh", ("urgent", "info"))
    for name, severities in (("", ["urgent"]), ("13800138000", ["urgent"]), ("x", []), ("x", ["none"])):
        with pytest.raises(FieldMistakeError):
            read_text(name, "zh", severities)


def test_quiet_hours_have_two_different_times_or_none() -> None:
    assert read_quiet_times("", "") is None
    assert read_quiet_times("22:00", "08:00") == ("22:00", "08:00")
    for begins, ends in (
        ("22:00", ""),
        ("", "08:00"),
        ("22:00", "22:00"),
        ("24:00", "08:00"),
        ("8:00", "9:00"),
    ):
        with pytest.raises(FieldMistakeError):
            read_quiet_times(begins, ends)

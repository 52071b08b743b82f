"""Exempt owners (rule 9), in the words of either language."""

import pytest

from metering.exemption import OWNER_TYPES, is_exempt
from metering.rules import Rules
from tests.metering.building import NO_TRIAL, at, play, purchased, registered, succeeded


@pytest.mark.parametrize(
    ("entity_type", "category"),
    [
        ("government", ""),
        ("Government", "anything"),
        ("政府", ""),
        ("政府机关", ""),
        ("non-profit", ""),
        ("non_profit", ""),
        ("nonprofit", ""),
        ("Non Profit", ""),
        ("非营利组织", ""),
        ("社会组织", ""),
        ("public medical institution", ""),
        ("public_medical_institution", ""),
        ("公立医疗机构", ""),
        ("public_institution", "政务民生"),
        ("Public Institution", " 政务民生 "),
        ("事业单位", "政务民生"),
        ("school", "学历教育"),
        ("School", "degree education"),
        ("学校", "学历教育"),
        ("school_with_degree_education", ""),
        ("学历教育学校", ""),
        ("public_institution", "公立医疗机构"),
        ("事业单位", "医疗服务-公立医疗机构"),
        ("enterprise", "公立医疗机构"),
        ("事业单位", "学历教育(学校)"),
        ("school", "学历教育（学校）"),
        ("企业", "教育服务/学历教育(学校)"),
        ("事业单位", "政务民生/民生服务"),
        ("事业单位", "政务民生-信用"),
        ("事业单位", "餐饮、政务民生"),
    ],
)
def test_these_are_exempt(entity_type: str, category: str) -> None:
    assert is_exempt(entity_type, category)


@pytest.mark.parametrize(
    ("entity_type", "category"),
    [
        ("", ""),
        ("company", ""),
        ("enterprise", "政务民生"),
        ("企业", "学历教育"),
        ("public_institution", ""),
        ("public_institution", "餐饮"),
        ("事业单位", "学历教育"),
        ("school", ""),
        ("school", "training"),
        ("学校", "政务民生"),
        ("private medical institution", ""),
        ("government-owned company", ""),
        ("enterprise", "政务民生/民生服务"),
        ("企业", "公立医疗机构服务商"),
    ],
)
def test_these_are_not(entity_type: str, category: str) -> None:
    assert not is_exempt(entity_type, category)


@pytest.mark.parametrize("entity_type", ["", "private medical institution", "goverment", "事业"])
def test_an_owner_type_that_is_not_known_is_refused_with_the_list_and_not_charged_silently(
    entity_type: str,
) -> None:
    played = play(registered(at(0), entity_type, "政务民生"), rules=NO_TRIAL)
    (letter,) = played.dead_letters
    assert letter.reason == "invalid_field"
    assert letter.sentence.startswith("data.entity_type: ")
    assert all(kind in letter.sentence for kind in OWNER_TYPES)
    assert "registration" not in played.kinds()


@pytest.mark.parametrize("entity_type", sorted({word for words in OWNER_TYPES.values() for word in words}))
def test_every_other_word_for_an_owner_type_is_accepted(entity_type: str) -> None:
    assert play(registered(at(0), entity_type), rules=NO_TRIAL).kinds() == ["registration"]


def test_an_exempt_apps_calls_are_counted_and_charged_nothing() -> None:
    played = play(
        registered(at(0), "事业单位", "政务民生"),
        purchased(at(0), "pack-1"),
        succeeded(at(1)),
        rules=NO_TRIAL,
    )
    (call,) = played.of("exempt")
    assert (call.calls, call.amount_micro_yuan, call.pack_id) == (1, 0, "")
    assert played.packs_charged() == []


def test_an_exempt_apps_trial_quota_is_left_alone() -> None:
    played = play(registered(at(0), "government"), succeeded(at(1)), rules=Rules(trial_calls=5))
    assert played.kinds() == ["trial_grant", "registration", "exempt"]


def test_an_app_is_exempt_from_its_registration_on_and_until_another_owner_registers() -> None:
    played = play(
        purchased(at(0), "pack-1"),
        succeeded(at(1)),
        registered(at(2), "school", "学历教育"),
        succeeded(at(3)),
        registered(at(4), "company"),
        succeeded(at(5)),
    )
    assert [entry.kind for entry in played.of("charge", "exempt")] == ["charge", "exempt", "charge"]
    assert [entry.reason for entry in played.of("registration")] == ["exempt", "charged"]


def test_before_billing_start_an_exempt_apps_calls_are_free_like_all_others() -> None:
    assert play(registered(at(-2), "government"), succeeded(at(-1))).kinds() == ["registration", "free"]

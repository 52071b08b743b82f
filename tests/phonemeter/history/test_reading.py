"""Files read into events: formats, columns, ids, and lines that are none."""

import gzip
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phonemeter.errors import UserError
from phonemeter.event_file import UnreadableError
from phonemeter.history.opening import ReadOptions
from phonemeter.history.staging import Period
from producers.codes import id_of
from producers.events import (
    account_opened,
    account_registered,
    pack_assigned,
    pack_assignment_cancelled,
    pack_purchased,
    pack_refunded,
)
from tests.phonemeter.history.reading import APP, csv_of, loaded

TIME = "2026-05-03T10:05:03+08:00"
CALL = {"appid": APP, "time": TIME, "code": "c1", "capability": "quick", "type": "succeeded", "store": "s1"}
WANTED = {
    "specversion": "1.0",
    "id": id_of(APP, "c1"),
    "source": "/import",
    "type": "phone.authorization.succeeded",
    "subject": APP,
    "time": "2026-05-03T02:05:03.000Z",
    "datacontenttype": "application/json",
    "data": {"capability": "quick", "store": "s1"},
}


def written(tmp_path: Path, name: str) -> Path:
    """The same call in each format."""
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([CALL]), path)
        return path
    text = (
        f"{json.dumps(CALL)}\n" if "jsonl" in name else f"{','.join(CALL)}\r\n{','.join(CALL.values())}\r\n"
    )
    data = text.encode("utf-8-sig" if "bom" in name else "utf-8")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


FORMATS = ["calls.csv", "bom.csv", "calls.csv.gz", "calls.jsonl", "calls.jsonl.gz", "calls.parquet", "a.txt"]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_same_event(tmp_path: Path, name: str) -> None:
    found = loaded(written(tmp_path, name))
    assert (found.events, found.refused) == ([WANTED], [])


def test_columns_are_found_by_names_in_english_and_chinese(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},2026/5/3 10:05:03,授权成功,手机号实时验证组件,门店-1,c1",
        header="小程序AppID,授权时间,授权结果,组件 类型,门店编号,Code",
    )
    (event,) = loaded(file, zone="Asia/Shanghai").events
    assert event["data"] == {"capability": "realtime", "store": "门店-1"}
    assert event["id"] == id_of(APP, "c1")


def test_a_column_that_is_given_comes_before_its_name(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},{TIME},c1,quick,succeeded,a,b",
        header="appid,time,code,capability,type,store,shop",
    )
    assert loaded(file).events[0]["data"]["store"] == "a"
    assert loaded(file, columns={"store": "shop"}).events[0]["data"]["store"] == "b"
    assert "store" not in loaded(file, columns={"store": ""}).events[0]["data"]


def test_what_is_set_holds_where_a_line_does_not_say_it(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", f"{TIME},c1,", f"{TIME},c2,realtime", header="time,code,capability")
    constants = {"appid": APP, "type": "succeeded", "capability": "quick", "env": "release", "source": "/crm"}
    found = loaded(file, constants=constants).events
    assert [event["data"]["capability"] for event in found] == ["quick", "realtime"]
    assert {(event["data"]["env"], event["source"]) for event in found} == {("release", "/crm")}


def test_words_of_a_file_have_the_meaning_that_is_given(tmp_path: Path) -> None:
    lines = [f"{APP},{TIME},c1,A,Y", f"{APP},{TIME},c2,B,N"]
    found = loaded(
        csv_of(tmp_path / "a.csv", *lines),
        words={"capability": {"A": "quick", "B": "realtime"}, "type": {"Y": "succeeded", "N": "denied"}},
    ).events
    assert [event["type"].rpartition(".")[2] for event in found] == ["succeeded", "denied"]
    assert [event["data"]["capability"] for event in found] == ["quick", "realtime"]


def test_facts_that_are_no_calls_have_the_ids_that_producers_give_them(tmp_path: Path) -> None:
    packs = csv_of(
        tmp_path / "packs.csv",
        f'{APP},P1,quick,"1,000",365,30,2026-05-01T00:00:00+08:00,o-1',
        header="appid,资源包编号,组件,次数,有效天数,金额(元),支付时间,订单号",
    )
    opened = csv_of(
        tmp_path / "opened.csv", f"{APP},120,2026-04-02T00:00:00+08:00", header="appid,trial_used,time"
    )
    refunds = csv_of(
        tmp_path / "refunds.csv", f"{APP},P1,2026-05-02T00:00:00+08:00", header="appid,pack_id,time"
    )
    owners = csv_of(
        tmp_path / "owners.csv",
        f"{APP},企业,会员中心,2026-04-01T00:00:00+08:00",
        header="appid,主体类型,名称,time",
    )
    shanghai = timezone(timedelta(hours=8))
    found = loaded(packs, refunds, owners, opened, constants={"type": "refunded"})
    assert found.refused == []
    wanted = [
        account_registered(
            appid=APP, entity_type="企业", name="会员中心", time=datetime(2026, 4, 1, tzinfo=shanghai)
        ),
        account_opened(appid=APP, trial_used=120, time=datetime(2026, 4, 2, tzinfo=shanghai)),
        pack_purchased(
            appid=APP,
            pack_id="P1",
            capability="quick",
            calls=1_000,
            validity_days=365,
            price_micro_yuan=30_000_000,
            paid_at=datetime(2026, 5, 1, tzinfo=shanghai),
            order_id="o-1",
        ),
        pack_refunded(appid=APP, pack_id="P1", time=datetime(2026, 5, 2, tzinfo=shanghai)),
    ]
    for event, one in zip(found.events, wanted, strict=True):
        assert event["id"] == one["id"]
        assert event["data"].items() <= one["data"].items()


def test_an_assignment_and_its_cancellation_have_the_ids_of_the_client(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "agency.csv",
        f"assigned,{APP},P1,quick,1000,365,26,2026-03-02 10:00:00,2026-01-01 10:00:00,,",
        f"assignment_cancelled,{APP},P1,,,,,,,platform,2026-03-05 10:00:00",
        header="type,appid,pack_id,capability,calls,days,price_yuan,分配时间,paid_at,refunded_by,time",
    )
    shanghai = timezone(timedelta(hours=8))
    found = loaded(file, zone="Asia/Shanghai")
    assert found.refused == []
    wanted = [
        pack_assigned(
            appid=APP,
            pack_id="P1",
            capability="quick",
            calls=1_000,
            validity_days=365,
            price_micro_yuan=26_000_000,
            paid_at=datetime(2026, 1, 1, 10, tzinfo=shanghai),
            assigned_at=datetime(2026, 3, 2, 10, tzinfo=shanghai),
        ),
        pack_assignment_cancelled(
            appid=APP, pack_id="P1", time=datetime(2026, 3, 5, 10, tzinfo=shanghai), by="platform"
        ),
    ]
    for event, one in zip(found.events, wanted, strict=True):
        assert (event["id"], event["type"]) == (one["id"], one["type"])
        assert event["data"].items() <= one["data"].items()


def test_a_line_with_a_time_of_assignment_is_an_assignment(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "agency.csv",
        f"{APP},P1,quick,1000,365,26,2026-03-02T10:00:00+08:00,",
        f"{APP},P2,quick,1000,365,26,,2026-03-02T10:00:00+08:00",
        header="appid,pack_id,capability,calls,days,price_yuan,assigned_at,paid_at",
    )
    found = loaded(file)
    assert sorted(event["type"] for event in found.events) == ["pack.assigned", "pack.purchased"]
    assert all(event["data"]["paid_at"] == event["time"] for event in found.events)


def test_a_pack_may_have_been_used_before(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},P1,quick,250,40,90,7.5,{TIME}",
        header="appid,pack_id,capability,calls,used_before,days,price_yuan,paid_at",
    )
    assert loaded(file).events[0]["data"]["used_before"] == 40


@pytest.mark.parametrize(
    ("column", "text", "micro"),
    [
        ("price_yuan", "7.5", 7_500_000),
        ("price_yuan", "¥28,000.00", 28_000_000_000),
        ("price_fen", "750", 7_500_000),
        ("price_micro_yuan", "7500000", 7_500_000),
    ],
)
def test_a_price_is_exact_in_each_unit(tmp_path: Path, column: str, text: str, micro: int) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f'{APP},P1,quick,250,90,"{text}",{TIME}',
        header=f"appid,pack_id,capability,calls,days,{column},paid_at",
    )
    assert loaded(file).events[0]["data"]["price_micro_yuan"] == micro


def test_a_price_that_is_not_exact_is_refused(tmp_path: Path) -> None:
    pack = {
        "appid": APP,
        "pack_id": "P1",
        "capability": "quick",
        "calls": 250,
        "validity_days": 90,
        "paid_at": TIME,
    }
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([pack | {"price_yuan": 7.5}]), file)
    assert "floating-point number is not exact" in loaded(file).sentences[0]
    lines = tmp_path / "a.jsonl"
    prices = ["7.5", '"1E+99999999"', "1E+9999999", '"0.0000001"', '"NaN"', '"viel"']
    lines.write_text("".join(json.dumps(pack)[:-1] + f', "price_yuan": {price}}}\n' for price in prices))
    found = loaded(lines)
    assert [event["data"]["price_micro_yuan"] for event in found.events] == [7_500_000]
    assert len(found.refused) == 5
    exact = tmp_path / "b.parquet"
    pq.write_table(pa.Table.from_pylist([pack | {"price_yuan": Decimal("7.50")}]), exact)
    assert loaded(exact).events[0]["data"]["price_micro_yuan"] == 7_500_000


def test_parquet_times_are_read_in_every_unit(tmp_path: Path) -> None:
    moment = datetime(2026, 5, 3, 10, 5, 3)  # noqa: DTZ001 - as Parquet has it
    for number, unit in enumerate(("s", "ms", "us", "ns")):
        table = pa.table(
            {
                "appid": [APP],
                "code": ["c1"],
                "capability": ["quick"],
                "type": ["succeeded"],
                "time": pa.array([moment], pa.timestamp(unit)),
            }
        )
        pq.write_table(table, tmp_path / f"{number}.parquet")
        (event,) = loaded(tmp_path / f"{number}.parquet", zone="Asia/Shanghai").events
        assert event["time"] == WANTED["time"]
        zoned = table.set_column(4, "time", table["time"].cast(pa.timestamp(unit, "Asia/Shanghai")))
        pq.write_table(zoned, tmp_path / f"z{number}.parquet")
        (event,) = loaded(tmp_path / f"z{number}.parquet").events
        assert event["time"] == "2026-05-03T10:05:03.000Z"


def test_values_within_objects_are_columns_with_both_names(tmp_path: Path) -> None:
    nested = {key: value for key, value in CALL.items() if key != "store"} | {"place": {"shop": "s9"}}
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps(nested))
    table = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([nested]), table)
    for file in (lines, table):
        (event,) = loaded(file, columns={"store": "place.shop"}).events
        assert event["data"]["store"] == "s9"


def test_events_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    marked = WANTED | {"beyondhorizon": "count", "traceparent": "x"}
    tick = {**WANTED, "type": "clock.ticked", "subject": "clock", "id": "t"}
    file.write_text(f"{json.dumps(WANTED | {'id': 'own'})}\n{json.dumps(marked)}\n{json.dumps(tick)}\n")
    found = loaded(file)
    assert [event["id"] for event in found.events] == ["own", WANTED["id"]]
    assert found.events[1] == WANTED | {"traceparent": "x"}
    assert found.reasons == ["unknown_type"]


def test_facts_are_in_order_of_time_and_of_one_moment_owners_and_packs_come_first(tmp_path: Path) -> None:
    calls = csv_of(
        tmp_path / "a.csv",
        f"{APP},2026-05-03T10:00:02+08:00,c2,quick,succeeded",
        f"{APP},2026-05-03T10:00:01+08:00,c1,quick,succeeded",
    )
    packs = csv_of(
        tmp_path / "b.csv",
        f"{APP},P1,quick,250,90,7.5,2026-05-03T10:00:01+08:00",
        header="appid,pack_id,capability,calls,days,price_yuan,paid_at",
    )
    owners = csv_of(
        tmp_path / "c.csv", f"{APP},企业,2026-05-03T10:00:01+08:00", header="appid,entity_type,time"
    )
    found = loaded(calls, packs, owners).events
    assert [event["type"] for event in found] == [
        "account.registered",
        "pack.purchased",
        "phone.authorization.succeeded",
        "phone.authorization.succeeded",
    ]
    assert found[3]["id"] == id_of(APP, "c2")


def test_an_outcome_follows_from_the_error_number_where_nothing_else_says_it(tmp_path: Path) -> None:
    lines = [f"{APP},{TIME},c{number},quick,{errno}" for number, errno in enumerate(("0", "103", "1400001"))]
    found = loaded(csv_of(tmp_path / "a.csv", *lines, header="appid,time,code,capability,errno")).events
    assert [(event["type"].rpartition(".")[2], event["data"].get("errno")) for event in found] == [
        ("succeeded", None),
        ("denied", 103),
        ("failed", 1_400_001),
    ]


def test_ids_are_given_or_made_of_the_code_or_of_the_content(tmp_path: Path) -> None:
    lines = [
        f"{APP},{TIME},given,c1,quick,succeeded",
        f"{APP},{TIME},,c2,quick,succeeded",
        *[f"{APP},{TIME},,,quick,succeeded"] * 3,
    ]
    header = "appid,time,event_id,code,capability,type"
    found = loaded(csv_of(tmp_path / "a.csv", *lines, header=header))
    ids = [event["id"] for event in found.events]
    assert ids[:2] == ["given", id_of(APP, "c2")]
    assert len(set(ids)) == 5
    assert found.files[0].ids == {"given": 1, "code": 1, "content": 3}


def test_equal_lines_of_one_file_are_different_calls_and_of_two_files_the_same(tmp_path: Path) -> None:
    line = f"{APP},{TIME},,quick,succeeded"
    two = csv_of(tmp_path / "a.csv", line, line)
    three = csv_of(tmp_path / "b.csv", line, line, line)
    assert len(loaded(two).events) == 2
    both = loaded(two, three)
    assert (len(both.events), both.repeated) == (3, 2)
    assert {event["id"] for event in both.events} == {event["id"] for event in loaded(three).events}


def test_an_id_of_content_does_not_depend_on_how_the_file_writes_it(tmp_path: Path) -> None:
    first = csv_of(tmp_path / "a.csv", f"{APP},{TIME},,quick,succeeded")
    second = csv_of(
        tmp_path / "b.csv", f"成功,1777773903000,快速验证,{APP}", header="结果,time,capability,subject"
    )
    assert loaded(first).events == loaded(second).events


@pytest.mark.parametrize("code", ["None", "undefined"])
def test_a_code_that_is_none_is_refused(tmp_path: Path, code: str) -> None:
    assert loaded(csv_of(tmp_path / "a.csv", f"{APP},{TIME},{code},quick,succeeded")).reasons == [
        "invalid_field"
    ]


def test_a_bad_line_is_refused_with_its_number_and_stops_nothing(tmp_path: Path) -> None:
    good = f"{APP},{TIME},c%d,quick,succeeded"
    file = csv_of(
        tmp_path / "a.csv",
        good % 1,
        f"{APP},yesterday,c2,quick,succeeded",
        "",
        f"{APP},{TIME},c3,quick",
        f"{APP},{TIME},c4,slow,succeeded",
        f"{APP},{TIME},c5,quick,perhaps",
        f"{APP},2046-05-03T10:05:03+08:00,c6,quick,succeeded",
        f",{TIME},c7,quick,succeeded",
        f"no app,{TIME},c8,quick,succeeded",
        f'{APP},"{TIME},c9,quick,succeeded',
        good % 10,
    )
    found = loaded(file)
    assert [event["id"] for event in found.events] == [id_of(APP, "c1")]
    assert [(one.line, one.reason) for one in found.refused] == [
        (3, "invalid_field"),
        (5, "invalid_field"),
        (6, "invalid_field"),
        (7, "invalid_field"),
        (8, "time_out_of_range"),
        (9, "invalid_field"),
        (10, "invalid_field"),
        (11, "invalid_field"),
    ]
    assert "lines 11 to 12 were taken for one" in found.sentences[-1]


def test_a_broken_line_of_json_is_refused_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = json.dumps(CALL).encode()
    file.write_bytes(
        b"\n".join([good, b"{", b"[]", good[:-1] + b', "store": "b"}', b'{"a": "\xff"}', b"x" * 70_000, b""])
    )
    found = loaded(file)
    assert len(found.events) == 1
    assert [(one.line, one.reason) for one in found.refused] == [
        (2, "not_json"),
        (3, "not_json"),
        (4, "doubled_key"),
        (5, "not_utf8"),
        (6, "too_large"),
    ]


def test_a_line_without_a_type_is_refused_with_what_to_do(tmp_path: Path) -> None:
    found = loaded(csv_of(tmp_path / "a.csv", f"{APP},{TIME},c1,quick", header="appid,time,code,capability"))
    assert "--set type=succeeded" in found.sentences[0]


def test_columns_of_phone_numbers_and_openids_are_never_read(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},{TIME},c1,quick,succeeded,13812345678,oABCDefghijklmnopqrstuvwxyz12,13812345678",
        header="appid,time,code,capability,type,phone,openid,13912345678",
    )
    found = loaded(file)
    assert found.refused == []
    assert set(found.files[0].description.personal) == {"phone", "openid", "13912345678"}
    assert "1381234" not in json.dumps(found.events)
    with pytest.raises(UserError, match="'openid' is not read for client"):
        loaded(file, columns={"client": "openid"})


def test_a_mapped_column_with_phone_numbers_is_refused_line_by_line_and_named(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},{TIME},c1,quick,succeeded,13812345678",
        f"{APP},{TIME},c2,quick,succeeded,s-01",
        header="appid,time,code,capability,type,shop_no",
    )
    found = loaded(file, columns={"store": "shop_no"})
    assert found.reasons == ["phone_number"]
    assert found.files[0].phone_fields == {"store": 1}
    assert "13812345678" not in found.sentences[0]


def test_a_phone_number_in_a_column_of_another_kind_is_not_repeated(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv", f"{APP},13812345678,c1,quick,succeeded", f"{APP},{TIME},c1,quick,13812345678"
    )
    found = loaded(file)
    assert len(found.refused) == 2
    assert "1381234" not in "".join(found.sentences)


def test_an_encoding_of_excel_is_read_when_it_is_named(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        f"{APP},{TIME},c1,快速验证,成功",
        encoding="gb18030",
        header="appid,time,code,capability,结果",
    )
    with pytest.raises(UserError, match=r"line 1: the text is not utf-8; .* try --encoding gb18030"):
        loaded(file)
    assert len(loaded(file, reading=ReadOptions(encoding="gb18030")).events) == 1
    ascii_header = csv_of(tmp_path / "b.csv", f"{APP},{TIME},c1,快速验证,succeeded", encoding="gb18030")
    assert loaded(ascii_header).reasons == ["not_utf8"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    line = f"{APP},{TIME},c1,quick,succeeded".replace(",", delimiter)
    header = "appid,time,code,capability,type".replace(",", delimiter)
    assert len(loaded(csv_of(tmp_path / "a.csv", line, header=header)).events) == 1


def test_absent_values_of_exports_are_absent(tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        rf"{APP},{TIME},c1,quick,succeeded,\N,NULL,",
        header="appid,time,code,capability,type,store,scene,env",
    )
    assert loaded(file).events[0]["data"] == {"capability": "quick"}


def test_whole_numbers_of_tables_are_texts_where_texts_are_wanted(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(
        pa.Table.from_pylist([CALL | {"store": 17.0}, CALL | {"store": float("nan"), "code": "c2"}]), file
    )
    assert [event["data"].get("store") for event in loaded(file).events] == ["17", None]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"[{}]", "is one JSON array"),
        (b"\n", "is empty"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"a,b,a\n", "two columns 'a'"),
        (b",,\n1,2,3\n", "has no header"),
        (b"PAR1 but nothing else", "can't be read as Parquet"),
        (b'"appid\n', "no header of a CSV file"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        loaded(file)


def test_a_file_that_ends_in_the_middle_of_its_compression_is_one_sentence(tmp_path: Path) -> None:
    file = written(tmp_path, "calls.csv.gz")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UnreadableError, match="gzip data is broken"):
        loaded(file)


def test_a_line_that_never_ends_is_refused_and_not_kept(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", "x" * 3_000_000, f"{APP},{TIME},c1,quick,succeeded")
    found = loaded(file)
    assert (found.reasons, len(found.events)) == (["too_large"], 1)


def test_only_facts_of_the_period_are_published(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", *[f"{APP},177777390{n},c{n},quick,succeeded" for n in range(4)])
    period = Period(1_777_773_901_000, 1_777_773_903_000)
    assert [event["id"] for event in loaded(file, period=period).events] == [
        id_of(APP, "c1"),
        id_of(APP, "c2"),
    ]


@pytest.mark.parametrize("column", ["pack_id", "order_id"])
def test_a_number_that_a_spreadsheet_has_shortened_is_no_name(tmp_path: Path, column: str) -> None:
    cells = {"pack_id": "p1", "order_id": "o1"} | {column: "4.2E+27"}
    line = f"{APP},{cells['pack_id']},{cells['order_id']},1000,365,30,{TIME},quick"
    header = "appid,pack_id,order_id,calls,validity_days,price_yuan,paid_at,capability"
    path = tmp_path / "packs.csv"
    path.write_text(f"{header}\n{line}\n")
    found = loaded(path)
    assert found.events == []
    [sentence] = found.sentences
    assert sentence.startswith(f"{column}: '4.2E+27' is a number that a spreadsheet has shortened; ")


def test_a_floating_point_number_that_stands_for_several_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([CALL | {"code": 2.0**53}, CALL | {"code": 2.0**53 - 1}]), path)
    found = loaded(path)
    assert [event["id"] for event in found.events] == [id_of(APP, str(2**53 - 1))]
    assert found.reasons == ["invalid_field"]

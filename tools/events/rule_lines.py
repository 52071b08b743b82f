"""Conformance lines of the rules for what events hold: attributes, times, nulls, data."""

from collections.abc import Iterator

from tools.events.lines import (
    APP,
    PURCHASE,
    REMOVED,
    SUCCEEDED,
    Event,
    Line,
    accepted,
    base,
    changed,
    record_line,
    refused,
    structured,
    tap_line,
    text_of,
)


def rule_lines() -> Iterator[Line]:
    """The lines."""
    yield from _envelope()
    yield from _times()
    yield from _nulls()
    yield from _data()


def _envelope() -> Iterator[Line]:
    for name in ("specversion", "id", "source", "type", "subject", "time"):
        yield tap_line(f"no {name}", {name: REMOVED}, "invalid_field", f"Every event has {name}.")
    yield tap_line("no datacontenttype", {"datacontenttype": REMOVED}, None, "The data is JSON anyway.")
    yield tap_line("a datacontenttype of no meaning", {"datacontenttype": "x"}, None, "It is not looked at.")
    yield tap_line("specversion 0.3", {"specversion": "0.3"}, "invalid_field", "It is CloudEvents 1.0.")
    yield tap_line("an empty id", {"id": ""}, "invalid_field", "All such events would be one.")
    yield tap_line("an id of 128 characters", {"id": "x" * 128}, None, "So long an id may be.")
    yield tap_line("an id of 129 characters", {"id": "x" * 129}, "invalid_field", "No longer.")
    yield tap_line("an id that is a number", {"id": 7}, "invalid_field", "An id is a text.")
    yield tap_line("a source of 256 characters", {"source": "门" * 256}, None, "Characters count, not bytes.")
    yield tap_line("a source of 257 characters", {"source": "门" * 257}, "invalid_field", "No more than 256.")
    yield tap_line(
        "a type of nobody", {"type": "phone.authorization.maybe"}, "unknown_type", "It would be lost."
    )
    yield tap_line("a type in other letters", {"type": SUCCEEDED.title()}, "unknown_type", "Case matters.")
    for subject, why in {
        "": "empty",
        "wx 1": "with a space",
        "wx/1": "with a slash",
        "x" * 65: "too long",
    }.items():
        yield tap_line(
            f"a subject {why}", {"subject": subject}, "invalid_field", "It is 1 to 64 of A-Za-z0-9_-."
        )
    yield tap_line(
        "a subject with a line feed", {"subject": "wx1\n"}, "invalid_field", "Nothing follows the appid."
    )
    yield tap_line(
        "unknown fields", {"traceparent": "00-ab", "data.weather": {"t": 1.5}}, None, "They are ignored."
    )


def _times() -> Iterator[Line]:
    good = {
        "in UTC": "2026-10-17T10:05:03Z",
        "with an offset": "2026-10-17T18:05:03+08:00",
        "with microseconds": "2026-10-17T10:05:03.120456Z",
        "in small letters": "2026-10-17t10:05:03z",
        "an hour ahead of the record": "2026-10-17T11:05:04.000Z",
        "at the beginning of 2017": "2017-01-01T00:00:00Z",
        "at the beginning of 2017 in Shanghai's time": "2017-01-01T08:00:00+08:00",
    }
    for name, time in good.items():
        yield tap_line(f"a time {name}", {"time": time}, None, "It is a time of RFC 3339, in the range.")
    far = {
        "more than an hour ahead of the record": "2026-10-17T11:05:04.001Z",
        "before 2017": "2016-12-31T23:59:59.999Z",
        "before 2017 in UTC": "2017-01-01T07:59:59+08:00",
        "far ahead": "2099-01-01T00:00:00Z",
    }
    for name, time in far.items():
        yield tap_line(
            f"a time {name}", {"time": time}, "time_out_of_range", "One absurd time would expire packs."
        )
    wrong = {
        "without a zone": "2026-10-17T10:05:03",
        "without seconds": "2026-10-17T10:05Z",
        "on a day that does not exist": "2026-02-29T00:00:00Z",
        "at 24:00": "2026-10-16T24:00:00Z",
        "that is a date": "2026-10-17",
        "in milliseconds": "1792231503120",
    }
    for name, time in wrong.items():
        yield tap_line(
            f"a time {name}", {"time": time}, "invalid_field", "It is no time of RFC 3339 with a zone."
        )
    yield tap_line(
        "a time that is a number", {"time": 1_792_231_503_120}, "invalid_field", "A time is a text."
    )
    for name in ("paid_at", "starts_at"):
        yield structured(
            f"{name} before 2017",
            changed(PURCHASE, {f"data.{name}": "2016-01-01T00:00:00Z"}),
            refused("time_out_of_range"),
            f"data.{name} is bounded like the event's time.",
        )
    yield structured(
        "starts_at far ahead",
        changed(PURCHASE, {"data.starts_at": "2027-10-17T00:00:00Z"}),
        accepted("pack.purchased"),
        "A pack may begin any time later.",
    )
    yield structured(
        "paid_at far ahead",
        changed(PURCHASE, {"data.paid_at": "2027-10-17T00:00:00Z"}),
        refused("time_out_of_range"),
        "Nothing was paid in the future.",
    )


def _nulls() -> Iterator[Line]:
    for name in ("id", "subject", "time", "data"):
        yield tap_line(f"{name} null", {name: None}, "invalid_field", "A null is an absent field (rule 15).")
    yield tap_line(
        "datacontenttype null", {"datacontenttype": None}, None, "A null is an absent field (rule 15)."
    )
    yield tap_line(
        "an unknown field null", {"traceparent": None}, None, "A null is an absent field (rule 15)."
    )
    yield tap_line(
        "an unknown field of data null", {"data.weather": None}, None, "A null is an absent field."
    )


def _data() -> Iterator[Line]:
    yield tap_line("calls of 1", {"data.calls": 1}, None, "An authorization is one call, and may say so.")
    for calls in (0, 2, -1):
        yield tap_line(f"calls of {calls}", {"data.calls": calls}, "invalid_field", "It is exactly one call.")
    yield tap_line("calls of true", {"data.calls": True}, "invalid_field", "True is no number.")
    yield tap_line("data that is a list", {"data": []}, "invalid_field", "Data is an object.")
    yield tap_line(
        "data that is a text", {"data": "{}"}, "invalid_field", "Data is an object, not its JSON text."
    )
    yield tap_line(
        "a client with a space", {"data.client": "a b"}, "invalid_field", "It is one word of ASCII."
    )
    yield tap_line(
        "a client in Chinese", {"data.client": "张三"}, "invalid_field", "A hash has no such characters."
    )
    price = '"price_micro_yuan":7500000'
    for written in ("7500000.0", "7.5e6", "7500000.5"):
        yield record_line(
            f"a price written {written}",
            text_of(PURCHASE).replace(price, f'"price_micro_yuan":{written}'),
            refused("invalid_field"),
            "Money is an integer in its text: floats are not exact (rule 11).",
        )
    yield structured(
        "more used before than bought",
        changed(PURCHASE, {"data.used_before": 251}),
        refused("invalid_field"),
        "Of a pack of 250 calls no 251 can have been used.",
    )
    yield structured(
        "a store with two budgets",
        changed(base("account.routing_set"), {"data.store_budgets": [{"calls": 1}, {"calls": 2}]}),
        refused("invalid_field"),
        "Which of them holds would be a guess (rule 20).",
    )
    yield structured(
        "a least price above the highest",
        changed(base("account.charge_notice_requested"), {"data.price_min_micro_yuan": 30_001}),
        refused("invalid_field"),
        "An owner would be told a range that is none (rule 21).",
    )
    owner = base("account.registered")
    for word in ("政府", "Public-Hospital", " school ", "个体工商户"):
        yield structured(
            f"owner type {word!r}",
            changed(owner, {"data.entity_type": word}),
            accepted("account.registered"),
            "Words are compared without case and outer spaces, and - counts as _ (rule 9).",
        )
    yield structured(
        "an unknown owner type",
        changed(owner, {"data.entity_type": "goverment"}),
        refused("invalid_field"),
        "The type decides whether the owner is exempt (rule 9).",
    )
    yield structured(
        "an unknown category",
        changed(owner, {"data.category": "something new"}),
        accepted("account.registered"),
        "Categories are the platform's, and an unknown one exempts nobody (rule 9).",
    )
    for name, to in {"its own appid": APP, "no appid": "wx 1"}.items():
        yield structured(
            f"a migration to {name}",
            changed(base("account.migrated"), {"data.to": to}),
            refused("invalid_field"),
            "What the app holds goes to the appid of another one.",
        )
    yield from _corrections(base("fact.corrected"))


def _corrections(correction: Event) -> Iterator[Line]:
    good = {
        "void": {"event_id": "9f2c", "void": True},
        "set to nothing": {"event_id": "9f2c", "set": {"scene": ""}},
    }
    for name, data in good.items():
        expected = accepted("fact.corrected")
        yield structured(f"a correction {name}", changed(correction, {"data": data}), expected, "Rule 15.")
    wrong: dict[str, dict[str, object]] = {
        "that says nothing": {},
        "that sets nothing": {"set": {}},
        "that sets nulls": {"set": {"scene": None}},
        "that is void and sets": {"void": True, "set": {"scene": ""}},
        "with a misspelt field": {"set": {"shop": "store-04"}},
        "of errno": {"set": {"errno": 0}},
    }
    for name, fields in wrong.items():
        event = changed(correction, {"data": {"event_id": "9f2c", **fields}})
        yield structured(
            f"a correction {name}",
            event,
            refused("invalid_field"),
            "It is either void, or it sets fields that facts have (rule 15).",
        )

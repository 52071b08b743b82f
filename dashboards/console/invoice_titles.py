"""Invoice titles (抬头): who an invoice is made out to, and what is wrong with a title."""

import re
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from dashboards.console.languages import marked
from metering.personal_identifiers import find_identifier

TitleKind = Literal["company", "personal"]

TITLE_KINDS: Final[Mapping[TitleKind, str]] = {
    "company": marked("Company"),
    "personal": marked("Person"),
}
"""By kind, its name in English, marked for translation; the first is the usual one."""

TITLE_CHARACTERS_MAX: Final = 100
TITLE_CHARACTERS_MIN: Final = 2

CODE_CHARACTERS: Final = 18
"""Of a unified social credit code (统一社会信用代码), GB 32100."""

OLD_CHARACTERS: Final = 15
"""Of a tax number from before that code."""

# GB 32100 leaves out I, O, S, V and Z, which look like digits or each other.
_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_BASE: Final = len(_ALPHABET)
_CODE: Final = re.compile(rf"[{_ALPHABET}]{{2}}[0-9]{{6}}[{_ALPHABET}]{{10}}")
_OLD: Final = re.compile(r"[0-9]{6}[0-9A-Z]{9}")
_NAME: Final = re.compile(
    # Chinese characters, and what the names of companies have between them.
    r"[〇\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323afA-Za-z0-9À-ɏ"
    r" ()（）\[\]【】《》“”·.,，、&＆+'’—_/-]+"
)
_LETTER: Final = re.compile(r"[〇\u3400-\u9fff\U00020000-\U000323afA-Za-zÀ-ɏ]")

NO_KIND: Final = marked("Choose whether the title is a company's or a person's.")
WRONG_LENGTH: Final = marked("A title has 2 to 100 characters.")
WRONG_CHARACTERS: Final = marked(
    "A title has Chinese characters, letters, digits, spaces, brackets and the marks of names only."
)
PHONE_NUMBER: Final = marked("A title may hold no phone number and no openid.")
NO_NUMBER: Final = marked("A company's title needs its tax number: the unified social credit code.")
NUMBER_OF_PERSON: Final = marked("A person's title has no tax number. Leave it empty, or choose company.")
NUMBER_LENGTH: Final = marked(
    "A tax number has 18 characters (unified social credit code), or 15 if it is an old one."
)
NUMBER_CHARACTERS: Final = marked(
    "A unified social credit code has digits and capital letters without I, O, S, V and Z, and digits as its "
    "third to eighth character."
)
OLD_NUMBER_CHARACTERS: Final = marked(
    "An old tax number begins with six digits, and has digits and capital letters after them."
)
CHECK_CHARACTER: Final = marked("The last character does not fit the others. Compare it with the licence.")


class TitleText(Struct, frozen=True):
    """A title as an invoice has it.

    Attributes:
        kind: a company's or a person's.
        name: of the company or person.
        tax_number: of the company; empty for a person.
    """

    kind: TitleKind
    name: str
    tax_number: str = ""


def title_text(kind: str, name: str, tax_number: str) -> TitleText | str:
    """The title that was typed, its spaces and letters as usual; or what is wrong, marked for translation."""
    chosen = next((one for one in TITLE_KINDS if one == kind), None)
    if chosen is None:
        return NO_KIND
    called = " ".join(name.split())
    number = "".join(tax_number.split()).upper()
    wrong = _name_problem(called) or _number_problem(chosen, number)
    return wrong or TitleText(chosen, called, number)


def check_character(code: str) -> str:
    """The check character for the first 17 characters of a unified social credit code."""
    # Weights are the powers of 3, modulo 31.
    total = sum(_ALPHABET.index(one) * pow(3, place, _BASE) for place, one in enumerate(code[:17]))
    return _ALPHABET[-total % _BASE]


def tax_number_problem(number: str) -> str:
    """The fault of a tax number, marked for translation; empty if there is none."""
    if len(number) == OLD_CHARACTERS:
        return "" if _OLD.fullmatch(number) else OLD_NUMBER_CHARACTERS
    if len(number) != CODE_CHARACTERS:
        return NUMBER_LENGTH
    if _CODE.fullmatch(number) is None:
        return NUMBER_CHARACTERS
    return "" if number[-1] == check_character(number) else CHECK_CHARACTER


def _name_problem(name: str) -> str:
    if not TITLE_CHARACTERS_MIN <= len(name) <= TITLE_CHARACTERS_MAX:
        return WRONG_LENGTH
    if _NAME.fullmatch(name) is None or _LETTER.search(name) is None:
        return WRONG_CHARACTERS
    return "" if find_identifier(name) is None else PHONE_NUMBER


def _number_problem(kind: TitleKind, number: str) -> str:
    if kind == "personal":
        return NUMBER_OF_PERSON if number else ""
    return tax_number_problem(number) if number else NO_NUMBER

"""Exempt owners: their calls are counted and never charged (rule 9), in the platform's own words."""

import re
from typing import Final, Literal

OwnerType = Literal[
    "government",
    "non_profit",
    "public_institution",
    "school",
    "public_medical_institution",
    "school_with_degree_education",
    "enterprise",
    "individual_business",
    "individual",
    "media",
    "other_organization",
]

OWNER_TYPES: Final[dict[OwnerType, tuple[str, ...]]] = {
    "government": ("政府", "政府机关"),
    "non_profit": ("nonprofit", "非营利组织", "社会组织"),
    "public_institution": ("事业单位",),
    "school": ("学校",),
    "public_medical_institution": ("public_hospital", "公立医疗机构", "公立医院"),
    "school_with_degree_education": ("学历教育学校",),
    "enterprise": ("company", "企业"),
    "individual_business": ("个体工商户", "个体户"),
    "individual": ("personal", "个人"),
    "media": ("媒体",),
    "other_organization": ("其他组织",),
}
"""Every owner type that is accepted, with the other words for it."""

EXEMPT_TYPES: Final[frozenset[OwnerType]] = frozenset(
    {"government", "non_profit", "public_medical_institution", "school_with_degree_education"}
)
"""Owner types that are exempt in any category."""

EXEMPT_CATEGORIES: Final = frozenset(
    {
        "公立医疗机构",
        "public_medical_institution",
        "public_hospital",
        "学历教育(学校)",
        "degree_education(school)",
        "school_with_degree_education",
    }
)
"""Categories, of either level, in which any owner is exempt."""

EXEMPT_TYPE_CATEGORIES: Final[dict[OwnerType, frozenset[str]]] = {
    "public_institution": frozenset({"政务民生", "government_services", "government_and_livelihood"}),
    "school": frozenset({"学历教育", "degree_education"}),
}
"""By owner type, the categories, of either level, in which it is exempt besides."""

_TYPES_BY_WORD: Final[dict[str, OwnerType]] = {
    word: kind for kind, words in OWNER_TYPES.items() for word in (kind, *words)
}
_WIDE: Final = str.maketrans("（）／＞－", "()/>-")
"""Punctuation of full width, as the platform's pages and people write it."""

_LEVEL_ENDS: Final = re.compile(r"[/>,;、，；|\u2013\u2014-]+")
"""Separators of a category's levels and of several categories."""


def owner_type(words: str) -> OwnerType | None:
    """The owner type that is meant; None where the word is not known."""
    return _TYPES_BY_WORD.get(_normal(words).replace("-", "_"))


def unknown_owner_type(words: str) -> str | None:
    """The sentence that refuses an owner type that is not known; None where it is."""
    if owner_type(words) is not None:
        return None
    known = ", ".join(" / ".join((kind, *others)) for kind, others in OWNER_TYPES.items())
    return (
        f"data.entity_type: not a known owner type, which decides whether it is exempt; use one of: {known}."
    )


def is_exempt(entity_type: str, category: str) -> bool:
    """Return whether an owner of this type, in this platform category, is charged nothing.

    A category is one level ("政务民生") or two ("政务民生/民生服务", "政务民生-民生服务").
    """
    kind = owner_type(entity_type)
    if kind is None:
        return False
    return kind in EXEMPT_TYPES or not _levels(category).isdisjoint(
        EXEMPT_CATEGORIES | EXEMPT_TYPE_CATEGORIES.get(kind, frozenset())
    )


def _levels(category: str) -> set[str]:
    """A category as a whole, and each of its levels."""
    whole = _normal(category)
    return {whole.replace("-", "_"), *(_normal(level) for level in _LEVEL_ENDS.split(whole))}


def _normal(text: str) -> str:
    return text.translate(_WIDE).strip().lower().replace(" ", "_")

"""Who is exempt: counted, never charged (DESIGN rule 9)."""

from typing import Final

_ALWAYS: Final = frozenset(
    {
        "government",
        "non_profit",
        "nonprofit",
        "public_medical_institution",
        "public_hospital",
        "school_with_degree_education",
        "政府",
        "政府机关",
        "非营利组织",
        "社会组织",
        "公立医疗机构",
        "公立医院",
        "学历教育学校",
    }
)

_BY_CATEGORY: Final = {
    "public_institution": frozenset({"政务民生", "government_services", "government_and_livelihood"}),
    "事业单位": frozenset({"政务民生", "government_services", "government_and_livelihood"}),
    "school": frozenset({"学历教育", "degree_education"}),
    "学校": frozenset({"学历教育", "degree_education"}),
}


def is_exempt(entity_type: str, category: str) -> bool:
    """Whether an owner of this type, in this platform category, is charged nothing."""
    entity = _normal(entity_type)
    return entity in _ALWAYS or _normal(category) in _BY_CATEGORY.get(entity, ())


def _normal(text: str) -> str:
    return text.strip().lower().replace("-", "_").replace(" ", "_")

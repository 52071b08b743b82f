"""The pictures of the console: there for each page, small, and nothing else is among them."""

from tools.pictures.console import PICTURES, console_pictures

BYTES_MAX = 100_000


def test_each_page_has_its_pictures_and_they_are_small() -> None:
    files = {picture.file for picture in console_pictures("")}
    assert set(PICTURES.iterdir()) == files
    assert {file.name: file.stat().st_size for file in files if file.stat().st_size > BYTES_MAX} == {}


def test_pages_are_shown_in_both_languages_themes_and_sizes() -> None:
    pictures = console_pictures("")
    for name in {picture.name for picture in pictures}:
        shown = [picture for picture in pictures if picture.name == name]
        assert {picture.language for picture in shown} == {"zh", "en"}
        assert {picture.theme for picture in shown} == {"light", "dark"}
        assert {picture.is_phone for picture in shown} == {True, False}

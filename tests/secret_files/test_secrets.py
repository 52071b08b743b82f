"""A secret is the one line of a file, or what a reference stands for; all else is refused in one sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secret_files.secret_file import SECRET_BYTES_MAX, SecretError, is_secret, read_secret
from secret_files.secret_reference import referred_secret


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which a secret may be."""
    return tmp_path_factory.mktemp("secrets") / "secret"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1), st.text("\r\n"))
def test_only_the_line_breaks_at_the_end_do_not_belong_to_a_secret(file: Path, secret: str, end: str) -> None:
    file.write_bytes((secret + end).encode())
    assert read_secret(file) == secret
    assert is_secret(secret)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (b"", "it is empty"),
        (b"\r\n\n", "it is empty"),
        (b"x" * (SECRET_BYTES_MAX + 1), "it is longer than 16,384 bytes"),
        (b"hidden\xff", "it is not UTF-8"),
        (b"hidden\nmore", "it is more than one line of text"),
        (b"hidden\0", "it is more than one line of text"),
    ],
)
def test_a_file_without_one_line_is_refused_and_not_repeated(file: Path, stored: bytes, told: str) -> None:
    file.write_bytes(stored)
    with pytest.raises(SecretError) as refused:
        read_secret(file)
    assert str(refused.value).startswith(f"{file} has no secret that can be used ({told}); it must be a file")
    assert "hidden" not in str(refused.value)


def test_the_longest_secret_is_read_whole(file: Path) -> None:
    file.write_bytes(b"x" * SECRET_BYTES_MAX)
    assert len(read_secret(file)) == SECRET_BYTES_MAX


def test_a_file_that_is_not_there_or_is_none_is_refused_alike(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SecretError, match=f"{path} has no secret that can be used \\({told}"):
            read_secret(path)


def test_a_reference_is_to_a_file_beside_or_to_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("of the file\n")
    monkeypatch.setenv("TOKEN", "of the environment")
    assert referred_secret("file:token", tmp_path) == "of the file"
    assert referred_secret("env:TOKEN", tmp_path) == "of the environment"
    monkeypatch.setenv("TOKEN", "hidden\nmore")
    with pytest.raises(SecretError, match=r"^the environment's TOKEN has no secret that can be used;"):
        referred_secret("env:TOKEN", tmp_path)
    monkeypatch.delenv("TOKEN")
    with pytest.raises(SecretError, match=r"^the environment has no TOKEN; set it"):
        referred_secret("env:TOKEN", tmp_path)

"""QR codes, drawn on the server: a picture in the page, without a style or a script of its own."""

import io
from typing import Final

import segno
from markupsafe import Markup

TEXT_CHARACTERS_MAX: Final = 512
MODULE_PX: Final = 6
QUIET_MODULES: Final = 4
"""Margin without which cameras do not find a code; the standard has four modules."""


def qr_code(text: str, name: str) -> Markup:
    """An SVG of a text's QR code, black on white in dark pages too: many cameras do not read it reversed.

    Args:
        text: what a camera reads, at most 512 characters.
        name: for those who do not see it.

    Raises:
        ValueError: the text is empty or too long.
    """
    if not 0 < len(text) <= TEXT_CHARACTERS_MAX:
        raise ValueError(f"A QR code is made of 1 to {TEXT_CHARACTERS_MAX} characters.")
    code, picture = segno.make_qr(text, error="m", boost_error=False), io.BytesIO()
    side = code.symbol_size(border=QUIET_MODULES)[0] * MODULE_PX
    code.save(
        picture,
        kind="svg",
        scale=MODULE_PX,
        border=QUIET_MODULES,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgns=True,
        nl=False,
        omitsize=True,
        svgclass=None,
        lineclass=None,
    )
    drawn = picture.getvalue().decode()
    label = Markup.escape(name)
    # Drawn by a library from what a code is made of; the text itself is not in it.
    return Markup(  # noqa: S704
        drawn.replace(
            "<svg ",
            f'<svg class="qr-code" role="img" aria-label="{label}" width="{side}" height="{side}" ',
            1,
        )
    )

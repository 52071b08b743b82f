"""The description of the interface: the OpenAPI document, and Swagger UI from a package's files."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from metering.http_endpoints import HttpPart
from producers.gateway.openapi import document

FILES: Final = {
    "swagger-ui.css": "css/swagger-ui.css",
    "swagger-ui-bundle.js": "js/swagger-ui-bundle.js",
}

# Nothing is loaded from anywhere else, and a key that is typed in goes nowhere else.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>phonemeter: HTTP interface</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START: Final = """\
SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", validatorUrl: null, persistAuthorization: false
})
"""


def routes(parts: Sequence[HttpPart] = ()) -> list[Route]:
    """The pages; nobody needs a key for them."""
    described = document(parts)
    folder = _folder()

    async def openapi(_request: Request) -> Response:
        return JSONResponse(described)

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    async def start(_request: Request) -> Response:
        return Response(START, media_type="text/javascript")

    async def file(request: Request) -> Response:
        return FileResponse(folder / FILES[request.url.path.rpartition("/")[2]])

    return [
        Route("/v1/openapi.json", openapi),
        Route("/v1/docs", page),
        Route("/v1/docs/start.js", start),
        *(Route(f"/v1/docs/{name}", file) for name in FILES),
    ]


def _folder() -> Path:
    """The files of Swagger UI. Their package is not imported: it is made for a framework that is not here."""
    found = find_spec("star_openapi_swagger")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("star_openapi_swagger")
    return Path(found.submodule_search_locations[0]) / "templates" / "swagger"

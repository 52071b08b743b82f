"""A back end on FastAPI (Starlette is the same): the lifespan has the producer. `uvicorn fastapi_app:app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import phone_numbers
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from phonemeter_client import DeliveryError, EventProducer


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Begin without waiting for Kafka; at the end, send what is queued."""
    app.state.producer = producer = EventProducer()
    app.state.exchange = phone_numbers.exchange_of(producer)
    yield
    try:
        producer.close(timeout_s=5)
    except DeliveryError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the sentence is enough


app = FastAPI(lifespan=lifespan)


@app.get("/phone-number/route")
def route(store: str = "") -> dict[str, str]:
    """Say whether to show the paid button."""
    return {"route": phone_numbers.route(store)}


@app.post("/phone-number")
def sign_up(request: Request, tap: dict[str, Any], openid: Annotated[str, Header()]) -> JSONResponse:
    """Exchange the code of a tap; a plain function, so that FastAPI runs it in a thread."""
    status, answer = phone_numbers.sign_up(request.app.state.exchange, openid, tap)
    return JSONResponse(answer, status)


@app.post("/phone-number/outcome", status_code=204)
async def outcome(request: Request, tap: dict[str, Any], openid: Annotated[str, Header()]) -> None:
    """Meter a denied or failed tap; publishing does not wait, so it may be called in the event loop."""
    phone_numbers.note_outcome(request.app.state.producer, openid, tap)

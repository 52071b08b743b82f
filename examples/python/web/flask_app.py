"""A back end on Flask, with an app factory: `gunicorn --preload 'flask_app:create_app()'`."""

import phone_numbers
from flask import Flask, Response, jsonify, request
from phonemeter_client import EventProducer


def create_app() -> Flask:
    """Make the app; its producer connects when it is first used, in each worker for itself."""
    app = Flask(__name__)
    producer = EventProducer()
    exchange = phone_numbers.exchange_of(producer)

    @app.get("/phone-number/route")
    def route() -> dict[str, str]:
        return {"route": phone_numbers.route(request.args.get("store", ""))}

    @app.post("/phone-number")
    def sign_up() -> tuple[Response, int]:
        status, answer = phone_numbers.sign_up(exchange, request.headers["openid"], request.get_json())
        return jsonify(answer), status

    @app.post("/phone-number/outcome")
    def outcome() -> tuple[str, int]:
        phone_numbers.note_outcome(producer, request.headers["openid"], request.get_json())
        return "", 204

    return app

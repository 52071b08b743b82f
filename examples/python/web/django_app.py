"""A back end on Django in one file; the AppConfig has the producer: `gunicorn django_app:application`."""

import json
import os
import sys
from pathlib import Path

import phone_numbers
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from phonemeter_client import EventProducer


class PhoneNumbersConfig(AppConfig):
    """The app with the producer; it connects when it is first used, in each worker for itself."""

    name = __name__
    label = "phone_numbers"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        """Make the producer, once per process."""
        self.producer = EventProducer()
        self.exchange = phone_numbers.exchange_of(self.producer)


def route(request: HttpRequest) -> JsonResponse:
    """Say whether to show the paid button."""
    return JsonResponse({"route": phone_numbers.route(request.GET.get("store", ""))})


@csrf_exempt
@require_POST
def sign_up(request: HttpRequest) -> JsonResponse:
    """Exchange the code of a tap."""
    ours = apps.get_app_config("phone_numbers")
    status, answer = phone_numbers.sign_up(ours.exchange, request.headers["openid"], json.loads(request.body))
    return JsonResponse(answer, status=status)


@csrf_exempt
@require_POST
def outcome(request: HttpRequest) -> HttpResponse:
    """Meter a denied or failed tap."""
    ours = apps.get_app_config("phone_numbers")
    phone_numbers.note_outcome(ours.producer, request.headers["openid"], json.loads(request.body))
    return HttpResponse(status=204)


urlpatterns = [
    path("phone-number", sign_up),
    path("phone-number/outcome", outcome),
    path("phone-number/route", route),
]

if not settings.configured:
    settings.configure(
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "an example"),
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[f"{__name__}.PhoneNumbersConfig"],
    )
    sys.modules.setdefault("django_app", sys.modules[__name__])
application = get_wsgi_application()

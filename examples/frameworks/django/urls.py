"""The pages of the shop."""

import logging

from django.http import Http404, HttpResponse
from django.urls import path

log = logging.getLogger("shop")


def order(request, number):
    """Take an order; number 0 does not exist."""
    log.info("order %d", number, extra={"client": request.META["REMOTE_ADDR"]})
    if number == 0:
        raise Http404
    return HttpResponse("thank you\n")


urlpatterns = [path("order/<int:number>", order)]

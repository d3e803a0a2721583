"""Django's routes: the admin, the API's own documentation, and each dialect's."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from channels_app.dialects.base import dialects
from channels_app.server.root import root

handler500 = "channels_app.server.pages.server_error"

urlpatterns = [
    path("", root),
    path("favicon.ico", RedirectView.as_view(url=static("channels_app/icon.svg"))),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(http_method_names=["get", "head"]), name="schema"),
    # No OPTIONS: it would ask the page's renderer, which has a template and no data for it.
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema", http_method_names=["get", "head"]), name="docs"),
    *(path("", include(dialect.urlconf)) for dialect in dialects()),
]

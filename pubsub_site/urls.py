"""Django's routes: the admin, the API's own documentation, and each dialect's."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from channels_app.dialects.base import dialects
from channels_app.server.root import root

urlpatterns = [
    path("", root),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    *(path("", include(dialect.urlconf)) for dialect in dialects()),
]

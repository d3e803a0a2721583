from django.urls import path

from .views import PublishView

urlpatterns = [path("rooms/<slug:room>/messages/", PublishView.as_view())]

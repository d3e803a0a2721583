from django.apps import AppConfig


class ChannelsAppConfig(AppConfig):
    name = "channels_app"
    verbose_name = "Pub/sub"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers them)
        from .core import directory

        directory.connect_signals()

from django.contrib.admin.apps import AdminConfig


class PubSubAdminConfig(AdminConfig):
    """The stock admin, with this server's own site in the place of Django's default one."""

    default_site = "channels_app.admin.site.default_site"

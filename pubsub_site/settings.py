"""Settings, all of them from the environment (`docs/settings.md` lists every name).

Nothing set: SQLite and the in-memory channel layer, one process, a generated secret key under `PUBSUB_DATA`.
`DATABASE_URL` and `REDIS_URL` set: PostgreSQL and channels-redis, as many processes as you like.
"""

from pathlib import Path

from channels_app import environment as env
from channels_app.conf import from_environment

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.folder("PUBSUB_DATA", BASE_DIR / "data")

DEBUG = env.value("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY") or env.secret_key(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
if env.value("BEHIND_TLS_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

INSTALLED_APPS = [
    "daphne",  # first: it replaces runserver with an ASGI one
    "pubsub_site.apps.PubSubAdminConfig",  # django.contrib.admin with our own site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "channels_app",
]

# The page-only ones skip dialect paths, where they would cost half of a request's time for nothing.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "channels_app.server.middleware.PageSessionMiddleware",
    "channels_app.server.middleware.PageCommonMiddleware",
    "channels_app.server.middleware.PageCsrfViewMiddleware",
    "channels_app.server.middleware.PageAuthenticationMiddleware",
    "channels_app.server.middleware.PageMessageMiddleware",
    "channels_app.server.middleware.PageXFrameOptionsMiddleware",
    "channels_app.server.middleware.PageErrorMiddleware",
]

# Both are there, as the Page… ones above; these two checks know only Django's own names.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003"]

ROOT_URLCONF = "pubsub_site.urls"
ASGI_APPLICATION = "pubsub_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASE_TIMEOUT = env.value("DATABASE_TIMEOUT", 4.0)  # seconds a statement of a server may take, on PostgreSQL
DATABASE_URL = env.text("DATABASE_URL")
if DATABASE_URL:
    from channels_app.postgres import PromptConnection

    DATABASES = {"default": env.database("DATABASE_URL")}
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # under ASGI every request has its own thread: the pool does the reuse
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        pool={
            "min_size": env.value("DATABASE_POOL_MIN", 2),
            "max_size": env.value("DATABASE_POOL_MAX", 20),
            "timeout": env.value("DATABASE_POOL_TIMEOUT", 4.0),
            "connection_class": PromptConnection,
            # Past this a lost connection is looked for at the next request, no longer at pauses that double.
            "reconnect_timeout": 5.0,
        },
        connect_timeout=5,
        # A server that is gone without a word (its machine, or the network) is found out within seconds, not 15 minutes.
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,  # milliseconds
    )
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "pubsub.sqlite3",
            "OPTIONS": {
                # IMMEDIATE: a transaction that will write takes the write lock at its start and waits for it, instead of
                # failing in the middle. FULL: a commit that was answered survives power loss.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
            # A file, since the publish lane and the readers have connections of their own.
            "TEST": {"NAME": DATA_DIR / "test.sqlite3"},
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL")
REDIS_PREFIX = env.text("REDIS_PREFIX", "pubsub")
REDIS_HOSTS = env.words("REDIS_HOSTS") or ([REDIS_URL] if REDIS_URL else [])
if REDIS_HOSTS:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_app.core.redis_layer.RedisLayer",
            "CONFIG": {"hosts": REDIS_HOSTS, "prefix": REDIS_PREFIX, "capacity": 1_000},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# With no collectstatic run, files come straight from the packages that ship them: one command is enough to serve.
WHITENOISE_USE_FINDERS = True
SECURE_CONTENT_TYPE_NOSNIFF = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pub/sub server",
    "DESCRIPTION": "Channels with rooms, persisted history and live delivery (Syncano v1.1).",
    "VERSION": "1.1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/v1\.1/",
    "PREPROCESSING_HOOKS": ["channels_app.dialects.syncano.schema.only_v1_1"],
    "ENUM_NAME_OVERRIDES": {"PermissionEnum": "channels_app.models.channels.Channel.Permission"},
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-KEY", "description": "An account key or an API key."},
            "UserKey": {"type": "apiKey", "in": "header", "name": "X-USER-KEY", "description": "A user, beside an API key."},
        }
    },
}

CORS_ALLOW_ALL_ORIGINS = True
CORS_URLS_REGEX = r"^/v[12](\.\d+)?/"
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "idempotency-key", "last-event-id", "user-agent", "x-api-key",
    "x-requested-with", "x-user-key",
]  # fmt: skip
CORS_EXPOSE_HEADERS = ["retry-after", "x-gap", "x-last-id"]
CORS_PREFLIGHT_MAX_AGE = 86400

# The dialects this server speaks: adding one is one folder and one line here. A path is the first one's whose prefix it has.
PUBSUB_DIALECTS = ["channels_app.dialects.twilio.dialect.TWILIO", "channels_app.dialects.syncano.dialect.SYNCANO"]

# Read by channels_app.conf, which documents each and holds the defaults.
PUBSUB = from_environment()
if not DATABASE_URL:  # one process on one machine: what it pushes to is often on it as well
    PUBSUB.setdefault("PUSH_NETWORKS", "127.0.0.0/8,::1/128")

# Another word than these is refused by a system check, which needs a log to say so.
LOG_FORMAT = env.text("LOG_FORMAT") or "line"
LOG_LEVEL = (env.text("LOG_LEVEL") or "INFO").upper()
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"mistakes": {"()": "channels_app.server.logs.ClientMistakes"}},
    "formatters": {
        "line": {
            "()": "channels_app.server.logs.RedactedLine",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "channels_app.server.logs.RedactedJson"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json" if LOG_FORMAT == "json" else "line",
            "filters": ["mistakes"],
        }
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL if LOG_LEVEL in LOG_LEVELS else "INFO"},
    "loggers": {
        "django.request": {"level": "ERROR"},  # a 4xx is an answer, not an event of the server
        "channels_redis": {"level": "WARNING"},  # a full mailbox costs its reader a hint, which the safety poll makes up for
        "psycopg.pool": {
            "level": "ERROR"
        },  # each attempt, where a command says once what is wrong; servers change it (asgi.py)
        "uvicorn.error": {"level": "WARNING"},  # what it says of a good start and end, we say
    },
}

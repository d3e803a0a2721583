"""Settings, all of them from the environment (`docs/settings.md` lists every name).

Nothing set: SQLite and the in-memory channel layer, one process, a generated secret key under `PUBSUB_DATA`.
`DATABASE_URL` and `REDIS_URL` set: PostgreSQL and channels-redis, as many processes as you like.
"""

from pathlib import Path

import environ

from channels_app.bootstrap import load_or_create_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = Path(env.str("PUBSUB_DATA", default=str(BASE_DIR / "data"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or load_or_create_secret_key(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
if env.bool("BEHIND_TLS_PROXY", default=False):
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
    "channels_app.server.middleware.PageDatabaseMiddleware",
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

DATABASE_TIMEOUT = env.float("DATABASE_TIMEOUT", default=4.0)  # seconds a statement of a server may take, on PostgreSQL
DATABASE_URL = env.str("DATABASE_URL", default="")
if DATABASE_URL:
    DATABASES = {"default": env.db_url_config(DATABASE_URL)}
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # under ASGI every request has its own thread: the pool does the reuse
    if DATABASES["default"]["ENGINE"].endswith("postgresql"):
        from channels_app.postgres import PromptConnection

        DATABASES["default"].setdefault("OPTIONS", {}).update(
            pool={
                "min_size": env.int("DATABASE_POOL_MIN", default=2),
                "max_size": env.int("DATABASE_POOL_MAX", default=20),
                "timeout": env.float("DATABASE_POOL_TIMEOUT", default=4.0),
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

REDIS_URL = env.str("REDIS_URL", default="")
REDIS_PREFIX = env.str("REDIS_PREFIX", default="pubsub")
REDIS_HOSTS = env.list("REDIS_HOSTS", default=[REDIS_URL] if REDIS_URL else [])
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
PUBSUB = {
    name: env.str(f"PUBSUB_{name}")
    for name in (
        "ANONYMOUS_RATE", "DIRECTORY_TTL", "DRAIN_DELAY", "DRAIN_SECONDS", "FAILED_LOGIN_RATE", "FAILED_POLL_RATE",
        "GROUP_COMMIT", "HEAD_TIMEOUT", "IDEMPOTENCY_TTL", "MAX_HEAD", "MAX_INSTANCES",
        "METRICS_BIND", "METRICS_TOKEN", "OPEN_REGISTRATION",
        "PING_INTERVAL", "PING_TIMEOUT", "POLL_WAIT", "PUBLISH_LANES", "PUBLISH_QUEUE", "PUBLISH_TIMEOUT",
        "PUSH_ATTEMPTS", "PUSH_NETWORKS", "PUSH_QUEUE", "PUSH_TIMEOUT", "RETENTION_AGE", "RETENTION_BATCH",
        "RETENTION_COUNT", "RETENTION_INTERVAL",
        "SAFETY_POLL", "SEAL_KEYS", "SSE_HEARTBEAT", "SUBSCRIBER_BYTES", "SYNCANO_MAX_BODY", "TWILIO_MAX_BODY",
        "TWILIO_MAX_DATA", "TWILIO_MAX_SERVICES", "TWILIO_SESSION_AGE", "TWILIO_STREAM_BURST", "TWILIO_STREAM_RATE",
        "TWILIO_STREAM_RETENTION",
    )
    if f"PUBSUB_{name}" in env.ENVIRON
}  # fmt: skip
if not DATABASE_URL:  # one process on one machine: what it pushes to is often on it as well
    PUBSUB.setdefault("PUSH_NETWORKS", "127.0.0.0/8,::1/128")

LOG_FORMAT = env.str("LOG_FORMAT", default="line")
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
            "formatter": "json" if LOG_FORMAT == "json" else "line",  # another word is refused by a system check
            "filters": ["mistakes"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},  # a 4xx is an answer, not an event of the server
        "channels_redis": {"level": "WARNING"},  # a full mailbox costs its reader a hint, which the safety poll makes up for
        "uvicorn.error": {"level": "WARNING"},  # what it says of a good start and end, we say
        "channels_app": {"level": env.str("LOG_LEVEL", default="INFO")},
    },
}

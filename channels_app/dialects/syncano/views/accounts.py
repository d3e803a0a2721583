"""The way in for administrators: the API's root, login, registration, the own account (wire/syncano.md §1, §6)."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as WeakPassword
from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.conf import conf
from channels_app.core import directory, tenancy, throttling
from channels_app.core.credentials import unseal
from channels_app.core.errors import PermissionDenied

from ..errors import LoginFailed
from ..schema import ERRORS
from ..serializers.fields import UNIQUE
from ..serializers.tenancy import AccountSerializer, AccountWithKeySerializer, LoginSerializer
from .base import PublicViewSet, SyncanoViewSet, unique

User = get_user_model()


class RootViewSet(PublicViewSet):
    """Where the API starts."""

    tag = "root"

    @extend_schema(summary="Where the API starts", responses=OpenApiTypes.OBJECT)
    def retrieve(self, request: Request, **_: Any) -> Response:
        root = f"/{self.version}/"
        return Response({"links": {"instances": f"{root}instances/", "account": f"{root}account/"}})


class LoginViewSet(PublicViewSet):
    """An administrator's account key for email and password."""

    tag = "account"
    serializer_class = LoginSerializer

    @extend_schema(summary="Log in", responses={200: AccountWithKeySerializer, 401: ERRORS[401]})
    def login(self, request: Request, **_: Any) -> Response:
        given = self.validated(LoginSerializer)
        user = User.objects.filter(email__iexact=given["email"], is_active=True).order_by("pk").first()
        with throttling.guard_login(self.address):
            if user is None:
                make_password(given["password"])  # an unknown email takes as long to refuse as a wrong password
                raise LoginFailed("Invalid email.")
            if not user.check_password(given["password"]):
                raise LoginFailed("Invalid password.")
        return Response(with_key(user))

    @extend_schema(summary="Register an account", responses={201: AccountWithKeySerializer})
    def register(self, request: Request, **_: Any) -> Response:
        if not conf.OPEN_REGISTRATION:
            raise PermissionDenied(rule="OPEN_REGISTRATION is off")
        given = self.validated(LoginSerializer)
        email = given["email"]
        if User.objects.filter(Q(email__iexact=email) | Q(username__iexact=email)).exists():
            raise ValidationError({"email": [UNIQUE]})
        try:
            validate_password(given["password"], User(email=email))
        except WeakPassword as error:
            raise ValidationError({"password": error.messages}) from None
        with unique("email"):
            user = User.objects.create_user(username=email, email=email, password=given["password"])
        return Response(with_key(user), status=201)


def with_key(user: Any) -> dict[str, Any]:
    administrator = tenancy.administrator_of(user)
    return AccountWithKeySerializer(user, context={"account_key": unseal(administrator.key_sealed)}).data


class AccountViewSet(SyncanoViewSet):
    """The administrator whose account key it is."""

    tag, thing = "account", "the own account"
    serializer_class = AccountSerializer

    def enter(self, request: Request) -> None:
        request.auth = directory.resolve(self.credentials(), None)
        if not self.principal.is_administrator:
            raise PermissionDenied(rule="account key only")

    def retrieve(self, request: Request, **_: Any) -> Response:
        return Response(AccountSerializer(self.administrator_row()).data)
